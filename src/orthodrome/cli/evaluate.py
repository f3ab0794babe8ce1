"""``orthodrome evaluate``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    model: Annotated[
        Path | None,
        typer.Argument(
            help="Run folder, model.safetensors, model.onnx, or embeddings (.npz, .npy, a folder of MegaFace features).",
            metavar="MODEL|EMBEDDINGS",
        ),
    ] = None,
    protocol: Annotated[str, typer.Option(help="Protocol; --list shows them.")] = "lfw",
    data: Annotated[
        Path | None, typer.Option(help="Folder of images, as the lists name them; for embeddings only to be shown.")
    ] = None,
    lists: Annotated[Path | None, typer.Option("--lists", "--pairs", help="List, or folder of lists, of the protocol.")] = None,
    flip: Annotated[str, typer.Option(help="Join image and mirror image: sum, concat or none.")] = "sum",
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report; default: beside the model, evaluation-PROTOCOL.")
    ] = None,
    ids: Annotated[Path | None, typer.Option(help="For embeddings: text file with the id of each row.")] = None,
    labels: Annotated[Path | None, typer.Option(help="For embeddings: text file with the label of each row.")] = None,
    preprocessing: Annotated[
        str | None, typer.Option(help="For .onnx: YAML file, or '{mean: …, std: …, size: 112, colour: RGB, input: NAME}'.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Option of the protocol, for example convention=insightface. Repeatable.")
    ] = None,
    train_set: Annotated[
        Path | None,
        typer.Option(help="Audit the overlap with this training set: folder of people, list of names, or embeddings."),
    ] = None,
    show_list: Annotated[bool, typer.Option("--list", help="List the protocols and what they need.")] = False,
) -> None:
    """Measure a model or embeddings under a protocol; prints the result and writes a report (JSON, HTML, PNG).

    Example: orthodrome evaluate runs/x --protocol lfw --data lfw/ --pairs pairs.txt
    """
    from orthodrome.cli.output import remarks, show
    from orthodrome.cli.protocols import protocol_table
    from orthodrome.evaluation import PROTOCOLS, write_report
    from orthodrome.pipeline import (
        ProtocolData,
        embed_files,
        evaluate_embeddings,
        holds_embeddings,
        load_embeddings,
        protocol_images,
    )
    from orthodrome.pipeline.audit import audited
    from orthodrome.pipeline.opening import open_model
    from orthodrome.training.telemetry import counting
    from orthodrome.types import InputError

    if show_list:
        show(protocol_table())
        return
    if model is None:
        raise InputError("MODEL|EMBEDDINGS is missing: what is to be measured; --list shows the protocols")
    chosen = PROTOCOLS.get(protocol)
    if lists is None:
        raise InputError(f"--lists or --pairs is missing; protocol {protocol} needs {chosen.needs}")
    where = ProtocolData(protocol, data or Path(), lists, _options(settings or []))
    ready = holds_embeddings(model)
    if not ready and data is None and not chosen.holds_images:
        raise InputError("--data is missing: the folder of the images that the lists name")
    opened = None if ready else open_model(model, preprocessing)
    images = protocol_images(where) if data or chosen.holds_images else {}
    if opened is None:
        embeddings = load_embeddings(model, ids, labels)
    else:
        with counting(remarks(), "embedding") as progress:
            embeddings = embed_files(opened, images, flip=flip, progress=progress)
    result = evaluate_embeddings(embeddings, where)
    result = audited(result, embeddings, train_set) if train_set else result
    beside = model if model.is_dir() else model.parent
    shown = {key: image for key, image in images.items() if isinstance(image, bytes | Path)}
    written = write_report(result.to_report(), out or beside / f"evaluation-{protocol}", shown)
    show(result.summary())
    if written.notice:
        print(written.notice, file=sys.stderr)
    show(f"report: {next(file for file in written.files if file.suffix == '.html')}")


def _options(settings: list[str]) -> dict[str, str]:
    from orthodrome.types import InputError

    for setting in settings:
        if "=" not in setting:
            raise InputError(f"--set takes key=value; got {setting!r}")
    return dict(setting.split("=", 1) for setting in settings)
