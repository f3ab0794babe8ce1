"""Lists that are published as MATLAB files (BLUFR, TinyFace)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from orthodrome.types import InputError, PathLike


def load_matlab(path: PathLike, names: Sequence[str]) -> dict[str, Any]:
    """The variables ``names`` of a ``.mat`` file. Raises InputError where scipy is missing, the file cannot be read, or lacks one."""
    try:
        from scipy.io import loadmat
    except ImportError:
        raise InputError(f'{path} is a MATLAB file, which scipy reads: pip install "orthodrome[plots]"') from None
    try:
        content = loadmat(str(path), variable_names=list(names))
    except Exception as error:  # a damaged file meets any of a dozen errors in scipy
        raise InputError(f"{path}: cannot be read as a MATLAB file: {' '.join(str(error).split())}") from None
    missing = [name for name in names if name not in content]
    if missing:
        raise InputError(f"{path}: no variable {missing[0]!r} in it")
    return {name: content[name] for name in names}


def matlab_strings(cells: Any) -> list[str]:
    """The strings of a cell array, however deep scipy wraps them."""
    found = []
    for cell in _flat(cells):
        while isinstance(cell, np.ndarray):
            cell = cell.ravel()[0]
        found.append(str(cell).strip())
    return found


def matlab_indices(cells: Any) -> list[np.ndarray]:
    """The index vectors of a cell array, counted from 0: int64 (n,) each."""
    return [np.asarray(cell).ravel().astype(np.int64) - 1 for cell in _flat(cells)]


def _flat(cells: Any) -> list[Any]:
    return list(np.asarray(cells, dtype=object).ravel())
