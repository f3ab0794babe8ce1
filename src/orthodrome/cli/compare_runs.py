"""``orthodrome compare-runs``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare_runs(
    runs: Annotated[
        list[Path], typer.Argument(help="Two or more: run folder, evaluation folder or report.json.", metavar="A B [C …]")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the comparison page.")] = Path("comparison"),
) -> None:
    """Is A better than B? Evaluations of the same pairs: differences with paired intervals, McNemar's test, one page.

    Example: orthodrome compare-runs runs/a runs/b --out comparison
    """
    from orthodrome.cli.output import show_report
    from orthodrome.evaluation.stored import compare_runs as compare

    found = compare(runs)
    written = found.write(out)
    show_report(found.summary(), written)
