"""``orthodrome study``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def study(
    file: Annotated[Path, typer.Argument(help="YAML file of the study.")],
    data: Annotated[Path | None, typer.Option(help="Training faces, as for train.")] = None,
    test: Annotated[Path | None, typer.Option("--eval", help="Test faces: a folder as LFW (name/name_0001.jpg).")] = None,
    pairs: Annotated[Path | None, typer.Option(help="pairs.txt of --eval.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the runs; default: runs/study-NAME.")] = None,
    rows: Annotated[Path, typer.Option(help="CSV file of the results.")] = Path("benchmarks/results/study.csv"),
    budget: Annotated[float | None, typer.Option(help="Minutes; no cell begins that would not end within them.", min=0)] = None,
    only: Annotated[list[str] | None, typer.Option(help="Run this group only. Repeatable.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that share the cells.", min=1)] = 1,
    threads: Annotated[int | None, typer.Option(help="Threads of each; default: the processors over the workers.", min=1)] = None,
    render: Annotated[
        bool, typer.Option("--render", help="Make pages and recipes of the rows instead of running cells.")
    ] = False,
    pages: Annotated[Path, typer.Option(help="Folder of the pages.")] = Path("docs/study"),
    recipes: Annotated[
        Path, typer.Option(help="Folder for the recipes that tuning has chosen, in one named as the study.")
    ] = Path("recipes"),
) -> None:
    """Run the cells of a study, each once, and make pages of their results. The same command goes on after an interruption.

    Example: orthodrome study studies/first.yaml --data celeba/ --eval lfw/ --pairs pairs.txt --budget 180
    """
    from orthodrome.data.parallel import available_processors
    from orthodrome.study.command import Order, run_study
    from orthodrome.study.plan import load_plan
    from orthodrome.types import InputError

    plan = load_plan(file)
    if render:
        from orthodrome.cli.output import show
        from orthodrome.study.found import read_found
        from orthodrome.study.render import write_pages
        from orthodrome.study.rows import tables
        from orthodrome.study.tuned import write_recipes

        found = read_found(plan, tables(rows))
        for path in (*write_pages(found, pages), *write_recipes(found, recipes)):
            show(str(path))
        return
    if data is None:
        raise InputError("--data is missing: the faces to train on (or --render, to make the pages of what was measured)")
    each = threads or max(1, available_processors() // workers)
    folder = out or Path("runs") / f"study-{plan.name}"
    order = Order(file, data, test, pairs, folder, rows, budget, tuple(only or ()), workers, each)
    if code := run_study(order):
        raise typer.Exit(code)
