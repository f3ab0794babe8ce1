"""Terms added to the loss of each sample: centre loss, inter-class separation, and what rows ask of the feature norm.

Each is a function of hyper-parameters that returns a :class:`orthodrome.types.Regularizer`, or None where its weight is zero.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from orthodrome import sphere
from orthodrome.losses.margins import magface_norm
from orthodrome.types import InputError, Regularizer, State, Values

StateValues = Mapping[str, Tensor]


def center(weight: float, alpha: float, reduction: str = "mean") -> Regularizer:
    """(λ/2)·‖x_i − c_{y_i}‖² on raw embeddings, λ = ``weight`` (Wen 2016).

    Centres are a moving average, not learned by the optimizer: c_j ← c_j − α·Σ_{i: y_i=j}(c_j − x_i)/(1 + n_j) after each step.
    The original sums over the batch (``reduction="sum"``); the mean keeps λ independent of the batch size.
    """

    def state(classes: int, dimension: int) -> dict[str, State]:
        return {"centers": State(torch.zeros(classes, dimension))}

    def value(x: Tensor, labels: Tensor, own: Tensor, state: StateValues) -> Tensor:
        factor = weight / 2 * (len(x) if reduction == "sum" else 1)
        return factor * (x - state["centers"][labels].to(x.dtype)).square().sum(dim=1)

    def update(x: Tensor, labels: Tensor, state: StateValues) -> dict[str, Tensor]:
        centers = state["centers"]
        present, places = labels.unique(return_inverse=True)
        pull = centers.new_zeros(len(present), x.shape[1]).index_add_(0, places, centers[labels] - x.to(centers.dtype))
        counts = torch.bincount(places).unsqueeze(1)
        return {"centers": centers.index_add(0, present, pull / (1 + counts), alpha=-alpha)}

    return Regularizer("center", value, state, update)


def inter_class(weight: float) -> Regularizer:
    """weight · mean_{i<j} 1/acos(ŵ_i·ŵ_j)² over the classes in the batch (SphereFace+, 1805.09298): pushes neighbours apart.

    Classes of several sub-centres are as near as their nearest two.
    """

    def value(x: Tensor, labels: Tensor, own: Tensor, state: StateValues) -> Tensor:
        present, places = labels.unique(return_inverse=True)
        first, second = torch.triu_indices(len(present), len(present), offset=1, device=labels.device)
        if len(first) == 0:
            return x.new_zeros(len(x))
        one_each = torch.empty_like(present).scatter_(0, places, torch.arange(len(labels), device=labels.device))
        directions = sphere.unit(own.to(x.dtype)[one_each])
        subcentres = directions.shape[1]
        products = directions.flatten(0, 1) @ directions.flatten(0, 1).T
        cosines = products.view(len(present), subcentres, len(present), subcentres).amax(dim=(1, 3))[first, second]
        nearest = torch.finfo(x.dtype).eps ** 0.5
        repulsion = sphere.angle(cosines).clamp_min(nearest).pow(-2).mean()
        return (weight * repulsion).expand(len(x))

    return Regularizer("inter_class", value)


def norm_quality(hyper: Values) -> Regularizer:
    """MagFace's λ_g·(1/a + a/u_a²), a = clamp(‖x‖, l_a, u_a): rewards large norms of good faces (2103.06627)."""

    def value(x: Tensor, labels: Tensor, own: Tensor, state: StateValues) -> Tensor:
        norm = magface_norm(sphere.norms(x), hyper).squeeze(1)
        return hyper["lambda_g"] * (1 / norm + norm / hyper["u_a"] ** 2)

    return Regularizer("norm_quality", value)


def norm_near_scale(hyper: Values) -> Regularizer | None:
    """SphereFace-R's soft feature normalisation: 0.01·|‖x‖ − s|."""
    if hyper["feature_norm"] not in ("hard", "soft"):
        raise InputError(f"feature_norm must be 'hard' or 'soft'; got {hyper['feature_norm']!r}")
    if hyper["feature_norm"] == "hard":
        return None

    def value(x: Tensor, labels: Tensor, own: Tensor, state: StateValues) -> Tensor:
        return 0.01 * (sphere.norms(x).squeeze(1) - hyper["scale"]).abs()

    return Regularizer("norm_near_scale", value)
