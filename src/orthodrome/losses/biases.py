"""The one learned bias of the binary rows, shared by all classes, and where it starts."""

from __future__ import annotations

import math

import torch

from orthodrome.losses.links import class_weights
from orthodrome.losses.margins import negative_margin, positive_margin
from orthodrome.types import State, Values


def balanced_bias(weight_ratio: float, target: float, other: float) -> float:
    """b at which the gradients of one positive and C − 1 negatives balance at θ = 90° (SphereFace2, 2108.01513).

    ``weight_ratio`` is Z = λ/((1−λ)(C−1)); ``target`` and ``other`` are the scaled values r·P and r·Q at cos = 0:
    b = ln(2Z) − other − ln(1 − Z + √((1−Z)² + 4Z·e^{target − other})).

    All in logarithms, so that any margin and scale have a bias; for Z > 1, where 1 − Z + √… cancels, by the conjugate form.
    """
    gap = math.log(4 * weight_ratio) + target - other
    away = -math.inf if weight_ratio == 1 else math.log(abs(1 - weight_ratio))
    root = log_sum(2 * away, gap) / 2
    denominator = log_sum(away, root) if weight_ratio <= 1 else gap - log_sum(away, root)
    return math.log(2 * weight_ratio) - other - denominator


def log_sum(first: float, second: float) -> float:
    """ln(e^first + e^second)."""
    low, high = sorted((first, second))
    return high + math.log1p(math.exp(low - high))


def at_right_angle(hyper: Values) -> tuple[float, float]:
    """P and Q of SphereFace2 at cos = 0, before the scale."""
    zero = 2 * 0.5 ** hyper["t"] - 1
    margin = positive_margin(hyper)
    if hyper["variant"] == "C":
        return zero - margin, zero + negative_margin(hyper)
    angle = math.pi / 2 + margin if hyper["variant"] == "A" else math.pi / 2 * margin
    cosine = math.cos(min(math.pi, angle))
    return 2 * ((cosine + 1) / 2) ** hyper["t"] - 1, zero


def sphereface2_state(num_classes: int, hyper: Values) -> dict[str, State]:
    """The bias: ``"paper init"`` balances the gradients at 90°, a number starts there, None leaves the bias out."""
    start = hyper["bias"]
    if start is None:
        return {}
    if start == "paper init":
        positive, negative = class_weights(hyper["lam"], num_classes)
        target, other = at_right_angle(hyper)
        scale = float(hyper["scale"])
        start = balanced_bias(positive / (negative * (num_classes - 1)), scale * target, scale * other)
    return {"bias": State(torch.tensor(float(start), dtype=torch.float64), learned=True)}


def uniface_state(num_classes: int, hyper: Values) -> dict[str, State]:
    """−b of UniFace, so that logits read s·cos + bias: starts at −ln(10·C)."""
    return {"bias": State(torch.tensor(-math.log(10 * num_classes), dtype=torch.float64), learned=True)}
