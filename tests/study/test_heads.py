"""Support vectors and class probabilities of heads, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from orthodrome import ProxyHead
from orthodrome.study.heads import _calibration_error, _softmax_log_odds, calibration, compare, support_vectors


def planar_head(loss: str, **hyper: object) -> ProxyHead:
    """Four classes on the axes of the plane."""
    head = ProxyHead(loss, 4, 2, **hyper)  # type: ignore[arg-type]
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]))
    return head.eval()


def at(*degrees: float) -> torch.Tensor:
    angles = torch.deg2rad(torch.tensor(degrees))
    return 3 * torch.stack([angles.cos(), angles.sin()], dim=1)


@pytest.mark.parametrize(
    ("loss", "hyper", "pairs", "samples"),
    [
        # 10°: target 0.98, others 0.17, −0.98, −0.17; 60°: target 0.5, others 0.87, −0.5, −0.87
        ("normface", {}, 1 / 6, 1 / 2),
        ("cosface", {"margin": 0.9}, 2 / 6, 1.0),
        ("sv_softmax", {}, 1 / 6, 1 / 2),
        ("sv_am_softmax", {"margin": 0.9}, 2 / 6, 1.0),
        ("adacos", {}, 1 / 6, 1 / 2),
    ],
)
def test_support_vectors(loss: str, hyper: dict[str, float], pairs: float, samples: float) -> None:
    found = support_vectors(planar_head(loss, **hyper), at(10, 60), torch.tensor([0, 0]))
    assert found == pytest.approx((pairs, samples))


@pytest.mark.parametrize("loss", ["cosface", "curricularface"])
def test_embeddings_on_the_cpu_meet_a_head_on_another_device(loss: str) -> None:
    """Fake tensors have shapes and devices only, and refuse to mix devices as real ones do; "lazy" is one that needs no GPU."""
    with FakeTensorMode():
        head = ProxyHead(loss, 6, 8)
        head.weight = torch.nn.Parameter(head.weight.detach().to("lazy"))
        found = compare(head, torch.randn(4, 8), torch.arange(4))
    assert head.weight.device.type == "lazy"
    assert found.similarity.shape == (4, 6)
    assert {found.similarity.device.type, found.target.device.type, found.logits.device.type} == {"cpu"}


def test_logits_are_those_without_a_margin() -> None:
    head = planar_head("cosface", scale=8.0, margin=0.4)
    torch.testing.assert_close(
        compare(head, at(0), torch.tensor([0])).logits, torch.tensor([[8.0, 0.0, -8.0, 0.0]]), atol=1e-5, rtol=0
    )
    head = planar_head("sphereface2", scale=8.0, margin=0.4, t=3.0, bias=None)
    adjusted = 2 * ((1 + torch.tensor([[1.0, 0.0, -1.0, 0.0]])) / 2) ** 3 - 1
    torch.testing.assert_close(compare(head, at(0), torch.tensor([0])).logits, 8 * adjusted, atol=1e-5, rtol=0)


def test_calibration_of_a_softmax_by_hand() -> None:
    head = planar_head("normface", scale=2.0)
    labels = [0, 1, 2, 3]
    found = calibration(head, at(0, 90, 90, 180), torch.tensor(labels))
    total = math.exp(2) + 2 + math.exp(-2)
    assert (found.images, found.accuracy) == (4, 0.5)
    assert found.confidence == pytest.approx(math.exp(2) / total, abs=1e-5)
    right, wrong = [], []
    for label, angle in zip(labels, (0, 90, 90, 180), strict=True):
        for cls in range(4):
            probability = math.exp(2 * math.cos(math.radians(angle - 90 * cls))) / total
            odds = 3 * probability / (1 - probability)
            (right if cls == label else wrong).append(math.log2(1 + 1 / odds) if cls == label else math.log2(1 + odds))
    assert found.cllr == pytest.approx((sum(right) / 4 + sum(wrong) / 12) / 2, abs=1e-5)


def test_calibration_of_sigmoids_by_hand() -> None:
    head = planar_head("sphereface2", scale=2.0, margin=0.1, t=1.0, bias=None)
    found = calibration(head, at(0), torch.tensor([0]))
    probability = 1 / (1 + math.exp(-2))
    assert found.confidence == pytest.approx(probability, abs=1e-6)
    assert found.error == pytest.approx(1 - probability, abs=1e-6)
    log_odds = torch.tensor([2.0, 0.0, -2.0, 0.0], dtype=torch.float64) + math.log(3)
    costs = torch.log1p(torch.exp(-log_odds[0])) + torch.log1p(torch.exp(log_odds[1:])).mean()
    assert found.cllr == pytest.approx(float(costs) / (2 * math.log(2)), abs=1e-5)


def test_log_odds_of_softmax_at_both_ends() -> None:
    """Where p rounds to 1 or 0 the odds are still known, and equal logits share."""
    logits = torch.tensor([[100.0, 0.0, 0.0], [1.0, 1.0, -500.0]])
    expected = torch.tensor([[100 - math.log(2), -100.0, -100.0], [0.0, 0.0, -501 - math.log(2)]], dtype=torch.float64)
    torch.testing.assert_close(_softmax_log_odds(logits.double()), expected, atol=1e-6, rtol=0)


def test_calibration_error_of_a_certain_half() -> None:
    right = np.tile([True, False], 300)
    assert _calibration_error(np.ones(600), right) == pytest.approx(0.5)
    assert _calibration_error(np.full(600, 0.5), right) == pytest.approx(0.0, abs=0.02)
