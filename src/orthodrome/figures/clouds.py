"""What is trained for the pictures of embeddings: ten digits in two, three or sixteen dimensions under each loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from orthodrome import sphere
from orthodrome.figures import digits
from orthodrome.figures.digits import START, STEPS, Cloud, Recipe
from orthodrome.heads.proxy import ProxyHead

RECIPES: Mapping[str, Recipe] = {
    "softmax": Recipe("softmax", "softmax"),
    "center": Recipe("center loss, λ = 0.1", "center", {"weight": 0.1}),
    "modified_softmax": Recipe("modified softmax", "modified_softmax"),
    "a_softmax_2": Recipe("A-Softmax, m = 2", "a_softmax", {"margin": 2, "annealing_lambda": 0.0}),
    "a_softmax_3": Recipe("A-Softmax, m = 3", "a_softmax", {"margin": 3, "annealing_lambda": 0.0}),
    "a_softmax_4": Recipe("A-Softmax, m = 4", "a_softmax", {"margin": 4, "annealing_lambda": 0.0}),
    "cosface": Recipe("CosFace, m = 0.15", "cosface", {"scale": 16.0, "margin": 0.15}),
    "arcface": Recipe("ArcFace, m = 0.3", "arcface", {"scale": 16.0, "margin": 0.3}),
    "sv_softmax": Recipe("SV-Softmax, t = 1.2", "sv_softmax", {"scale": 16.0, "t": 1.2}),
    "sphereface2": Recipe("SphereFace2, m = 0.2", "sphereface2", {"scale": 30.0, "margin": 0.2, "t": 5.0, "bias": -18.0}),
}
"""Each loss with what lets it work on a circle, where ten classes are 36° apart and cos 36° = 0.81.

The margins of CosFace and ArcFace must leave 36° reachable (cos 0° − 0.15 > 0.81), and a small scale keeps their gradients alive.
A-Softmax takes ψ alone, λ = 0: the start by softmax does what annealing is for. SphereFace2's bias starts between g(cos 0°) − m = 0.8
and g(cos 36°) + m = 0.41 of the scale; the published start balances classes 90° apart, which a circle cannot offer ten of.
"""

LAMBDAS = (0.0, 0.001, 0.01, 0.1, 1.0)
CENTER_RATES = (0.5, 0.005)
CENTER_LAMBDA = 0.1
FAR = 50.0
"""How far from the origin bad initial centres are put; softmax' embeddings are about 100 long."""


def nowhere(proxies: torch.Tensor) -> torch.Tensor:
    """All centres at the origin, the default."""
    return torch.zeros_like(proxies)


def on_own_class(proxies: torch.Tensor) -> torch.Tensor:
    """Each centre in the direction of its own class."""
    return FAR * sphere.unit(proxies)


def on_wrong_class(proxies: torch.Tensor) -> torch.Tensor:
    """Each centre in the direction of another class, five further on."""
    return on_own_class(proxies).roll(5, 0)


def in_one_corner(proxies: torch.Tensor) -> torch.Tensor:
    """All centres at one far point."""
    return torch.full_like(proxies, FAR)


INITIAL_CENTERS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "at the origin": nowhere,
    "on their own class": on_own_class,
    "on another class": on_wrong_class,
    "in one far corner": in_one_corner,
}


@dataclass(frozen=True)
class CenterRun:
    """A cloud of center loss and where its centres (10, 2) were at first."""

    cloud: Cloud
    initial: np.ndarray


def plane_clouds(start: int = START, steps: int = STEPS) -> dict[str, Cloud]:
    """Every recipe in two dimensions."""
    return digits.train_clouds(RECIPES, 2, start=start, steps=steps)


def sphere_clouds(start: int = START, steps: int = STEPS) -> dict[str, Cloud]:
    """Every recipe in three dimensions."""
    return digits.train_clouds(RECIPES, 3, start=start, steps=steps)


def center_clouds(start: int = START, steps: int = STEPS) -> dict[str, Cloud]:
    """Center loss in two dimensions for each of :data:`LAMBDAS`; λ = 0 is softmax."""
    recipes = {f"{weight:g}": Recipe(f"λ = {weight:g}", "center", {"weight": weight}) for weight in LAMBDAS}
    return digits.train_clouds(recipes, 2, start=start, steps=steps)


def initial_center_runs(start: int = START, steps: int = STEPS) -> dict[str, CenterRun]:
    """Center loss in two dimensions from each start of the centres, with each rate α of their moving average."""
    images = digits.load_digits()
    runs = {}
    for rate in CENTER_RATES:
        for words, place in INITIAL_CENTERS.items():
            recipe = Recipe(f"{words}, α = {rate:g}", "center", {"weight": CENTER_LAMBDA, "alpha": rate})
            placed: list[np.ndarray] = []
            cloud = digits.train_cloud(
                images, recipe, 2, start=start, steps=steps, prepare=partial(_place, place=place, placed=placed)
            )
            runs[recipe.title] = CenterRun(cloud, placed[0])
    return runs


@torch.no_grad()
def _place(head: ProxyHead, place: Callable[[torch.Tensor], torch.Tensor], placed: list[np.ndarray]) -> None:
    centers = head.get_buffer("centers")
    centers.copy_(place(head.weight))
    placed.append(centers.numpy().copy())
