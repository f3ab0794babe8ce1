"""All comparisons of a problem, cut into tiles of screened scores that never exist together.

A *unit of work* is a panel of probes against a panel of the gallery. Panels of probes are large, since each makes one pass over the
gallery; a unit is cut into tiles of a few megabytes. What a tile is counted for does not depend on how the cut is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from orthodrome.evaluation.scores import unit_vectors, usable
from orthodrome.evaluation.streaming.pilot import PILOT_BYTES
from orthodrome.evaluation.streaming.screens import Panel, Rounding, Screen, rounding
from orthodrome.evaluation.streaming.sharing import MOST, most_threads
from orthodrome.evaluation.streaming.sides import Comparison, Lookup, Positions, Side
from orthodrome.types import Progress

TILE_ROWS, TILE_COLUMNS = 1024, 4096

LOADED_ROWS = 256
"""Rows of a panel that one thread loads at a time."""

MEMORY = 2**30
"""Panels of probes are as large as fits into this, on any machine."""

_NUMBER_BYTES = 6  # of a panel: float32, and its rounding where there is one

Unit = tuple[slice, slice]
"""Rows of the probes and of the gallery."""


@dataclass(frozen=True)
class Plan:
    """How a problem is cut."""

    units: tuple[Unit, ...]


def plan(problem: Comparison) -> Plan:
    """Panels of the probes that fit :data:`MEMORY`, each against every panel of the gallery."""
    units = [
        (above, beside)
        for above in _slices(len(problem.probes), _panel_rows(problem.dimension))
        for beside in _slices(len(problem.gallery), TILE_COLUMNS)
        if not problem.within or beside.stop - 1 > above.start
    ]
    return Plan(tuple(units))


def comparisons(problem: Comparison, unit: Unit) -> int:
    """How many a unit is passed over: those of its tiles."""
    return sum(map(_size, _tiles_in(problem, unit)))


def most_memory(dimension: int, probes: int, threads: int) -> int:
    """The most bytes that pilot, panels and tiles take. The next panel of probes is loaded while the last is still counted."""
    return min(2 * _panel_rows(dimension), probes) * _NUMBER_BYTES * dimension + _beside_probes(dimension, threads)


def _beside_probes(dimension: int, threads: int) -> int:
    """The pilot, numbers on their way into a panel, one panel of the gallery more than threads, in float64 too, and in each thread two
    tiles' worth and the probes of one in float64.
    """
    loading = MOST * LOADED_ROWS * 32 * dimension
    gallery = (threads + 1) * (_NUMBER_BYTES + 8) * TILE_COLUMNS * dimension
    tiles = threads * TILE_ROWS * (2 * 4 * TILE_COLUMNS + 8 * dimension)
    return PILOT_BYTES + loading + gallery + tiles


def _panel_rows(dimension: int) -> int:
    left = MEMORY - 1 - _beside_probes(dimension, most_threads(dimension))
    return max(TILE_ROWS, left // (2 * _NUMBER_BYTES * dimension) // TILE_ROWS * TILE_ROWS)


def _slices(stop: int, size: int, first: int = 0) -> list[slice]:
    return [slice(start, min(start + size, stop)) for start in range(first, stop, size)]


def check_vectors(problem: Comparison) -> None:
    """Read every embedding once, before hours depend on it. Raises InputError naming the side and row of a zero, NaN or infinite one."""
    sides = {"embedding": problem.probes} if problem.within else {"probe": problem.probes, "gallery embedding": problem.gallery}
    for kind, side in sides.items():
        for rows in _slices(len(side), TILE_COLUMNS):
            usable(side.vectors[rows], first=rows.start, kind=kind)


def load(side: Side, rows: slice, screen: Screen, threads: int) -> Panel:
    """A panel, by so many ``threads``, each some rows at a time."""
    units = np.empty((rows.stop - rows.start, side.vectors.shape[1]), np.float32)

    def fill(part: slice) -> None:
        units[part.start - rows.start : part.stop - rows.start] = unit_vectors(side.vectors[part])

    with ThreadPoolExecutor(min(threads, MOST)) as pool:
        list(pool.map(fill, _slices(rows.stop, LOADED_ROWS, rows.start)))
    return screen.panel(units)


@dataclass(frozen=True, eq=False)
class Tile:
    """Screened ``scores`` (r, c) of ``rows`` of the probes and ``columns`` of the gallery, and how far they are from the canonical ones.

    ``same_label`` and ``same_group`` are the positions, inside the tile, of all comparisons of one person and of one group.
    """

    scores: Tensor
    rounding: Rounding
    rows: slice
    columns: slice
    probes: Panel
    gallery: Panel
    same_label: Positions
    same_group: Positions

    def forbid(self, positions: Tensor) -> None:
        """Leave out the comparisons at ``positions``, bool (r, up to c): of the first columns."""
        self.scores[:, : positions.shape[1]].masked_fill_(positions, self.rounding.screen.nothing)

    def allowed(self, screened: Tensor) -> Tensor:
        """Which of ``screened`` scores are of comparisons that are not left out."""
        return screened > self.rounding.screen.nothing


@dataclass(frozen=True, eq=False)
class Cut:
    """A tile before it is scored: ``rows`` of the probes, ``inside`` a panel of them, and ``columns`` of the gallery, a panel.

    ``labels`` and ``groups`` know a panel that begins ``before`` these columns.
    """

    problem: Comparison
    screen: Screen
    probes: Panel
    gallery: Panel
    inside: slice
    rows: slice
    columns: slice
    labels: Lookup
    groups: Lookup
    before: int = 0

    def scored(self, room: Tensor) -> Tile:
        """The tile, its scores in `room_for` the screen. Within one set what is not i < j is left out."""
        scores = self.screen.products(self.probes, self.gallery, self.inside, room)
        sides = (self.labels, self.problem.probes.labels), (self.groups, self.problem.probes.groups)
        same_label, same_group = (lookup.matches(codes[self.rows]) for lookup, codes in sides)
        shift = self.rows.start - self.columns.start
        lower = self.problem.within and self.columns.start < self.rows.stop
        if lower:
            same_label, same_group = _upper(same_label, shift, self.before), _upper(same_group, shift, self.before)
        off = rounding(self.screen, self.probes, self.gallery)
        probes = self.probes.part(self.inside)
        tile = Tile(scores, off, self.rows, self.columns, probes, self.gallery, same_label, same_group)
        if lower:
            tile.forbid(_lower(len(scores), min(len(scores) + shift, scores.shape[1]), shift))
        return tile


def room_for(screen: Screen) -> Tensor:
    """Memory for the scores of one tile after another."""
    return torch.empty(TILE_ROWS * TILE_COLUMNS, dtype=screen.dtype)


def probe_panels(problem: Comparison, screen: Screen, threads: int) -> Callable[[slice], Panel]:
    """Loads a panel of the probes, by so many ``threads``. The last one is kept, since units that follow one another share it."""

    @lru_cache(maxsize=1)
    def panel(start: int, stop: int) -> Panel:
        return load(problem.probes, slice(start, stop), screen, threads)

    return lambda rows: panel(rows.start, rows.stop)


def cuts_of(
    problem: Comparison, screen: Screen, units: Sequence[Unit], threads: int, panel: Callable[[slice], Panel] | None = None
) -> Iterator[Cut]:
    """All tiles of ``units``, not yet scored. Panels are loaded, by so many ``threads``, when their first tile is asked for; those of
    the probes by ``panel``, where it is given.
    """
    panel = panel or probe_panels(problem, screen, threads)
    for above, beside in units:
        probes = panel(above)
        if problem.within and above.start <= beside.start and beside.stop <= above.stop:
            gallery = probes.part(slice(beside.start - above.start, beside.stop - above.start))
        else:
            gallery = load(problem.gallery, beside, screen, threads)
        labels, groups = Lookup(problem.gallery.labels[beside]), Lookup(problem.gallery.groups[beside])
        for rows, columns in _tiles_in(problem, (above, beside)):
            inside, before = slice(rows.start - above.start, rows.stop - above.start), columns.start - beside.start
            yield Cut(problem, screen, probes, gallery.part(slice(before, None)), inside, rows, columns, labels, groups, before)


def told(cuts: Iterator[Cut], progress: Progress, done: int, total: int) -> Iterator[Cut]:
    """The same, telling the ``progress`` of what was handed on when more is asked for: ``done`` before, of ``total``."""
    for cut in cuts:
        yield cut
        done += _size((cut.rows, cut.columns))
        progress(done, total)


def _tiles_in(problem: Comparison, unit: Unit) -> Iterator[Unit]:
    """Rows and columns of each tile of a unit; within one set, whole columns before the rows hold nothing."""
    above, beside = unit
    for rows in _slices(above.stop, TILE_ROWS, above.start):
        if not problem.within or beside.stop - 1 > rows.start:
            yield rows, slice(max(beside.start, rows.start) if problem.within else beside.start, beside.stop)


def _size(tile: Unit) -> int:
    rows, columns = tile
    return (rows.stop - rows.start) * (columns.stop - columns.start)


def _lower(rows: int, columns: int, shift: int) -> Tensor:
    """Where row + ``shift`` ≥ column."""
    return torch.arange(rows).unsqueeze(1) + shift >= torch.arange(columns)


def _upper(positions: Positions, shift: int, before: int) -> Positions:
    """Those above the diagonal, with columns counted from the first that is not left out."""
    rows, columns = positions[0], positions[1] - before
    kept = rows + shift < columns
    return rows[kept], columns[kept]
