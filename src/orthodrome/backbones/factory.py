"""From a name to a network."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from torch import nn

from orthodrome.backbones.checks import parse_embedding_dim, parse_image_size
from orthodrome.backbones.table import BACKBONES, Network
from orthodrome.registry import near_matches
from orthodrome.types import InputError


def create_backbone(name: str, embedding_dim: int = 512, image_size: int | tuple[int, int] = 112, **options: Any) -> nn.Module:
    """A new network: floating-point images (B, 3, H, W) -> raw embeddings (B, ``embedding_dim``).

    ``image_size`` in pixels is a side or (height, width), divisible by 16: 112, (112, 96), 64… ``options``
    are those of the family: see `option_names` and `sfnet`, `iresnet`, `mobilefacenet`, `vit`. The module
    keeps what it was built for in ``module.embedding_dim`` and ``module.image_size`` (height, width). Its
    embeddings have the dtype of its weights, under autocast too. The weights are drawn from torch's global
    generator: seed it to get the same network twice.

    Raises InputError for an unknown name or option (with near matches), for a size not divisible by 16 (with
    the nearest valid ones) and for values out of range; the network raises it for images of another size.

    >>> backbone = create_backbone("sfnet20", 128, (112, 96), width=0.25)
    >>> backbone.embedding_dim, backbone.image_size
    (128, (112, 96))
    """
    network = BACKBONES.get(name)
    _require_known(network, options)
    return network.family(parse_embedding_dim(embedding_dim), parse_image_size(image_size), **network.options, **options)


def names() -> tuple[str, ...]:
    """All backbones, in the order of the table."""
    return BACKBONES.names()


def option_names(name: str) -> tuple[str, ...]:
    """The options ``create_backbone`` takes for ``name``, for example ``("width", "batch_norm")``."""
    network = BACKBONES.get(name)
    parameters = inspect.signature(network.family).parameters.values()
    free = (p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
    return tuple(option for option in free if option not in network.options)


def _require_known(network: Network, given: Iterable[str]) -> None:
    known = option_names(network.name)
    for option in given:
        if option not in known:
            advice = near_matches(option, known) if known else " It has no options."
            raise InputError(f"unknown option {option!r} of backbone {network.name!r}.{advice}")
