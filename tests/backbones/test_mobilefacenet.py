"""MobileFaceNet against table 1 of its paper."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from orthodrome.backbones import create_backbone
from orthodrome.backbones.mobilefacenet import Residual


@pytest.mark.parametrize("size", [(112, 112), (112, 96)])
def test_about_a_million_parameters_at_128_dimensions(size: tuple[int, int]) -> None:
    with torch.device("meta"):
        network = create_backbone("mobilefacenet", 128, size)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count / 1e6 == pytest.approx(1.0, abs=0.015)  # the paper rounds to 0.99 million


def test_maps_of_the_paper() -> None:
    with torch.device("meta"):
        network = create_backbone("mobilefacenet", 128, 112)
        maps = network.stem(torch.empty(1, 3, 112, 112))
        shapes = [tuple(maps.shape[1:])]
        for bottleneck in network.bottlenecks:
            maps = bottleneck(maps)
            shapes.append(tuple(maps.shape[1:]))
    assert shapes == [(64, 56, 56)] + [(64, 28, 28)] * 5 + [(128, 14, 14)] * 7 + [(128, 7, 7)] * 3
    assert sum(isinstance(module, Residual) for module in network.bottlenecks) == 12


@pytest.mark.parametrize("size", [(112, 112), (112, 96), (32, 64)])
def test_global_depthwise_kernel_fits_the_last_map(size: tuple[int, int]) -> None:
    with torch.device("meta"):
        network = create_backbone("mobilefacenet", 128, size)
    layer = network.global_depthwise[0]
    assert layer.kernel_size == (size[0] // 16, size[1] // 16)
    assert layer.groups == layer.in_channels == layer.out_channels == 512
    assert not any(isinstance(module, nn.PReLU) for module in network.global_depthwise)  # linear, as in the paper
    assert not any(isinstance(module, nn.PReLU) for module in network.embed)
