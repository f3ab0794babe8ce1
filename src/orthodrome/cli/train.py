"""``orthodrome train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def train(
    recipe: Annotated[Path | None, typer.Option(help="YAML recipe; without one, the defaults.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of identities, list file, .rec, tar shards, or Parquet.")] = None,
    evaluate_on: Annotated[Path | None, typer.Option("--eval", help="Folder of LFW (name/name_0001.jpg) to verify on.")] = None,
    pairs: Annotated[Path | None, typer.Option(help="pairs.txt of --eval.")] = None,
    protocol: Annotated[str | None, typer.Option(help="Protocol of --eval; default: lfw.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Override a key of the recipe, for example loss.margin=0.4. Repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default: runs/NAME-TIME.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run folder from its last checkpoint.")] = None,
) -> None:
    """Train a model on a folder of faces, verify it as it learns, and write a run folder.

    Example: orthodrome train --recipe recipes/small-cosface.yaml --data faces/ --eval lfw/ --pairs pairs.txt

    On several processes, one for each GPU: torchrun --nproc-per-node 8 -m orthodrome train --recipe … --data …
    """
    from orthodrome.training.command import resume_run, start_run
    from orthodrome.training.processes import joined

    with joined() as team:
        if resume:
            given: dict[str, Any] = {
                "--recipe": recipe, "--data": data, "--eval": evaluate_on, "--pairs": pairs, "--protocol": protocol,
                "--set": overrides, "--out": out,
            }  # fmt: skip
            result = resume_run(resume, [option for option, value in given.items() if value], team)
        else:
            result = start_run(recipe, data, evaluate_on, pairs, protocol, overrides or [], out, team)
    if not result.finished:
        raise typer.Exit(130)
    if team.rank == 0:
        from orthodrome.cli.output import show

        show(f"model: {result.folder / 'model.safetensors'}")
        show(f"next:  orthodrome embed {result.folder} IMAGE… -o faces.npz")
