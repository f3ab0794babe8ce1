"""The gradient is an axis of its own: exact rows pass gradcheck; those that detach have exactly the gradient their
formula says.
"""

from __future__ import annotations

import pytest
import torch
from loss_cases import BATCH, CASES, CLASSES, DIMENSION, angular_of, cosines, head_of, inputs, spec_of
from torch import Tensor

from orthodrome import ProxyHead, losses
from orthodrome.heads import engine

# Rows whose published formula holds something constant for the gradient, besides the margin.
CONSTANT_INSIDE = {"circle_proxy": "the weights [·]₊", "adaface": "the feature norm"}


def proxies_gradient(head: ProxyHead, weight: Tensor, embeddings: Tensor, labels: Tensor) -> Tensor:
    return torch.func.functional_call(head, {"weight": weight}, (embeddings, labels)).loss


@pytest.mark.parametrize("case", [case for case in CASES if case not in CONSTANT_INSIDE])
def test_exact_gradients_pass_gradcheck(case: str) -> None:
    head = head_of(case, gradient="exact").eval()
    embeddings, labels = inputs(batch=4)
    assert torch.autograd.gradcheck(
        lambda x, w: proxies_gradient(head, w, x, labels),
        (embeddings, head.weight.detach().requires_grad_()),
        rtol=1e-4,
        atol=1e-6,
    )


def test_rows_that_hold_something_constant_are_not_exact() -> None:
    """If one of these passes gradcheck, its entry in the list above is wrong."""
    for case in CONSTANT_INSIDE:
        head = head_of(case).eval()
        embeddings, labels = inputs(batch=4)
        embeddings = embeddings.detach().requires_grad_()
        assert not torch.autograd.gradcheck(
            lambda x, head=head, labels=labels: head(x, labels).loss, (embeddings,), raise_exception=False
        )


def test_circle_gradient_has_constant_weights() -> None:
    head, (embeddings, _) = head_of("circle_proxy"), inputs()
    cos_y, cos = cosines()
    phi, nu = angular_of(head, embeddings, cos_y, cos)
    by_target, by_other = torch.autograd.grad(phi.sum() + nu.sum(), [cos_y, cos])
    torch.testing.assert_close(by_target, (1.25 - cos_y).clamp_min(0).detach())
    torch.testing.assert_close(by_other, (cos + 0.25).clamp_min(0).detach())


def test_adaface_does_not_pull_on_the_norm() -> None:
    head, (embeddings, labels) = head_of("adaface"), inputs()
    head(embeddings, labels).loss.backward()
    torch.testing.assert_close(
        (embeddings.grad * embeddings).sum(dim=1), torch.zeros(BATCH, dtype=torch.float64), atol=1e-9, rtol=0
    )


def test_magface_does_pull_on_the_norm() -> None:
    head, (embeddings, labels) = head_of("magface"), inputs()
    head(embeddings, labels).loss.backward()
    assert ((embeddings.grad * embeddings).sum(dim=1).abs() > 1e-3).any()


@pytest.mark.parametrize("case", CASES)
def test_detached_has_slope_one_everywhere(case: str) -> None:
    head, (embeddings, _) = head_of(case, gradient="detached"), inputs()
    cos_y, cos = cosines()
    phi, nu = angular_of(head, embeddings, cos_y, cos)
    by_target, by_other = torch.autograd.grad(phi.sum() + nu.sum(), [cos_y, cos])
    assert torch.equal(by_target, torch.ones_like(cos_y))
    assert torch.equal(by_other, torch.ones_like(cos))


@pytest.mark.parametrize("case", CASES)
def test_conventions_agree_in_the_forward_pass(case: str) -> None:
    embeddings, labels = inputs()
    exact = head_of(case, gradient="exact").eval()(embeddings, labels).per_sample
    for gradient in ("detached", "detach_margin"):
        found = head_of(case, gradient=gradient).eval()(embeddings, labels).per_sample
        torch.testing.assert_close(found, exact, rtol=1e-11, atol=1e-11)


def g_slope(value: Tensor, t: float) -> Tensor:
    """g′ at the z where g(z) is evaluated."""
    return t * ((value + 1) / 2) ** (t - 1)


@pytest.mark.parametrize("case", CASES)
def test_detach_margin_keeps_the_slope_of_nu(case: str) -> None:
    slopes = {}
    for gradient in ("exact", "detach_margin"):
        head, (embeddings, _) = head_of(case, gradient=gradient), inputs()
        cos_y, cos = cosines()
        phi, nu = angular_of(head, embeddings, cos_y, cos)
        slopes[gradient] = (*torch.autograd.grad(phi.sum(), cos_y), *torch.autograd.grad(nu.sum(), cos))
    torch.testing.assert_close(slopes["detach_margin"][1], slopes["exact"][1])
    if not spec_of(case).name.startswith("sphereface2"):
        torch.testing.assert_close(slopes["detach_margin"][0], torch.ones_like(slopes["exact"][0]))


@pytest.mark.parametrize(
    ("variant", "moved"),
    [
        ("C", lambda angle: angle),
        ("A", lambda angle: (angle + 0.5).clamp_max(torch.pi)),
        ("M", lambda angle: (1.7 * angle).clamp_max(torch.pi)),
    ],
)
def test_sphereface2_detach_margin_keeps_the_slope_of_g(variant: str, moved) -> None:
    """∂P/∂c = g′(cos of the moved angle) · 1: the margin is a constant, the similarity adjustment is not."""
    head, (embeddings, _) = head_of("sphereface2", variant=variant, gradient="detach_margin"), inputs()
    cos_y, cos = cosines()
    phi, _ = angular_of(head, embeddings, cos_y, cos)
    (slope,) = torch.autograd.grad(phi.sum(), cos_y)
    torch.testing.assert_close(slope, g_slope(moved(cos_y.acos()).cos(), 3.0).detach())


def logits_gradient(head: ProxyHead, embeddings: Tensor, labels: Tensor) -> Tensor:
    """∂L/∂cos (B, C) of a detached row with a number for a scale, from the logits alone: s·(probability − one-hot)/B
    and its binary twin.
    """
    scale = float(head.spec.hyper["scale"])
    cos = engine.similarities(head.spec, head.spec.similarity.query(embeddings, {}), head.weight, None).detach()
    cos_y = cos.gather(1, labels.unsqueeze(1))
    phi, nu = angular_of(head, embeddings, cos_y, cos)
    bias = float(head.bias.detach()) if hasattr(head, "bias") else 0.0
    values = scale * nu.scatter(1, labels.unsqueeze(1), phi) + bias
    own = torch.nn.functional.one_hot(labels, CLASSES)
    if hasattr(head, "bias"):
        lam = head.spec.hyper["lam"]
        by_logit = torch.where(own == 1, -lam * torch.sigmoid(-values), (1 - lam) * torch.sigmoid(values))
    else:
        by_logit = torch.softmax(values, dim=1) - own
    factor = head.spec.hyper["loss_weight"] / (scale if head.spec.name in ("sphereface_r", "sphereface2") else 1)
    return factor * scale * by_logit / len(labels)


@pytest.mark.parametrize(
    "case",
    ["arcface", "cosface", "combined all", "sv_arc_softmax", "sphereface_r", "sphereface_r v0", "sphereface_r v2", "sphereface2",
     "sphereface2@A", "sphereface2@M", "sphereface2@review", "circle_proxy"],
)  # fmt: skip
def test_detached_gradient_is_that_of_the_scaled_cosines(case: str) -> None:
    head, (embeddings, labels) = head_of(case, gradient="detached").eval(), inputs()
    found = torch.autograd.grad(head(embeddings, labels).loss, [embeddings, head.weight])
    cos = engine.similarities(head.spec, head.spec.similarity.query(embeddings, {}), head.weight, None)
    expected = torch.autograd.grad((logits_gradient(head, embeddings, labels) * cos).sum(), [embeddings, head.weight])
    for mine, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-9, atol=1e-11)


def test_presets_disagree_about_the_gradient_only() -> None:
    """insightface changed its ArcFace in December 2022: same loss, another gradient."""
    results = []
    for preset in ("arcface@insightface-2021", "arcface@insightface-2022"):
        head, (embeddings, labels) = head_of(preset), inputs()
        output = head(embeddings, labels)
        output.loss.backward()
        results.append((output.loss, embeddings.grad))
    torch.testing.assert_close(results[0][0], results[1][0])
    assert (results[0][1] - results[1][1]).abs().max() > 1e-3


def test_the_head_passes_its_gradient_argument() -> None:
    assert ProxyHead("arcface", 4, DIMENSION, gradient="detached").spec.gradient == "detached"
    assert ProxyHead("arcface@insightface-2022", 4, DIMENSION).spec.gradient == "detached"
    assert ProxyHead("arcface@insightface-2022", 4, DIMENSION, gradient="exact").spec.gradient == "exact"
    assert losses.proxy_loss("sphereface2").gradient == "detached"
