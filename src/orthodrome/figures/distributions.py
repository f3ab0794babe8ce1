"""Similarities of positive and negative pairs after SphereFace2 with and without its similarity adjustment, from a real run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orthodrome.figures import digits
from orthodrome.figures.digits import START, STEPS, Recipe
from orthodrome.figures.style import FIRST, INK, SECOND, keyed, sheet, titled

DIMENSION = 16
_HYPER = {"scale": 30.0, "margin": 0.4}
RECIPES: Mapping[str, Recipe] = {
    "without": Recipe("without adjustment, t = 1", "sphereface2", {**_HYPER, "t": 1.0}),
    "with": Recipe("with adjustment, t = 3", "sphereface2", {**_HYPER, "t": 3.0}),
}
"""SphereFace2's published setting at r = 30 but for t; enough dimensions that its bias starts where the paper says."""


@dataclass(frozen=True)
class Pairs:
    """Cosines of all pairs of test embeddings of the same digit (P,) and of different digits (Q,)."""

    title: str
    positive: np.ndarray
    negative: np.ndarray

    @property
    def separation(self) -> float:
        """d′: distance of the two means over the root mean square of the two standard deviations."""
        spread = np.sqrt((self.positive.var() + self.negative.var()) / 2)
        return float((self.positive.mean() - self.negative.mean()) / spread)


def similarity_pairs(start: int = START, steps: int = STEPS) -> dict[str, Pairs]:
    """Two runs on the digits that differ in t alone."""
    clouds = digits.train_clouds(RECIPES, DIMENSION, start=start, steps=steps)
    return {name: pairs_of(cloud.title, cloud.test) for name, cloud in clouds.items()}


def pairs_of(title: str, part: digits.Part) -> Pairs:
    """Every pair of embeddings once."""
    vectors, labels = digits.unit(part[0]), part[1]
    first, second = np.triu_indices(len(labels), 1)
    cosines = (vectors @ vectors.T)[first, second]
    same = labels[first] == labels[second]
    return Pairs(title, cosines[same], cosines[~same])


def draw_similarity_pairs(data: Mapping[str, Pairs]) -> Figure:
    """Two panels, one above the other, on the same axis."""
    title = f"Similarities of pairs of test digits, SphereFace2 in {DIMENSION} dimensions"
    figure, panels = sheet(title, len(data), 1, (8, 6), sharex=True, sharey=True)
    for panel, pairs in zip(panels[:, 0], data.values(), strict=True):
        _draw(panel, pairs)
    panels[-1, 0].set_xlabel("cosine similarity of two embeddings", color=INK, fontsize=9)
    return figure


def _draw(axes: Axes, pairs: Pairs) -> None:
    edges = np.linspace(-1, 1, 101)
    for name, values, colour in (("different digits", pairs.negative, SECOND), ("same digit", pairs.positive, FIRST)):
        density = np.histogram(values, bins=edges, density=True)[0]
        words = f"{name}: {values.mean():.2f} ± {values.std():.2f}"
        axes.stairs(density, edges, fill=True, color=colour, alpha=0.35)
        axes.stairs(density, edges, color=colour, linewidth=1.5, label=words)
    axes.set(xlim=(-1, 1), yscale="log")
    titled(axes, f"{pairs.title} (d′ = {pairs.separation:.1f})", up="density, logarithmic")
    keyed(axes, "upper left", fontsize=9)
