"""Identity search on canonical scores: the nearest of a gallery to each probe, and how many score as high as a given score.

Both look at screened tiles (`screens`) and score canonically what rounding could decide, so the answer is that of brute force. Galleries
may be memory-mapped and of any size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike

from orthodrome.evaluation.scores import unit_vectors
from orthodrome.evaluation.streaming.choice import choose_screen
from orthodrome.evaluation.streaming.counting import canonical, narrowed
from orthodrome.evaluation.streaming.screens import FLOAT32, Screen
from orthodrome.evaluation.streaming.sides import Comparison, Side, side
from orthodrome.evaluation.streaming.tiles import Tile, check_vectors, plan, tiles_of
from orthodrome.types import InputError, Progress

SAMPLE = 1024
"""Most rows of either side by which a screen is chosen."""

Allowed = Callable[[slice, slice], np.ndarray]
"""Rows of the probes, rows of the gallery -> bool (rows, rows): what may be compared."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The best of a gallery for each probe, best first: ``scores`` float32 (P, k), ``rows`` int64 (P, k) of the gallery.

    Where fewer than k are allowed, the rest are −∞ and row −1.
    """

    scores: np.ndarray
    rows: np.ndarray


def top_k(
    probes: ArrayLike,
    gallery: ArrayLike,
    k: int,
    *,
    allowed: Allowed | None = None,
    screen: str = "auto",
    progress: Progress | None = None,
) -> Neighbours:
    """The ``k`` highest canonical scores of each probe (P, D) in a gallery (G, D); of equal scores the lower row comes first.

    Raises InputError unless 1 ≤ k ≤ G, on different dimensions, and naming the row of an embedding that is zero, NaN or infinite.
    """
    problem = _problem(probes, gallery)
    if not 1 <= k <= len(problem.gallery):
        raise InputError(f"k must lie between 1 and the size of the gallery, {len(problem.gallery)}; got {k}")
    scores = np.full((len(problem.probes), k), -np.inf, dtype=np.float32)
    rows = np.full((len(problem.probes), k), -1, dtype=np.int64)

    def near(error: float) -> float:
        found = _sample(problem)[1]
        levels = np.quantile(found, 1 - k / len(problem.gallery), axis=1, keepdims=True)
        return float((found >= levels - 2 * error).mean())

    for tile in _tiles(problem, choose_screen(screen, problem, near), progress):
        if allowed is not None:
            tile.forbid(~torch.from_numpy(allowed(tile.rows, tile.columns)))
        scores[tile.rows], rows[tile.rows] = _merged(tile, k, scores[tile.rows], rows[tile.rows])
    return Neighbours(scores, rows)


def count_at_or_above(
    probes: ArrayLike,
    thresholds: ArrayLike,
    gallery: ArrayLike,
    sizes: Sequence[int],
    *,
    screen: str = "auto",
    progress: Progress | None = None,
) -> np.ndarray:
    """How many of the first ``size`` rows of the gallery (G, D) score at or above each probe's threshold (P,): int64 (P, len(sizes)).

    One pass for all sizes: the rank of a probe at a growing number of distractors. Raises InputError where a size is not in 0 … G, or
    the thresholds are not one per probe, and as `top_k`.
    """
    problem = _problem(probes, gallery)
    levels = np.asarray(thresholds, dtype=np.float32)
    if levels.shape != (len(problem.probes),):
        raise InputError(f"thresholds must have shape ({len(problem.probes)},), one per probe; got {levels.shape}")
    if not all(0 <= size <= len(problem.gallery) for size in sizes):
        raise InputError(f"sizes must lie in 0 … {len(problem.gallery)}, the size of the gallery; got {list(sizes)}")
    ends = sorted({0, *sizes, len(problem.gallery)})
    between = np.zeros((len(problem.probes), len(ends) - 1), dtype=np.int64)

    def near(error: float) -> float:
        rows, found = _sample(problem)
        return float((abs(found - levels[rows, None]) <= error).mean())

    for tile in _tiles(problem, choose_screen(screen, problem, near), progress):
        for number, (start, end) in enumerate(pairwise(ends)):
            inside = slice(max(start - tile.columns.start, 0), min(end, tile.columns.stop) - tile.columns.start)
            if inside.start < inside.stop:
                between[tile.rows, number] += _reaching(tile, inside, levels[tile.rows])
    below = np.append(np.zeros((len(levels), 1), dtype=np.int64), np.cumsum(between, axis=1), axis=1)
    return below[:, np.searchsorted(ends, sizes)]


def _problem(probes: ArrayLike, gallery: ArrayLike) -> Comparison:
    """Without labels: nobody is known."""
    problem = Comparison(_nobody(probes, "probe"), _nobody(gallery, "gallery"), within=False)
    if problem.dimension != problem.gallery.vectors.shape[1]:
        raise InputError(
            f"probes and gallery must have one dimension; got {problem.dimension} and {problem.gallery.vectors.shape[1]}"
        )
    check_vectors(problem)
    return problem


def _nobody(vectors: ArrayLike, name: str) -> Side:
    array = np.asanyarray(vectors)
    return side(array, np.full(len(array), -1), None, name)


def _sample(problem: Comparison) -> tuple[np.ndarray, np.ndarray]:
    """Rows of some probes (R,), and their scores with some of the gallery (R, C)."""
    rows, columns = (np.arange(0, len(part), -(-len(part) // SAMPLE)) for part in (problem.probes, problem.gallery))
    probes, gallery = (
        FLOAT32.panel(unit_vectors(part)) for part in (problem.probes.vectors[rows], problem.gallery.vectors[columns])
    )
    return rows, (probes.factors @ gallery.factors.T).numpy()


def _tiles(problem: Comparison, screen: Screen, progress: Progress | None) -> Iterator[Tile]:
    total, done = len(problem.probes) * len(problem.gallery), 0
    for tile in tiles_of(problem, screen, plan(problem).units):
        yield tile
        done += tile.scores.numel()
        if progress:
            progress(done, total)


def _merged(tile: Tile, k: int, scores: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ``k`` best of each probe so far (r, k) and of ``tile``.

    A probe's new k-th best score is at least what it was, and at least the tile's k-th highest screened score less its last rounding
    and the error.
    """
    levels = torch.from_numpy(scores[:, -1].copy()).double()
    if k <= tile.scores.shape[1] and bool((levels == -torch.inf).any()):
        levels = torch.maximum(levels, tile.rounding.at_least(tile.scores.topk(k, dim=1).values[:, -1]))
    lowest = tile.rounding.lowest(levels).unsqueeze(1)
    found = np.flatnonzero(((tile.scores >= lowest) & tile.allowed(tile.scores)).numpy())
    probe, column = np.divmod(found, tile.scores.shape[1])
    likely = np.logical_or(*narrowed(tile, (probe, column), levels.numpy()[probe]))
    probe, column = probe[likely], column[likely]
    probe_of = np.concatenate([np.repeat(np.arange(len(scores)), k), probe])
    all_scores = np.concatenate([scores.ravel(), canonical(tile, (probe, column))])
    all_rows = np.concatenate([rows.ravel(), column + tile.columns.start])
    order = np.lexsort((all_rows, -all_scores, probe_of))
    first = np.searchsorted(probe_of[order], np.arange(len(scores)))
    best = order[first[:, None] + np.arange(k)]
    return all_scores[best], all_rows[best]


def _reaching(tile: Tile, columns: slice, levels: np.ndarray) -> np.ndarray:
    """How many of some ``columns`` of a tile score at or above the level of each row: (r,)."""
    scores, exact = tile.scores[:, columns], torch.from_numpy(levels).double()
    lowest, certain = tile.rounding.lowest(exact).unsqueeze(1), tile.rounding.certain(exact).unsqueeze(1)
    counts = (scores > certain).float().sum(dim=1).long().numpy()
    row, column = np.divmod(np.flatnonzero(((scores >= lowest) & (scores <= certain)).numpy()), scores.shape[1])
    column += columns.start
    reached, unsure = narrowed(tile, (row, column), levels[row])
    reached[unsure] = canonical(tile, (row[unsure], column[unsure])) >= levels[row[unsure]]
    return counts + np.bincount(row, weights=reached, minlength=len(counts)).astype(np.int64)
