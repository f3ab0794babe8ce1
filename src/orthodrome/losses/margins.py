"""Keyword values of the angular functions: constants, from the feature norm, random, or from state.

Each is ``(rows, state, hyper) -> values``, and its companions ``*_state`` (first values) and ``*_update`` (training only, without
gradient) stand beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from orthodrome.types import Rows, State, Values

StateValues = Mapping[str, Tensor]
Margins = Callable[[Rows, StateValues, Values], Values]


def constants(*names: str) -> Margins:
    """The hyper-parameters of these names, as they are."""

    def pick(rows: Rows, state: StateValues, hyper: Values) -> Values:
        return {name: hyper[name] for name in names}

    return pick


def _scalar(value: float) -> State:
    return State(torch.tensor(float(value), dtype=torch.float64))


# --------------------------------------------------------------------------------------------- A-Softmax's annealed λ


def annealing_state(num_classes: int, hyper: Values) -> dict[str, State]:
    """The number of training steps seen; saved, so that a resumed run goes on annealing where it stopped."""
    return {"step": State(torch.zeros((), dtype=torch.int64))}


def annealing_update(rows: Rows, state: StateValues, hyper: Values) -> dict[str, Tensor]:
    """One step further."""
    return {"step": state["step"] + 1}


def annealed(rows: Rows, state: StateValues, hyper: Values) -> Values:
    """λ = max(5, 1000·(1 + 0.12·step)^−1), or ``annealing_lambda`` where it is a number."""
    fixed = hyper["annealing_lambda"]
    step = state["step"].to(rows.target.dtype)
    annealing = (1000 / (1 + 0.12 * step)).clamp_min(5.0) if fixed is None else float(fixed)
    return {"margin": hyper["margin"], "annealing": annealing}


# ---------------------------------------------------------------------------------------------- CurricularFace's EMA t


def curricular_state(num_classes: int, hyper: Values) -> dict[str, State]:
    """t, starting at ``t0``."""
    return {"t": _scalar(hyper["t0"])}


def curricular_update(rows: Rows, state: StateValues, hyper: Values) -> dict[str, Tensor]:
    """t ← t_alpha·mean(cos_y) + (1 − t_alpha)·t, before it is used. A batch of one changes nothing."""
    if len(rows.target) < 2:
        return {}
    rate = hyper["t_alpha"]
    return {"t": rate * rows.target.detach().mean() + (1 - rate) * state["t"]}


def curricular(rows: Rows, state: StateValues, hyper: Values) -> Values:
    """Margin, fallback and t."""
    return {"margin": hyper["margin"], "fallback": hyper["fallback"], "t": state["t"].to(rows.target.dtype)}


# --------------------------------------------------------------------------------------- margins from the feature norm


def magface_norm(norms: Tensor, hyper: Values) -> Tensor:
    """a = clamp(‖x‖, l_a, u_a)."""
    return norms.clamp(hyper["l_a"], hyper["u_a"])


def magface(rows: Rows, state: StateValues, hyper: Values) -> Values:
    """m(a), linear from l_margin at l_a to u_margin at u_a; not detached, as in the paper (MagFace 2103.06627)."""
    slope = (hyper["u_margin"] - hyper["l_margin"]) / (hyper["u_a"] - hyper["l_a"])
    margin = hyper["l_margin"] + slope * (magface_norm(rows.norms, hyper) - hyper["l_a"])
    return {"margin": margin, "fallback": hyper["fallback"]}


def adaface_state(num_classes: int, hyper: Values) -> dict[str, State]:
    """Moving mean and standard deviation of the feature norm."""
    return {"mu": _scalar(hyper["mu0"]), "sigma": _scalar(hyper["sigma0"])}


def _adaface_norm(rows: Rows) -> Tensor:
    return rows.norms.detach().clamp(1e-3, 100)


def adaface_update(rows: Rows, state: StateValues, hyper: Values) -> dict[str, Tensor]:
    """μ, σ ← t_alpha·(mean, std of the batch) + (1 − t_alpha)·(μ, σ). A batch of one has no spread and changes nothing."""
    if rows.norms.shape[0] < 2:
        return {}
    rate, norm = hyper["t_alpha"], _adaface_norm(rows)
    return {
        "mu": rate * norm.mean() + (1 - rate) * state["mu"],
        "sigma": rate * norm.std() + (1 - rate) * state["sigma"],
    }


def adaface(rows: Rows, state: StateValues, hyper: Values) -> Values:
    """ẑ = clip(h·(a − μ)/(σ + 1e−3), −1, 1), then the shifts −m·ẑ of the angle and m(1 + ẑ) of the cosine (AdaFace
    2204.00964).
    """
    norm = _adaface_norm(rows)
    mu, sigma = state["mu"].to(norm.dtype), state["sigma"].to(norm.dtype)
    quality = (hyper["h"] * (norm - mu) / (sigma + 1e-3)).clamp(-1, 1)
    return {"angle_shift": -hyper["margin"] * quality, "cos_shift": hyper["margin"] * (1 + quality)}


# ------------------------------------------------------------------------------------------------------ random margins


def elastic(rows: Rows, state: StateValues, hyper: Values) -> Values:
    """m_i ~ N(margin, sigma) for each sample (ElasticFace 2109.09416). ``plus`` gives the larger margins to the
    harder samples.
    """
    draws = rows.draw((rows.target.shape[0], 1)).to(rows.target)
    if hyper["plus"]:
        hardest_first = rows.target.detach().squeeze(1).argsort()
        draws = torch.empty_like(draws).index_copy_(0, hardest_first, draws.sort(dim=0, descending=True).values)
    return {"margin": hyper["margin"] + hyper["sigma"] * draws}


def elastic_arc(rows: Rows, state: StateValues, hyper: Values) -> Values:
    """The drawn margins and the fallback of ArcFace."""
    return {**elastic(rows, state, hyper), "fallback": hyper["fallback"]}


# ------------------------------------------------------------------------------------------------------- SphereFace2's m


def both_margins(rows: Rows, state: StateValues, hyper: Values) -> Values:
    """m_p and m_n: ``margin`` unless ``margin_p`` or ``margin_n`` are given; and t."""
    return {"margin_p": positive_margin(hyper), "margin_n": negative_margin(hyper), "t": hyper["t"]}


def positive_margin_only(rows: Rows, state: StateValues, hyper: Values) -> Values:
    """m_p and t, for the angular and multiplicative variants, which have no margin on the other classes."""
    return {"margin_p": positive_margin(hyper), "t": hyper["t"]}


def positive_margin(hyper: Values) -> float:
    """m_p."""
    return float(hyper["margin"] if hyper["margin_p"] is None else hyper["margin_p"])


def negative_margin(hyper: Values) -> float:
    """m_n."""
    return float(hyper["margin"] if hyper["margin_n"] is None else hyper["margin_n"])
