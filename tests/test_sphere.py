"""Geometry of the sphere against math on plain numbers, and finite gradients where the plain functions have none."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orthodrome import sphere

COSINES = st.floats(-1, 1)
DTYPES = [torch.float64, torch.float32]


def column(*values: float, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.tensor([[value] for value in values], dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_unit_vectors(dtype: torch.dtype) -> None:
    vectors = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1e-12, 0.0]], dtype=dtype, requires_grad=True)
    unit = sphere.unit(vectors)
    torch.testing.assert_close(unit, torch.tensor([[0.6, 0.8], [0.0, 0.0], [1.0, 0.0]], dtype=dtype))
    (gradient,) = torch.autograd.grad(unit.sum(), vectors)
    assert gradient.isfinite().all()
    torch.testing.assert_close(sphere.norms(vectors), column(5, 0, 1e-12, dtype=dtype))


def test_cosine_is_the_matrix_of_all_pairs() -> None:
    a, b = torch.randn(3, 4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    expected = torch.nn.functional.cosine_similarity(a.unsqueeze(1), b.unsqueeze(0), dim=2)
    torch.testing.assert_close(sphere.cosine(a, b), expected)


@given(cos=COSINES)
def test_sine_and_angle(cos: float) -> None:
    assert float(sphere.sine(column(cos))) == pytest.approx(math.sin(math.acos(cos)), abs=2e-8)
    assert float(sphere.angle(column(cos))) == pytest.approx(math.acos(cos), abs=3e-8)


@given(cos=COSINES, shift=st.floats(-2, 2))
def test_cosine_of_a_sum(cos: float, shift: float) -> None:
    expected = math.cos(math.acos(cos) + shift)
    assert float(sphere.cos_of_sum(column(cos), shift)) == pytest.approx(expected, abs=3e-8)
    assert float(sphere.cos_of_sum(column(cos), column(shift))) == pytest.approx(expected, abs=3e-8)


@given(cos=COSINES, order=st.integers(0, 9))
def test_chebyshev(cos: float, order: int) -> None:
    assert float(sphere.chebyshev(column(cos), order)) == pytest.approx(math.cos(order * math.acos(cos)), abs=1e-6)


@given(theta=st.floats(0.01, math.pi - 0.01), margin=st.floats(1, 4))
def test_psi_of_a_fraction(theta: float, margin: float) -> None:
    k = math.floor(margin * theta / math.pi)
    expected = (-1) ** k * math.cos(margin * theta) - 2 * k
    assert float(sphere.psi(column(math.cos(theta)), margin)) == pytest.approx(expected, abs=1e-6)


@given(z=COSINES, t=st.floats(1, 6))
def test_similarity_adjustment(z: float, t: float) -> None:
    value = float(sphere.similarity_adjustment(column(z), t))
    assert value == pytest.approx(2 * ((z + 1) / 2) ** t - 1, abs=1e-12)
    assert value <= z + 1e-12, "g pushes similarities down"


def test_similarity_adjustment_fixes_the_ends_and_t_one_is_the_identity() -> None:
    ends = column(-1, 1)
    torch.testing.assert_close(sphere.similarity_adjustment(ends, 3.0), ends)
    cos = column(0.3)
    assert sphere.similarity_adjustment(cos, 1.0) is cos


@pytest.mark.parametrize(
    "function",
    [
        sphere.sine,
        sphere.angle,
        lambda cos: sphere.cos_of_sum(cos, 0.5),
        lambda cos: sphere.psi(cos, 4),
        lambda cos: sphere.psi(cos, 1.7),
        lambda cos: sphere.similarity_adjustment(cos, 0.5 + 1),
        lambda cos: sphere.chebyshev(cos, 4),
    ],
)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_gradients_at_the_poles_are_finite(function, dtype: torch.dtype) -> None:
    edge = torch.finfo(dtype).eps
    cos = column(-1, 1, -1 - 4 * edge, 1 + 4 * edge, -1 + edge, 1 - edge, dtype=dtype).requires_grad_()
    value = function(cos)
    (gradient,) = torch.autograd.grad(value.sum(), cos)
    assert value.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 4e-7), (torch.float64, 6e-16)])
def test_log_of_one_and_keeps_the_digits_of_small_numbers(dtype: torch.dtype, error: float) -> None:
    u = torch.cat([torch.exp(-torch.linspace(0, 80, 10_001, dtype=torch.float64)), torch.zeros(1, dtype=torch.float64)]).to(dtype)
    torch.testing.assert_close(sphere.log_of_one_and(u).double(), torch.log1p(u.double()), rtol=error, atol=0)


def test_directions_have_the_gradient_that_autograd_takes() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(5, 7, dtype=torch.float64, generator=generator)
    vectors[2], vectors[3] = 0, 1e-200 * vectors[3]
    vectors.requires_grad_()
    upstream = torch.randn(5, 7, dtype=torch.float64, generator=generator)
    (found,) = torch.autograd.grad(sphere.unit(vectors), vectors, upstream)
    (expected,) = torch.autograd.grad(vectors * sphere.inverse_norms(vectors), vectors, upstream)
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-15)


def test_directions_can_be_differentiated_twice() -> None:
    vectors = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradgradcheck(sphere.unit, vectors)


def test_directions_pass_through_the_transforms_of_torch_func() -> None:
    vectors = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (expected,) = torch.autograd.grad(sphere.unit(vectors).pow(3).sum(), vectors)
    of_each_row = torch.func.vmap(torch.func.grad(lambda row: sphere.unit(row).pow(3).sum()))
    torch.testing.assert_close(of_each_row(vectors.detach()), expected)
