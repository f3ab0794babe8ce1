"""The few layers that more than one family uses."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

PRELU_SLOPE = 0.25  # where nn.PReLU starts, which the initialisation of the layer before it must know


def convolution(in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias that keeps an even map (stride 1) or halves it (stride 2).

    Initialised after He et al. (arXiv 1502.01852), for inputs that come out of a PReLU.
    """
    layer = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(layer.weight, a=PRELU_SLOPE)
    return layer


def convolution_norm_prelu(
    in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution, batch normalisation, PReLU with one slope per channel."""
    return nn.Sequential(
        convolution(in_channels, out_channels, kernel, stride, groups),
        nn.BatchNorm2d(out_channels),
        nn.PReLU(out_channels),
    )


def full_precision(features: Tensor, *layers: nn.Module) -> Tensor:
    """Apply ``layers`` one after the other outside autocast, in the dtype of their own weights.

    The last layers of every backbone run so. bfloat16 keeps 8 bits: enough inside a network, too coarse for
    embeddings, whose cosines a loss multiplies by a scale such as 64 and a user compares with a threshold.
    """
    with _no_autocast(features.device.type):
        features = features.to(next(layers[0].parameters()).dtype)
        for layer in layers:
            features = layer(features)
        return features


def _no_autocast(device_type: str) -> AbstractContextManager[object]:
    if torch.amp.is_autocast_available(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()
