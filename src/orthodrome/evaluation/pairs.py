"""Lists of pairs, and the form LFW publishes them in (``pairs.txt``); other forms: `orthodrome.evaluation.pair_lists`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from orthodrome.evaluation.listed import find_images, match_rows, people_in_rows, text_lines
from orthodrome.types import EmbeddingSet, InputError, PathLike


class ListedImage(Protocol):
    """One image of a list. ``str()`` of it is its id: a path without suffix."""

    @property
    def name(self) -> str:
        """The person; empty where the list does not tell."""


class ImageId(NamedTuple):
    """One image of a list: a person's name and a number, counted from 1. As text: ``name/name_0001``."""

    name: str
    number: int

    def __str__(self) -> str:
        return f"{self.name}/{self.name}_{self.number:04d}"


class ImagePath(NamedTuple):
    """One image of a list that names files: its path without suffix, and the person as far as the list tells."""

    path: str
    name: str = ""

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True)
class Pairs:
    """Pairs in the order of their file: the images of both sides, ``same`` bool (N,), ``folds`` int64 (N,)
    counted from 1.

    ``lines`` int64 (N,) are the line numbers in ``source``, for messages.
    """

    first: tuple[ListedImage, ...]
    second: tuple[ListedImage, ...]
    same: np.ndarray
    folds: np.ndarray
    lines: np.ndarray
    source: str

    def __len__(self) -> int:
        return len(self.first)

    def images(self) -> tuple[ListedImage, ...]:
        """The distinct images, in the order of their first appearance: what has to be embedded."""
        return tuple(dict.fromkeys(chain.from_iterable(zip(self.first, self.second, strict=True))))

    def people(self, embeddings: EmbeddingSet) -> tuple[str | None, ...] | None:
        """The person of each embedding, empty where the list does not tell, None for images not listed; None where it tells none."""
        names = {str(image): image.name for image in self.images()}
        return people_in_rows(embeddings, names, self.where) if any(names.values()) else None

    def identities(self) -> np.ndarray | None:
        """Codes int64 (N, 2) of the two people of each pair, numbered in the sorted order of their names; None where the list does
        not name them.
        """
        names = np.array([[a.name, b.name] for a, b in zip(self.first, self.second, strict=True)])
        return np.unique(names, return_inverse=True)[1].reshape(names.shape) if (names != "").all() else None

    def where(self, image: ListedImage | str) -> str:
        """``file:line`` of the first pair that names ``image``."""
        sides = zip(map(str, self.first), map(str, self.second), strict=True)
        index = next(i for i, pair in enumerate(sides) if str(image) in pair)
        return f"{self.source}:{self.lines[index]}"

    def repeated(self) -> tuple[tuple[int, int], ...]:
        """Line numbers (first, again) of the pairs that are listed more than once, whichever image stands first."""
        seen: dict[frozenset[str], int] = {}
        lines = self.lines.tolist()
        keys = [frozenset(map(str, pair)) for pair in zip(self.first, self.second, strict=True)]
        found = [(seen.setdefault(key, line), line) for key, line in zip(keys, lines, strict=True)]
        return tuple(pair for pair in found if pair[0] != pair[1])


def read_pairs(path: PathLike) -> Pairs:
    """Read a list in the form of LFW's ``pairs.txt`` (View 2).

    The first line holds ``folds`` and ``pairs``. Then each fold has ``pairs`` lines ``name number number``
    (same person) and ``pairs`` lines ``name number name number`` (different people), fields apart by tabs
    or blanks. Folds are as published: by place in the file. Raises InputError with ``file:line`` where a
    line is malformed, or where the counts do not agree with the first line.
    """
    lines = text_lines(path, "list of pairs")
    folds, count = _header(str(path), lines[0])
    if len(lines) - 1 != 2 * folds * count:
        raise InputError(
            f"{path}: the first line announces {folds} folds of {count} + {count} pairs, {2 * folds * count} lines; "
            f"got {len(lines) - 1} lines of pairs"
        )
    parsed = [_pair(f"{path}:{number}", line) for number, line in enumerate(lines[1:], start=2)]
    same = np.array([is_same for _, _, is_same in parsed])
    fold_numbers = 1 + np.arange(len(parsed)) // (2 * count)
    _check_balance(str(path), same, fold_numbers, count)
    first, second = tuple(a for a, _, _ in parsed), tuple(b for _, b, _ in parsed)
    return Pairs(first, second, same, fold_numbers, np.arange(2, len(lines) + 1), str(path))


def resolve_pairs(pairs: Pairs, root: PathLike) -> dict[str, Path]:
    """The file of each distinct image, by its id, under ``root``; see `orthodrome.evaluation.listed.find_images`."""
    return find_images(map(str, pairs.images()), root, pairs.where)


def match_embeddings(embeddings: EmbeddingSet, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ``embeddings`` of the first and of the second image of each pair: two int64 (N,); see
    `orthodrome.evaluation.listed.match_rows`.
    """
    images = [str(image) for image in pairs.images()]
    rows = dict(zip(images, match_rows(embeddings, images, pairs.where).tolist(), strict=True))
    first, second = ([rows[str(image)] for image in side] for side in (pairs.first, pairs.second))
    return np.array(first, dtype=np.int64), np.array(second, dtype=np.int64)


def _header(path: str, line: str) -> tuple[int, int]:
    fields = line.split()
    if len(fields) != 2 or not all(_is_number(field) for field in fields):
        raise InputError(f"{path}:1: expected the number of folds and of pairs, as in '10 300'; got {line!r}")
    return int(fields[0]), int(fields[1])


def _pair(where: str, line: str) -> tuple[ImageId, ImageId, bool]:
    match line.split():
        case [name, a, b] if _is_number(a) and _is_number(b):
            first, second, same = ImageId(name, int(a)), ImageId(name, int(b)), True
        case [name, a, other, b] if _is_number(a) and _is_number(b):
            first, second, same = ImageId(name, int(a)), ImageId(other, int(b)), False
        case _:
            raise InputError(f"{where}: expected 'name number number' or 'name number name number', counted from 1; got {line!r}")
    if first == second:
        raise InputError(f"{where}: the pair compares the image '{first}' with itself")
    if not same and first.name == second.name:
        raise InputError(f"{where}: the pair is of the form for different people but names {first.name!r} twice")
    return first, second, same


def _is_number(field: str) -> bool:
    return field.isascii() and field.isdecimal() and int(field) > 0


def _check_balance(path: str, same: np.ndarray, folds: np.ndarray, count: int) -> None:
    for fold, found in enumerate(np.bincount(folds, weights=same)[1:].astype(int), start=1):
        if found != count:
            raise InputError(
                f"{path}: fold {fold} must have {count} same and {count} different pairs; got {found} and {2 * count - found}"
            )
