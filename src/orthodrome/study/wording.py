"""How the pages of a study say things: tables, percentages, what of the data a cell saw."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from orthodrome.study.identity import Variation
from orthodrome.study.rows import Row

NOT_RUN, EMPTY = "not run", "—"


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Markdown; a bar in a cell would end it."""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows)


def data_of(variation: Variation | None) -> str:
    if variation is None:
        return ""
    parts = [f"{100 * variation.noise:g} % noise"] * (variation.noise > 0)
    parts += [f"{variation.identities} people"] * (variation.identities is not None)
    return ", ".join(parts) or "all"


def mean(rows: Sequence[Row], name: str) -> float:
    return statistics.fmean(float(row[name]) for row in rows)


def percent(rate: str | float) -> str:
    return f"{100 * float(rate):.2f}"


def points(difference: str | float) -> str:
    return f"{100 * float(difference):+.2f}".replace("-", "−")


def interval_of(row: Row) -> str:
    """That of a difference, in points."""
    return f"{points(row['low'])} to {points(row['high'])}" if row["low"] else "no interval"


def listed(values: Sequence[str]) -> str:
    return "; ".join(values) or EMPTY
