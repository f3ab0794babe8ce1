"""``orthodrome evaluate``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orthodrome.cli.options import Flip, OnnxPreprocessing

if TYPE_CHECKING:
    from orthodrome.pipeline import ProtocolData
    from orthodrome.types import EmbeddingSet, ImageSource


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
    flip: Flip = "sum",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the report; default: evaluation-PROTOCOL in a folder, evaluation-PROTOCOL-NAME beside a file; "
            "options that were --set follow in the name."
        ),
    ] = None,
    ids: Annotated[Path | None, typer.Option(help="For embeddings: text file with the id of each row.")] = None,
    labels: Annotated[Path | None, typer.Option(help="For embeddings: text file with the label of each row.")] = None,
    preprocessing: OnnxPreprocessing = None,
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
    from orthodrome.cli.output import remarks, saying, show, show_report
    from orthodrome.cli.protocols import protocol_table
    from orthodrome.evaluation import write_report
    from orthodrome.evaluation.report import check_folder
    from orthodrome.files import check_writable
    from orthodrome.pipeline import evaluate_embeddings, holds_embeddings
    from orthodrome.pipeline.audit import audited, training_set
    from orthodrome.pipeline.evaluate import people_tested
    from orthodrome.training.telemetry import counting
    from orthodrome.types import InputError

    if show_list:
        show(protocol_table())
        return
    if model is None:
        raise InputError("MODEL|EMBEDDINGS is missing: what is to be measured; --list shows the protocols")
    where, images = _protocol(model, protocol, data, lists, settings or [])
    folder = out or _report_folder(model, where)
    check_writable(folder)
    check_folder(folder)
    training = training_set(train_set) if train_set else None
    embeddings = _embeddings(model, images, flip, ids, labels, preprocessing)
    with counting(remarks(), "comparing") as progress:
        result = evaluate_embeddings(embeddings, where, progress)
    if training is not None:
        result = audited(result, embeddings, training, people_tested(where, embeddings))
    shown = {key: image for key, image in images.items() if isinstance(image, bytes | Path)}
    measured = model.resolve().name + ("" if holds_embeddings(model) else f", flip {flip}")
    written = write_report(saying(result.to_report(), measured), folder, shown)
    show_report(result.summary(), written)


def _report_folder(model: Path, where: ProtocolData) -> Path:
    """In the folder of a run, or beside a file: one for each protocol and what is set of it."""
    from orthodrome.data.naming import safe_name

    names = ["evaluation", where.protocol, *([] if model.is_dir() else [model.stem])]
    name = "-".join([*names, *(f"{key}={value}" for key, value in sorted(where.options.items()))])
    return (model if model.is_dir() else model.parent) / safe_name(name)


def _protocol(
    model: Path, protocol: str, data: Path | None, lists: Path | None, settings: list[str]
) -> tuple[ProtocolData, Mapping[str, ImageSource]]:
    """The protocol with its lists, and the images that they name where they are at hand."""
    from orthodrome.evaluation import PROTOCOLS
    from orthodrome.pipeline import ProtocolData, holds_embeddings, protocol_images
    from orthodrome.types import InputError

    chosen = PROTOCOLS.get(protocol)
    if lists is None:
        raise InputError(f"--lists or --pairs is missing; protocol {protocol} needs {chosen.needs}")
    where = ProtocolData(protocol, data or Path(), lists, _options(settings))
    if data or chosen.holds_images:
        return where, protocol_images(where)
    if not holds_embeddings(model):
        raise InputError("--data is missing: the folder of the images that the lists name")
    return where, {}


def _embeddings(
    model: Path, images: Mapping[str, ImageSource], flip: str, ids: Path | None, labels: Path | None, preprocessing: str | None
) -> EmbeddingSet:
    """Those of a file, or of the images by the model."""
    from orthodrome.cli.output import remarks
    from orthodrome.pipeline import embed_files, holds_embeddings, load_embeddings, open_model
    from orthodrome.training.telemetry import counting

    if holds_embeddings(model):
        return load_embeddings(model, ids, labels)
    opened = open_model(model, preprocessing)
    with counting(remarks(), "embedding") as progress:
        return embed_files(opened, images, flip=flip, progress=progress)


def _options(settings: list[str]) -> dict[str, str]:
    from orthodrome.types import InputError

    for setting in settings:
        if "=" not in setting:
            raise InputError(f"--set takes key=value; got {setting!r}")
    return dict(setting.split("=", 1) for setting in settings)
