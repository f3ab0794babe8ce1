"""The recipes that tuning has chosen, one a loss, to train with by ``orthodrome train --recipe``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from orthodrome.files import write_together
from orthodrome.study.found import Found
from orthodrome.study.plan import Cell
from orthodrome.study.settings import HELD_OUT
from orthodrome.study.wording import percent


def tuned_recipes(found: Found) -> dict[str, str]:
    """YAML by file name, of each name in a tuning group that is done; the last such group decides, as it builds on those before."""
    return {f"{cell.name}.yaml": _text(found, cell) for cell in _chosen(found)}


def write_recipes(found: Found, folder: Path) -> tuple[Path, ...]:
    """`tuned_recipes` in the folder of the study in ``folder``; those of an earlier rendering that tuning no longer gives are removed."""
    own = folder / found.plan.name
    contents = {name: text.encode() for name, text in tuned_recipes(found).items()}
    written = write_together(own, contents) if contents else ()
    for old in own.glob("*.yaml"):
        if old.name not in contents:
            old.unlink()
    return written


def _chosen(found: Found) -> Iterator[Cell]:
    for group in found.plan.groups:
        if group.judge == HELD_OUT:
            yield from (cell for cell in found.cells(group) if found.chosen.get(f"{group.name}/{cell.name}") == cell.settings)


def _text(found: Found, cell: Cell) -> str:
    row, held_out = found.rows[cell.digest], found.plan.settings.held_out.identities
    content = {**cell.recipe.model_dump(mode="json", exclude_unset=True), "name": f"{found.plan.name}-{cell.name}"}
    return (
        f"# Chosen by the study '{found.plan.name}', tuning group {cell.group}: the best of its grid on {held_out} held-out people\n"
        f"# of the training set, TAR at FAR 1 % {percent(row['tar_1e-2'])}, EER {percent(row['eer'])} %. Written by its --render.\n"
        + yaml.safe_dump(content, sort_keys=False, default_flow_style=None, allow_unicode=True, width=140)
    )
