"""Identity search on canonical scores: the nearest of a gallery to each probe, and how many score as high as a given score.

Both look at screened tiles (`screens`) and score canonically what rounding could decide, so the answer is that of brute force. Galleries
may be memory-mapped and of any size.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike

from orthodrome.evaluation.scores import unit_vectors
from orthodrome.evaluation.streaming.choice import choose_screen
from orthodrome.evaluation.streaming.counting import canonical, narrowed, peaks
from orthodrome.evaluation.streaming.screens import FLOAT32, Screen
from orthodrome.evaluation.streaming.sharing import in_threads, tile_threads
from orthodrome.evaluation.streaming.sides import Comparison, Positions, Side, side
from orthodrome.evaluation.streaming.tiles import Cut, Tile, check_vectors, cuts_of, plan, room_for, told
from orthodrome.types import InputError, Progress

SAMPLE = 1024
"""Most rows of either side by which a screen is chosen."""

DENSE_SHARE = 0.003
"""Where this share of scores reaches its threshold, scores are counted on whole tiles."""

Allowed = Callable[[slice, slice], np.ndarray]
"""Rows of the probes, rows of the gallery -> bool (rows, rows): what may be compared. Several threads ask."""


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
        return float((found >= np.quantile(found, 1 - k / len(problem.gallery)) - 2 * error).mean())

    lock = threading.Lock()

    def look(tile: Tile) -> None:
        if allowed is not None:
            tile.forbid(~torch.from_numpy(allowed(tile.rows, tile.columns)))
        with lock:
            levels = scores[tile.rows, -1].copy()
        found = _likely(tile, k, levels)
        with lock:
            scores[tile.rows], rows[tile.rows] = _merged(found, scores[tile.rows], rows[tile.rows])

    _look_at_tiles(problem, choose_screen(screen, problem, near), look, progress)
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
    the thresholds are not one per probe or NaN, and as `top_k`.
    """
    problem = _problem(probes, gallery)
    levels = np.array(thresholds, dtype=np.float32)
    if levels.shape != (len(problem.probes),):
        raise InputError(f"thresholds must have shape ({len(problem.probes)},), one per probe; got {levels.shape}")
    if np.isnan(levels).any():
        raise InputError(f"thresholds must be numbers; that of probe {int(np.isnan(levels).argmax())} is NaN")
    if not all(0 <= size <= len(problem.gallery) for size in sizes):
        raise InputError(f"sizes must lie in 0 … {len(problem.gallery)}, the size of the gallery; got {list(sizes)}")
    ends = np.array(sorted({0, *sizes, len(problem.gallery)}))
    between = np.zeros((len(problem.probes), len(ends) - 1), dtype=np.int64)
    sampled_rows, sampled = _sample(problem)
    off = sampled - levels[sampled_rows, None]
    reaching = _reaching_whole if (off >= 0).mean() > DENSE_SHARE else _reaching_peaks
    lock = threading.Lock()

    def near(error: float) -> float:
        return float((abs(off) <= error).mean())

    def look(tile: Tile) -> None:
        counts = reaching(tile, levels[tile.rows], ends)
        with lock:
            between[tile.rows] += counts

    _look_at_tiles(problem, choose_screen(screen, problem, near), look, progress)
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


def _look_at_tiles(problem: Comparison, screen: Screen, look: Callable[[Tile], None], progress: Progress | None) -> None:
    """``look`` at every tile, from several threads."""

    def look_at(cuts: Iterator[Cut]) -> None:
        room = room_for(screen)
        for cut in cuts:
            look(cut.scored(room))

    cuts, total = (
        cuts_of(problem, screen, plan(problem).units, torch.get_num_threads()),
        len(problem.probes) * len(problem.gallery),
    )
    in_threads(told(cuts, progress, 0, total) if progress else cuts, look_at, tile_threads(problem.dimension))


def _likely(tile: Tile, k: int, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probe, row of the gallery and canonical score of what may be among the ``k`` best, at least ``levels`` float32 (r,).

    A probe's new k-th best score is at least what it was, and at least the tile's k-th highest screened score less its last rounding
    and the error.
    """
    lowest = torch.from_numpy(levels).double()
    if k <= tile.scores.shape[1] and bool((lowest == -torch.inf).any()):
        lowest = torch.maximum(lowest, tile.rounding.at_least(tile.scores.topk(k, dim=1).values[:, -1]))
    probe, column = np.divmod(peaks(tile.scores, tile.rounding.lowest(lowest).unsqueeze(1)), tile.scores.shape[1])
    kept = tile.allowed(tile.scores[probe, column]).numpy()
    probe, column = probe[kept], column[kept]
    likely = np.logical_or(*narrowed(tile, (probe, column), lowest.numpy()[probe]))
    probe, column = probe[likely], column[likely]
    return probe, column + tile.columns.start, canonical(tile, (probe, column))


def _merged(
    found: tuple[np.ndarray, np.ndarray, np.ndarray], scores: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The best of each probe (r, k): of what they were so far, and of what was ``found``."""
    probe, k = np.repeat(np.arange(len(scores)), scores.shape[1]), scores.shape[1]
    of_probe, all_rows, all_scores = (
        np.concatenate(pair) for pair in zip((probe, rows.ravel(), scores.ravel()), found, strict=True)
    )
    order = np.lexsort((all_rows, -all_scores, of_probe))
    first = np.searchsorted(of_probe[order], np.arange(len(scores)))
    best = order[first[:, None] + np.arange(k)]
    return all_scores[best], all_rows[best]


def _reaching_peaks(tile: Tile, levels: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """How many scores of a tile are at or above the level of each row, float32 (r,), between ``ends`` (K + 1,) of the gallery: (r, K).

    By a look at those few that are near or above it.
    """
    lowest = tile.rounding.lowest(torch.from_numpy(levels).double()).unsqueeze(1)
    return _binned(tile, _reached(tile, levels, peaks(tile.scores, lowest)), ends)


def _reaching_whole(tile: Tile, levels: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The same where many are above: these are counted where they stand."""
    exact = torch.from_numpy(levels).double().unsqueeze(1)
    certain = tile.rounding.certain(exact)
    unsure = ((tile.scores >= tile.rounding.lowest(exact)) & (tile.scores <= certain)).numpy()
    counts = _binned(tile, _reached(tile, levels, np.flatnonzero(unsure)), ends)
    for number, (start, end) in enumerate(pairwise(np.clip(ends - tile.columns.start, 0, tile.scores.shape[1]).tolist())):
        if start < end:
            counts[:, number] += (tile.scores[:, start:end] > certain).float().sum(dim=1).long().numpy()
    return counts


def _reached(tile: Tile, levels: np.ndarray, places: np.ndarray) -> Positions:
    """Which of the ``places`` of the flat tile, ascending, have a score at or above the level of their row."""
    row, column = np.divmod(places, tile.scores.shape[1])
    certain = tile.rounding.certain(torch.from_numpy(levels).double())
    reached = (tile.scores[row, column] > certain[row]).numpy()
    left = np.flatnonzero(~reached)
    reached[left], unsure = narrowed(tile, (row[left], column[left]), levels[row[left]])
    left = left[unsure]
    reached[left] = canonical(tile, (row[left], column[left])) >= levels[row[left]]
    return row[reached], column[reached]


def _binned(tile: Tile, positions: Positions, ends: np.ndarray) -> np.ndarray:
    """How many of the ``positions`` are in each row between ``ends`` (K + 1,) of the gallery: (r, K)."""
    row, column = positions
    between = len(ends) - 1
    number = np.searchsorted(ends, column + tile.columns.start, side="right") - 1
    return np.bincount(row * between + number, minlength=len(tile.scores) * between).reshape(-1, between)
