"""Counting one tile: what is certain from the screened scores is counted there, what is not is scored canonically.

A band [low, high) of a tile with error e asks for little. A screened score above the rounding of high + e is certainly at or above
``high``; one below the rounding of low − e certainly lies below the band; those between are scored again. Where a band reaches down to
scores that many comparisons have, the tile is counted whole; above, it is enough to look at the few scores that reach so high.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from orthodrome.evaluation.scores import rounded_at, scores_of_rows
from orthodrome.evaluation.streaming.screens import FLOAT32, Rounding, Screen, all_canonical, float32_rounding, products_at
from orthodrome.evaluation.streaming.sides import Comparison, Positions
from orthodrome.evaluation.streaming.tallies import Band, Tally
from orthodrome.evaluation.streaming.tiles import Tile
from orthodrome.fuse import fused

SEGMENT = 32
"""Neighbouring scores that are passed over together when none of them is of interest."""

Numbers = TypeVar("Numbers", Tensor, np.ndarray)

MANY, BLOCK_ROWS = 0.01, 128
"""The share of a tile from which scoring all of it, so many rows at a time, costs less than scoring those asked for."""


@dataclass(frozen=True)
class Work:
    """The bands of a pass, counted on whole tiles where they are ``dense``, else on the peaks of tiles.

    ``long``: long enough for compiling to pay.
    """

    problem: Comparison
    screen: Screen
    bands: tuple[Band, ...]
    dense: bool
    long: bool = False


def count_tile(work: Work, tile: Tile, genuine: Tally, impostor: Tally) -> None:
    """Adds the comparisons of ``tile`` to both tallies."""
    if len(tile.same_label[0]):
        _count_found(work, tile, genuine, _found_at(tile, genuine_positions(work.problem, tile)))
    (_count_dense if work.dense else _count_peaks)(work, tile, impostor)


def pass_over(scores: Tensor, lowest: Tensor, certain: Tensor) -> tuple[Tensor, Tensor]:
    """How many scores lie above each of ``certain`` (K,): (K, r). `segments` with one in some [lowest, certain]: 1 there, else 0."""
    above = torch.stack([(scores > certain[k]).float().sum(dim=1) for k in range(len(certain))])
    return above, segments(near(scores, lowest, certain).float()).amax(dim=2)


def near(scores: Numbers, lowest: Numbers, certain: Numbers) -> Numbers:
    """Which scores lie in some [lowest, certain] of (K,)."""
    found = (scores >= lowest[0]) & (scores <= certain[0])
    for k in range(1, len(certain)):
        found = found | ((scores >= lowest[k]) & (scores <= certain[k]))
    return found


_compiled_pass = fused(pass_over)


def canonical(tile: Tile, positions: Positions) -> np.ndarray:
    """Canonical scores float32 (n,) at ``positions`` of a tile, ascending by row: one by one, from panels in float64 where that is less
    work, or with all others where they are many.
    """
    if _are_many(tile, positions):
        return _from_blocks(tile, positions)
    return listed(tile, positions) if len(positions[0]) < len(tile.probes) else _sampled(tile, positions)


def _are_many(tile: Tile, positions: Positions) -> bool:
    return len(positions[0]) > MANY * tile.scores.numel()


def _from_blocks(tile: Tile, positions: Positions) -> np.ndarray:
    rows, columns = positions
    found = np.empty(len(rows), np.float32)
    for start in range(0, len(tile.probes), BLOCK_ROWS):
        here = (rows >= start) & (rows < start + BLOCK_ROWS)
        block = tile.probes.part(slice(start, start + BLOCK_ROWS))
        scores = all_canonical(block, tile.gallery)
        found[here] = scores[rows[here] - start, columns[here]]
    return found


def _sampled(tile: Tile, positions: Positions) -> np.ndarray:
    sums = products_at(tile.probes.doubles, tile.gallery.doubles, positions).numpy()
    return rounded_at(sums, tile.probes.units, tile.gallery.units, *positions)


def listed(tile: Tile, positions: Positions) -> np.ndarray:
    """Canonical scores float32 (n,) at ``positions`` of a tile, one by one."""
    return scores_of_rows(tile.probes.units, tile.gallery.units, *positions)


def narrowed(tile: Tile, positions: Positions, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which comparisons (n,), ascending by row, certainly reach their ``levels`` (n,), and which others may: two bool (n,).

    By products in float32; what they leave open is little. Of tiles that are screened so already it is all.
    """
    if tile.rounding.screen is FLOAT32:
        return np.zeros(len(levels), dtype=bool), np.ones(len(levels), dtype=bool)
    scores, off = products_at(tile.probes.units, tile.gallery.units, positions), float32_rounding(tile.probes.units.shape[1])
    exact = torch.from_numpy(levels).double()
    certain = scores > off.certain(exact)
    return certain.numpy(), (~certain & (scores >= off.lowest(exact))).numpy()


def genuine_positions(problem: Comparison, tile: Tile) -> Positions:
    """Where the genuine comparisons of a tile are."""
    rows, columns = tile.same_label
    counted = ~_same_group(problem, tile, tile.same_label)
    return rows[counted], columns[counted]


def _count_peaks(work: Work, tile: Tile, impostor: Tally) -> None:
    lowest, _ = _ends(tile.rounding, work.bands)
    _count_found(work, tile, impostor, impostors_at(work.problem, tile, peaks(tile.scores, lowest[0])))


def _count_dense(work: Work, tile: Tile, impostor: Tally) -> None:
    ends = _ends(tile.rounding, work.bands)
    above, chosen = (_compiled_pass if work.long else pass_over)(tile.scores, *ends)
    not_impostors = _screened(tile, _not_impostors(work.problem, tile))
    for number, certain in enumerate(ends[1]):
        impostor.add_above(number, int(above[number].to(torch.int64).sum()) - int((not_impostors > certain).sum()))
    lowest, highest = map(_plain, ends)
    places = _places(tile.scores, chosen > 0, lambda scores, rows: near(scores, lowest, highest))
    found = impostors_at(work.problem, tile, places)
    _count_unsure(work, tile, impostor, found)


def _ends(off: Rounding, bands: Sequence[Band]) -> tuple[Tensor, Tensor]:
    """Of each of ``bands`` (K,): the lowest screened score that may lie in it, and the highest."""
    low, high = (
        torch.tensor(levels, dtype=torch.float64) for levels in zip(*((band.low, band.high) for band in bands), strict=True)
    )
    return off.lowest(low), off.certain(high)


@dataclass(frozen=True)
class Found:
    """Comparisons of a tile that are of interest: where they are, ascending by row, and their screened scores (n,)."""

    positions: Positions
    screened: Tensor


def _found_at(tile: Tile, positions: Positions) -> Found:
    return Found(positions, _screened(tile, positions))


def _count_found(work: Work, tile: Tile, tally: Tally, found: Found) -> None:
    """Count all that lie in a band or above."""
    _, certainly_above = _ends(tile.rounding, work.bands)
    for number, certain in enumerate(certainly_above):
        tally.add_above(number, int((found.screened > certain).sum()))
    _count_unsure(work, tile, tally, found)


def _count_unsure(work: Work, tile: Tile, tally: Tally, found: Found) -> None:
    """Score canonically, once, what may lie in one of the bands, or on either side of its high end."""
    positions, unsure = _unsure(found.positions, _between(found.screened, *_ends(tile.rounding, work.bands)))
    if tile.rounding.screen is not FLOAT32 and not _are_many(tile, positions):
        finer = products_at(tile.probes.units, tile.gallery.units, positions)
        ends = _ends(float32_rounding(work.problem.dimension), work.bands)
        for number, certain in enumerate(unsure & (finer > ends[1].unsqueeze(1))):
            tally.add_above(number, int(certain.sum()))
        positions, unsure = _unsure(positions, unsure & _between(finer, *ends))
    scores = canonical(tile, positions)
    for number, (band, here) in enumerate(zip(work.bands, unsure.numpy(), strict=True)):
        tally.add_above(number, int(np.count_nonzero(scores[here] >= np.float32(band.high))))
        tally.add_inside(number, scores[here])


def _between(scores: Tensor, lowest: Tensor, certain: Tensor) -> Tensor:
    """Which scores (n,) lie in each [lowest, certain] of (K,): (K, n)."""
    return (scores >= lowest.unsqueeze(1)) & (scores <= certain.unsqueeze(1))


def _unsure(positions: Positions, bands: Tensor) -> tuple[Positions, Tensor]:
    """The positions (n,) that are unsure in one of ``bands``, bool (K, n), and in which of them they are."""
    any_band = bands.any(dim=0)
    rows, columns = (part[any_band.numpy()] for part in positions)
    return (rows, columns), bands[:, any_band]


def peaks(scores: Tensor, lowest: Tensor) -> np.ndarray:
    """Where, in the flat tile, scores (r, c) are at or above ``lowest``, one or (r, 1): a fast pass over segments, then a look at those
    that reach it. Ascending.
    """
    lowest = lowest.expand(len(scores), 1)
    levels = _plain(lowest)
    return _places(scores, segments(scores).amax(dim=2) >= lowest, lambda found, rows: found >= levels[rows])


def segments(scores: Tensor) -> Tensor:
    """(r, n, SEGMENT): neighbours in a row, without the last few that fill no segment."""
    return scores[:, : scores.shape[1] // SEGMENT * SEGMENT].unflatten(1, (-1, SEGMENT))


def _places(scores: Tensor, chosen: Tensor, wanted: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """Where, in the flat tile, scores are ``wanted``, which is asked with their rows: in ``chosen`` segments (r, n), and in what fills
    none.
    """
    (rows, numbers), columns = np.divmod(np.flatnonzero(chosen.numpy()), max(1, chosen.shape[1])), scores.shape[1]
    inside, column = np.divmod(np.flatnonzero(wanted(_plain(segments(scores)[rows, numbers]), rows)), SEGMENT)
    places = rows[inside] * columns + numbers[inside] * SEGMENT + column
    left = _plain(scores[:, chosen.shape[1] * SEGMENT :])
    if not left.size:
        return places
    row, column = np.nonzero(wanted(left, np.arange(len(left))))
    return np.sort(np.concatenate([places, row * columns + chosen.shape[1] * SEGMENT + column]))


def _plain(values: Tensor) -> np.ndarray:
    """The same numbers in numpy, which looks at a few in half of torch's time and knows no bfloat16."""
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()


def impostors_at(problem: Comparison, tile: Tile, places: np.ndarray) -> Found:
    """The impostors at ``places`` of the flat tile."""
    rows, columns = np.divmod(places, tile.scores.shape[1])
    screened = _screened(tile, (rows, columns))
    kept = ~(_same_label(problem, tile, (rows, columns)) | _same_group(problem, tile, (rows, columns)))
    kept &= tile.allowed(screened).numpy()
    return Found((rows[kept], columns[kept]), screened[torch.from_numpy(kept)])


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
