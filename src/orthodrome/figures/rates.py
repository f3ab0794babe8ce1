"""Pictures of rates with their intervals: identification over rank or distractors, and the reliability of probabilities.
Needs matplotlib (extra ``plots``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from orthodrome.figures.scores import HEIGHT, WIDTH
from orthodrome.figures.style import FIRST, INK, SECOND, SYSTEMS, as_written, in_percent, inked, keyed

Points = tuple[Sequence[float], Sequence[float], Sequence[float], Sequence[float]]
"""Where (rising), the rate there, and the low and high end of its interval."""


_MOST_TICKS = 8


def rate_figure(curves: Mapping[str, Points], across: str, up: str) -> Figure:
    """Rates in [0, 1] with their intervals over rank, distractors or FPIR (above 0, logarithmic)."""
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.subplots()
    inked(axes)
    for number, (name, (places, rates, low, high)) in enumerate(curves.items()):
        colour = SYSTEMS[number % len(SYSTEMS)]
        axes.plot(places, rates, color=colour, marker="o", markersize=4, linewidth=1.6, label=as_written(name))
        axes.fill_between(places, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.set_xscale("log")
    places = sorted({place for points in curves.values() for place in points[0]})
    shown = places[:: -(-len(places) // _MOST_TICKS)]
    axes.set_xticks(shown, [f"{place:,.10g}" for place in shown])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(FuncFormatter(in_percent))
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    if len(curves) > 1:
        keyed(axes, fontsize=9)
    return figure


def reliability_figure(curves: Mapping[str, Points], counts: Mapping[str, Sequence[int]]) -> Figure:
    """Observed share of genuines over the predicted probability, with its interval, and below how many pairs each point holds.

    On the diagonal, of the pairs that are given 80 % eight of ten are genuine.
    """
    figure = Figure(figsize=(WIDTH, 1.2 * HEIGHT), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    inked(axes)
    inked(below)
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=(0, (4, 3)))
    for number, (name, (predicted, observed, low, high)) in enumerate(curves.items()):
        colour = (FIRST, SECOND)[number % 2]
        reach = np.abs(np.array([low, high]) - np.array(observed))
        style = {
            "color": colour,
            "marker": "os"[number % 2],
            "markersize": 4,
            "linestyle": "none",
            "elinewidth": 1.2,
            "capsize": 2,
        }
        axes.errorbar(predicted, observed, reach, label=as_written(name), **style)
        below.vlines(np.array(predicted) + 0.004 * (2 * number - 1), 0.8, counts[name], color=colour, linewidth=2.5)
    below.set(yscale="log", ylim=(0.8, None))
    axes.set_ylabel("observed share of genuines")
    below.set_ylabel("pairs")
    below.set_xlabel("predicted probability of a match")
    axes.yaxis.set_major_formatter(FuncFormatter(in_percent))
    below.xaxis.set_major_formatter(FuncFormatter(in_percent))
    below.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    keyed(axes, "upper left", fontsize=9)
    return figure
