"""``orthodrome losses``: what exactly is X? The taxonomy, all rows, one row, or the documentation page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orthodrome.cli.output import show

if TYPE_CHECKING:
    from orthodrome.losses.describe import Description


def losses(
    name: Annotated[str | None, typer.Argument(help="A loss, alias or preset; without it, the table of all losses.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the documentation page instead.")] = False,
) -> None:
    """Formula, defaults, presets, gradient convention, state and paper of every loss."""
    if markdown:
        from orthodrome.losses.page import markdown as page

        print(page(), end="")
    elif name is None:
        _show_taxonomy()
        _show_rows()
    else:
        from orthodrome.losses.describe import describe

        _show_loss(describe(name))


def _show_taxonomy() -> None:
    from rich.table import Table

    from orthodrome.losses.describe import COMPARISONS, taxonomy

    cells = taxonomy()
    table = Table("", "proxies", "no proxies", title="Taxonomy", show_lines=True)
    for comparison, meaning in COMPARISONS.items():
        table.add_row(f"{comparison}: {meaning}", *(", ".join(cells[comparison, side]) for side in ("proxies", "no proxies")))
    show(table)


def _show_rows() -> None:
    from rich.table import Table
    from rich.text import Text

    from orthodrome.losses import find_row, names
    from orthodrome.losses.describe import main_defaults

    table = Table("name", "formula", "main defaults", "paper", title="Losses")
    for name in names():
        row = find_row(name)
        table.add_row(*(Text(cell) for cell in (name, row.formula, main_defaults(name), row.paper)))
    show(table)
    show("One loss: orthodrome losses NAME. Presets are listed with their row.")


def _show_loss(loss: Description) -> None:
    from rich.table import Table
    from rich.text import Text

    from orthodrome.losses.describe import plain

    table = Table(show_header=False, title=loss.name, title_justify="left")
    facts = {
        "formula": loss.formula,
        "also called": ", ".join(loss.aliases),
        "defaults": plain(loss.defaults),
        "variants": "\n".join(loss.variants),
        "every row takes": plain(loss.common),
        "presets": "\n".join(f"{name}: {departure}" for name, departure in loss.presets),
        "gradient": loss.gradient,
        "state": "\n".join(loss.state),
        "cell": " / ".join(loss.cell),
        "paper": f"https://arxiv.org/abs/{loss.paper}" if loss.paper.replace(".", "").isdigit() else loss.paper,
        "notes": "\n".join(loss.notes),
        "example": loss.example,
    }
    for name, value in facts.items():
        if value:
            table.add_row(name, Text(value))
    show(table)
