"""From a path to a model: ours, or an ONNX file with its preprocessing."""

from __future__ import annotations

from orthodrome.pipeline.embed import Embedder
from orthodrome.pipeline.model import load_model
from orthodrome.pipeline.onnx import load_onnx, read_preprocessing
from orthodrome.types import InputError, PathLike


def open_model(path: PathLike, preprocessing: str | None = None) -> Embedder:
    """A run folder or ``model.safetensors``, which know their preprocessing; or an ``.onnx`` file, which needs it stated.

    Raises InputError where it is missing for an ONNX file or given for another, and as the loaders do.
    """
    if str(path).endswith(".onnx"):
        if preprocessing is None:
            raise InputError(
                f"{path}: --preprocessing is missing: an ONNX file does not say how its input is made. Give a YAML file or, for example, "
                "'{mean: 127.5, std: 127.5, size: 112, colour: RGB}'"
            )
        return load_onnx(path, read_preprocessing(preprocessing))
    if preprocessing is not None:
        raise InputError(f"{path}: --preprocessing goes with .onnx files; this model knows its own")
    return load_model(path)
