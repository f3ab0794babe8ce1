"""Embeddings of two sides from files, for comparing all with all: large arrays stay on disk, names mean the same on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orthodrome.files import why_unread
from orthodrome.pipeline.storage import codes_of, load_embeddings, read_lines
from orthodrome.types import InputError, PathLike


@dataclass(frozen=True)
class SideFiles:
    """``embeddings``: .npy (N, D), which is memory-mapped, or what `load_embeddings` reads.

    ``labels`` and ``groups``: text files, a line a row. Labels may stand in the .npz instead, as numbers, with the names of the people
    where ``orthodrome embed`` knew them. A label or group of -1 is nobody's.
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
    """Load each side; names of people and groups are numbered over all sides together, so equal names get equal numbers.

    Raises InputError for a file that is missing or holds something else, lines that are not as many as the rows, a side without labels,
    or several sides of which one has numbers without names: each set numbers its people in its own way.
    """
    loaded = [_Stored(*_read(side.embeddings)) for side in sides]
    people = [_names(side, stored) for side, stored in zip(sides, loaded, strict=True)]
    grouped = [
        np.array(read_lines(side.groups, len(stored.vectors)))
        for side, stored in zip(sides, loaded, strict=True)
        if side.groups is not None
    ]
    if 0 < len(grouped) < len(sides):
        raise InputError("give a file of groups for both sides or for neither")
    groups = _coded(grouped) if grouped else [None] * len(sides)
    return [
        LoadedSide(stored.vectors, *codes)
        for stored, codes in zip(loaded, zip(_labels(sides, loaded, people), groups, strict=True), strict=True)
    ]


@dataclass(frozen=True, eq=False)
class _Stored:
    """What a file of embeddings holds; -1 and no names where it says nothing."""

    vectors: np.ndarray
    labels: np.ndarray
    class_names: Sequence[str]


def _read(path: PathLike) -> tuple[np.ndarray, np.ndarray, Sequence[str]]:
    if Path(path).suffix != ".npy":
        found = load_embeddings(path)
        return found.vectors, found.labels, found.meta.get("class_names", ())
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as an array (.npy without pickles): {why_unread(error)}") from None
    return vectors, np.full(len(vectors), -1), ()


def _names(side: SideFiles, stored: _Stored) -> np.ndarray | None:
    """The person of each row by name, "-1" for nobody; None where there are numbers only."""
    if side.labels is not None:
        return np.array(read_lines(side.labels, len(stored.vectors)))
    if (stored.labels < 0).all():
        raise InputError(f"{side.embeddings}: no labels in it; give a text file with the person of each row")
    if stored.labels.max() >= len(stored.class_names):
        return None
    return np.where(stored.labels < 0, "-1", np.array(stored.class_names)[stored.labels])


def _labels(sides: Sequence[SideFiles], loaded: Sequence[_Stored], people: Sequence[np.ndarray | None]) -> list[np.ndarray]:
    named = [names for names in people if names is not None]
    if len(named) == len(sides):
        return _coded(named)
    if len(sides) == 1:
        return [loaded[0].labels]
    unnamed = sides[[names is None for names in people].index(True)].embeddings
    raise InputError(
        f"{unnamed}: its labels are numbers without names, which say nothing about another set; "
        "give a file of labels for both sides (--labels, --gallery-labels), or embed folders of named people anew"
    )


def _coded(names: Sequence[np.ndarray]) -> list[np.ndarray]:
    known = np.unique(np.concatenate(names))
    return [codes_of(part, known) for part in names]
