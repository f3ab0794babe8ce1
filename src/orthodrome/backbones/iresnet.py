"""The improved residual networks of ArcFace (Deng et al. 2019, arXiv 1801.07698) as insightface defines them.

A residual unit is BN, conv, BN, PReLU, conv (with the stride), BN. The first convolution has stride 1, so a
112×112 crop leaves the last stage as 7×7. BN, dropout, a fully connected layer and a batch normalisation
follow; the weight of the last stays 1: a loss on cosines should not be handed a free scale per dimension.

The modules carry insightface's own names (``conv1``, ``layer1.0.bn1``, ``fc``, ``features``), so that its
published checkpoints load as they are.

Departure: insightface draws every convolution with standard deviation 0.1. Batch normalisation hides that
scale while training, but a fresh iresnet100 in evaluation mode overflows float32; He's does not.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from orthodrome.backbones.checks import STRIDE, require_images, require_rate
from orthodrome.backbones.layers import convolution, full_precision

CHANNELS = (64, 128, 256, 512)


def iresnet(embedding_dim: int, image_size: tuple[int, int], *, units: Sequence[int], dropout: float = 0.0) -> IResNet:
    """Improved residual network with ``units`` residual units in its four stages.

    ``dropout`` in [0, 1) acts on the flattened last map: 0.4 in the ArcFace paper, 0 in insightface's
    recipes.
    """
    return IResNet(embedding_dim, image_size, units, require_rate("dropout", dropout))


class IResNet(nn.Module):
    """Images (B, 3, H, W) -> embeddings (B, D). Built by `iresnet`."""

    def __init__(self, embedding_dim: int, image_size: tuple[int, int], units: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.embedding_dim = embedding_dim
        self.image_size = image_size
        self.conv1 = convolution(3, CHANNELS[0])
        self.bn1 = nn.BatchNorm2d(CHANNELS[0])
        self.prelu = nn.PReLU(CHANNELS[0])
        self.layer1 = _stage(CHANNELS[0], CHANNELS[0], units[0])
        self.layer2 = _stage(CHANNELS[0], CHANNELS[1], units[1])
        self.layer3 = _stage(CHANNELS[1], CHANNELS[2], units[2])
        self.layer4 = _stage(CHANNELS[2], CHANNELS[3], units[3])
        self.bn2 = nn.BatchNorm2d(CHANNELS[3])
        self.dropout = nn.Dropout(dropout)
        positions = (image_size[0] // STRIDE) * (image_size[1] // STRIDE)
        self.fc = nn.Linear(CHANNELS[3] * positions, embedding_dim)
        self.features = nn.BatchNorm1d(embedding_dim)
        self.features.weight.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        require_images(images, self.image_size)
        maps = self.prelu(self.bn1(self.conv1(images)))
        maps = self.layer4(self.layer3(self.layer2(self.layer1(maps))))
        flat = self.dropout(self.bn2(maps).flatten(1))
        return full_precision(flat, self.fc, self.features)


class ResidualUnit(nn.Module):
    """``shortcut(x) + BN(conv(PReLU(BN(conv(BN(x))))))``; the second convolution carries the stride."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, downsample: nn.Module) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = convolution(in_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.prelu = nn.PReLU(out_channels)
        self.conv2 = convolution(out_channels, out_channels, stride=stride)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = downsample

    def forward(self, maps: Tensor) -> Tensor:
        inner = self.prelu(self.bn2(self.conv1(self.bn1(maps))))
        return self.bn3(self.conv2(inner)) + self.downsample(maps)


def _stage(in_channels: int, out_channels: int, units: int) -> nn.Sequential:
    """One unit that halves the map, then ``units − 1`` that keep it."""
    projection = nn.Sequential(convolution(in_channels, out_channels, kernel=1, stride=2), nn.BatchNorm2d(out_channels))
    first = ResidualUnit(in_channels, out_channels, 2, projection)
    others = [ResidualUnit(out_channels, out_channels, 1, nn.Identity()) for _ in range(units - 1)]
    return nn.Sequential(first, *others)
