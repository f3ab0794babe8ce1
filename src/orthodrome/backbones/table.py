"""ONE LINE PER BACKBONE: name, family, paper, description, what the name fixes. The tests run over all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import nn

from orthodrome.backbones.iresnet import iresnet
from orthodrome.backbones.mobilefacenet import mobilefacenet
from orthodrome.backbones.sfnet import sfnet
from orthodrome.backbones.vit import vit
from orthodrome.registry import Registry

SPHEREFACE = "Liu et al. 2017, SphereFace, arXiv 1704.08063"
ARCFACE = "Deng et al. 2019, ArcFace, arXiv 1801.07698"
MOBILEFACENETS = "Chen et al. 2018, MobileFaceNets, arXiv 1804.07573"
VIT = "Dosovitskiy et al. 2021, ViT, arXiv 2010.11929; insightface's feature head"


@dataclass(frozen=True)
class Network:
    """A row of the table: ``family(embedding_dim, image_size, **options, **chosen)`` builds the network.

    ``options`` are what the name fixes; the family's other keyword arguments are for the user to choose.
    """

    name: str
    family: Callable[..., nn.Module]
    options: Mapping[str, Any]
    paper: str
    description: str


BACKBONES: Registry[Network] = Registry("backbone")


def _row(name: str, family: Callable[..., nn.Module], paper: str, description: str, **options: Any) -> None:
    BACKBONES.add(name, Network(name, family, MappingProxyType(options), paper, description))


# fmt: off
_row("sfnet4", sfnet, SPHEREFACE, "four convolutions of stride 2", units=(0, 0, 0, 0))
_row("sfnet10", sfnet, SPHEREFACE, "10 convolutions, residual", units=(0, 1, 2, 0))
_row("sfnet20", sfnet, SPHEREFACE, "20 convolutions, residual", units=(1, 2, 4, 1))
_row("sfnet36", sfnet, SPHEREFACE, "36 convolutions, residual", units=(2, 4, 8, 2))
_row("sfnet64", sfnet, SPHEREFACE, "64 convolutions, residual", units=(3, 8, 16, 3))
_row("iresnet18", iresnet, ARCFACE, "improved residual network, 18 layers", units=(2, 2, 2, 2))
_row("iresnet34", iresnet, ARCFACE, "improved residual network, 34 layers", units=(3, 4, 6, 3))
_row("iresnet50", iresnet, ARCFACE, "improved residual network, 50 layers", units=(3, 4, 14, 3))
_row("iresnet100", iresnet, ARCFACE, "improved residual network, 100 layers", units=(3, 13, 30, 3))
_row("mobilefacenet", mobilefacenet, MOBILEFACENETS, "inverted bottlenecks, global depthwise convolution")
_row("vit_tiny", vit, VIT, "transformer, 256-d tokens, 12 blocks", token_dim=256, depth=12, heads=8)
_row("vit_small", vit, VIT, "transformer, 512-d tokens, 12 blocks", token_dim=512, depth=12, heads=8)
_row("vit_base", vit, VIT, "transformer, 512-d tokens, 24 blocks", token_dim=512, depth=24, heads=8)
# fmt: on
