"""Identity search on canonical scores: the nearest of a gallery to each probe, and how many score as high as a given score."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from orthodrome.evaluation.scores import score_block, unit_vectors
from orthodrome.types import InputError

_ROWS = 512
_COLUMNS = 4096

Allowed = Callable[[slice, slice], np.ndarray]
"""Rows of the probes, rows of the gallery -> bool (rows, rows): what may be compared."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The best of a gallery for each probe, best first: ``scores`` float32 (P, k), ``rows`` int64 (P, k) of the gallery.

    Where fewer than k are allowed, the rest are −∞ and row −1.
    """

    scores: np.ndarray
    rows: np.ndarray


def top_k(probes: ArrayLike, gallery: ArrayLike, k: int, *, allowed: Allowed | None = None) -> Neighbours:
    """The ``k`` highest canonical scores of each probe (P, D) in a gallery (G, D); of equal scores the lower row comes first.

    Raises InputError unless 1 ≤ k ≤ G, on different dimensions, and naming the row of an embedding that is zero, NaN or infinite.
    """
    probe_units, gallery_units = _sides(probes, gallery)
    if not 1 <= k <= len(gallery_units):
        raise InputError(f"k must lie between 1 and the size of the gallery, {len(gallery_units)}; got {k}")
    scores = np.full((len(probe_units), k), -np.inf, dtype=np.float32)
    rows = np.full((len(probe_units), k), -1, dtype=np.int64)
    for across in _slices(0, len(probe_units), _ROWS):
        for down in _slices(0, len(gallery_units), _COLUMNS):
            block = score_block(probe_units[across], gallery_units[down])
            if allowed is not None:
                block[~allowed(across, down)] = -np.inf
            numbers = np.broadcast_to(np.arange(down.start, down.stop), block.shape)
            scores[across], rows[across] = _best(scores[across], rows[across], block, numbers, k)
    rows[np.isneginf(scores)] = -1
    return Neighbours(scores, rows)


def count_at_or_above(probes: ArrayLike, thresholds: ArrayLike, gallery: ArrayLike, sizes: Sequence[int]) -> np.ndarray:
    """How many of the first ``size`` rows of the gallery (G, D) score at or above each probe's threshold (P,): int64 (P, len(sizes)).

    One pass for all sizes: the rank of a probe at a growing number of distractors. Raises InputError where a size is not in 0 … G, or
    the thresholds are not one per probe, and as `top_k`.
    """
    probe_units, gallery_units = _sides(probes, gallery)
    levels = np.asarray(thresholds, dtype=np.float32)
    if levels.shape != (len(probe_units),):
        raise InputError(f"thresholds must have shape ({len(probe_units)},), one per probe; got {levels.shape}")
    if not all(0 <= size <= len(gallery_units) for size in sizes):
        raise InputError(f"sizes must lie in 0 … {len(gallery_units)}, the size of the gallery; got {list(sizes)}")
    counts = np.zeros((len(probe_units), len(sizes)), dtype=np.int64)
    ends = sorted({0, *sizes})
    for start, end in pairwise(ends):
        larger = np.array(sizes) >= end
        for down in _slices(start, end, _COLUMNS):
            for across in _slices(0, len(probe_units), _ROWS):
                found = score_block(probe_units[across], gallery_units[down]) >= levels[across, None]
                counts[across] += found.sum(axis=1)[:, None] * larger
    return counts


def _sides(probes: ArrayLike, gallery: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    units = unit_vectors(probes), unit_vectors(gallery)
    if units[0].shape[1] != units[1].shape[1]:
        raise InputError(f"probes and gallery must have one dimension; got {units[0].shape[1]} and {units[1].shape[1]}")
    return units


def _best(scores: np.ndarray, rows: np.ndarray, more: np.ndarray, numbers: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best of both. Later rows stand behind, and the sort is stable: of equal scores the lower row stays first."""
    all_scores, all_rows = np.concatenate([scores, more], axis=1), np.concatenate([rows, numbers], axis=1)
    order = np.argsort(-all_scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(all_scores, order, axis=1), np.take_along_axis(all_rows, order, axis=1)


def _slices(start: int, end: int, step: int) -> Iterator[slice]:
    for at in range(start, end, step):
        yield slice(at, min(at + step, end))
