"""``orthodrome embed``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orthodrome.cli.options import Flip, OnnxPreprocessing


def embed(
    model: Annotated[Path, typer.Argument(help="Run folder, model.safetensors or model.onnx.", metavar="MODEL")],
    images: Annotated[
        list[Path],
        typer.Argument(
            help="Image files, aligned like the training images; or one set (folder, list file, .rec, tar shards, Parquet)."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .npz to write.")],
    flip: Flip = "sum",
    budget: Annotated[float, typer.Option(help="Share of the set that may be unusable.", min=0.0, max=1.0)] = 0.001,
    preprocessing: OnnxPreprocessing = None,
) -> None:
    """Turn images into embeddings: an .npz with vectors, labels and ids. A single file that is no image by its name is a set.

    Example: orthodrome embed runs/x a.jpg b.jpg -o faces.npz
    """
    from orthodrome.cli.output import remarks, show, show_left_out
    from orthodrome.data import is_set, open_reader
    from orthodrome.pipeline import embed_images, open_model, save_embeddings
    from orthodrome.training.telemetry import counting
    from orthodrome.types import InputError

    if output.suffix != ".npz":
        raise InputError(f"-o takes the name of an .npz file; got {output}")
    opened = open_model(model, preprocessing)
    reader = open_reader(images[0], budget) if len(images) == 1 and is_set(images[0]) else None
    with counting(remarks(), "embedding") as progress:
        embeddings = embed_images(opened, images if reader is None else reader, flip=flip, progress=progress)
    save_embeddings(embeddings, output)
    count, dimension = embeddings.vectors.shape
    show(f"{count} embeddings of {dimension} numbers: {output}")
    if reader is not None:
        show_left_out(reader)
