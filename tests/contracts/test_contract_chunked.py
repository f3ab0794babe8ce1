"""Tile by tile or all at once: the same value, the same gradients, the same new state, for every row."""

from __future__ import annotations

import pytest
import torch
from loss_cases import CASES, CLASSES, head_of, inputs
from torch import Tensor

from orthodrome import ProxyHead
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


def test_arguments_are_checked() -> None:
    with pytest.raises(InputError, match="chunk_size must be an integer of at least 1; got 0"):
        ProxyHead("arcface", 4, 2, chunk_size=0)
    with pytest.raises(InputError, match="bf16"):
        ProxyHead("arcface", 4, 2, compute_dtype="bf17")
    with pytest.raises(InputError, match="impl='chunked'"):
        ProxyHead("arcface", 4, 2, impl="dense", chunk_size=2)
    with pytest.raises(InputError, match="chunked"):
        ProxyHead("arcface", 4, 2, impl="chunkd")
