"""The page that shows how the settings of a study were chosen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orthodrome.study.found import Found
from orthodrome.study.plan import Cell
from orthodrome.study.settings import HELD_OUT, GroupSettings
from orthodrome.study.wording import NOT_RUN, percent, table


def tuning_page(found: Found) -> str:
    """Each tuning group, the chosen settings marked."""
    settings = found.plan.settings
    parts = [
        f"# {settings.title or settings.name}: tuning",
        f"{settings.held_out.identities} people of the training set are left out of training here and compared with each other, all with "
        "all. The settings with the highest TAR at FAR 1 % are taken (in bold), of equal ones those with the lower EER; the test faces "
        "have no part in it.",
    ]
    for group in found.plan.groups:
        if group.judge != HELD_OUT:
            continue
        cells = found.cells(group)
        header = ["loss", "epochs", *(key.removeprefix("loss.") for key in _keys(cells)), "TAR at FAR 1e−2", "EER", "min"]
        lines = [_tuning_line(found, group, cell, _keys(cells)) for cell in cells]
        parts += [
            f"## {group.name}",
            table(header, lines) if cells else f"{found.plan.count(group)} cells: {NOT_RUN}, they wait for others.",
        ]
    return "\n\n".join(parts) + "\n"


def _keys(cells: Iterable[Cell]) -> list[str]:
    return list(dict.fromkeys(key for cell in cells for key in cell.settings))


def _tuning_line(found: Found, group: GroupSettings, cell: Cell, keys: Sequence[str]) -> list[str]:
    values = [str(cell.recipe.schedule.epochs), *(str(cell.settings.get(key, "")) for key in keys)]
    row = found.row(cell)
    if row is None:
        return [cell.name, *values, NOT_RUN, "", ""]
    if row["failed"]:
        return [cell.name, *values, f"diverged: {row['failed']}", "", row["minutes"]]
    line = [cell.name, *values, percent(row["tar_1e-2"]), percent(row["eer"]), row["minutes"]]
    chosen = found.chosen.get(f"{group.name}/{cell.name}") == cell.settings
    return [f"**{entry}**" for entry in line] if chosen else line
