"""A trained model: network, how its input is made, and where both come from, in one ``model.safetensors``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from orthodrome.backbones import create_backbone
from orthodrome.data import to_network_input
from orthodrome.files import write_file
from orthodrome.pipeline.align import check_template
from orthodrome.types import EmbeddingSet, InputError, PathLike, Preprocessing

FORMAT = "orthodrome-model-1"
MODEL_FILE = "model.safetensors"


@dataclass(frozen=True)
class Model:
    """A network with its preprocessing. ``backbone`` in the description is (name, embedding dimension, options).

    Use :func:`orthodrome.pipeline.embed_images` or the method ``embed`` to turn images into an
    :class:`~orthodrome.types.EmbeddingSet`.
    """

    network: nn.Module
    preprocessing: Preprocessing
    backbone: str
    embedding_dim: int
    options: Mapping[str, Any] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images."""
        return self.preprocessing.size

    @torch.no_grad()
    def vectors(self, images: Tensor) -> Tensor:
        """uint8 RGB images (B, 3, H, W) -> float32 embeddings (B, D) on the CPU; leaves the network in the mode it was in."""
        was_training = self.network.training
        self.network.eval()
        try:
            device = next(self.network.parameters()).device
            embeddings: Tensor = self.network(to_network_input(images.to(device), self.preprocessing))
            return embeddings.float().cpu()
        finally:
            self.network.train(was_training)

    def embed(self, images: Any, **how: Any) -> EmbeddingSet:
        """Embeddings of images; see :func:`orthodrome.pipeline.embed.embed_images`."""
        from orthodrome.pipeline.embed import embed_images

        return embed_images(self, images, **how)


def create_model(
    backbone: str, embedding_dim: int, preprocessing: Preprocessing, options: Mapping[str, Any] | None = None
) -> Model:
    """A new, untrained model. Raises InputError for an unknown network, option or alignment template."""
    check_template(preprocessing.template)
    options = dict(options or {})
    network = create_backbone(backbone, embedding_dim, preprocessing.input_size, **options)
    return Model(network, preprocessing, backbone, embedding_dim, options)


def save_model(model: Model, path: PathLike, meta: Mapping[str, Any] | None = None) -> Path:
    """Write weights and description to one safetensors file, whole or not at all."""
    description = {
        "backbone": model.backbone,
        "embedding_dim": model.embedding_dim,
        "options": dict(model.options),
        "preprocessing": asdict(model.preprocessing),
        "meta": dict(meta if meta is not None else model.meta),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.network.state_dict().items()}
    return write_file(Path(path), save(tensors, {"format": FORMAT, "model": json.dumps(description)}))


def load_model(path: PathLike) -> Model:
    """The model in a run folder or a ``.safetensors`` file, in evaluation mode on the CPU.

    Raises InputError when there is none, when the file is something else or damaged, when its description (preprocessing and alignment
    template, too) is not of this version, or when its weights do not fit it.
    """
    file = _model_file(Path(path))
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file}: cannot be read as a model: {error}") from None
    if metadata.get("format") != FORMAT:
        raise InputError(f"{file}: a safetensors file, but not one of orthodrome (expected format {FORMAT!r})")
    model = _described(file, metadata.get("model", ""))
    try:
        model.network.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(f"{file}: its weights do not fit the network it names, {model.backbone}: {error}") from None
    model.network.eval()
    return model


def _described(file: Path, plain: str) -> Model:
    """The untrained model of a description as `save_model` writes it."""
    try:
        description = json.loads(plain)
        stored: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in description["preprocessing"].items()
        }
        preprocessing = Preprocessing(**stored)
        network = (description["backbone"], description["embedding_dim"], preprocessing, description["options"])
        meta = description["meta"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file}: its description cannot be used: {error}; it is damaged, or of another version") from None
    return replace(create_model(*network), meta=meta)


def _model_file(path: Path) -> Path:
    if path.suffix == ".onnx":
        raise InputError(f"{path}: an ONNX model does not say how its input is made: use open_model, and state its preprocessing")
    file = path / MODEL_FILE if path.is_dir() else path
    if not file.is_file():
        raise InputError(
            f"{path}: no model here; expected a run folder with {MODEL_FILE} (written when training ends) or a .safetensors file"
        )
    return file


def parameter_count(network: nn.Module) -> int:
    """Trainable and frozen parameters."""
    return sum(parameter.numel() for parameter in network.parameters())
