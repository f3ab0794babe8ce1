"""The networks of SphereFace (Liu et al. 2017, arXiv 1704.08063): residual, 3×3 convolutions, PReLU.

Four stages of 64, 128, 256 and 512 channels. Each begins with a convolution of stride 2 and goes on with
residual units ``x + prelu(conv(prelu(conv(x))))``; a fully connected layer turns the flattened last map
into the embedding. The number in a name counts the convolutions: SFNet-20 has 4 + 2 · (1 + 2 + 4 + 1) of
them. The authors' Caffe files settle what the paper leaves open: the convolutions of stride 2 and the fully
connected layer have a bias, those of the residual units have none, and no activation follows the sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from orthodrome.backbones.checks import STRIDE, require_flag, require_images, require_positive
from orthodrome.backbones.layers import convolution_norm_prelu, full_precision

CHANNELS = (64, 128, 256, 512)


@dataclass(frozen=True)
class Layers:
    """The layers a network is made of: ``halve(in, out)``, ``keep(channels)`` and ``embed(features, D)``."""

    halve: Callable[[int, int], nn.Module]
    keep: Callable[[int], nn.Module]
    embed: Callable[[int, int], nn.Module]


def sfnet(
    embedding_dim: int,
    image_size: tuple[int, int],
    *,
    units: Sequence[int],
    width: float = 1.0,
    batch_norm: bool = False,
) -> SFNet:
    """SphereFace network with ``units`` residual units in its four stages.

    ``width`` > 0 multiplies the channels of every stage (0.5: half as wide). ``batch_norm`` puts batch
    normalisation after each convolution and on the embedding; the paper has none.
    """
    width = require_positive("width", width)
    layers = NORMALISED if require_flag("batch_norm", batch_norm) else PLAIN
    channels = [max(1, round(width * count)) for count in CHANNELS]
    return SFNet(embedding_dim, image_size, channels, units, layers)


class SFNet(nn.Module):
    """Images (B, 3, H, W) -> embeddings (B, D). Built by `sfnet`."""

    def __init__(
        self,
        embedding_dim: int,
        image_size: tuple[int, int],
        channels: Sequence[int],
        units: Sequence[int],
        layers: Layers,
    ) -> None:
        super().__init__()
        self.embedding_dim = embedding_dim
        self.image_size = image_size
        self.stages = nn.Sequential(*_stages(channels, units, layers))
        positions = (image_size[0] // STRIDE) * (image_size[1] // STRIDE)
        self.embed = layers.embed(channels[-1] * positions, embedding_dim)

    def forward(self, images: Tensor) -> Tensor:
        require_images(images, self.image_size)
        return full_precision(self.stages(images).flatten(1), self.embed)


class ResidualUnit(nn.Module):
    """``x + second(first(x))``."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.second(self.first(maps))


def _stages(channels: Sequence[int], units: Sequence[int], layers: Layers) -> Iterator[nn.Sequential]:
    for before, after, count in zip([3, *channels], channels, units, strict=False):
        residual_units = [ResidualUnit(layers.keep(after), layers.keep(after)) for _ in range(count)]
        yield nn.Sequential(layers.halve(before, after), *residual_units)


def _plain_halve(in_channels: int, out_channels: int) -> nn.Sequential:
    layer = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
    _caffe_xavier(layer)
    return nn.Sequential(layer, nn.PReLU(out_channels))


def _plain_keep(channels: int) -> nn.Sequential:
    layer = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    # So small that a unit begins as the identity: what lets 64 layers train without normalisation.
    nn.init.normal_(layer.weight, std=0.01)
    return nn.Sequential(layer, nn.PReLU(channels))


def _plain_embed(features: int, embedding_dim: int) -> nn.Module:
    layer = nn.Linear(features, embedding_dim)
    _caffe_xavier(layer)
    return layer


def _normalised_halve(in_channels: int, out_channels: int) -> nn.Sequential:
    return convolution_norm_prelu(in_channels, out_channels, stride=2)


def _normalised_keep(channels: int) -> nn.Sequential:
    return convolution_norm_prelu(channels, channels)


def _normalised_embed(features: int, embedding_dim: int) -> nn.Sequential:
    layer = nn.Linear(features, embedding_dim, bias=False)
    nn.init.xavier_normal_(layer.weight)
    return nn.Sequential(layer, nn.BatchNorm1d(embedding_dim))


def _caffe_xavier(layer: nn.Conv2d | nn.Linear) -> None:
    """Caffe's "xavier" filler: uniform in ±√(3 / fan-in). Torch's Xavier also counts the fan-out."""
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="linear")
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


PLAIN = Layers(_plain_halve, _plain_keep, _plain_embed)
NORMALISED = Layers(_normalised_halve, _normalised_keep, _normalised_embed)
