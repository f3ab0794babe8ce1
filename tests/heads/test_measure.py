"""What a head costs: the figures behind `orthodrome bench head`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from orthodrome import ProxyHead
from orthodrome.heads.measure import OPTIMIZER_ARRAYS, head_memory, head_step, in_turn, largest_head, measure_head, peak_bytes
from orthodrome.types import InputError


def test_the_peak_counts_what_is_alive_together() -> None:
    def step() -> torch.Tensor:
        first = torch.ones(2**20)
        second = first + 1
        del first
        return (second * 2)[0]

    assert 2 * 2**22 <= peak_bytes(step) < 2.1 * 2**22


def test_steps_take_turns() -> None:
    order: list[str] = []
    timing = in_turn(lambda: order.append("a") or torch.ones(1), lambda: order.append("b") or torch.ones(1), rounds=2)
    assert order == ["a", "b"] * 3
    assert len(timing.ratios) == 2
    assert timing.ratios[0] <= timing.ratio <= timing.ratios[1]


@pytest.mark.parametrize("impl", ["dense", "chunked"])
def test_a_head_is_measured(impl: str) -> None:
    cost = measure_head("cosface", 200, 16, 8, rounds=2, impl=impl)
    assert cost.lowest <= cost.ratio <= cost.highest
    assert cost.flops == pytest.approx(6 * 8 * 200 * 16 / cost.seconds)
    assert cost.extra_bytes > 0


def test_of_a_head_that_samples_the_drawn_classes_count() -> None:
    """1000 of 10,000 classes: their rows, numbers of classes, and the tile of similarities; no gradient of 10,000."""
    cost = measure_head("cosface", 10_000, 16, 8, rounds=1, sample_rate=0.1, impl="dense")
    assert cost.flops == pytest.approx(6 * 8 * 1000 * 16 / cost.seconds)
    assert cost.products_flops == pytest.approx(6 * 8 * 10_000 * 16 * cost.ratio / cost.seconds)
    assert cost.extra_bytes > 1000 * 16 * 4, "the drawn rows, at least"


@pytest.mark.slow
def test_the_formula_covers_the_own_proxies() -> None:
    """(B, K, D) and their gradient: with many sub-centres more than all the rest."""
    batch, dimension, classes, subcenters = 1024, 512, 4, 96
    head = ProxyHead("subcenter_arcface", classes, dimension, impl="chunked", subcenters=subcenters)
    x, labels = torch.randn(batch, dimension, requires_grad=True), torch.randint(classes, (batch,))
    step = head_step(head, x, labels)
    step()
    needed = head_memory(classes, dimension, batch, optimizer="none", per_class=subcenters)
    own = 4 * batch * subcenters * dimension
    assert needed - own < peak_bytes(step) + x.nbytes + head.weight.nbytes <= needed


def test_dense_holds_the_similarities_and_chunked_does_not() -> None:
    similarities = 64 * 4000 * 4
    assert measure_head("cosface", 4000, 4, 64, rounds=1, impl="dense").extra_bytes > similarities
    assert measure_head("sphereface2", 4000, 4, 64, rounds=1, impl="chunked", chunk_size=64).extra_bytes < similarities / 2


@pytest.mark.parametrize("optimizer", ["none", "sgd", "adamw"])
@pytest.mark.parametrize("processes", [1, 3, 8])
def test_the_largest_head_just_fits(optimizer: str, processes: int) -> None:
    memory = 24 * 2**30
    most = largest_head(memory, 512, 1024, processes=processes, optimizer=optimizer)
    assert head_memory(most, 512, 1024, processes=processes, optimizer=optimizer) <= memory
    assert head_memory(most + processes, 512, 1024, processes=processes, optimizer=optimizer) > memory
    assert largest_head(2**20, 512, 1024) == 0


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("sgd", lambda weight: torch.optim.SGD([weight], 0.1, momentum=0.9, weight_decay=5e-4)),
        ("adamw", lambda weight: torch.optim.AdamW([weight], 0.1)),
    ],
)
def test_a_step_of_an_optimizer_holds_what_is_said(
    name: str, make: Callable[[torch.nn.Parameter], torch.optim.Optimizer]
) -> None:
    weight = torch.nn.Parameter(torch.randn(1000, 64))
    weight.grad = torch.randn(1000, 64)
    optimizer = make(weight)
    optimizer.step()
    moments = sum(value.nbytes for value in optimizer.state[weight].values() if isinstance(value, torch.Tensor) and value.ndim)

    def step() -> torch.Tensor:
        optimizer.step()
        return weight.detach()[0, 0]

    assert (moments + peak_bytes(step)) / weight.nbytes == pytest.approx(OPTIMIZER_ARRAYS[name], abs=0.05)


def test_subcentres_are_counted() -> None:
    most = largest_head(24 * 2**30, 512, 1024)
    assert largest_head(24 * 2**30, 512, 1024, per_class=3) == pytest.approx(most / 3, rel=1e-3)  # beside the batch
    few, many = (head_memory(0, 512, 1024, per_class=count) for count in (1, 3))
    assert many - few == 2 * 2 * 4 * 1024 * 512, "the proxies of the own classes and their gradient"


def test_unknown_optimizers_and_no_rounds_are_refused() -> None:
    with pytest.raises(InputError, match="one of none, sgd, adamw; got 'lion'"):
        head_memory(10, 4, 2, optimizer="lion")
    with pytest.raises(InputError, match="rounds=0"):
        measure_head("cosface", 4, 4, 2, rounds=0)
