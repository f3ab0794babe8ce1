"""Pictures of an evaluation: ROC curves and score distributions, drawn from arrays. Needs matplotlib (extra
``plots``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from orthodrome.figures.style import FIRST, INK, SECOND, SYSTEMS, inked

__all__ = ["INK", "roc_figure", "score_distribution_figure"]

GENUINE, IMPOSTOR = FIRST, SECOND

_MOST_POINTS = 2000
_HEADROOM = 1.35  # room above the distributions for the legend and the names of the lines

Curve = tuple[np.ndarray, np.ndarray]
Scores = tuple[np.ndarray, np.ndarray]


def roc_figure(curves: Mapping[str, Curve]) -> Figure:
    """TAR over FAR (logarithmic) of each named curve: arrays (far, tar) from the strictest threshold to the
    laxest.

    A curve is drawn as the steps it is: at each FAR the TAR that is reached without exceeding it. It
    starts at the lowest FAR above 0 that was observed; the TAR at no accepted impostor is the level it
    starts from.
    """
    figure, axes = _axes(7.2, 4.8)
    lowest = min(_lowest_far(far) for far, _ in curves.values())
    for number, (name, (far, tar)) in enumerate(curves.items()):
        seen = slice(np.flatnonzero(far <= lowest)[-1], None)
        shown_far, shown_tar = _thinned(np.maximum(far[seen], lowest), tar[seen])
        colour = SYSTEMS[number % len(SYSTEMS)]
        axes.plot(shown_far, shown_tar, drawstyle="steps-post", color=colour, linewidth=1.8, label=name)
    axes.set(xscale="log", xlim=(lowest, 1), ylim=(_floor_of(curves, lowest), 1.005))
    axes.set_xlabel("FAR: impostor comparisons accepted")
    axes.set_ylabel("TAR: genuine comparisons accepted")
    axes.xaxis.set_major_formatter(FuncFormatter(_power_or_percent))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.legend(loc="lower right", frameon=False, labelcolor=INK, fontsize=9)
    return figure


def score_distribution_figure(
    systems: Mapping[str, Scores], thresholds: Mapping[str, Mapping[str, float]] | None = None
) -> Figure:
    """Distributions of genuine and impostor scores, one panel per named system: arrays (genuine, impostor).

    Each distribution has area 1, so that a few genuines can be seen beside many impostors. ``thresholds``
    names, for each system, the vertical lines to draw: label -> threshold.
    """
    figure = Figure(figsize=(7.2, 0.6 + 2.9 * len(systems)), layout="constrained")
    panels = figure.subplots(len(systems), 1, squeeze=False)[:, 0]
    for panel, (name, (genuine, impostor)) in zip(panels, systems.items(), strict=True):
        _distributions(panel, genuine, impostor)
        _vertical_lines(panel, (thresholds or {}).get(name, {}))
        panel.set_title(name, loc="left", fontsize=10, color=INK)
        inked(panel)
    panels[0].legend(loc="upper left", frameon=False, labelcolor=INK, fontsize=9)
    panels[-1].set_xlabel("score (cosine similarity)")
    return figure


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    inked(axes)
    return figure, axes


def _lowest_far(far: np.ndarray) -> float:
    return float(far[far > 0].min())


def _floor_of(curves: Mapping[str, Curve], lowest: float) -> float:
    """Where the TAR axis begins: a little under the lowest curve, at 0 where that is near."""
    worst = min(float(tar[far <= lowest].max()) for far, tar in curves.values())
    return 0.0 if worst < 0.3 else max(0.0, worst - 0.15 * (1 - worst) - 0.005)


def _thinned(far: np.ndarray, tar: np.ndarray) -> Curve:
    """At most a few thousand points of a curve, evenly spread over both axes of the picture, for the eye
    only.
    """
    if len(far) <= _MOST_POINTS:
        return far, tar
    along = np.cumsum(np.abs(np.diff(np.log(far), prepend=np.log(far[0]))) / 5 + np.abs(np.diff(tar, prepend=tar[0])))
    kept = np.unique(np.searchsorted(along, np.linspace(0, along[-1], _MOST_POINTS)).clip(0, len(far) - 1))
    return far[kept], tar[kept]


def _power_or_percent(value: float, _position: Any) -> str:
    return f"{100 * value:g} %" if value >= 0.000999 else f"$10^{{{round(np.log10(value))}}}$"


def _distributions(axes: Axes, genuine: np.ndarray, impostor: np.ndarray) -> None:
    everything = np.concatenate([genuine, impostor])
    low, high = float(everything.min()), float(everything.max())
    bins = int(np.clip(np.sqrt(min(len(genuine), len(impostor))), 20, 60))
    edges = np.linspace(low, high if high > low else low + 1e-3, bins + 1)
    highest = 0.0
    for name, scores, colour in (("impostor", impostor, IMPOSTOR), ("genuine", genuine, GENUINE)):
        density = np.histogram(scores, bins=edges)[0] / (len(scores) * np.diff(edges))
        highest = max(highest, float(density.max()))
        axes.stairs(density, edges, fill=True, color=colour, alpha=0.35)
        axes.stairs(density, edges, color=colour, linewidth=1.5, label=f"{name} ({len(scores):,})")
    axes.set_ylim(0, _HEADROOM * highest)
    axes.set_ylabel("density")


def _vertical_lines(axes: Axes, thresholds: Mapping[str, float]) -> None:
    for number, (label, threshold) in enumerate(thresholds.items()):
        axes.axvline(threshold, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(
            label,
            (threshold, 0.98 - 0.08 * number),
            xycoords=("data", "axes fraction"),
            xytext=(4, 0),
            textcoords="offset points",
            va="top",
            fontsize=8,
            color=INK,
        )
