"""Improved residual networks against insightface's definition."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import batch_norm, conv2d, prelu

from orthodrome.backbones import create_backbone
from orthodrome.backbones.iresnet import ResidualUnit

UNITS = {
    "iresnet18": (2, 2, 2, 2),
    "iresnet34": (3, 4, 6, 3),
    "iresnet50": (3, 4, 14, 3),
    "iresnet100": (3, 13, 30, 3),
}
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


@pytest.mark.parametrize(
    ("name", "millions"),
    [("iresnet18", 24.03), ("iresnet34", 34.14), ("iresnet50", 43.59), ("iresnet100", 65.16)],
)
def test_published_parameter_count(name: str, millions: float) -> None:
    with torch.device("meta"):
        network = create_backbone(name, 512, 112)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.006)


@pytest.mark.parametrize(("name", "units"), UNITS.items())
def test_state_has_insightface_names(name: str, units: tuple[int, ...]) -> None:
    with torch.device("meta"):
        found = set(create_backbone(name).state_dict())
    assert found == _insightface_names(units)


def _insightface_names(units: tuple[int, ...]) -> set[str]:
    norms = ["bn1", "bn2", "features"]
    weights = ["conv1.weight", "prelu.weight", "fc.weight", "fc.bias"]
    for stage, count in enumerate(units, start=1):
        norms.append(f"layer{stage}.0.downsample.1")
        weights.append(f"layer{stage}.0.downsample.0.weight")
        for unit in range(count):
            prefix = f"layer{stage}.{unit}"
            norms += [f"{prefix}.bn1", f"{prefix}.bn2", f"{prefix}.bn3"]
            weights += [f"{prefix}.{layer}.weight" for layer in ("conv1", "prelu", "conv2")]
    return {f"{norm}.{part}" for norm in norms for part in NORM} | set(weights)


def test_residual_unit_is_norm_conv_norm_prelu_conv_norm() -> None:
    torch.manual_seed(0)
    shortcut = nn.Conv2d(4, 6, 1, stride=2)
    unit = ResidualUnit(4, 6, 2, shortcut).double().train()
    for parameter in unit.parameters():
        nn.init.normal_(parameter)
    maps = torch.randn(3, 4, 8, 8, dtype=torch.float64)

    def norm(layer: nn.BatchNorm2d, values: torch.Tensor) -> torch.Tensor:
        return batch_norm(values, None, None, layer.weight, layer.bias, training=True)

    inner = norm(unit.bn2, conv2d(norm(unit.bn1, maps), unit.conv1.weight, padding=1))
    last = conv2d(prelu(inner, unit.prelu.weight), unit.conv2.weight, stride=2, padding=1)
    torch.testing.assert_close(unit(maps), norm(unit.bn3, last) + shortcut(maps))


def test_first_convolution_keeps_the_size_and_four_stages_halve_it() -> None:
    with torch.device("meta"):
        network = create_backbone("iresnet18", 8, (112, 96))
        maps = network.prelu(network.bn1(network.conv1(torch.empty(1, 3, 112, 96))))
        sizes = [tuple(maps.shape[1:])]
        for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
            maps = stage(maps)
            sizes.append(tuple(maps.shape[1:]))
    assert sizes == [(64, 112, 96), (64, 56, 48), (128, 28, 24), (256, 14, 12), (512, 7, 6)]


def test_weight_of_the_last_norm_is_frozen_at_one() -> None:
    network = create_backbone("iresnet18", 8, 16)
    frozen = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
    assert frozen == ["features.weight"]
    assert torch.equal(network.features.weight, torch.ones(8))


def test_dropout_acts_while_training_only() -> None:
    torch.manual_seed(0)
    network = create_backbone("iresnet18", 8, 16, dropout=0.5)
    images = torch.randn(4, 3, 16, 16)
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images))
