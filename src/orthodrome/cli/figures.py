"""``orthodrome figures``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def figures(
    names: Annotated[list[str] | None, typer.Argument(help="Figures to make; --list names them.", metavar="NAME…")] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the PNG files.")] = Path("figures"),
    everything: Annotated[bool, typer.Option("--all", help="Make all figures: about two minutes.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Print name, cost and content of each figure.")] = False,
    page: Annotated[bool, typer.Option("--markdown", help="Print the gallery page.")] = False,
) -> None:
    """Make the pictures of the losses: margins, decision boundaries, embeddings of digits on the plane and on the sphere.

    Needs the extra `plots`. Example: orthodrome figures target-logits digits-plane -o figures
    """
    from orthodrome.cli.output import remarks, show
    from orthodrome.types import InputError

    try:
        from orthodrome.figures.gallery import markdown, write_figure
        from orthodrome.figures.table import FIGURES
    except ImportError as error:
        if not (error.name or "").startswith("matplotlib"):
            raise
        raise InputError('figures need matplotlib: pip install "orthodrome[plots]"') from None
    if listed:
        for name in FIGURES:
            show(f"{name:<26}{FIGURES.get(name).seconds:>3} s   {FIGURES.get(name).title}")
    elif page:
        print(markdown(), end="")
    else:
        chosen = FIGURES.names() if everything else tuple(names or ())
        if not chosen:
            raise InputError("no figure named: give names (orthodrome figures --list), or --all")
        for name in chosen:
            FIGURES.get(name)  # an unknown name is told before any is computed
        for name in chosen:
            remarks().print(f"{name}: about {FIGURES.get(name).seconds} s", highlight=False)
            show(str(write_figure(name, out)))
