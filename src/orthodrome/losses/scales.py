"""Scales s_i: constant, learned, the feature norm, or AdaCos. Each is ``(rows, state, hyper) -> number or (B, 1)``."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from orthodrome.types import Rows, State, Values

StateValues = Mapping[str, Tensor]


def one(rows: Rows, state: StateValues, hyper: Values) -> float:
    """s = 1: the similarity already is a logit (affine rows)."""
    return 1.0


def constant(rows: Rows, state: StateValues, hyper: Values) -> float:
    """s = ``scale``."""
    return float(hyper["scale"])


def learnable(rows: Rows, state: StateValues, hyper: Values) -> Tensor | float:
    """s = ``scale``, a learned parameter where ``learn_scale`` asks for it."""
    return state["scale"] if hyper["learn_scale"] else float(hyper["scale"])


def learnable_state(num_classes: int, hyper: Values) -> dict[str, State]:
    """One learned scale, or no state."""
    return (
        {"scale": State(torch.tensor(float(hyper["scale"]), dtype=torch.float64), learned=True)} if hyper["learn_scale"] else {}
    )


def feature_norm(rows: Rows, state: StateValues, hyper: Values) -> Tensor | float:
    """s_i = ‖x_i‖, or ``scale`` where it is a number (the feature-normalised form)."""
    return rows.norms if hyper["scale"] is None else float(hyper["scale"])


def hard_or_soft(rows: Rows, state: StateValues, hyper: Values) -> Tensor | float:
    """SphereFace-R: s = ``scale`` ("hard" feature normalisation), or ‖x_i‖ kept near ``scale`` by a regulariser ("soft")."""
    return rows.norms if hyper["feature_norm"] == "soft" else float(hyper["scale"])


# ------------------------------------------------------------------------------------------------- AdaCos (1905.00292)


def adacos_fixed_scale(num_classes: int) -> float:
    """s = √2 · ln(C − 1)."""
    return math.sqrt(2) * math.log(num_classes - 1)


def adacos_state(num_classes: int, hyper: Values) -> dict[str, State]:
    """The scale, a buffer: it is computed, not learned, and frozen at evaluation."""
    return {"scale": State(torch.tensor(adacos_fixed_scale(num_classes), dtype=torch.float64))}


def adacos(rows: Rows, state: StateValues, hyper: Values) -> Tensor:
    """s from the state: the first is √2·ln(C − 1)."""
    return state["scale"].to(rows.target.dtype)


def adacos_update(rows: Rows, state: StateValues, hyper: Values) -> dict[str, Tensor]:
    """s ← ln B_avg / cos(min(π/4, θ_med)), with B_avg = (1/B) Σ_i Σ_{j≠y} e^{s·cos_ij} at the old scale and θ_med
    the median of θ_iy.

    Both sums are taken in logarithms. ``mode="fixed"`` leaves the scale alone. Departure: the scale stays at 10⁻³ or
    above, as with three
    or four classes ln B_avg can fall below zero and a negative scale would pull every sample to the wrong classes.
    """
    if hyper["mode"] == "fixed":
        return {}
    sums = rows.negatives(state["scale"].to(rows.target.dtype)).double()
    log_average = torch.logsumexp(sums, dim=0) - math.log(len(sums))
    median = torch.acos(rows.target.detach().double().clamp(-1, 1)).quantile(0.5)
    return {"scale": (log_average / torch.cos(median.clamp_max(math.pi / 4))).clamp_min(1e-3)}
