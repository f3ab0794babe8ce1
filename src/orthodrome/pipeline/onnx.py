"""Models of other toolkits, as ONNX files: run by ONNX Runtime, with the preprocessing stated and never guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from orthodrome.registry import near_matches
from orthodrome.types import EmbeddingSet, InputError, PathLike

IMPORT_HINT = 'ONNX models need ONNX Runtime: pip install "orthodrome[onnx]"'


@dataclass(frozen=True)
class OnnxPreprocessing:
    """How pixels become the input of a model whose file does not say.

    The model sees float32 (B, 3, height, width), ``(x − mean) / std`` of 8-bit values, channel by channel in ``colour`` order
    (``"RGB"`` or ``"BGR"``); ``mean`` and ``std`` are three numbers in that order, or one for all. For ImageNet's usual
    0.485, … and 0.229, … of values in [0, 1], multiply both by 255. ``input`` names the input; empty: the only one there is.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    size: tuple[int, int] = (112, 112)
    colour: str = "RGB"
    input: str = ""

    def __post_init__(self) -> None:
        if len(self.size) != 2 or not all(isinstance(side, int) and side > 0 for side in self.size):
            raise InputError(f"preprocessing: size must be two positive integers (height, width); got {self.size}")
        if self.colour not in ("RGB", "BGR"):
            raise InputError(f"preprocessing: colour must be 'RGB' or 'BGR'; got {self.colour!r}")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) != 3 or not np.isfinite(values).all():
                raise InputError(f"preprocessing: {name} must be one number or three, one per channel; got {values}")
        if min(self.std) <= 0:
            raise InputError(f"preprocessing: std must be positive; got {self.std}")

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 RGB (B, 3, H, W) -> the model's input, float32 of the same shape."""
        ordered = images[:, ::-1] if self.colour == "BGR" else images
        mean, std = (np.array(values, np.float32).reshape(1, 3, 1, 1) for values in (self.mean, self.std))
        return np.ascontiguousarray((ordered.astype(np.float32) - mean) / std)


@dataclass(frozen=True)
class OnnxModel:
    """A model in ONNX Runtime; embeds as `orthodrome.pipeline.Model` does. Made by `load_onnx`.

    ``batch_size``: the one the file is fixed to, or 0.
    """

    session: Any
    preprocessing: OnnxPreprocessing
    batch_size: int = 0
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images."""
        return self.preprocessing.size

    def vectors(self, images: Tensor) -> Tensor:
        """uint8 RGB images (B, 3, H, W) -> float32 embeddings (B, D)."""
        pixels = self.preprocessing(images.numpy())
        step = self.batch_size or len(pixels)
        parts = [self._run(pixels[start : start + step], step) for start in range(0, len(pixels), step)]
        return torch.from_numpy(np.concatenate(parts))

    def _run(self, pixels: np.ndarray, count: int) -> np.ndarray:
        """Embeddings of up to ``count`` images; a file made for batches of ``count`` sees the last one filled up with zeros."""
        filled = np.concatenate([pixels, np.zeros((count - len(pixels), *pixels.shape[1:]), np.float32)])
        result = np.asarray(self.session.run(None, {self.preprocessing.input: filled})[0], dtype=np.float32)
        return result.reshape(count, -1)[: len(pixels)]

    def embed(self, images: Any, **how: Any) -> EmbeddingSet:
        """Embeddings of images; see `orthodrome.pipeline.embed.embed_images`."""
        from orthodrome.pipeline.embed import embed_images

        return embed_images(self, images, **how)


def load_onnx(path: PathLike, preprocessing: OnnxPreprocessing, threads: int | None = None) -> OnnxModel:
    """The model in an ``.onnx`` file, on the CPU with ``threads`` threads (None: as many as torch uses).

    The first output of the model is the embedding. Raises InputError where ONNX Runtime is missing, the file cannot be loaded, or
    the input that ``preprocessing`` names or the size it gives is not the model's.
    """
    try:
        import onnxruntime
    except ImportError:
        raise InputError(IMPORT_HINT) from None
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a dozen classes of its own
        raise InputError(f"{path}: cannot be loaded as an ONNX model: {str(error).splitlines()[0]}") from None
    entry = _input(str(path), session.get_inputs(), preprocessing)
    stated = replace(preprocessing, input=entry.name)
    fixed = entry.shape[0] if isinstance(entry.shape[0], int) else 0
    return OnnxModel(session, stated, fixed, {"model": Path(path).name, "preprocessing": asdict(stated)})


def read_preprocessing(given: str) -> OnnxPreprocessing:
    """The preprocessing in a YAML file, or in a YAML mapping given directly: ``{mean: 127.5, std: 127.5, size: 112, colour: RGB}``.

    Raises InputError for a file that cannot be read, an unknown or missing key, and values that cannot be.
    """
    where = "--preprocessing" if given.lstrip().startswith("{") else given
    try:
        text = given if where != given else Path(given).read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{where}: cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise InputError(f"{where}: expected keys and values, as in {{mean: 127.5, std: 127.5}}; got {content!r}")
    known = [option.name for option in fields(OnnxPreprocessing)]
    for key in content:
        if key not in known:
            raise InputError(f"{where}: unknown key {key!r}.{near_matches(str(key), known)}")
    for key in ("mean", "std"):
        if key not in content:
            raise InputError(
                f"{where}: {key} is missing: a model is only as good as its preprocessing, which its file does not tell"
            )
    try:
        return OnnxPreprocessing(**{key: _repeated(key, value) for key, value in content.items()})
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {error}") from None


def _repeated(key: str, value: Any) -> Any:
    """One number stands for all of a key's."""
    lengths = {"mean": (3, float), "std": (3, float), "size": (2, int)}
    if key not in lengths:
        return str(value)
    count, kind = lengths[key]
    values = value if isinstance(value, list) else [value] * count
    return tuple(kind(number) for number in values)


def _input(path: str, inputs: Any, preprocessing: OnnxPreprocessing) -> Any:
    names = [one.name for one in inputs]
    wanted = preprocessing.input or (names[0] if len(names) == 1 else "")
    if wanted not in names:
        raise InputError(f"{path}: the model's inputs are {', '.join(names)}; the preprocessing names {wanted or 'none'}")
    entry = inputs[names.index(wanted)]
    shape = entry.shape
    expected = (3, *preprocessing.size)
    if len(shape) != 4 or any(isinstance(side, int) and side != want for side, want in zip(shape[1:], expected, strict=True)):
        raise InputError(
            f"{path}: the input {wanted} takes {shape}; the preprocessing makes (B, {', '.join(map(str, expected))})"
        )
    return entry
