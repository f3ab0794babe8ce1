"""The look that all pictures share: colours, frame of the axes, a titled sheet of panels."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

INK = "#1f2933"
"""Colour of text, axes and grid; a page may replace it by its own text colour."""

FIRST, SECOND = "#2f7fd3", "#e0752d"
"""Two that are compared: genuine and impostor, class 1 and class 2, positive and negative. Blue and orange, safe for colour-blind eyes."""

SYSTEMS = (FIRST, SECOND, "#2a9d76", "#b657c9", "#c94f5c", "#8c7a3f", "#6b7785", "#3aa6b9")

SAFE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#1f2933")
"""Okabe and Ito's colours, told apart by colour-blind eyes; with :data:`DASHES` they name many lines."""

DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.2, 1.4)), (0, (6, 2, 1.2, 2)))

CLASSES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#882255", "#999933", "#777777", "#332288")
"""Ten classes; the pictures write the name of the class beside its cloud as well."""


def as_written(name: str) -> str:
    """A name as a label that shows it: matplotlib reads mathematics between dollars, and hides labels that begin with an underscore."""
    return (" " if name.startswith("_") else "") + name.replace("$", r"\$")


def sheet(title: str, rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Figure, np.ndarray]:
    """A figure of ``size`` inches with a title and rows × columns inked panels, as an array (rows, columns)."""
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.06))
    figure.suptitle(title, color=INK, fontsize=12)
    panels = figure.subplots(rows, columns, squeeze=False, **options)
    for panel in panels.flat:
        inked(panel)
    return figure, panels


def inked(axes: Axes) -> None:
    """Grid, ticks and the two axes in ink; no frame on the far sides."""
    axes.grid(True, color=INK, alpha=0.12, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=INK, labelsize=9)
    for side, spine in axes.spines.items():
        spine.set_color(INK)
        spine.set_visible(side in ("left", "bottom"))
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)


def titled(axes: Axes, title: str, across: str = "", up: str = "") -> None:
    """The title of one panel and what its axes are."""
    axes.set_title(title, fontsize=10, color=INK)
    axes.set_xlabel(across, color=INK, fontsize=9)
    axes.set_ylabel(up, color=INK, fontsize=9)


def keyed(axes: Axes, place: Any = "best", *, fontsize: float = 8, ncols: int = 1) -> None:
    """The legend of one panel."""
    axes.legend(loc=place, frameon=False, labelcolor=INK, fontsize=fontsize, ncols=ncols)


def in_percent(rate: float, _position: Any = None) -> str:
    """A tick as the text beside it writes rates: ``0.995`` -> ``99.5 %``."""
    return f"{100 * rate:g} %"


def degrees(axes: Axes, *, across: bool = True, up: bool = False) -> None:
    """Ticks every 30° on axes that are angles in degrees."""
    if across:
        axes.set_xticks(range(0, 181, 30), [f"{tick}°" for tick in range(0, 181, 30)])
    if up:
        axes.set_yticks(range(0, 181, 30), [f"{tick}°" for tick in range(0, 181, 30)])
