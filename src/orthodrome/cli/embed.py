"""``orthodrome embed``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def embed(
    model: Annotated[Path, typer.Argument(help="Run folder or model.safetensors.", metavar="MODEL")],
    images: Annotated[
        list[Path],
        typer.Argument(help="Image files, aligned like the training images; or one set (folder, .rec, tar shards, Parquet)."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .npz to write.")],
    flip: Annotated[str, typer.Option(help="Join image and mirror image: sum, concat or none.")] = "sum",
) -> None:
    """Turn images into embeddings: an .npz with vectors, labels and ids.

    Example: orthodrome embed runs/x a.jpg b.jpg -o faces.npz
    """
    from orthodrome.cli.output import remarks, show
    from orthodrome.data import is_set, open_reader
    from orthodrome.pipeline import load_model, save_embeddings
    from orthodrome.training.telemetry import counting
    from orthodrome.types import InputError

    if output.suffix != ".npz":
        raise InputError(f"-o takes the name of an .npz file; got {output}")
    loaded = load_model(model)
    source = open_reader(images[0]) if len(images) == 1 and is_set(images[0]) else images
    with counting(remarks(), "embedding") as progress:
        embeddings = loaded.embed(source, flip=flip, progress=progress)
    save_embeddings(embeddings, output)
    count, dimension = embeddings.vectors.shape
    show(f"{count} embeddings of {dimension} numbers: {output}")
