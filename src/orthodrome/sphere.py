"""Geometry of the unit sphere: unit vectors, cosines, angles whose gradients stay finite, ψ, Chebyshev polynomials, g(z).

``√(1 − c²)`` and ``acos`` have infinite slope at c = ±1 and poison gradients even behind ``torch.where``, so every function here
clamps inside: values are exact up to the resolution of the dtype, gradients at ±1 are zero instead of infinite.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.polynomial.chebyshev import chebpts1
from numpy.polynomial.polynomial import polyfit
from torch import Tensor

Number = float | Tensor


def norms(vectors: Tensor) -> Tensor:
    """‖v‖ of each row, (N, D) -> (N, 1). The gradient at a zero vector is zero."""
    return torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)


def inverse_norms(vectors: Tensor) -> Tensor:
    """1/‖v‖ of each row, (N, D) -> (N, 1); 1 for a zero vector."""
    length = norms(vectors)
    return torch.where(length > torch.finfo(vectors.dtype).tiny ** 0.5, length, torch.ones_like(length)).reciprocal()


def unit(vectors: Tensor) -> Tensor:
    """v / ‖v‖ of each row. A zero vector stays zero, and its gradient stays bounded."""
    directions: Tensor = Directions.apply(vectors)[0]
    return directions


class Directions(torch.autograd.Function):
    """(u = v/‖v‖, 1/‖v‖) of each row, with ∂/∂v = (I − u·uᵀ)/‖v‖ in a third of the operations that autograd would take for it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(vectors: Tensor) -> tuple[Tensor, Tensor]:
        inverse = inverse_norms(vectors)
        return vectors * inverse, inverse

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(*output)  # so that this gradient has one of its own
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, by_directions: Tensor | None, by_inverse: Tensor | None) -> Tensor | None:
        directions, inverse = ctx.saved_tensors
        total = None
        if by_directions is not None:
            along = (by_directions * directions).sum(dim=-1, keepdim=True)
            total = (by_directions - along * directions) * inverse
        if by_inverse is not None:
            through_length = -by_inverse * inverse**2 * directions
            total = through_length if total is None else total + through_length
        return total


def cosine(queries: Tensor, keys: Tensor) -> Tensor:
    """Cosine of every query (B, D) with every key (M, D): (B, M)."""
    return unit(queries) @ unit(keys).T


def sine(cos: Tensor) -> Tensor:
    """sin θ = √(1 − cos² θ) for θ in [0, π], with a finite slope at ±1."""
    return (1 - cos * cos).clamp_min(torch.finfo(cos.dtype).eps).sqrt()


def angle(cos: Tensor) -> Tensor:
    """θ = acos(cos) in radians, in (0, π), with a finite slope at ±1."""
    edge = 1 - torch.finfo(cos.dtype).eps
    return torch.acos(cos.clamp(-edge, edge))


def cos_of_sum(cos: Tensor, shift: Number) -> Tensor:
    """cos(θ + shift) from cos θ, without computing θ."""
    if isinstance(shift, Tensor):
        return cos * shift.cos() - sine(cos) * shift.sin()
    return cos * math.cos(shift) - sine(cos) * math.sin(shift)


def chebyshev(cos: Tensor, order: int) -> Tensor:
    """T_m(cos θ) = cos(mθ) as a polynomial in cos θ: T₀ = 1, T₁ = c, T_{k+1} = 2c·T_k − T_{k−1}."""
    previous, current = torch.ones_like(cos), cos
    if order == 0:
        return previous
    for _ in range(order - 1):
        previous, current = current, 2 * cos * current - previous
    return current


def psi(cos: Tensor, margin: float) -> Tensor:
    """ψ(θ) = (−1)^k cos(mθ) − 2k with k = ⌊mθ/π⌋: cos(mθ), continued so that it falls over all of [0, π]
    (SphereFace, 1704.08063).

    For an integer m, cos(mθ) is a Chebyshev polynomial, so that the gradient needs no θ; SphereFace-R also uses fractions such as
    m = 1.7. k is a constant for the gradient.
    """
    order = round(margin)
    multiple = chebyshev(cos, order) if order == margin else torch.cos(margin * angle(cos))
    turns = torch.floor(margin * angle(cos.detach()) / math.pi)
    return (1 - 2 * (turns % 2)) * multiple - 2 * turns


def similarity_adjustment(cos: Tensor, t: float) -> Tensor:
    """g(z) = 2·((z + 1)/2)^t − 1: fixes −1 and 1 and, for t > 1, pushes what lies between down (SphereFace2, 2108.01513)."""
    if t == 1:
        return cos
    half = (cos + 1) * 0.5
    least = 0.0 if t > 1 else torch.finfo(cos.dtype).eps  # the slope at 0 is infinite for t < 1
    return 2 * half.clamp_min(least) ** t - 1


def log_of_one_and(u: Tensor) -> Tensor:
    """log(1 + u) for u in [0, 1] without gradient, to a few units in the last place.

    In float32 u·Q(u − ½) with a polynomial Q, fewer instructions than torch.log1p; as that, it keeps the digits of small u.
    """
    if torch.finfo(u.dtype).bits > 32:
        return torch.log1p(u)
    t = u - 0.5
    *lower, highest = _LOG_COEFFICIENTS
    total = torch.full_like(t, highest)
    for coefficient in reversed(lower):
        total = total * t + coefficient
    return u * total


def _log_coefficients(terms: int) -> list[float]:
    """Of the polynomial in t = u − ½ that takes the values of log(1 + u)/u at Chebyshev's points of [0, 1], ascending."""
    t = chebpts1(terms) / 2
    return [float(value) for value in polyfit(t, np.log1p(t + 0.5) / (t + 0.5), terms - 1)]


_LOG_COEFFICIENTS = _log_coefficients(terms=9)
