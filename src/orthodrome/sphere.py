"""Geometry of the unit sphere: unit vectors, cosines, angles whose gradients stay finite, ψ, Chebyshev polynomials, g(z).

``√(1 − c²)`` and ``acos`` have infinite slope at c = ±1 and poison gradients even behind ``torch.where``, so every function here
clamps inside: values are exact up to the resolution of the dtype, gradients at ±1 are zero instead of infinite.
"""

from __future__ import annotations

import math

import torch
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
    return vectors * inverse_norms(vectors)


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
    """log(1 + u) for u in [0, 1] without gradient, to a few units in the last place: 2·artanh(u/(2 + u)) as a series.

    Compiled, a third of the time of torch.log1p; as that, it keeps the digits of small u.
    """
    w = u / (2 + u)
    terms = 7 if torch.finfo(u.dtype).bits <= 32 else 17  # w ≤ 1/3, so each is a ninth of the one before
    total = torch.full_like(w, 1 / (2 * terms - 1))
    for k in range(terms - 2, -1, -1):
        total = total * (w * w) + 1 / (2 * k + 1)
    return 2 * w * total
