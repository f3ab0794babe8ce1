"""Tile by tile or all at once: the same value, the same gradients, the same new state, for every row."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from loss_cases import CASES, CLASSES, head_of, inputs
from torch import Tensor

from orthodrome import ProxyHead
from orthodrome.heads.tiles import SIZES, Tile, filled
from orthodrome.types import InputError, LossOutput


def run(case: str, reduce=lambda output: output.loss, **hyper) -> tuple[LossOutput, list[Tensor], dict[str, Tensor]]:
    """Output, gradients of embeddings and all parameters, and state after two steps."""
    head = head_of(case, **hyper)
    for seed in (1, 2):
        embeddings, labels = inputs(seed=seed)
        torch.manual_seed(seed)
        output = head(embeddings, labels)
    gradients = torch.autograd.grad(reduce(output), [embeddings, *head.parameters()], materialize_grads=True)
    return output, list(gradients), dict(head.named_buffers())


def assert_same(ours, dense) -> None:
    torch.testing.assert_close(ours[0].per_sample, dense[0].per_sample, rtol=1e-11, atol=1e-11)
    for tile, whole in zip(ours[1], dense[1], strict=True):
        torch.testing.assert_close(tile, whole, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ours[2], dense[2], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("chunk", [1, 4, CLASSES], ids=lambda chunk: f"tiles of {chunk}")
@pytest.mark.parametrize("case", CASES)
def test_chunked_is_dense(case: str, chunk: int) -> None:
    assert_same(run(case, impl="chunked", chunk_size=chunk), run(case, impl="dense"))


@pytest.mark.parametrize("case", CASES)
def test_any_use_of_the_losses_has_its_gradient(case: str) -> None:
    def weighted(output: LossOutput) -> Tensor:
        return (output.per_sample * torch.linspace(-1, 2, len(output.per_sample), dtype=torch.float64)).sum()

    assert_same(run(case, weighted, impl="chunked", chunk_size=2), run(case, weighted, impl="dense"))


@pytest.mark.parametrize("case", ["arcface", "sphereface2", "hm_softmax", "subcenter_arcface", "softmax"])
@pytest.mark.parametrize("chunk", [2, CLASSES])
def test_backward_twice_and_scaled(case: str, chunk: int) -> None:
    head, (embeddings, labels) = head_of(case, impl="chunked", chunk_size=chunk), inputs()
    loss = head(embeddings, labels).loss / 4
    first = torch.autograd.grad(loss, [embeddings, head.weight], retain_graph=True)
    second = torch.autograd.grad(loss, [embeddings, head.weight])
    other = head_of(case, impl="dense")
    expected = torch.autograd.grad(other(embeddings, labels).loss / 4, [embeddings, other.weight])
    for found in (first, second):
        for ours, dense in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, dense, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("case", ["arcface", "sphereface2", "adaface"])
def test_embeddings_or_proxies_may_be_frozen(case: str) -> None:
    head, (embeddings, labels) = head_of(case, impl="chunked", chunk_size=2), inputs()
    head(embeddings.detach(), labels).loss.backward()
    frozen = head_of(case, impl="chunked", chunk_size=2).requires_grad_(False)
    frozen(embeddings, labels).loss.backward()
    whole, (again, _) = head_of(case, impl="dense"), inputs()
    whole(again, labels).loss.backward()
    torch.testing.assert_close(head.weight.grad, whole.weight.grad, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(embeddings.grad, again.grad, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("length", [1e-19, 3e-19, 1e18])
@pytest.mark.parametrize("case", ["arcface", "subcenter_arcface"])
def test_proxies_of_any_length_have_a_gradient(case: str, length: float) -> None:
    """1/‖w‖² is beyond float32 for the shortest, though 1/‖w‖ is not."""
    found = []
    for form in ({"impl": "chunked", "chunk_size": 2}, {"impl": "dense"}):
        head, (embeddings, labels) = head_of(case, dtype=torch.float32, **form), inputs(dtype=torch.float32)
        with torch.no_grad():
            head.weight.mul_(length)
        head(embeddings, labels).loss.backward()
        found.append(head.weight.grad * length)
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", ["arcface", "sv_am_softmax", "sphereface2"])
def test_products_in_bfloat16_keep_the_loss_and_the_direction(case: str) -> None:
    def large(**hyper):
        torch.manual_seed(0)
        head = ProxyHead(case, 500, 64, **hyper)
        x = torch.randn(32, 64, requires_grad=True)
        loss = head(x, torch.arange(32)).loss
        return loss.detach(), torch.autograd.grad(loss, [x, head.weight])

    loss, gradients = large(impl="chunked", chunk_size=128, compute_dtype="bf16")
    exact, expected = large(impl="dense")
    torch.testing.assert_close(loss, exact, rtol=1e-3, atol=0)
    for ours, theirs in zip(gradients, expected, strict=True):
        assert torch.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0) > 0.9999


def test_the_logits_are_never_held() -> None:
    head = ProxyHead("arcface", 4000, 8, impl="chunked", chunk_size=100)
    seen = []

    class Largest(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            seen.extend(value.numel() for value in torch.utils._pytree.tree_leaves(result) if isinstance(value, Tensor))
            return result

    with Largest():
        head(torch.randn(64, 8, requires_grad=True), torch.arange(64)).loss.backward()
    assert max(seen) == head.weight.numel() < 64 * 4000


@pytest.mark.parametrize("case", ["arcface", "sphereface2", "subcenter_arcface", "softmax", "curricularface"])
@pytest.mark.parametrize("chunk", [2, CLASSES])
def test_a_floor_of_next_to_nothing_filters_nothing(case: str, chunk: int) -> None:
    assert_same(run(case, impl="chunked", chunk_size=chunk, filter_below=1e-300), run(case, impl="dense"))


@pytest.mark.parametrize("case", ["arcface", "sv_am_softmax", "sphereface2", "subcenter_arcface", "normface"])
@pytest.mark.parametrize("floor", [1e-3, 1e-2])
def test_filtering_leaves_out_what_is_below_the_floor_and_nothing_else(case: str, floor: float) -> None:
    def gradients(**hyper):
        torch.manual_seed(0)
        head = ProxyHead(case, 400, 32, **hyper).double()
        if case == "sphereface2":
            torch.nn.init.constant_(head.bias, -20.0)  # as after training: its first value keeps every class near the balance
        x, labels = torch.randn(16, 32, dtype=torch.float64), torch.arange(16) * 3
        x = (x + 120 * head.weight.unflatten(0, (400, -1))[labels, 0].detach()).requires_grad_()
        output = head(x, labels)
        return output, torch.autograd.grad(output.loss, [x, head.weight]), head

    output, (dx, dw), head = gradients(impl="chunked", chunk_size=100, filter_below=floor)
    exact, (dx_exact, dw_exact), _ = gradients(impl="dense")
    torch.testing.assert_close(output.per_sample, exact.per_sample, rtol=1e-12, atol=1e-12)
    others = ~torch.isin(torch.arange(400), torch.arange(16) * 3).repeat_interleave(len(dw) // 400)
    dropped = others & (dw == 0).all(dim=1) & (dw_exact != 0).any(dim=1)
    assert dropped.any(), "the state is trained enough for the floor to matter"
    kept = others & ~dropped
    torch.testing.assert_close(dw[kept], dw_exact[kept], rtol=1e-9, atol=1e-12)
    steepest = 3 * head.spec.hyper["scale"]  # of s·ν: t of SphereFace2 is its largest slope
    bound = floor * steepest / head.weight[dropped].norm(dim=1)
    assert (dw_exact[dropped].norm(dim=1) <= bound).all()
    assert ((dx - dx_exact).norm(dim=1) <= floor * steepest * dropped.sum() / 16).all(), "all norms of x are above 1"


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [([], []), ([1, 4], [0, 1, 2, 4]), ([0, 1, 5, 6], [0, 1, 5, 6]), ([0, 2, 3, 4, 5], list(range(7)))],
)
def test_gathered_classes_are_filled_up(chosen: list[int], expected: list[int]) -> None:
    assert filled(torch.tensor(chosen, dtype=torch.int64), 7, 4).tolist() == expected


@pytest.mark.parametrize("case", ["arcface", "sphereface2"])
def test_gathered_tiles_have_few_sizes(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the batch leaves below the floor: each size is compiled."""
    seen = set()
    original = Tile._add_products

    def spied(self: Tile, by_raw: torch.Tensor, *rest: Any) -> None:
        seen.add(by_raw.shape[1])
        original(self, by_raw, *rest)

    monkeypatch.setattr(Tile, "_add_products", spied)
    for seed in range(20):
        torch.manual_seed(seed)
        head = ProxyHead(case, 1000, 8, impl="chunked", chunk_size=160, filter_below=2e-3)
        if case == "sphereface2":
            torch.nn.init.constant_(head.bias, -10.0)
        labels = torch.randint(1000, (4 + seed,))
        head(50 * head.weight[labels].detach() + torch.randn(len(labels), 8), labels).loss.backward()
    assert len(seen - {1000 % 160}) <= SIZES
    assert min(seen) < 160, "some tiles were filtered"


def test_the_gradient_of_tiles_is_not_differentiated_again() -> None:
    head = ProxyHead("arcface", 6, 4, impl="chunked")
    embeddings = torch.randn(3, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(head(embeddings, torch.arange(3)).loss, embeddings, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.square().sum().backward()


def test_smoothed_labels_cannot_be_filtered() -> None:
    with pytest.raises(InputError, match="arcface smooths its labels"):
        ProxyHead("arcface", 4, 2, impl="chunked", filter_below=0.1, label_smoothing=0.1)


def test_not_finite_embeddings_are_named_and_leave_the_state_alone() -> None:
    head = ProxyHead("adaface", 4, 3)
    before = {name: value.clone() for name, value in head.state_dict().items()}
    embeddings = torch.ones(3, 3)
    embeddings[1, 2] = torch.nan
    with pytest.raises(InputError, match="row 1 is not"):
        head(embeddings, torch.arange(3))
    torch.testing.assert_close(dict(head.state_dict()), before)


def test_arguments_are_checked() -> None:
    with pytest.raises(InputError, match="sample_rate must be a number above 0"):
        ProxyHead("arcface", 4, 2, sample_rate=0.0)
    with pytest.raises(InputError, match="filter_below must be a number at least 0"):
        ProxyHead("arcface", 4, 2, filter_below=1.0)
    with pytest.raises(InputError, match="chunk_size must be an integer of at least 1; got 0"):
        ProxyHead("arcface", 4, 2, chunk_size=0)
    with pytest.raises(InputError, match="bf16"):
        ProxyHead("arcface", 4, 2, compute_dtype="bf17")
    with pytest.raises(InputError, match="impl='chunked'"):
        ProxyHead("arcface", 4, 2, impl="dense", chunk_size=2)
    with pytest.raises(InputError, match="chunked"):
        ProxyHead("arcface", 4, 2, impl="chunkd")
