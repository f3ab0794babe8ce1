"""All comparisons of a problem, cut into tiles of screened scores that never exist together.

A *unit of work* is a panel of probes against a panel of the gallery. Panels of probes are large, since each makes one pass over the
gallery; a unit is cut into tiles of a few megabytes. What a tile is counted for does not depend on how the cut is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from orthodrome.evaluation.scores import unit_vectors, usable
from orthodrome.evaluation.streaming.screens import Panel, Screen, bound
from orthodrome.evaluation.streaming.sides import Comparison, Lookup, Positions, Side

TILE_ROWS, TILE_COLUMNS = 1024, 4096
PANEL_BYTES = 256 * 2**20
"""Memory of a panel of probes: unit vectors and their roundings."""

Unit = tuple[slice, slice]
"""Rows of the probes and of the gallery."""


@dataclass(frozen=True)
class Plan:
    """How a problem is cut."""

    units: tuple[Unit, ...]


def plan(problem: Comparison) -> Plan:
    """Panels of the probes that fit :data:`PANEL_BYTES`, each against every panel of the gallery."""
    units = [
        (above, beside)
        for above in _slices(len(problem.probes), _panel_rows(problem.dimension))
        for beside in _slices(len(problem.gallery), TILE_COLUMNS)
        if not problem.within or beside.stop - 1 > above.start
    ]
    return Plan(tuple(units))


def tile_memory(dimension: int, probes: int) -> int:
    """The most bytes that panels and a tile take: float32 unit vectors and their roundings, float64 ones on the way, two tiles' worth."""
    normalising = 2 * 8 * dimension * TILE_ROWS
    panels = (min(_panel_rows(dimension), probes) + TILE_COLUMNS) * 8 * dimension
    return panels + normalising + 2 * 4 * TILE_ROWS * TILE_COLUMNS


def _panel_rows(dimension: int) -> int:
    return max(TILE_ROWS, PANEL_BYTES // (8 * dimension) // TILE_ROWS * TILE_ROWS)


def _slices(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def check_vectors(problem: Comparison) -> None:
    """Read every embedding once, before hours depend on it. Raises InputError naming the row of a zero, NaN or infinite one."""
    for side in (problem.probes,) if problem.within else (problem.probes, problem.gallery):
        for rows in _slices(len(side), TILE_COLUMNS):
            usable(side.vectors[rows], first=rows.start)


def load(side: Side, rows: slice, screen: Screen) -> Panel:
    """A panel, a tile of rows at a time."""
    starts = range(rows.start, rows.stop, TILE_ROWS)
    with ThreadPoolExecutor(min(torch.get_num_threads(), 8)) as threads:
        parts = list(threads.map(lambda start: unit_vectors(side.vectors[start : min(start + TILE_ROWS, rows.stop)]), starts))
    return screen.panel(np.concatenate(parts) if len(parts) > 1 else parts[0])


@dataclass(frozen=True, eq=False)
class Tile:
    """Screened ``scores`` (r, c) of ``rows`` of the probes and ``columns`` of the gallery, within ``error`` of the canonical ones.

    ``same_label`` and ``same_group`` are the positions, inside the tile, of all comparisons of one person and of one group.
    """

    scores: Tensor
    rows: slice
    columns: slice
    error: float
    probe_units: np.ndarray
    gallery_units: np.ndarray
    same_label: Positions
    same_group: Positions


def tiles_of(problem: Comparison, screen: Screen, units: Sequence[Unit]) -> Iterator[Iterator[Tile]]:
    """The tiles of each unit, an iterator a unit; their scores share one room, so use one before you ask for the next.

    Within one set what is not i < j scores −2, below every canonical score.
    """
    room = torch.empty(TILE_ROWS * TILE_COLUMNS, dtype=screen.dtype)
    held: tuple[slice, Panel] | None = None
    for above, beside in units:
        if held is None or held[0] != above:
            held = None  # released before the next is made
            held = above, load(problem.probes, above, screen)
        yield _unit(problem, screen, above, held[1], beside, load(problem.gallery, beside, screen), room)


def _unit(
    problem: Comparison, screen: Screen, above: slice, probes: Panel, beside: slice, gallery: Panel, room: Tensor
) -> Iterator[Tile]:
    labels, groups = Lookup(problem.gallery.labels[beside]), Lookup(problem.gallery.groups[beside])
    error = bound(probes, gallery)
    for start in range(above.start, above.stop, TILE_ROWS):
        rows = slice(start, min(start + TILE_ROWS, above.stop))
        if problem.within and beside.stop - 1 <= rows.start:
            continue
        inside = slice(rows.start - above.start, rows.stop - above.start)
        scores = screen.products(probes, gallery, inside, room)
        listed = [
            lookup.matches(codes[rows]) for lookup, codes in ((labels, problem.probes.labels), (groups, problem.probes.groups))
        ]
        if problem.within and beside.start < rows.stop:
            _blank_lower(scores, rows.start - beside.start)
            listed = [_upper(positions, rows.start - beside.start) for positions in listed]
        yield Tile(scores, rows, beside, error, probes.units[inside], gallery.units, listed[0], listed[1])


def _blank_lower(scores: Tensor, shift: int) -> None:
    """−2 where row + ``shift`` ≥ column."""
    rows, columns = torch.arange(scores.shape[0]).unsqueeze(1) + shift, torch.arange(scores.shape[1])
    scores.masked_fill_(rows >= columns, -2.0)


def _upper(positions: Positions, shift: int) -> Positions:
    rows, columns = positions
    kept = rows + shift < columns
    return rows[kept], columns[kept]
