"""A share of the classes at each step: which are drawn, what their loss is, and that others are left alone."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orthodrome import ProxyHead, losses
from orthodrome.heads.sampled import draw_classes


@given(st.lists(st.integers(-1, 19), min_size=1, max_size=30), st.floats(0.01, 1.0), st.integers(0, 5))
def test_all_own_classes_are_drawn_and_others_up_to_the_share(labels: list[int], rate: float, seed: int) -> None:
    torch.manual_seed(seed)
    own = {label for label in labels if label >= 0}
    drawn = draw_classes(torch.tensor(labels), 20, rate).tolist()
    assert drawn == sorted(set(drawn))
    assert own <= set(drawn) <= set(range(20))
    assert len(drawn) == max(len(own), math.ceil(round(rate * 20, 6)), 1)


@pytest.mark.parametrize(("rate", "count"), [(0.07, 7), (0.071, 8), (0.1, 10), (0.29, 29), (1.0, 100)])
def test_the_share_is_what_it_says(rate: float, count: int) -> None:
    assert len(draw_classes(torch.tensor([3]), 100, rate)) == count


def test_the_draw_follows_the_seed_and_is_fair() -> None:
    labels = torch.tensor([3, 3, 7])
    torch.manual_seed(1)
    first = [draw_classes(labels, 50, 0.2).tolist() for _ in range(2)]
    torch.manual_seed(1)
    assert [draw_classes(labels, 50, 0.2).tolist() for _ in range(2)] == first
    counts = torch.zeros(50)
    for _ in range(2000):
        counts[draw_classes(labels, 50, 0.2)] += 1
    others = torch.cat([counts[:3], counts[4:7], counts[8:]]) / 2000
    assert (counts[[3, 7]] == 2000).all()
    assert ((others - 8 / 48).abs() < 5 * (8 / 48 * 40 / 48 / 2000) ** 0.5).all()


@pytest.mark.parametrize("impl", ["dense", "chunked"])
@pytest.mark.parametrize("loss", losses.proxy_names())
def test_the_loss_is_that_of_a_head_of_the_drawn_classes(loss: str, impl: str) -> None:
    classes = 12
    torch.manual_seed(0)
    head = ProxyHead(loss, classes, 5, sample_rate=0.5, impl=impl).double()
    x = (5 * torch.randn(4, 5, dtype=torch.float64)).requires_grad_()
    labels = torch.tensor([2, 9, 2, 11])
    torch.manual_seed(7)
    drawn = draw_classes(labels, classes, 0.5)
    small = ProxyHead(loss, len(drawn), 5, impl="dense").double()
    count = head.spec.similarity.per_class
    rows = (drawn.unsqueeze(1) * count + torch.arange(count)).flatten()
    with torch.no_grad():
        small.weight.copy_(head.weight[rows])
        for name, value in small.state_dict().items():  # first values may depend on the number of classes
            if value.ndim == 0:
                value.copy_(head.state_dict()[name])
    expected = small(x, torch.searchsorted(drawn, labels))
    torch.manual_seed(7)
    output = head(x, labels)
    output.loss.backward()
    found = head.weight.grad.coalesce()
    assert found.is_sparse
    assert found.indices()[0].tolist() == rows.tolist()
    if loss.startswith("elastic"):
        return  # draws its margins after its classes, so that its values are others here
    torch.testing.assert_close(output.per_sample, expected.per_sample, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found.values(), torch.autograd.grad(expected.loss, small.weight)[0], rtol=1e-9, atol=1e-10)


def test_evaluation_compares_with_all() -> None:
    torch.manual_seed(0)
    head = ProxyHead("cosface", 30, 4, sample_rate=0.1).eval()
    whole = ProxyHead("cosface", 30, 4).eval()
    whole.load_state_dict(head.state_dict())
    x, labels = torch.randn(5, 4), torch.arange(5)
    torch.testing.assert_close(head(x, labels).loss, whole(x, labels).loss)
