"""Numbers behind the pictures of losses: φ, ν and logits on grids of angles, by the functions of the loss table itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from orthodrome import losses
from orthodrome.heads import engine
from orthodrome.types import LossSpec, Rows

NORM = 20.0
"""‖x‖ where nothing else is said: for the rows whose margin or scale depends on it."""


def column(values: np.ndarray | float, count: int = 1) -> Tensor:
    """float64 (N, 1)."""
    return torch.as_tensor(np.array(np.broadcast_to(values, np.shape(values) or (count,))), dtype=torch.float64).reshape(-1, 1)


def first_state(spec: LossSpec, classes: int = 2) -> dict[str, Tensor]:
    """The state a head of that many classes starts with."""
    return {name: entry.value for name, entry in spec.state(max(classes, spec.minimum_classes)).items()}


def rows_of(target: Tensor, norm: float | np.ndarray = NORM, classes: int = 2) -> Rows:
    """What a head would know of samples with these target similarities (N, 1); random margins are at their mean."""
    return Rows(
        norms=column(norm, len(target)).expand(len(target), 1),
        target=target,
        num_classes=classes,
        negatives=lambda scale: torch.full((len(target),), -torch.inf, dtype=torch.float64),
        draw=lambda shape: torch.zeros(shape, dtype=torch.float64),
    )


def angular(
    spec: LossSpec, target: np.ndarray | float, other: np.ndarray | float, *, norm: float = NORM
) -> tuple[np.ndarray, np.ndarray]:
    """φ (N,) and ν (N,) of target and other similarities (N,) or one number, with the state at its first value."""
    count = max(np.size(target), np.size(other))
    cos_y, cos = column(target, count), column(other, count)
    state = first_state(spec)
    with torch.no_grad():
        phi, nu = spec.angular(cos_y, cos, **spec.margins(rows_of(cos_y, norm), state))
    return phi.squeeze(1).numpy(), nu.squeeze(1).numpy()


def logits(
    spec: LossSpec, target: np.ndarray, other: np.ndarray, *, norm: float = NORM, classes: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """p (N,) and n (N,): scale · φ + bias and scale · ν + bias."""
    phi, nu = angular(spec, target, other, norm=norm)
    state = first_state(spec, classes)
    rows = rows_of(column(target, len(phi)), norm, classes)
    scale = spec.scale(rows, state)
    p, n = (engine.logits(scale, column(values), state).squeeze(1).numpy() for values in (phi, nu))
    return p, n


def compares(spec: LossSpec) -> bool:
    """True where the target is compared with the other class (softmax link), False where each is compared with a threshold."""
    return spec.cell[0] == "triplet"


def decided(spec: LossSpec, target: np.ndarray, other: np.ndarray, **given: Any) -> np.ndarray:
    """By how much a sample satisfies its loss between two classes, (N,): p − n, or min(p, −n) for the binary link. 0 on the boundary."""
    p, n = logits(spec, target, other, **given)
    return p - n if compares(spec) else np.minimum(p, -n)


def crossing(function: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Where ``function`` changes sign between ``low`` (N,) and ``high`` (N,), to the last bits, by bisection; NaN where it does not.

    Also finds a jump through 0.
    """
    low, high = low.astype(float), high.astype(float)
    rising = function(high) > 0
    changes = rising != (function(low) > 0)
    for _ in range(60):
        middle = (low + high) / 2
        beyond = (function(middle) > 0) == rising
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
    return np.where(changes, (low + high) / 2, np.nan)


def zero_angle(spec: LossSpec, which: int) -> float:
    """The angle to a proxy, in radians, at which p (0) or n (1) of the binary link is 0."""
    found = crossing(lambda theta: logits(spec, np.cos(theta), np.cos(theta))[which], np.zeros(1), np.full(1, math.pi))
    return float(found[0])


def angles(count: int = 721) -> np.ndarray:
    """A grid over [0, π] in radians; the default has a point every quarter of a degree."""
    return np.linspace(0, math.pi, count)


def row(name: str, **hyper: Any) -> LossSpec:
    """The proxy loss of that name; see :func:`orthodrome.losses.proxy_loss`."""
    return losses.proxy_loss(name, **hyper)
