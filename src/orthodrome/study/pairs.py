"""Differences between systems of a group, paired by people: what `compare` of a study's file asks for, from the resamples of its cells."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from orthodrome.study.choose import choices
from orthodrome.study.identity import Variation
from orthodrome.study.judging import number
from orthodrome.study.plan import Cell, Plan
from orthodrome.study.resampled import CURVE, FIGURES, Resampled, from_curves, paired_difference
from orthodrome.study.rows import PAIR_KEY, Row, Tables, rows_of
from orthodrome.study.settings import TEST
from orthodrome.training.provenance import commit


@dataclass(frozen=True)
class Pair:
    """Two systems of a group under one variation of the data, in the seeds that both have: cells in the order of the seeds."""

    group: str
    first: tuple[Cell, ...]
    second: tuple[Cell, ...]

    @property
    def conditions(self) -> tuple[str, ...]:
        """As `pair_conditions`."""
        return pair_conditions(self.group, self.first[0].variation, self.first[0].name, self.second[0].name)


def pair_conditions(group: str, variation: Variation, first: str, second: str) -> tuple[str, ...]:
    """The columns of `PAIR_KEY` between study and figure."""
    people = "" if variation.identities is None else str(variation.identities)
    return group, f"{variation.noise:g}", people, first, second


def wanted_pairs(plan: Plan, rows: Mapping[str, Row]) -> Iterator[Pair]:
    """The pairs of all groups for which at least one seed of both systems is done; cells that diverged do not count."""
    chosen = choices(plan, rows)
    for group in plan.groups:
        if group.judge != TEST:
            continue
        done = [cell for cell in plan.cells(group, chosen) if cell.digest in rows and not rows[cell.digest]["failed"]]
        for variation in dict.fromkeys(cell.variation for cell in done):
            for names in group.compare:
                systems = [{c.recipe.seed: c for c in done if c.variation == variation and c.name == name} for name in names]
                if seeds := sorted(systems[0].keys() & systems[1].keys()):
                    first, second = (tuple(system[seed] for seed in seeds) for system in systems)
                    yield Pair(group.name, first, second)


def write_pairs(plan: Plan, tables: Tables) -> None:
    """Bring the rows of pairs up to date: those whose cells are others than before, and whose resamples are among the curves."""
    rows = rows_of(plan.name, tables)
    resampled = _resampled(rows, tables)
    old = {tables.pairs.name(row): row for row in tables.pairs.read()}
    fresh: list[Row] = []
    for pair in wanted_pairs(plan, rows):
        digests = [" ".join(cell.digest for cell in cells) for cells in (pair.first, pair.second)]
        named = dict(zip(PAIR_KEY, (plan.name, *pair.conditions, ""), strict=True))
        described = {**named, "digests_first": digests[0], "digests_second": digests[1]}
        before = old.get(tables.pairs.name({**described, "figure": FIGURES[0]}))
        known = before is not None and all(before[key] == described[key] for key in ("digests_first", "digests_second"))
        if not known and all(cell.digest in resampled for cell in (*pair.first, *pair.second)):
            fresh += _rows(pair, described, rows, resampled)
    if fresh:
        tables.pairs.add(fresh)


def _resampled(rows: Mapping[str, Row], tables: Tables) -> dict[str, Resampled]:
    """The resamples of each cell that has some, by digest."""
    curves: dict[str, dict[str, list[float | None]]] = {}
    for row in tables.curves.read():
        if row["curve"].startswith(CURVE):
            curves.setdefault(row["digest"], {})[row["curve"]] = json.loads(row["values"])
    return {digest: from_curves(found, rows[digest]["test_set"]) for digest, found in curves.items() if digest in rows}


def _rows(pair: Pair, described: Row, rows: Mapping[str, Row], resampled: Mapping[str, Resampled]) -> list[Row]:
    systems = [[resampled[cell.digest] for cell in cells] for cells in (pair.first, pair.second)]
    common = {
        **described,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit(),
        "seeds": " ".join(str(cell.recipe.seed) for cell in pair.first),
    }
    found: list[Row] = []
    for figure in FIGURES:
        if not all(rows[cell.digest][figure] for cell in (*pair.first, *pair.second)):
            continue  # a FAR that the test faces do not resolve
        first, second = (_mean(cells, rows, figure) for cells in (pair.first, pair.second))
        interval = paired_difference(systems[0], systems[1], figure)
        found.append(
            {
                **common,
                "figure": figure,
                "value_first": number(first),
                "value_second": number(second),
                "difference": number(first - second),
                "low": number(interval.low) if interval else "",
                "high": number(interval.high) if interval else "",
                "resamples": str(len(systems[0][0].figures[figure])),
            }
        )
    return found


def _mean(cells: Sequence[Cell], rows: Mapping[str, Row], figure: str) -> float:
    return sum(float(rows[cell.digest][figure]) for cell in cells) / len(cells)
