"""``orthodrome evaluate``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    model: Annotated[
        Path, typer.Argument(help="Run folder, model.safetensors, or embeddings (.npz).", metavar="MODEL|EMBEDDINGS")
    ],
    protocol: Annotated[str, typer.Option(help="Protocol: lfw, or pairs for any list of that form.")] = "lfw",
    data: Annotated[Path | None, typer.Option(help="Folder of images, name/name_0001.jpg; not needed for embeddings.")] = None,
    pairs: Annotated[Path | None, typer.Option(help="List of pairs (pairs.txt).")] = None,
    flip: Annotated[str, typer.Option(help="Join image and mirror image: sum, concat or none.")] = "sum",
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report; default: beside the model, evaluation-PROTOCOL.")
    ] = None,
) -> None:
    """Verify a model or embeddings under a protocol; prints the result and writes a report (JSON, HTML, PNG).

    Example: orthodrome evaluate runs/x --protocol lfw --data lfw/ --pairs pairs.txt
    """
    from orthodrome.cli.output import remarks, show
    from orthodrome.evaluation import PROTOCOLS, write_report
    from orthodrome.pipeline import evaluate_model, load_embeddings, load_model
    from orthodrome.pipeline.evaluate import ProtocolData
    from orthodrome.training.telemetry import counting
    from orthodrome.types import InputError

    if pairs is None:
        raise InputError("--pairs is missing: the list of pairs of the protocol, for example LFW's pairs.txt")
    chosen = PROTOCOLS.get(protocol)
    if model.suffix == ".npz":
        report = chosen.evaluate(load_embeddings(model), chosen.read(pairs))
    elif data is None:
        raise InputError("--data is missing: the folder of the images that the pairs name")
    else:
        with counting(remarks(), "embedding") as progress:
            report = evaluate_model(load_model(model), ProtocolData(protocol, data, pairs), flip=flip, progress=progress)
    beside = model if model.is_dir() else model.parent
    written = write_report(report.to_report(), out or beside / f"evaluation-{protocol}")
    show(report.summary())
    if written.notice:
        print(written.notice, file=sys.stderr)
    show(f"report: {next(file for file in written.files if file.suffix == '.html')}")
