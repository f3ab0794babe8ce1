"""Counting one tile: what is certain from the screened scores is counted there, what is not is scored canonically.

A band [low, high) of a tile with error e asks for little. A screened score above the rounding of high + e is certainly at or above
``high``; one below the rounding of low − e certainly lies below the band; those between are scored again. Where a band reaches down to
scores that many comparisons have, the tile is counted whole; above, it is enough to look at the few scores that reach so high.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from orthodrome.evaluation.scores import Sums, score_block, scores_of_rows
from orthodrome.evaluation.streaming.screens import Screen
from orthodrome.evaluation.streaming.sides import Comparison, Positions
from orthodrome.evaluation.streaming.tallies import Band, Tally
from orthodrome.evaluation.streaming.tiles import Tile
from orthodrome.fuse import fused

SEGMENT = 32
"""Neighbouring scores that are passed over together when none of them is of interest."""

LISTED = 256
"""Comparisons scored at a time by the compiled sums."""

MANY, BLOCK_ROWS = 0.01, 128
"""The share of a tile from which scoring all of it, so many rows at a time, costs less than scoring those asked for."""


@dataclass(frozen=True)
class Work:
    """The bands of a pass, split by how they are counted: the first ``dense`` ones on the whole tile, the others on its peaks.

    ``long``: long enough for compiling to pay.
    """

    problem: Comparison
    screen: Screen
    bands: tuple[Band, ...]
    dense: int
    long: bool = False


def count_tile(work: Work, tile: Tile, genuine: Tally, impostor: Tally) -> None:
    """Adds the comparisons of ``tile`` to both tallies."""
    _count_genuine(work, tile, genuine)
    if work.dense:
        _count_dense(work, tile, impostor)
    if work.dense < len(work.bands):
        _count_peaks(work, tile, impostor)


def pass_over(scores: Tensor, lowest: Tensor, certain: Tensor) -> tuple[Tensor, Tensor]:
    """How many scores lie above each of ``certain`` (K,): (K, r). Segments with one in some [lowest, certain]: 1 there, else 0."""
    above = torch.stack([(scores > certain[k]).float().sum(dim=1) for k in range(len(certain))])
    return above, segments(near(scores, lowest, certain).float()).amax(dim=1)


def near(scores: Tensor, lowest: Tensor, certain: Tensor) -> Tensor:
    """Which scores lie in some [lowest, certain] of (K,)."""
    found = (scores >= lowest[0]) & (scores <= certain[0])
    for k in range(1, len(certain)):
        found = found | ((scores >= lowest[k]) & (scores <= certain[k]))
    return found


def sums_at(units_a: Tensor, units_b: Tensor, rows_a: Tensor, rows_b: Tensor) -> Tensor:
    """Σ_d a_d·b_d of pairs of rows in float64: (A, D), (B, D), (n,), (n,) -> (n,)."""
    return (units_a[rows_a].double() * units_b[rows_b].double()).sum(dim=1)


_compiled_pass, _compiled_sums = fused(pass_over), fused(sums_at)


def canonical(work: Work, tile: Tile, positions: Positions) -> np.ndarray:
    """Canonical scores float32 (n,) at ``positions`` of a tile: one by one, or with all others where they are many."""
    many = len(positions[0]) > MANY * tile.scores.numel()
    return _from_blocks(tile, positions) if many else listed(tile, positions, _sums_in_one_shape if work.long else None)


def _from_blocks(tile: Tile, positions: Positions) -> np.ndarray:
    rows, columns = positions
    found = np.empty(len(rows), np.float32)
    for start in range(0, len(tile.probe_units), BLOCK_ROWS):
        here = (rows >= start) & (rows < start + BLOCK_ROWS)
        scores = score_block(tile.probe_units[start : start + BLOCK_ROWS], tile.gallery_units)
        found[here] = scores[rows[here] - start, columns[here]]
    return found


def listed(tile: Tile, positions: Positions, sums: Sums | None = None) -> np.ndarray:
    """Canonical scores float32 (n,) at ``positions`` of a tile, one by one."""
    return scores_of_rows(tile.probe_units, tile.gallery_units, *positions, sums)


def _sums_in_one_shape(units_a: np.ndarray, units_b: np.ndarray, rows_a: np.ndarray, rows_b: np.ndarray) -> np.ndarray:
    """`sums_of_rows`, so many at a time, so that it is compiled once."""
    padded = -len(rows_a) % LISTED
    a, b = (torch.from_numpy(np.pad(rows, (0, padded))).split(LISTED) for rows in (rows_a, rows_b))
    units = torch.from_numpy(units_a), torch.from_numpy(units_b)
    sums = [_compiled_sums(*units, *rows).numpy() for rows in zip(a, b, strict=True)]
    return np.concatenate(sums)[: len(rows_a)] if len(rows_a) else np.empty(0)


def genuine_positions(problem: Comparison, tile: Tile) -> Positions:
    """Where the genuine comparisons of a tile are."""
    rows, columns = tile.same_label
    counted = ~_same_group(problem, tile, tile.same_label)
    return rows[counted], columns[counted]


def _count_genuine(work: Work, tile: Tile, genuine: Tally) -> None:
    if len(tile.same_label[0]):
        genuine.add(canonical(work, tile, genuine_positions(work.problem, tile)))


def _count_peaks(work: Work, tile: Tile, impostor: Tally) -> None:
    bands = work.bands[work.dense :]
    lowest, certain = _ends(tile, bands)
    found = impostors_at(work.problem, tile, peaks(tile.scores, lowest[0]))
    for number in range(len(bands)):
        impostor.add_above(work.dense + number, int((found.screened > certain[number]).sum()))
        _count_unsure(work, tile, impostor, work.dense + number, found)


def _count_dense(work: Work, tile: Tile, impostor: Tally) -> None:
    bands = work.bands[: work.dense]
    lowest, certain = _ends(tile, bands)
    above, chosen = (_compiled_pass if work.long else pass_over)(tile.scores, lowest, certain)
    not_impostors = _screened(tile, _not_impostors(work.problem, tile))
    found = impostors_at(work.problem, tile, _places(tile.scores, chosen > 0, lambda scores: near(scores, lowest, certain)))
    for number in range(work.dense):
        counted = int(above[number].to(torch.int64).sum()) - int((not_impostors > certain[number]).sum())
        impostor.add_above(number, counted)
        _count_unsure(work, tile, impostor, number, found)


def _ends(tile: Tile, bands: Sequence[Band]) -> tuple[Tensor, Tensor]:
    """Of each of ``bands`` (K): the lowest screened score that may lie in it, and the highest."""
    low, high = (
        torch.tensor(levels, dtype=torch.float64) for levels in zip(*((band.low, band.high) for band in bands), strict=True)
    )
    return tile.lowest(low), tile.certain(high)


@dataclass(frozen=True)
class Impostors:
    """Impostors of a tile that are of interest: where they are, and their screened scores (n,)."""

    positions: Positions
    screened: Tensor


def _count_unsure(work: Work, tile: Tile, impostor: Tally, number: int, found: Impostors) -> None:
    """Score canonically what may lie in a band or on either side of its high end."""
    band = work.bands[number]
    lowest, certain = _ends(tile, [band])
    unsure = ((found.screened >= lowest) & (found.screened <= certain)).numpy()
    rows, columns = found.positions
    scores = canonical(work, tile, (rows[unsure], columns[unsure]))
    impostor.add_above(number, int(np.count_nonzero(scores >= np.float32(band.high))))
    impostor.add_inside(number, scores)


def peaks(scores: Tensor, low: Tensor) -> np.ndarray:
    """Where, in the flat tile, scores are at or above ``low``: a fast pass over segments, then a look at those that reach it."""
    return _places(scores, segments(scores).amax(dim=1) >= low, lambda found: found >= low)


def segments(scores: Tensor) -> Tensor:
    """(n, SEGMENT): neighbours in the flat tile, without the last few that fill no segment."""
    return scores.view(-1)[: scores.numel() // SEGMENT * SEGMENT].view(-1, SEGMENT)


def _places(scores: Tensor, chosen: Tensor, wanted: Callable[[Tensor], Tensor]) -> np.ndarray:
    """Where, in the flat tile, scores are ``wanted``: among the ``chosen`` segments, and in what fills none."""
    whole, numbers = segments(scores), chosen.nonzero().squeeze(1)
    inside, column = wanted(whole[numbers]).nonzero(as_tuple=True)
    rest = wanted(scores.view(-1)[whole.numel() :]).nonzero().squeeze(1) + whole.numel()
    return torch.cat([numbers[inside] * SEGMENT + column, rest]).numpy()


def impostors_at(problem: Comparison, tile: Tile, places: np.ndarray) -> Impostors:
    """The impostors at ``places`` of the flat tile."""
    rows, columns = np.divmod(places, tile.scores.shape[1])
    screened = _screened(tile, (rows, columns))
    kept = ~(_same_label(problem, tile, (rows, columns)) | _same_group(problem, tile, (rows, columns)))
    kept &= tile.allowed(screened).numpy()
    return Impostors((rows[kept], columns[kept]), screened[torch.from_numpy(kept)])


def _not_impostors(problem: Comparison, tile: Tile) -> Positions:
    """Genuine and excluded comparisons of a tile, each once."""
    once = ~_same_group(problem, tile, tile.same_label)
    rows, columns = (np.concatenate([a[once], b]) for a, b in zip(tile.same_label, tile.same_group, strict=True))
    return rows, columns


def _screened(tile: Tile, positions: Positions) -> Tensor:
    rows, columns = (torch.from_numpy(part) for part in positions)
    return tile.scores[rows, columns]


def _same_label(problem: Comparison, tile: Tile, positions: Positions) -> np.ndarray:
    return _agree(problem.probes.labels[tile.rows][positions[0]], problem.gallery.labels[tile.columns][positions[1]])


def _same_group(problem: Comparison, tile: Tile, positions: Positions) -> np.ndarray:
    return _agree(problem.probes.groups[tile.rows][positions[0]], problem.gallery.groups[tile.columns][positions[1]])


def _agree(codes: np.ndarray, others: np.ndarray) -> np.ndarray:
    return (codes == others) & (codes >= 0)
