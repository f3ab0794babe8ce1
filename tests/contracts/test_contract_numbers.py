"""Values and gradients are finite in every dtype, at every corner: cos = ±1, zero vectors, two classes, a batch of one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from loss_cases import CASES, DIMENSION, head_of, inputs
from torch import Tensor

from orthodrome import ProxyHead

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def run(head: ProxyHead, embeddings: Tensor, labels: Tensor) -> None:
    """One training step's worth of numbers, all finite."""
    embeddings = embeddings.detach().to(head.weight.dtype).requires_grad_()
    output = head(embeddings, labels)
    output.loss.backward()
    for name, value in {"loss": output.loss, "per_sample": output.per_sample, "dx": embeddings.grad, **output.stats}.items():
        assert value.isfinite().all(), name
    for name, parameter in head.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name
    for name, value in head.state_dict().items():
        assert value.isfinite().all(), name
    torch.testing.assert_close(output.loss, output.per_sample.mean())


def ordinary(head: ProxyHead) -> tuple[Tensor, Tensor]:
    return inputs()


def batch_of_one(head: ProxyHead) -> tuple[Tensor, Tensor]:
    return inputs(batch=1)


def one_class_repeated(head: ProxyHead) -> tuple[Tensor, Tensor]:
    embeddings, labels = inputs()
    return embeddings, torch.full_like(labels, 2)


def along(sign: float) -> Callable[[ProxyHead], tuple[Tensor, Tensor]]:
    """Embeddings exactly on (cos = 1) or opposite to (cos = −1) a proxy, each also another class' target."""

    def make(head: ProxyHead) -> tuple[Tensor, Tensor]:
        own = head.weight.detach()[:: head.spec.similarity.per_class]
        labels = torch.arange(len(own))
        return sign * 20 * torch.cat([own, own]), torch.cat([labels, labels.flip(0)])

    return make


def zero_vectors(head: ProxyHead) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        head.weight[0] = 0
    return torch.zeros(4, DIMENSION), torch.tensor([0, 1, 2, 0])


def large_and_small(head: ProxyHead) -> tuple[Tensor, Tensor]:
    embeddings, labels = inputs()
    return embeddings.detach() * torch.logspace(-3, 2, len(embeddings)).unsqueeze(1), labels


CORNERS = {
    "ordinary": ordinary,
    "batch of one": batch_of_one,
    "one class repeated": one_class_repeated,
    "cos 1": along(1.0),
    "cos -1": along(-1.0),
    "zero vectors": zero_vectors,
    "norms": large_and_small,
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_finite_at_every_corner(case: str, dtype: torch.dtype) -> None:
    for corner, make in CORNERS.items():
        head = head_of(case, dtype=dtype)
        embeddings, labels = make(head)
        try:
            run(head, embeddings, labels)
        except AssertionError as error:
            pytest.fail(f"{corner}: {error}")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_finite_with_the_fewest_classes(case: str, dtype: torch.dtype) -> None:
    fewest = head_of(case).spec.minimum_classes
    for batch in (1, 5):
        head = head_of(case, classes=fewest, dtype=dtype)
        embeddings, labels = inputs(batch=batch, classes=fewest)
        run(head, embeddings, labels)


@pytest.mark.parametrize("case", CASES)
def test_finite_over_many_steps(case: str) -> None:
    head = head_of(case, dtype=torch.float32)
    for step in range(5):
        head.zero_grad()
        run(head, *inputs(seed=step))


@pytest.mark.parametrize("case", CASES)
def test_autocast_changes_nothing(case: str) -> None:
    embeddings, labels = inputs(dtype=torch.float32)
    plain = head_of(case, dtype=torch.float32).eval()(embeddings, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = head_of(case, dtype=torch.float32).eval()(embeddings, labels)
        half = head_of(case, dtype=torch.float32).eval()(embeddings.bfloat16(), labels)
    assert torch.equal(cast.per_sample, plain.per_sample)
    assert half.loss.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_lower_precision_agrees_with_float64(case: str, dtype: torch.dtype) -> None:
    """The loss of rounded inputs is the float64 loss of the same rounded inputs: products and cosines are at least float32."""
    embeddings, labels = inputs(dtype=dtype)
    head = head_of(case, dtype=dtype).eval()
    exact = head_of(case, dtype=dtype).eval().double()
    torch.testing.assert_close(
        head(embeddings, labels).loss.double(), exact(embeddings.double(), labels).loss, rtol=2e-5, atol=1e-6
    )
