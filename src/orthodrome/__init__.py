"""orthodrome: train, measure and use embeddings that live on a hypersphere.

Public names are imported when they are first used, so that ``import orthodrome`` does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "InputError": "orthodrome.types",
    "EmbeddingSet": "orthodrome.types",
    "LossOutput": "orthodrome.types",
    "Preprocessing": "orthodrome.types",
    "PairHead": "orthodrome.heads.pair",
    "ProxyHead": "orthodrome.heads.proxy",
    "create_backbone": "orthodrome.backbones",
    "load_model": "orthodrome.pipeline.model",
    "backbones": "",
    "data": "",
    "evaluation": "",
    "figures": "",
    "heads": "",
    "losses": "",
    "pipeline": "",
    "sphere": "",
    "training": "",
}

__all__ = ["__version__", *_WHERE]

if TYPE_CHECKING:
    from orthodrome import backbones, data, evaluation, figures, heads, losses, pipeline, sphere, training
    from orthodrome.backbones import create_backbone
    from orthodrome.heads.pair import PairHead
    from orthodrome.heads.proxy import ProxyHead
    from orthodrome.pipeline.model import load_model
    from orthodrome.types import EmbeddingSet, InputError, LossOutput, Preprocessing


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'orthodrome' has no attribute {name!r}")
    where = _WHERE[name]
    value = getattr(importlib.import_module(where), name) if where else importlib.import_module(f"orthodrome.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
