"""What is compared with what: probes with a gallery, or one set with itself; and which of these comparisons count as what.

A comparison is *genuine* where the labels agree, *excluded* where both items belong to one group (images of one video, say), and
*impostor* otherwise. A negative label agrees with no other; a negative group is none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from orthodrome.types import InputError

Positions = tuple[np.ndarray, np.ndarray]
"""Rows and columns of a tile, int64 (n,) each."""


@dataclass(frozen=True, eq=False)
class Side:
    """Embeddings (N, D), in memory or memory-mapped, with int64 ``labels`` (N,) and ``groups`` (N,)."""

    vectors: np.ndarray
    labels: np.ndarray
    groups: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Comparison:
    """All ``probes`` × all ``gallery``, or, ``within`` one set that stands on both sides, all pairs i < j."""

    probes: Side
    gallery: Side
    within: bool

    @property
    def dimension(self) -> int:
        return int(self.probes.vectors.shape[1])


@dataclass(frozen=True)
class Counts:
    """Comparisons of each kind."""

    genuine: int
    impostor: int
    excluded: int

    @property
    def counted(self) -> int:
        return self.genuine + self.impostor


def side(vectors: ArrayLike, labels: ArrayLike, groups: ArrayLike | None, name: str) -> Side:
    """A checked side; ``vectors`` are not read. Raises InputError on wrong shapes or types."""
    array = np.asanyarray(vectors)
    if array.ndim != 2 or array.shape[1] == 0 or array.dtype.kind not in "fiu":
        raise InputError(f"{name} must be real embeddings of shape (N, D) with D ≥ 1; got {array.dtype} {array.shape}")
    nobody = np.full(len(array), -1, dtype=np.int64)
    return Side(
        array,
        _codes(labels, len(array), f"{name} labels"),
        nobody if groups is None else _codes(groups, len(array), f"{name} groups"),
    )


def comparison(probes: Side, gallery: Side | None) -> Comparison:
    """Probes against gallery, or all pairs within the probes where there is no gallery.

    Raises InputError where there is nothing to compare, dimensions differ, or two items are both unknown (label < 0), so that nobody
    can say whether they are the same person.
    """
    if gallery is not None and probes.vectors.shape[1] != gallery.vectors.shape[1]:
        raise InputError(
            f"probes and gallery must have one dimension; got {probes.vectors.shape[1]} and {gallery.vectors.shape[1]}"
        )
    found = Comparison(probes, probes if gallery is None else gallery, within=gallery is None)
    if min(len(found.probes), len(found.gallery)) < (2 if found.within else 1):
        raise InputError(f"nothing to compare: {len(found.probes)} probes and {len(found.gallery)} in the gallery")
    unknown = [np.flatnonzero(part.labels < 0) for part in (found.probes, found.gallery)]
    if min(map(len, unknown)) > (1 if found.within else 0):
        raise InputError(
            f"labels below 0 mark items unlike everyone of the other side, so only one side may have them; "
            f"got them at position {unknown[0][0]} and at position {unknown[1][-1]} of the other side"
        )
    return found


def count(problem: Comparison) -> Counts:
    """How many comparisons there are, without making any."""
    probes, gallery = problem.probes, problem.gallery
    total = len(probes) * (len(probes) - 1) // 2 if problem.within else len(probes) * len(gallery)
    excluded = _equal(probes.groups, gallery.groups, problem.within)
    both = _equal(*_joint_codes(probes, gallery), problem.within) if excluded else 0
    genuine = _equal(probes.labels, gallery.labels, problem.within) - both
    return Counts(genuine, total - excluded - genuine, excluded)


class Lookup:
    """The positions of every code among ``codes`` (N,), for finding equal ones quickly."""

    def __init__(self, codes: np.ndarray) -> None:
        known = np.flatnonzero(codes >= 0)
        self.order = known[np.argsort(codes[known], kind="stable")]
        self.sorted = codes[self.order]

    def matches(self, codes: np.ndarray) -> Positions:
        """All pairs (position in ``codes``, position in those of the lookup) whose codes agree and are not negative."""
        rows = np.flatnonzero(codes >= 0)
        first, last = (np.searchsorted(self.sorted, codes[rows], side=which) for which in ("left", "right"))
        lengths = last - first
        starts = np.repeat(first - np.append(0, np.cumsum(lengths)[:-1]), lengths)
        return np.repeat(rows, lengths), self.order[starts + np.arange(lengths.sum())]


def _codes(values: ArrayLike, count: int, name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.shape != (count,) or array.dtype.kind not in "iu":
        raise InputError(f"{name} must be integers of shape ({count},), one per embedding; got {array.dtype} {array.shape}")
    return array.astype(np.int64)


def _joint_codes(probes: Side, gallery: Side) -> Positions:
    """Label and group of each item as one code, negative where either is."""
    labels = np.concatenate([probes.labels, gallery.labels])
    groups = np.concatenate([probes.groups, gallery.groups])
    codes = np.unique(np.stack([labels, groups], axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    codes = np.where((labels < 0) | (groups < 0), -1, codes)
    return codes[: len(probes)], codes[len(probes) :]


def _equal(codes: np.ndarray, others: np.ndarray, within: bool) -> int:
    """Pairs whose codes agree and are not negative; i < j where ``within``."""
    names, counts = np.unique(codes[codes >= 0], return_counts=True)
    if within:
        return int((counts * (counts - 1) // 2).sum())
    other_names, other_counts = np.unique(others[others >= 0], return_counts=True)
    _, at, there = np.intersect1d(names, other_names, return_indices=True)
    return int((counts[at] * other_counts[there]).sum())
