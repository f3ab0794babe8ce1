"""The gradient is an axis of its own: what the forward pass computes and what the backward pass differentiates may differ.

* ``exact``: φ and ν are differentiated.
* ``detached``: the forward value is φ, ν; the backward treats φ(c) − c and ν(c) − c as constants, so that ∂φ/∂cos = ∂ν/∂cos = 1
  ("characteristic gradient detachment", SphereFace-R, 2109.05565).
* ``detach_margin``: only the margin on the target is a constant; what re-shapes similarities (SphereFace2's g,
  mining weights) keeps its derivative.

Published systems disagree: insightface's ArcFace is detached since December 2022, OpenSphere is detached on purpose,
FaceX-Zoo and pytorch-metric-learning are exact. It changes training, so it is an argument of every row.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from orthodrome.registry import Registry
from orthodrome.types import Angular


def straight_through(value: Tensor, like: Tensor) -> Tensor:
    """The value of ``value`` with the gradient of ``like``."""
    return value if value is like else like + (value - like).detach()


def exact(angular: Angular) -> Angular:
    """φ and ν as they are."""
    return angular


def detached(angular: Angular) -> Angular:
    """φ and ν in the forward pass, the cosines themselves in the backward pass."""

    def both_detached(cos_y: Tensor, cos: Tensor, **values: Any) -> tuple[Tensor, Tensor]:
        phi, nu = angular(cos_y, cos, **values)
        return straight_through(phi, cos_y), straight_through(nu, cos)

    return both_detached


def detach_margin(angular: Angular) -> Angular:
    """φ detached, ν exact. A row that re-shapes the target similarity too brings its own function (``Row.margin_detached``)."""

    def target_detached(cos_y: Tensor, cos: Tensor, **values: Any) -> tuple[Tensor, Tensor]:
        phi, nu = angular(cos_y, cos, **values)
        return straight_through(phi, cos_y), nu

    return target_detached


GRADIENTS: Registry[Any] = Registry("gradient convention")
GRADIENTS.add("exact", exact)
GRADIENTS.add("detached", detached)
GRADIENTS.add("detach_margin", detach_margin)
