"""Options that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

Flip = Annotated[str, typer.Option(help="Join image and mirror image: sum, concat or none.")]

OnnxPreprocessing = Annotated[
    str | None,
    typer.Option("--preprocessing", help="For .onnx: YAML file, or '{mean: …, std: …, size: 112, colour: RGB, input: NAME}'."),
]
