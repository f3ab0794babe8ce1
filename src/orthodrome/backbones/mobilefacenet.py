"""MobileFaceNet (Chen et al. 2018, arXiv 1804.07573): inverted residual bottlenecks with PReLU.

About a million parameters at 128-d. Where other mobile networks average the last map, a *global depthwise
convolution* with a kernel of the map's own size weighs each position of each channel: the corner of a face
crop says less than its centre. A linear 1×1 convolution with batch normalisation makes the embedding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from orthodrome.backbones.checks import STRIDE, require_images
from orthodrome.backbones.layers import convolution, convolution_norm_prelu, full_precision

STEM_CHANNELS = 64
LAST_CHANNELS = 512


@dataclass(frozen=True)
class Stage:
    """A row of the paper's table 1: ``repeats`` bottlenecks, of which the first has the stride."""

    expansion: int
    channels: int
    repeats: int
    stride: int


STAGES = (
    Stage(expansion=2, channels=64, repeats=5, stride=2),
    Stage(expansion=4, channels=128, repeats=1, stride=2),
    Stage(expansion=2, channels=128, repeats=6, stride=1),
    Stage(expansion=4, channels=128, repeats=1, stride=2),
    Stage(expansion=2, channels=128, repeats=2, stride=1),
)


def mobilefacenet(embedding_dim: int, image_size: tuple[int, int]) -> MobileFaceNet:
    """MobileFaceNet of the paper; it has no options."""
    return MobileFaceNet(embedding_dim, image_size)


class MobileFaceNet(nn.Module):
    """Images (B, 3, H, W) -> embeddings (B, D). Built by `mobilefacenet`."""

    def __init__(self, embedding_dim: int, image_size: tuple[int, int]) -> None:
        super().__init__()
        self.embedding_dim = embedding_dim
        self.image_size = image_size
        self.stem = nn.Sequential(
            convolution_norm_prelu(3, STEM_CHANNELS, stride=2),
            convolution_norm_prelu(STEM_CHANNELS, STEM_CHANNELS, groups=STEM_CHANNELS),
        )
        self.bottlenecks = nn.Sequential(*_bottlenecks())
        self.widen = convolution_norm_prelu(STAGES[-1].channels, LAST_CHANNELS, kernel=1)
        self.global_depthwise = _global_depthwise(LAST_CHANNELS, image_size)
        self.embed = nn.Sequential(convolution(LAST_CHANNELS, embedding_dim, kernel=1), nn.BatchNorm2d(embedding_dim))

    def forward(self, images: Tensor) -> Tensor:
        require_images(images, self.image_size)
        maps = self.widen(self.bottlenecks(self.stem(images)))
        return full_precision(self.global_depthwise(maps), self.embed).flatten(1)


class Bottleneck(nn.Module):
    """Widen (1×1), filter each channel (3×3), narrow without activation (1×1)."""

    def __init__(self, in_channels: int, out_channels: int, expansion: int, stride: int) -> None:
        super().__init__()
        inner = expansion * in_channels
        self.layers = nn.Sequential(
            convolution_norm_prelu(in_channels, inner, kernel=1),
            convolution_norm_prelu(inner, inner, stride=stride, groups=inner),
            convolution(inner, out_channels, kernel=1),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, maps: Tensor) -> Tensor:
        return self.layers(maps)


class Residual(nn.Module):
    """``x + layers(x)``."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.layers(maps)


def _bottlenecks() -> Iterator[nn.Module]:
    """All bottlenecks in order; those that keep the shape of their input add it to their output."""
    channels = STEM_CHANNELS
    for stage in STAGES:
        for stride in [stage.stride] + [1] * (stage.repeats - 1):
            bottleneck = Bottleneck(channels, stage.channels, stage.expansion, stride)
            keeps_shape = stride == 1 and channels == stage.channels
            yield Residual(bottleneck) if keeps_shape else bottleneck
            channels = stage.channels


def _global_depthwise(channels: int, image_size: tuple[int, int]) -> nn.Sequential:
    """(B, C, H/16, W/16) -> (B, C, 1, 1): one weight per channel and position."""
    kernel = (image_size[0] // STRIDE, image_size[1] // STRIDE)
    layer = nn.Conv2d(channels, channels, kernel, groups=channels, bias=False)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    return nn.Sequential(layer, nn.BatchNorm2d(channels))
