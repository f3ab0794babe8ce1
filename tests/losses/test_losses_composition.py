"""Composition by arguments: any row × sample weighting × centre regulariser × inter-class regulariser × loss weight
× gradient.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from orthodrome import LossOutput, ProxyHead, losses

CLASSES, DIMENSION = 6, 5
ROWS = losses.proxy_names()
OWN_MINING = ("hm_softmax", "f_softmax", "mining_margin")
PLAIN = [row for row in ROWS if row not in (*OWN_MINING, "center")]


def evaluate(row: str, **hyper: Any) -> tuple[ProxyHead, LossOutput, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    head = ProxyHead(row, CLASSES, DIMENSION, **hyper).double()
    torch.nn.init.normal_(head.weight)
    generator = torch.Generator().manual_seed(1)
    embeddings = 6 * torch.randn(10, DIMENSION, generator=generator, dtype=torch.float64)
    labels = torch.randint(CLASSES, (10,), generator=generator)
    return head.eval(), head.eval()(embeddings, labels), embeddings, labels


def regularised_part(row: str) -> torch.Tensor:
    """What the row's own regulariser adds to each sample, which no weighting touches."""
    head, _, embeddings, labels = evaluate(row)
    state = dict(head.named_buffers())
    total = torch.zeros(len(labels), dtype=torch.float64)
    for term in head.spec.regularizers:
        total = total + term.value(embeddings, labels, head.weight, state)
    return total


@pytest.mark.parametrize("row", PLAIN)
def test_focal_weighting_is_per_sample(row: str) -> None:
    _, plain, *_ = evaluate(row)
    _, focal, *_ = evaluate(row, mining="focal", gamma=1.5)
    factor = losses.proxy_loss(row).weight(torch.ones(3, dtype=torch.float64))[0]
    extra = regularised_part(row)
    base = (plain.per_sample - extra) / factor
    torch.testing.assert_close(focal.per_sample, factor * (1 - torch.exp(-base)) ** 1.5 * base + extra)


@pytest.mark.parametrize("row", PLAIN)
def test_hard_mining_keeps_the_hardest(row: str) -> None:
    _, plain, *_ = evaluate(row)
    _, mined, *_ = evaluate(row, mining="hm", keep=0.35)
    extra = regularised_part(row).mean()
    base = plain.per_sample - regularised_part(row)
    torch.testing.assert_close(mined.loss, base.sort(descending=True).values[:3].mean() + extra)


@pytest.mark.parametrize("row", [row for row in ROWS if row != "center"])
def test_centre_regulariser_adds_half_the_weighted_square(row: str) -> None:
    _, plain, embeddings, labels = evaluate(row)
    head, joint, *_ = evaluate(row, center=0.2)
    centers = torch.randn(CLASSES, DIMENSION, dtype=torch.float64)
    head.centers = centers.clone()
    joint = head(embeddings, labels)
    expected = 0.1 * (embeddings - centers[labels]).square().sum(dim=1)
    torch.testing.assert_close(joint.per_sample, plain.per_sample + expected)


@pytest.mark.parametrize("row", ROWS)
def test_inter_class_regulariser_is_added(row: str) -> None:
    head, plain, _, labels = evaluate(row)
    _, joint, *_ = evaluate(row, inter_class=0.7)
    directions = torch.nn.functional.normalize(head.weight.detach()).unflatten(0, (CLASSES, -1))
    present = labels.unique().tolist()
    nearest = [
        min(float(torch.acos(a @ b)) for a in directions[i] for b in directions[j]) for i in present for j in present if i < j
    ]
    expected = 0.7 * sum(angle**-2 for angle in nearest) / len(nearest)
    torch.testing.assert_close(joint.loss, plain.loss + expected)


@pytest.mark.parametrize("row", PLAIN)
def test_loss_weight_scales_the_loss_and_not_the_regularisers(row: str) -> None:
    default = losses.proxy_loss(row).hyper["loss_weight"]
    _, plain, *_ = evaluate(row)
    _, doubled, *_ = evaluate(row, loss_weight=2 * default)
    extra = regularised_part(row)
    torch.testing.assert_close(doubled.per_sample, 2 * (plain.per_sample - extra) + extra)


@pytest.mark.parametrize("base", PLAIN)
def test_any_row_may_stand_under_mining_margin_and_center(base: str) -> None:
    scale = losses.proxy_loss(base).hyper.get("scale", "no scale")
    hyper = {} if scale == "no scale" else {"scale": scale or 32.0}
    for mining in ("hm", "focal"):
        _, named, *_ = evaluate("mining_margin", base=base, mining=mining, **hyper)
        _, composed, *_ = evaluate(base, mining=mining, **hyper)
        assert torch.equal(named.per_sample, composed.per_sample)
    _, named, *_ = evaluate("center", base=base, weight=0.01)
    _, composed, *_ = evaluate(base, center=0.01)
    assert torch.equal(named.per_sample, composed.per_sample)


def test_everything_at_once() -> None:
    head, output, *_ = evaluate(
        "sv_arc_softmax", mining="focal", center=0.01, inter_class=0.1, gradient="detach_margin", loss_weight=0.5
    )
    output.loss.backward()
    assert output.loss.isfinite()
    assert head.weight.grad.isfinite().all()
    assert [term.name for term in head.spec.regularizers] == ["center", "inter_class"]


def test_centres_move_by_the_published_rule() -> None:
    head, _, embeddings, labels = evaluate("arcface", center=0.01, alpha=0.4)
    head.centers = torch.randn(CLASSES, DIMENSION, dtype=torch.float64)
    expected = head.centers.clone()
    for j in range(CLASSES):
        members = [i for i in range(len(labels)) if labels[i] == j]
        pull = sum((head.centers[j] - embeddings[i] for i in members), torch.zeros(DIMENSION, dtype=torch.float64))
        expected[j] -= 0.4 * pull / (1 + len(members))
    head.train()(embeddings, labels)
    torch.testing.assert_close(head.centers, expected)


def test_centre_reduction_sum_is_the_batch_times_the_mean() -> None:
    results = {}
    for reduction in ("mean", "sum"):
        head, _, embeddings, labels = evaluate("center", weight=0.5, reduction=reduction)
        results[reduction] = head(embeddings, labels).loss - evaluate("softmax")[1].loss
    torch.testing.assert_close(results["sum"], 10 * results["mean"])


def test_subcentres_have_a_weight_of_their_own() -> None:
    head = ProxyHead("subcenter_arcface", CLASSES, DIMENSION, subcenters=4)
    assert head.weight.shape == (CLASSES * 4, DIMENSION)
    assert ProxyHead("arcface", CLASSES, DIMENSION).weight.shape == (CLASSES, DIMENSION)


def test_stats_are_detached_scalars() -> None:
    _, output, embeddings, _ = evaluate("arcface")
    assert set(output.stats) == {"target_similarity", "scale", "embedding_norm"}
    assert output.stats["scale"] == 64
    torch.testing.assert_close(output.stats["embedding_norm"], embeddings.norm(dim=1).mean())
    assert not any(value.requires_grad or value.ndim for value in output.stats.values())
