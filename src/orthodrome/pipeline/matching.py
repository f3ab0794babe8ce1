"""Embeddings of two sides from files, for comparing all with all: large arrays stay on disk, names mean the same on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orthodrome.pipeline.storage import codes_of, load_embeddings, read_lines
from orthodrome.types import InputError, PathLike


@dataclass(frozen=True)
class SideFiles:
    """``embeddings``: .npy (N, D), which is memory-mapped, or what `load_embeddings` reads.

    ``labels`` and ``groups``: text files, a line a row. Labels may stand in the .npz instead. A label or group of -1 is nobody's.
    """

    embeddings: PathLike
    labels: PathLike | None = None
    groups: PathLike | None = None


@dataclass(frozen=True, eq=False)
class LoadedSide:
    """Embeddings (N, D), int64 ``labels`` (N,), and int64 ``groups`` (N,) or None."""

    vectors: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None


def load_sides(sides: Sequence[SideFiles]) -> list[LoadedSide]:
    """Load each side; labels and groups given as text are numbered over all sides together, so equal names get equal numbers.

    Raises InputError for a file that is missing or holds something else, lines that are not as many as the rows, a side without labels,
    or labels as text on one side and as numbers of an .npz on another.
    """
    loaded = [_vectors(side.embeddings) for side in sides]
    counts = [len(vectors) for vectors, _ in loaded]
    as_text = [side.labels is not None for side in sides]
    if any(as_text) and not all(as_text):
        raise InputError("give a file of labels for both sides or for neither: names and numbers of an .npz cannot be matched")
    if all(as_text):
        labels = _coded([side.labels for side in sides], counts)
    else:
        labels = [_stored(side, stored) for side, (_, stored) in zip(sides, loaded, strict=True)]
    grouped = [side.groups is not None for side in sides]
    if any(grouped) and not all(grouped):
        raise InputError("give a file of groups for both sides or for neither")
    groups = _coded([side.groups for side in sides], counts) if all(grouped) else [None] * len(sides)
    return [LoadedSide(vectors, *codes) for (vectors, _), codes in zip(loaded, zip(labels, groups, strict=True), strict=True)]


def _vectors(path: PathLike) -> tuple[np.ndarray, np.ndarray | None]:
    if Path(path).suffix != ".npy":
        found = load_embeddings(path)
        return found.vectors, found.labels
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False), None
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as an array (.npy without pickles): {error}") from None


def _stored(side: SideFiles, labels: np.ndarray | None) -> np.ndarray:
    if labels is None or (labels < 0).all():
        raise InputError(f"{side.embeddings}: no labels in it; give a text file with the person of each row")
    return labels


def _coded(files: Sequence[PathLike | None], counts: Sequence[int]) -> list[np.ndarray]:
    names = [np.array(read_lines(file, count)) for file, count in zip(files, counts, strict=True) if file is not None]
    known = np.unique(np.concatenate(names))
    return [codes_of(part, known) for part in names]
