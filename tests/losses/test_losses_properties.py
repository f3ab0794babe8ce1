"""What must hold for any numbers: hypothesis looks for those that break it."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orthodrome import PairHead, ProxyHead, losses, sphere
from orthodrome.losses import angular
from orthodrome.losses.biases import balanced_bias

CLASSES, DIMENSION, BATCH = 6, 4, 7
FEW = settings(max_examples=15, deadline=None)
SEEDS = st.integers(0, 10_000)

# Rows in which the length of x (or of W) counts, by what it is for.
LENGTH_OF_X = {"softmax", "modified_softmax", "a_softmax", "magface", "adaface", "center"}
LENGTH_OF_W = {"softmax", "l2_softmax", "center"}


def head_of(name: str, seed: int, **hyper: Any) -> ProxyHead:
    """An evaluating head with random proxies: the same for the same seed and shape."""
    head = ProxyHead(name, CLASSES, DIMENSION, **hyper).double().eval()
    torch.nn.init.normal_(head.weight, generator=torch.Generator().manual_seed(seed))
    return head


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed + 1)
    embeddings = 5 * torch.randn(BATCH, DIMENSION, generator=generator, dtype=torch.float64)
    return embeddings, torch.randint(CLASSES, (BATCH,), generator=generator)


def same(first: ProxyHead, second: ProxyHead, seed: int) -> None:
    """Two heads with the same proxies are one loss: value and gradients."""
    results = []
    for head in (first, second):
        embeddings, labels = batch(seed)
        embeddings.requires_grad_()
        losses_B = head(embeddings, labels).per_sample
        results.append((losses_B, *torch.autograd.grad(losses_B.sum(), [embeddings, head.weight])))
    for mine, other in zip(*results, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", losses.proxy_names())
@given(seed=SEEDS, length=st.floats(0.01, 1000))
@FEW
def test_lengths_change_nothing_where_rows_are_normalised(name: str, seed: int, length: float) -> None:
    embeddings, labels = batch(seed)
    head = head_of(name, seed)
    plain = head(embeddings, labels).per_sample
    if name not in LENGTH_OF_X:
        lengths = torch.linspace(1, length, BATCH, dtype=torch.float64).unsqueeze(1)
        torch.testing.assert_close(head(embeddings * lengths, labels).per_sample, plain, rtol=1e-8, atol=1e-8)
    if name not in LENGTH_OF_W:
        with torch.no_grad():
            head.weight *= torch.linspace(1, length, len(head.weight), dtype=torch.float64).unsqueeze(1)
        torch.testing.assert_close(head(embeddings, labels).per_sample, plain, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", sorted(LENGTH_OF_X))
def test_the_others_do_depend_on_the_length(name: str) -> None:
    embeddings, labels = batch(0)
    head = head_of(name, 0)
    assert not torch.allclose(head(3 * embeddings, labels).loss, head(embeddings, labels).loss)


# ------------------------------------------------------------------- without its margin, a row is exactly its parent

PARENTS = [
    ("cosface", {"margin": 0.0}, "normface", {"scale": 64.0}),
    ("arcface", {"margin": 0.0}, "normface", {"scale": 64.0}),
    ("combined_margin", {"m1": 1.0, "m2": 0.0, "m3": 0.35}, "cosface", {}),
    ("combined_margin", {"m1": 1.0, "m2": 0.5, "m3": 0.0, "fallback": "linear"}, "arcface", {}),
    ("a_softmax", {"margin": 1}, "modified_softmax", {}),
    ("a_softmax", {"margin": 1, "scale": 30.0}, "normface", {}),
    ("sv_softmax", {"t": 1.0}, "normface", {"scale": 32.0}),
    ("sv_am_softmax", {"t": 1.0}, "cosface", {"scale": 32.0}),
    ("sv_arc_softmax", {"t": 1.0}, "arcface", {"scale": 32.0}),
    ("sv_a_softmax", {"t": 1.0, "scale": 30.0, "annealing_lambda": 5.0}, "a_softmax", {"scale": 30.0, "annealing_lambda": 5.0}),
    ("sv_am_softmax", {"t": 1.0, "variant": "fixed"}, "cosface", {"scale": 32.0}),
    ("sphereface_r", {"margin": 1.0, "version": "v1", "loss_weight": 30.0, "gradient": "exact"}, "normface", {}),
    ("sphereface_r", {"margin": 1.0, "version": "v2", "scale": 30.0, "loss_weight": 30.0, "gradient": "exact"}, "normface", {}),
    ("sphereface_r", {"margin": 4.0, "version": "v0", "loss_weight": 30.0, "gradient": "exact"}, "a_softmax",
     {"scale": 30.0, "annealing_lambda": 0.0}),
    ("magface", {"l_margin": 0.5, "u_margin": 0.5, "lambda_g": 0.0}, "arcface", {}),
    ("elastic_arcface", {"sigma": 0.0}, "arcface", {}),
    ("elastic_cosface", {}, "cosface", {}),  # at evaluation the margin is its mean
    ("subcenter_arcface", {"subcenters": 1}, "arcface", {}),
    ("adacos", {"mode": "fixed"}, "normface", {"scale": math.sqrt(2) * math.log(CLASSES - 1)}),
    ("mining_margin", {"mining": "focal", "gamma": 0.0}, "cosface", {"scale": 32.0}),
    ("hm_softmax", {"keep": 1.0}, "normface", {"scale": 32.0}),
    ("f_softmax", {"gamma": 0.0}, "normface", {"scale": 32.0}),
    ("center", {"weight": 0.0}, "softmax", {}),
    ("sphereface2", {"variant": "A", "margin": 0.0, "gradient": "exact"}, "sphereface2",
     {"variant": "C", "margin": 0.0, "loss_weight": 10.0, "gradient": "exact"}),
    ("sphereface2", {"variant": "M", "margin": 1.0, "gradient": "exact"}, "sphereface2",
     {"variant": "C", "margin": 0.0, "loss_weight": 10.0, "gradient": "exact"}),
    ("sphereface2", {"margin_p": 0.4, "margin_n": 0.4}, "sphereface2", {}),
    ("sphereface2_bias", {"t": 3.0, "loss_weight": 50.0}, "sphereface2", {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "hyper", "parent", "parent_hyper"), PARENTS)
@given(seed=SEEDS)
@settings(max_examples=5, deadline=None)
def test_without_its_margin_a_row_is_its_parent(
    name: str, hyper: dict[str, Any], parent: str, parent_hyper: dict[str, Any], seed: int
) -> None:
    same(head_of(name, seed, **hyper), head_of(parent, seed, **parent_hyper), seed)


STAGES = ["sphereface2_naive", "sphereface2_b", "sphereface2_e", "sphereface2_a", "sphereface2_bias", "sphereface2"]


def test_the_stages_of_sphereface2_add_one_thing_each() -> None:
    keys = ("lam", "scale", "margin", "bias", "t")
    hypers = [losses.get(stage).hyper for stage in STAGES]
    changes = [[key for key in keys if before[key] != after[key]] for before, after in pairwise(hypers)]
    assert changes == [["lam"], ["scale"], ["margin"], ["bias"], ["t"]]
    assert [hyper["loss_weight"] for hyper in hypers] == [1, 1, 1, 1, 1, 50]


# ---------------------------------------------------------------------------------------------------- SphereFace2's bias


@given(
    lam=st.floats(0.05, 0.95),
    classes=st.integers(2, 2_000_000),
    target=st.floats(-60, 60),
    gap=st.floats(0, 60),
)
@settings(max_examples=200, deadline=None)
def test_the_initial_bias_balances_the_gradients_at_90_degrees(lam: float, classes: int, target: float, gap: float) -> None:
    """λ·σ(−(a_y + b)) = (1 − λ)·(C − 1)·σ(a_i + b), with a_i ≥ a_y as a margin makes it."""
    other = target + gap
    b = balanced_bias(lam / ((1 - lam) * (classes - 1)), target, other)

    def log_sigmoid(z: float) -> float:
        return -math.log1p(math.exp(-z)) if z > 0 else z - math.log1p(math.exp(z))

    positive = math.log(lam) + log_sigmoid(-(target + b))
    negative = math.log((1 - lam) * (classes - 1)) + log_sigmoid(other + b)
    assert positive == pytest.approx(negative, abs=1e-6)


@pytest.mark.parametrize("weight_ratio", [1e-6, 1.0, 7.0])
@pytest.mark.parametrize(("target", "other"), [(-600, 600), (0, 0), (600, -600)])
def test_the_initial_bias_of_extreme_margins(weight_ratio: float, target: float, other: float) -> None:
    """Where e^(target − other) leaves the range of a float: against the formula itself in 1,200 digits."""
    with localcontext(prec=1200):
        z, p, q = Decimal(weight_ratio), Decimal(target), Decimal(other)
        expected = (2 * z).ln() - q - (1 - z + ((1 - z) ** 2 + 4 * z * (p - q).exp()).sqrt()).ln()
    assert balanced_bias(weight_ratio, target, other) == pytest.approx(float(expected), rel=1e-12, abs=1e-9)


@pytest.mark.parametrize(("classes", "expected"), [(8631, 5.785), (10572, 5.582), (85742, 3.488), (2_060_000, 0.309)])
def test_known_biases(classes: int, expected: float) -> None:
    from orthodrome.losses.biases import sphereface2_state

    state = sphereface2_state(classes, losses.proxy_loss("sphereface2").hyper)
    assert float(state["bias"].value) == pytest.approx(expected, abs=6e-4)
    assert state["bias"].learned


@pytest.mark.parametrize("variant", ["C", "A", "M"])
def test_gradients_balance_in_the_head_itself(variant: str) -> None:
    """Embeddings orthogonal to every proxy: what pulls the own proxy equals what pushes all the others together."""
    head = ProxyHead("sphereface2", 5, 6, variant=variant).double()
    with torch.no_grad():
        head.weight.copy_(torch.eye(5, 6))
    embeddings = torch.tensor([[0.0, 0, 0, 0, 0, 1]], dtype=torch.float64)
    head(embeddings, torch.tensor([2])).loss.backward()
    pull = head.weight.grad[:, 5]
    assert float(pull[2]) == pytest.approx(-float(pull.sum() - pull[2]), rel=1e-9)
    assert float(head.bias.grad) == pytest.approx(0, abs=1e-9)


def test_balanced_lambda() -> None:
    spec = losses.proxy_loss("sphereface2", lam="balanced", loss_weight=40.0)
    p, n = torch.tensor([1.5], dtype=torch.float64), torch.tensor([0.7], dtype=torch.float64)
    expected = 0.9 * torch.log1p(torch.exp(-p)) + 0.1 * n
    torch.testing.assert_close(spec.link.join(p, n, 10), expected)


# ------------------------------------------------------------------------------------------------------ mining and angles


@given(seed=SEEDS)
@FEW
def test_sv_x_is_x_when_nothing_is_misclassified(seed: int) -> None:
    for name, parent, hyper in (
        ("sv_softmax", "normface", {}),
        ("sv_am_softmax", "cosface", {"margin": 0.35}),
        ("sv_arc_softmax", "arcface", {"margin": 0.5}),
    ):
        mined, plain = head_of(name, seed), head_of(parent, seed, scale=32.0, **hyper)
        generator = torch.Generator().manual_seed(seed)
        orthogonal = torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=torch.float64)).Q[:CLASSES]
        for head in (mined, plain):
            head.weight = torch.nn.Parameter(orthogonal.clone())
        labels = torch.arange(CLASSES)
        embeddings = (orthogonal + 0.05 * torch.randn(CLASSES, 8, generator=generator, dtype=torch.float64)) * 7
        spec_losses = []
        for head in (mined, plain):
            head.embedding_dim = 8
            spec_losses.append(head(embeddings, labels).per_sample)
        assert torch.equal(*spec_losses)


@given(cos=st.floats(-0.999, 0.999), t=st.floats(1, 3), s=st.floats(1, 64))
@settings(max_examples=100, deadline=None)
def test_sv_softmax_multiplies_the_exponential_by_h(cos: float, t: float, s: float) -> None:
    hard = torch.tensor([[cos]], dtype=torch.float64)
    _, nu = angular.support_vector(torch.full_like(hard, -1.0), hard, base=angular.plain, t=t)
    assert float(s * nu) == pytest.approx(s * cos + s * (t - 1) * (cos + 1), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("margin", [1, 2, 3, 4])
def test_psi_is_continuous_and_decreasing(margin: int) -> None:
    angles = torch.linspace(0, math.pi, 20_001, dtype=torch.float64)
    values = sphere.psi(angles.cos(), margin)
    steps = values.diff()
    assert (steps <= 1e-12).all(), "ψ must fall"
    assert steps.abs().max() < 1.1 * margin * math.pi / 20_000, "ψ must not jump"
    assert float(values[0]) == pytest.approx(1)
    assert float(values[-1]) == pytest.approx(1 - 2 * margin)


@given(theta=st.floats(0.001, math.pi - 0.001), margin=st.integers(1, 4))
@settings(max_examples=200, deadline=None)
def test_psi_is_the_formula(theta: float, margin: int) -> None:
    k = math.floor(margin * theta / math.pi)
    expected = (-1) ** k * math.cos(margin * theta) - 2 * k
    assert float(sphere.psi(torch.tensor([math.cos(theta)], dtype=torch.float64), margin)) == pytest.approx(expected, abs=1e-7)


@given(classes=st.integers(3, 5_000_000))
def test_adacos_fixed_scale(classes: int) -> None:
    state = losses.proxy_loss("adacos", mode="fixed").state(classes)
    assert float(state["scale"].value) == pytest.approx(math.sqrt(2) * math.log(classes - 1))


@given(seed=SEEDS, plus=st.booleans())
@FEW
def test_elastic_margins_are_seeded_and_sorted(seed: int, plus: bool) -> None:
    head = head_of("elastic_cosface", seed, plus=plus).train()
    embeddings, labels = batch(seed)
    losses_B, margins = [], None
    for _ in range(2):
        torch.manual_seed(seed)
        losses_B.append(head(embeddings, labels).per_sample)
    assert torch.equal(*losses_B)
    rows_target = (sphere.unit(embeddings) * sphere.unit(head.weight)[labels]).sum(dim=1)
    if plus:
        from orthodrome.losses.margins import elastic
        from orthodrome.types import Rows

        torch.manual_seed(seed)
        rows = Rows(embeddings, rows_target.unsqueeze(1), CLASSES, lambda scale: embeddings, torch.randn)
        margins = elastic(rows, {}, head.spec.hyper)["margin"].squeeze(1)
        assert (margins[rows_target.argsort()].diff() <= 0).all(), "the hardest sample has the largest margin"


@pytest.mark.parametrize("plus", [False, True])
@pytest.mark.parametrize("name", ["elastic_arcface", "elastic_cosface"])
def test_elastic_margins_are_normal_around_the_margin(name: str, plus: bool) -> None:
    """Found again from the losses of one sample many times, between two classes."""
    torch.manual_seed(0)
    head = ProxyHead(name, 2, 2, scale=4.0, plus=plus).double()
    head.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    angle = 0.7
    embeddings = torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=torch.float64).expand(4000, 2)
    losses_B = head(embeddings, torch.zeros(4000, dtype=torch.int64)).per_sample.detach()
    phi = math.sin(angle) - torch.log(torch.expm1(losses_B)) / 4
    margins = torch.acos(phi) - angle if name == "elastic_arcface" else math.cos(angle) - phi
    margin, sigma = head.spec.hyper["margin"], head.spec.hyper["sigma"]
    assert margins.mean() == pytest.approx(margin, abs=5 * sigma / 4000**0.5)
    assert margins.std() == pytest.approx(sigma, rel=0.06)


@pytest.mark.parametrize("margin", [-0.3, torch.tensor([[-0.3]], dtype=torch.float64)], ids=["number", "tensor"])
@pytest.mark.parametrize("fallback", ["linear", "clamp_theta", "cos", "none"])
def test_a_negative_margin_is_never_beyond(fallback: str, margin: Any) -> None:
    cos = torch.tensor([[-0.99]], dtype=torch.float64)
    assert float(angular.add_angle(cos, margin, fallback)) == pytest.approx(math.cos(math.acos(-0.99) - 0.3))


@pytest.mark.parametrize("name", ["sv_am_softmax", "sv_arc_softmax"])
def test_under_an_easy_margin_support_vectors_are_above_that_phi(name: str) -> None:
    spec = losses.get(name, easy_margin=True)
    cos_y, cos = torch.tensor([[-0.2]]), torch.tensor([[-0.5, -0.1]])
    values = {key: spec.hyper[key] for key in ("t", "margin", "fallback") if key in spec.hyper}
    phi, nu = spec.angular(cos_y, cos, **values)
    assert phi.item() == pytest.approx(-0.2)
    assert nu.tolist()[0] == pytest.approx([-0.5, 1.2 * -0.1 + 0.2])


@pytest.mark.parametrize("name", losses.proxy_names())
@given(seed=SEEDS, order=st.permutations(range(BATCH)))
@settings(max_examples=5, deadline=None)
def test_the_order_of_the_batch_does_not_matter(name: str, seed: int, order: list[int]) -> None:
    embeddings, labels = batch(seed)
    head = head_of(name, seed)
    plain = head(embeddings, labels).per_sample
    torch.testing.assert_close(head(embeddings[order], labels[order]).per_sample, plain[order], rtol=1e-9, atol=1e-9)


@given(seed=SEEDS, temperature=st.floats(0.05, 2))
@FEW
def test_nt_xent_is_n_pair_at_one_over_the_temperature(seed: int, temperature: float) -> None:
    embeddings, labels = batch(seed)
    first = PairHead("nt_xent", temperature=temperature)(embeddings, labels % 3)
    second = PairHead("n_pair", scale=1 / temperature)(embeddings, labels % 3)
    torch.testing.assert_close(first.per_sample, second.per_sample)


@given(seed=SEEDS)
@FEW
def test_n_pair_with_proxies_as_keys_is_normface(seed: int) -> None:
    """Pair losses are the proxy formula with other keys: with the own proxy as the only positive they coincide."""
    embeddings, labels = batch(seed)
    head = head_of("normface", seed)
    spec = losses.pair_loss("n_pair", scale=30.0)
    own = torch.nn.functional.one_hot(labels, CLASSES).bool()
    pairs = spec.losses(spec.closeness(embeddings, head.weight), own, ~own)
    torch.testing.assert_close(pairs, head(embeddings, labels).per_sample)


@pytest.mark.parametrize("loss", ["arcface", "sphereface2", "sphereface2_b"])
@pytest.mark.parametrize("impl", ["dense", "chunked"])
def test_values_without_gradient(loss: str, impl: str) -> None:
    head, x, labels = ProxyHead(loss, 50, 8, impl=impl).eval(), torch.randn(6, 8), torch.arange(6)
    expected = head(x, labels).loss.detach()
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            found = head(x, labels).loss
        assert not found.requires_grad
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("t", [0.5, 1.0, 3.0])
def test_sphereface2_is_finite_on_the_other_side(t: float) -> None:
    head = ProxyHead("sphereface2", 4, 2, t=t, gradient="exact").double()
    x = (-head.weight.detach()[:1]).requires_grad_()
    head(x, torch.tensor([0])).loss.backward()
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(head.weight.grad).all()


def test_curricularface_skips_a_batch_of_one() -> None:
    head = ProxyHead("curricularface", 4, 2)
    head(torch.randn(1, 2), torch.tensor([0]))
    assert float(head.get_buffer("t")) == 0
