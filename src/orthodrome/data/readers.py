"""From a path to a reader: the one place that knows which form of data is where."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from orthodrome.data.decode import Size, printable
from orthodrome.data.files import FileReader
from orthodrome.data.folder import read_folder
from orthodrome.data.listing import read_list
from orthodrome.types import InputError, Reader


class ImageReader(Reader, Protocol):
    """A `Reader` that gives all labels at once and can decode straight to a size."""

    @property
    def labels(self) -> np.ndarray:
        """int64 (N,), in ``[0, C)``."""

    def image(self, index: int, size: Size | None = None) -> np.ndarray:
        """The decoded image: uint8 (H, W, 3), RGB, upright, of ``size`` (height, width) when it is given."""


def open_reader(path: str | Path) -> FileReader:
    """A folder of identities (`read_folder`) or a list file (`read_list`), by what ``path`` is.

    Raises:
        InputError: there is nothing at ``path``, or what is there is neither.
    """
    path = Path(path)
    if path.is_dir():
        return read_folder(path)
    if path.is_file():
        return read_list(path)
    raise InputError(f"{printable(path)}: no such file or folder; expected a folder of identities or a list file")
