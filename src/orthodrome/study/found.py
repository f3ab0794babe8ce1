"""What is known of a study: its plan beside its rows, looked up as the pages ask for it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from orthodrome.study.choose import choices
from orthodrome.study.identity import Variation
from orthodrome.study.pairs import pair_conditions
from orthodrome.study.plan import Cell, Plan
from orthodrome.study.resampled import FIGURES
from orthodrome.study.rows import Row, Tables, rows_of
from orthodrome.study.settings import GroupSettings
from orthodrome.study.wording import data_of


@dataclass(frozen=True)
class Found:
    """What is known of a study: rows by digest, curves by digest and name, rows of pairs by their key, and what tuning chose."""

    plan: Plan
    rows: Mapping[str, Row]
    curves: Mapping[tuple[str, str], list[float]]
    pairs: Mapping[tuple[str, ...], Row]
    chosen: Mapping[str, Mapping[str, object]]

    def cells(self, group: GroupSettings) -> tuple[Cell, ...]:
        return self.plan.cells(group, self.chosen)

    def row(self, cell: Cell) -> Row | None:
        return self.rows.get(cell.digest)


def read_found(plan: Plan, tables: Tables) -> Found:
    """The results of a study."""
    rows = rows_of(plan.name, tables)
    curves = {
        (row["digest"], row["curve"]): json.loads(row["values"]) for row in tables.curves.read() if row["study"] == plan.name
    }
    pairs = {tables.pairs.name(row): row for row in tables.pairs.read() if row["study"] == plan.name}
    return Found(plan, rows, curves, pairs, choices(plan, rows))


@dataclass(frozen=True)
class System:
    """One line of a table: a name under one variation of the data, with the rows of its seeds; none where nothing was run."""

    name: str
    variation: Variation | None
    cells: tuple[Cell, ...]
    rows: tuple[Row, ...]

    @property
    def judged(self) -> tuple[Row, ...]:
        """Without those that diverged."""
        return tuple(row for row in self.rows if not row["failed"])


def systems(found: Found, group: GroupSettings) -> list[System]:
    """Of each variation, each name of the group in its order."""
    cells = found.cells(group)
    variations: list[Variation | None] = [*dict.fromkeys(cell.variation for cell in cells)] or [None]
    lines = []
    for variation in variations:
        for name in (cell.title for cell in group.cells):
            mine = tuple(cell for cell in cells if cell.variation == variation and cell.name == name)
            rows = tuple(row for row in map(found.row, mine) if row is not None)
            lines.append(System(name, variation, mine, rows))
    return lines


@dataclass(frozen=True)
class Difference:
    """One comparison a group asks for under one variation: the rows of its pair by figure; none where it was not run."""

    first: str
    second: str
    variation: Variation
    rows: Mapping[str, Row]

    @property
    def drawn(self) -> bool:
        """Whether there is an interval to draw."""
        return bool(self.rows) and bool(self.rows["eer"]["low"])

    @property
    def title(self) -> str:
        """For a picture."""
        return titled(f"{self.first} − {self.second}", self.variation)


def differences(found: Found, group: GroupSettings) -> Iterator[Difference]:
    """In the order of the page."""
    cells = {cell.digest for cell in found.cells(group)}
    for variation in dict.fromkeys(cell.variation for cell in found.cells(group)):
        for first, second in group.compare:
            key = (found.plan.name, *pair_conditions(group.name, variation, first, second))
            rows = {figure: found.pairs[(*key, figure)] for figure in FIGURES if (*key, figure) in found.pairs}
            yield Difference(first, second, variation, {figure: row for figure, row in rows.items() if _of(row, cells)})


def _of(row: Row, cells: set[str]) -> bool:
    """Whether a row of pairs is of cells the study has now, not of ones with settings it once had."""
    return set(row["digests_first"].split() + row["digests_second"].split()) <= cells


def titled(name: str, variation: Variation | None) -> str:
    """A name with what of the data it saw, where that is not all of it."""
    data = data_of(variation)
    return name if data in ("", "all") else f"{name} ({data})"
