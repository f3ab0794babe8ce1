"""Choosing settings: the best row of a tuning group, once all of its cells are done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orthodrome.study.plan import Cell, Choices, Plan, named_choices
from orthodrome.study.rows import Row
from orthodrome.study.settings import HELD_OUT

CRITERION = "tar_1e-2"
"""Chosen by the highest TAR at FAR 1 % over all comparisons of held-out people, then the lowest EER, then the order of the grid."""


def choices(plan: Plan, rows: Mapping[str, Row]) -> Choices:
    """The best settings of each cell of the tuning groups, where all its settings are among ``rows`` (by digest). Those that diverged do
    not count; where all did, there is no choice.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for group in plan.groups:
        if group.judge != HELD_OUT:
            continue
        cells = plan.cells(group, found)
        best = {name: _best([cell for cell in cells if cell.name == name], rows) for name in dict.fromkeys(c.name for c in cells)}
        found |= named_choices(group, {name: settings for name, settings in best.items() if settings is not None})
    return found


def _best(cells: Sequence[Cell], rows: Mapping[str, Row]) -> Mapping[str, Any] | None:
    """None where a cell is not done or none has a result."""
    judged = [cell for cell in cells if cell.digest in rows and rows[cell.digest][CRITERION]]
    if not judged or not all(cell.digest in rows for cell in cells):
        return None
    return max(judged, key=lambda cell: (float(rows[cell.digest][CRITERION]), -float(rows[cell.digest]["eer"]))).settings
