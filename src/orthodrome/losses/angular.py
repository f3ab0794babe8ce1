"""φ and ν of every paper: what happens to the target cosine and to the cosines of the other classes. One short pure
function each.

All have the shape of :class:`orthodrome.types.Angular`: ``(cos_y (B, 1), cos (B, M), **values) -> (φ (B, 1), ν (B,
M))``. They are
column-local, so that any tile of classes can be computed alone, and inside ν the target is a constant for the gradient.
A margin may be a number or a tensor (B, 1).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from orthodrome.losses.gradients import straight_through
from orthodrome.registry import Registry
from orthodrome.sphere import Number, angle, cos_of_sum, psi, similarity_adjustment
from orthodrome.types import Angular

Pair = tuple[Tensor, Tensor]


def plain(cos_y: Tensor, cos: Tensor) -> Pair:
    """φ = c, ν = c: no margin."""
    return cos_y, cos


def cosface(cos_y: Tensor, cos: Tensor, *, margin: Number) -> Pair:
    """φ = c − m, ν = c (CosFace 1801.09414, AM-Softmax 1801.05599)."""
    return cos_y - margin, cos


# ----------------------------------------------------------------------------------- what ArcFace does where θ + m > π


def _beyond(cos: Tensor, margin: Number) -> Tensor:
    """True where θ + m > π, that is m > 0 and cos θ < cos(π − m)."""
    if isinstance(margin, Tensor):
        return (cos < -margin.cos()) & (margin > 0)
    return cos < -math.cos(margin) if margin > 0 else torch.zeros_like(cos, dtype=torch.bool)


def _linear(cos: Tensor, margin: Number) -> Tensor:
    return cos - margin * (margin.sin() if isinstance(margin, Tensor) else math.sin(margin))


FALLBACKS: Registry[Any] = Registry("fallback")
FALLBACKS.add("linear", _linear)
FALLBACKS.add("clamp_theta", lambda cos, margin: torch.full_like(cos, -1.0))
FALLBACKS.add("cos", lambda cos, margin: cos)
FALLBACKS.add("none", cos_of_sum)


def add_angle(cos: Tensor, margin: Number, fallback: str) -> Tensor:
    """cos(θ + m), with ``fallback`` where θ + m > π: "linear" c − m·sin m, "clamp_theta" cos π, "cos" c, "none"
    cos(θ + m) as it is.
    """
    beyond = FALLBACKS.get(fallback)
    if fallback == "none":
        return cos_of_sum(cos, margin)
    return torch.where(_beyond(cos, margin), beyond(cos, margin), cos_of_sum(cos, margin))


def arcface(cos_y: Tensor, cos: Tensor, *, margin: Number, fallback: str) -> Pair:
    """φ = cos(θ + m), ν = c (ArcFace 1801.07698).

    The paper is silent where θ + m > π, where cos(θ + m) would rise again; the default, ``fallback="linear"``, keeps it falling.
    """
    return add_angle(cos_y, margin, fallback), cos


def combined_margin(cos_y: Tensor, cos: Tensor, *, m1: float, m2: float, m3: float, fallback: str) -> Pair:
    """φ = cos(m1·θ + m2) − m3, ν = c (ArcFace §2.3); ``fallback`` acts on the whole angle m1·θ + m2.

    No term is dropped for any combination, as some toolkits do where m1 ≠ 1 or where m2 and m3 are both set.
    """
    if m1 == 1:
        return add_angle(cos_y, m2, fallback) - m3, cos
    total = m1 * angle(cos_y) + m2
    inside = torch.cos(total)
    if fallback == "none":
        return inside - m3, cos
    return torch.where(total > math.pi, FALLBACKS.get(fallback)(cos_y, m2), inside) - m3, cos


# ------------------------------------------------------------------------------------------- multiplicative margins


def a_softmax(cos_y: Tensor, cos: Tensor, *, margin: int, annealing: Number) -> Pair:
    """φ = (λ·c + ψ(θ))/(1 + λ), ν = c (SphereFace 1704.08063); λ is ``annealing``. ψ never weighs more than 1/6, as λ ≥ 5."""
    return (annealing * cos_y + psi(cos_y, margin)) / (1 + annealing), cos


def sphereface_v0(cos_y: Tensor, cos: Tensor, *, margin: float) -> Pair:
    """φ = ψ(θ), ν = c (SphereFace-R 2109.05565, v0)."""
    return psi(cos_y, margin), cos


def sphereface_v1(cos_y: Tensor, cos: Tensor, *, margin: float) -> Pair:
    """φ = cos(min(mθ, π)), ν = c (SphereFace-R 2109.05565, v1)."""
    return multiple_angle(cos_y, margin), cos


def sphereface_v2(cos_y: Tensor, cos: Tensor, *, margin: float) -> Pair:
    """φ = c, ν = cos(θ/m): the margin on the other classes (SphereFace-R 2109.05565, v2)."""
    return cos_y, torch.cos(angle(cos) / margin)


def multiple_angle(cos: Tensor, margin: float) -> Tensor:
    """cos(min(mθ, π))."""
    return torch.cos((margin * angle(cos)).clamp_max(math.pi))


# ------------------------------------------------------------------------------------- mining by class: SV-X, Curricular


def support_vector(cos_y: Tensor, cos: Tensor, *, base: Angular, t: float, **values: Any) -> Pair:
    """φ of ``base``; ν = t·c + t − 1 where c > φ (a support vector: this class is hard for this sample), else c.

    Equal to multiplying e^{s·c} by h = e^{s(t−1)(c+1)} (SV-Softmax and SV-X-Softmax, 1812.11317). t = 1 is ``base``.
    """
    phi, nu = base(cos_y, cos, **values)
    return phi, torch.where(cos > phi.detach(), t * nu + (t - 1), nu)


def support_vector_fixed(cos_y: Tensor, cos: Tensor, *, base: Angular, t: float, **values: Any) -> Pair:
    """The "fixed" form of MV-Softmax (1912.00833): ν = c + t − 1 where c > φ, else c."""
    phi, nu = base(cos_y, cos, **values)
    return phi, torch.where(cos > phi.detach(), nu + (t - 1), nu)


def curricularface(cos_y: Tensor, cos: Tensor, *, margin: float, fallback: str, t: Tensor) -> Pair:
    """φ of ArcFace; ν = c·(t + c) where c > cos(θ_y + m), else c (CurricularFace 2004.00288).

    As in the authors' code the comparison is with cos(θ_y + m) itself, also where φ falls back.
    """
    phi = add_angle(cos_y, margin, fallback)
    hard = cos > cos_of_sum(cos_y, margin).detach()
    return phi, torch.where(hard, cos * (t + cos), cos)


# ------------------------------------------------------------------------------------------------------ adaptive margins


def adaface(cos_y: Tensor, cos: Tensor, *, angle_shift: Tensor, cos_shift: Tensor) -> Pair:
    """φ = cos(clamp(θ + angle_shift, ε, π − ε)) − cos_shift, ν = c (AdaFace 2204.00964), with shifts −m·ẑ and m(1 + ẑ)."""
    epsilon = 1e-3
    moved = (angle(cos_y) + angle_shift).clamp(epsilon, math.pi - epsilon)
    return torch.cos(moved) - cos_shift, cos


def circle(cos_y: Tensor, cos: Tensor, *, margin: float) -> Pair:
    """φ = [1 + m − c]₊·(c − 1 + m), ν = [c + m]₊·(c − m), with the weights [·]₊ constants for the gradient (Circle
    loss 2002.10857).
    """
    weight_y = (1 + margin - cos_y).clamp_min(0).detach()
    weight = (cos + margin).clamp_min(0).detach()
    return weight_y * (cos_y - 1 + margin), weight * (cos - margin)


# ------------------------------------------------------------------------------------------------ SphereFace2 (2108.01513)


def sphereface2_c(cos_y: Tensor, cos: Tensor, *, margin_p: float, margin_n: float, t: float) -> Pair:
    """P = g(c) − m_p, Q = g(c) + m_n."""
    return similarity_adjustment(cos_y, t) - margin_p, similarity_adjustment(cos, t) + margin_n


def sphereface2_a(cos_y: Tensor, cos: Tensor, *, margin_p: float, t: float) -> Pair:
    """P = g(cos(min(π, θ + m))), Q = g(c)."""
    return _adjusted(add_angle(cos_y, margin_p, "clamp_theta"), cos, t)


def sphereface2_m(cos_y: Tensor, cos: Tensor, *, margin_p: float, t: float) -> Pair:
    """P = g(cos(min(π, mθ))), Q = g(c)."""
    return _adjusted(multiple_angle(cos_y, margin_p), cos, t)


def sphereface2_a_margin_detached(cos_y: Tensor, cos: Tensor, *, margin_p: float, t: float) -> Pair:
    """Variant A as the paper writes its gradient: the angular margin is a constant, g is differentiated."""
    return _adjusted(straight_through(add_angle(cos_y, margin_p, "clamp_theta"), cos_y), cos, t)


def sphereface2_m_margin_detached(cos_y: Tensor, cos: Tensor, *, margin_p: float, t: float) -> Pair:
    """Variant M as the paper writes its gradient."""
    return _adjusted(straight_through(multiple_angle(cos_y, margin_p), cos_y), cos, t)


def _adjusted(moved: Tensor, cos: Tensor, t: float) -> Pair:
    return similarity_adjustment(moved, t), similarity_adjustment(cos, t)


# -------------------------------------------------------------------------------------------------------------- wrappers


def easy_margin(cos_y: Tensor, cos: Tensor, *, base: Angular, **values: Any) -> Pair:
    """φ of ``base`` where c > 0, else c: the margin acts only on samples on the right half of the sphere (ArcFace's
    "easy margin").
    """
    phi, nu = base(cos_y, cos, **values)
    return torch.where(cos_y > 0, phi, cos_y), nu
