"""SphereFace networks against the paper's table 2 and the authors' Caffe definition."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear, prelu

from orthodrome.backbones import create_backbone

UNITS = {
    "sfnet4": (0, 0, 0, 0),
    "sfnet10": (0, 1, 2, 0),
    "sfnet20": (1, 2, 4, 1),
    "sfnet36": (2, 4, 8, 2),
    "sfnet64": (3, 8, 16, 3),
}


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize(("name", "units"), UNITS.items())
def test_layers_of_the_paper(name: str, units: tuple[int, ...]) -> None:
    with torch.device("meta"):
        network = create_backbone(name, 512, (112, 96))
    found = [(layer.in_channels, layer.out_channels, layer.stride[0]) for layer in convolutions(network)]
    expected, before = [], 3
    for channels, count in zip((64, 128, 256, 512), units, strict=True):
        expected += [(before, channels, 2)] + [(channels, channels, 1)] * (2 * count)
        before = channels
    assert found == expected
    assert len(found) == int(name.removeprefix("sfnet"))
    assert all(layer.kernel_size == (3, 3) and layer.padding == (1, 1) for layer in convolutions(network))
    assert len([module for module in network.modules() if isinstance(module, nn.PReLU)]) == len(found)
    (last,) = [module for module in network.modules() if isinstance(module, nn.Linear)]
    assert (last.in_features, last.out_features) == (512 * 7 * 6, 512)


@pytest.mark.parametrize(("name", "units"), UNITS.items())
def test_parameter_count(name: str, units: tuple[int, ...]) -> None:
    with torch.device("meta"):
        network = create_backbone(name, 512, (112, 96))
    expected, before = 512 * 7 * 6 * 512 + 512, 3
    for channels, count in zip((64, 128, 256, 512), units, strict=True):
        expected += 9 * before * channels + channels + channels  # convolution with bias, PReLU
        expected += 2 * count * (9 * channels * channels + channels)  # convolution without bias, PReLU
        before = channels
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


def test_forward_is_the_caffe_definition() -> None:
    torch.manual_seed(0)
    network = create_backbone("sfnet10", 16, (32, 16), width=0.25).double()
    for parameter in network.parameters():  # away from the start, so that every term shows
        nn.init.normal_(parameter, std=0.2)
    images = torch.randn(2, 3, 32, 16, dtype=torch.float64)
    torch.testing.assert_close(network(images), _caffe_forward(images, list(network.parameters())))


def _caffe_forward(maps: Tensor, parameters: list[Tensor]) -> Tensor:
    take = iter(parameters)
    for count in UNITS["sfnet10"]:
        maps = prelu(conv2d(maps, next(take), next(take), stride=2, padding=1), next(take))
        for _ in range(count):
            first = prelu(conv2d(maps, next(take), padding=1), next(take))
            maps = maps + prelu(conv2d(first, next(take), padding=1), next(take))
    return linear(maps.flatten(1), next(take), next(take))


def test_initialisation_is_the_authors() -> None:
    torch.manual_seed(0)
    network = create_backbone("sfnet10", 64, 32)
    for layer in convolutions(network):
        if layer.stride == (1, 1):
            assert layer.weight.std().item() == pytest.approx(0.01, rel=0.05)
            assert layer.bias is None
        else:
            bound = math.sqrt(3 / (9 * layer.in_channels))
            assert layer.weight.abs().max() <= bound
            assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
            assert layer.bias is not None
            assert layer.bias.count_nonzero() == 0


@pytest.mark.parametrize(("width", "channels"), [(0.5, [32, 64, 128, 256]), (1.5, [96, 192, 384, 768])])
def test_width_multiplies_every_stage(width: float, channels: list[int]) -> None:
    with torch.device("meta"):
        network = create_backbone("sfnet4", 8, 32, width=width)
    assert [layer.out_channels for layer in convolutions(network)] == channels


def test_tiny_width_keeps_one_channel() -> None:
    network = create_backbone("sfnet4", 8, 16, width=1e-6)
    assert network(torch.randn(2, 3, 16, 16)).shape == (2, 8)


def test_batch_norm_follows_each_convolution_and_ends_the_network() -> None:
    torch.manual_seed(0)
    network = create_backbone("sfnet20", 8, 32, width=0.25, batch_norm=True)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == len(convolutions(network)) == 20
    assert all(layer.bias is None for layer in convolutions(network))
    embeddings = network(torch.randn(64, 3, 32, 32))
    torch.testing.assert_close(embeddings.mean(0), torch.zeros(8), atol=1e-4, rtol=0)
    torch.testing.assert_close(embeddings.var(0, correction=0), torch.ones(8), atol=1e-2, rtol=0)


def test_batch_norm_gradient_reaches_every_weight() -> None:
    torch.manual_seed(0)
    network = create_backbone("sfnet10", 8, 32, width=0.25, batch_norm=True)
    (network(torch.randn(8, 3, 32, 32)) * torch.randn(8, 8)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert all(p.grad.abs().max() > 0 for p in network.parameters() if p.ndim > 1)
