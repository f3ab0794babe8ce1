"""Distributions of genuine and impostor scores. Needs matplotlib (extra ``plots``)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orthodrome.evaluation.wording import COMPARISONS, Trials
from orthodrome.figures.style import FIRST, INK, SECOND, as_written, inked, keyed

GENUINE, IMPOSTOR = FIRST, SECOND

WIDTH, HEIGHT = 4.8, 3.9
"""Inches of a picture of an evaluation: half a page wide, and legible on a phone."""

_HEADROOM = 1.35  # room above the distributions for the legend and the names of the lines

Scores = tuple[np.ndarray, np.ndarray]


def score_distribution_figure(
    systems: Mapping[str, Scores],
    thresholds: Mapping[str, Mapping[str, float]] | None = None,
    trials: Trials = COMPARISONS,
) -> Figure:
    """Distributions of genuine and impostor scores, one panel per named system: arrays (genuine, impostor).

    Each distribution has area 1, so that a few genuines can be seen beside many impostors. ``thresholds``
    names, for each system, the vertical lines to draw: label -> threshold.
    """
    height = HEIGHT if len(systems) == 1 else 0.6 + 2.4 * len(systems)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    panels = figure.subplots(len(systems), 1, squeeze=False)[:, 0]
    for panel, (name, (genuine, impostor)) in zip(panels, systems.items(), strict=True):
        _distributions(panel, genuine, impostor, trials)
        vertical_lines(panel, (thresholds or {}).get(name, {}))
        if len(systems) > 1:
            panel.set_title(as_written(name), loc="left", fontsize=10, color=INK)
        inked(panel)
    keyed(panels[0], "best", fontsize=9)
    panels[-1].set_xlabel("score (cosine similarity)")
    return figure


def _distributions(axes: Axes, genuine: np.ndarray, impostor: np.ndarray, trials: Trials) -> None:
    everything = np.concatenate([genuine, impostor])
    low, high = float(everything.min()), float(everything.max())
    bins = int(np.clip(np.sqrt(min(len(genuine), len(impostor))), 20, 60))
    edges = np.linspace(low, high if high > low else low + 1e-3, bins + 1)
    highest = 0.0
    for name, scores, colour in ((trials.impostor, impostor, IMPOSTOR), (trials.genuine, genuine, GENUINE)):
        density = np.histogram(scores, bins=edges)[0] / (len(scores) * np.diff(edges))
        highest = max(highest, float(density.max()))
        axes.stairs(density, edges, fill=True, color=colour, alpha=0.35)
        axes.stairs(density, edges, color=colour, linewidth=1.5, label=f"{name} ({len(scores):,})")
    axes.set_ylim(0, _HEADROOM * highest)
    axes.set_ylabel("density")


def vertical_lines(axes: Axes, thresholds: Mapping[str, float]) -> None:
    """Named thresholds (label -> score) as dashed lines."""
    for label, threshold in thresholds.items():
        axes.axvline(threshold, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(
            label,
            (threshold, 0.985),
            xycoords=("data", "axes fraction"),
            xytext=(-2, 0),
            textcoords="offset points",
            va="top",
            ha="right",
            rotation=90,
            fontsize=8,
            color=INK,
        )
