"""The classic pictures: embeddings of ten digits on the plane and on the sphere, training images above test images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from orthodrome.figures.clouds import CENTER_RATES, INITIAL_CENTERS, CenterRun
from orthodrome.figures.digits import Cloud, Part, accuracy, class_means, sizes, spread, unit
from orthodrome.figures.style import CLASSES, INK, sheet

COLUMNS = 5
RING = 1.3
"""Radius of the ring of directions; embeddings fill the disc of radius 1 within."""

TURN, TILT = math.radians(35), math.radians(20)
"""How the sphere is turned about its axis and tilted towards the eye."""


def draw_plane_clouds(data: Mapping[str, Cloud]) -> Figure:
    """Two panels a loss: raw embeddings within, their directions on the ring."""
    return _pairs(
        "Ten digits in two dimensions: embeddings, and on the ring their directions", data, _draw_plane, _angles_in_words
    )


def draw_sphere_clouds(data: Mapping[str, Cloud]) -> Figure:
    """Two panels a loss: directions on the sphere, faint where they are on its far side."""
    return _pairs("Ten digits in three dimensions: directions on the sphere", data, _draw_sphere, _angles_in_words)


def draw_center_clouds(data: Mapping[str, Cloud]) -> Figure:
    """Two panels a λ."""
    return _pairs("Center loss in two dimensions, by its weight λ", data, _draw_raw, _sizes_in_words)


def draw_initial_centers(data: Mapping[str, CenterRun]) -> Figure:
    """One panel a start of the centres: training embeddings, and the initial centres as crosses."""
    title = "Center loss in two dimensions, by where its centres start (crosses)"
    figure, panels = _stage(title, len(CENTER_RATES), len(INITIAL_CENTERS))
    for panel, run in zip(panels.flat, data.values(), strict=True):
        _draw_raw(panel, run.cloud.train)
        for place, colour in zip(run.initial, CLASSES, strict=True):
            panel.plot(*place, "x", color=colour, markersize=7, markeredgewidth=2)
        panel.set_title(f"{run.cloud.title}\ntest {accuracy(run.cloud, run.cloud.test):.0%}", fontsize=9, color=INK)
    return figure


# -------------------------------------------------------------------------------------------------------------- panels


def _pairs(title: str, data: Mapping[str, Cloud], draw: Callable[[Axes, Part], None], words: Callable[[Part], str]) -> Figure:
    """A few clouds a row, each with training above test."""
    figure, panels = _stage(title, 2 * math.ceil(len(data) / COLUMNS), COLUMNS)
    for number, cloud in enumerate(data.values()):
        row, column = 2 * (number // COLUMNS), number % COLUMNS
        _panel(panels[row, column], f"{cloud.title}\ntrain", cloud, cloud.train, draw, words)
        _panel(panels[row + 1, column], "test", cloud, cloud.test, draw, words)
    return figure


def _panel(
    axes: Axes, title: str, cloud: Cloud, part: Part, draw: Callable[[Axes, Part], None], words: Callable[[Part], str]
) -> None:
    draw(axes, part)
    axes.set_title(f"{title} {accuracy(cloud, part):.0%}, {words(part)}", fontsize=9, color=INK)


def _stage(title: str, rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    figure, panels = sheet(title, rows, columns, (2.3 * columns, 2.5 * rows + 0.8))
    for panel in panels.flat:
        panel.set_aspect("equal")
        panel.set_axis_off()
    marks = [Line2D([], [], color=colour, marker="o", linestyle="", label=str(digit)) for digit, colour in enumerate(CLASSES)]
    figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), frameon=False, fontsize=9, labelcolor=INK)
    return figure, panels


def _angles_in_words(part: Part) -> str:
    within, between = spread(part)
    return f"{within:.1f}° in, {between:.0f}° apart"


def _sizes_in_words(part: Part) -> str:
    within, apart = sizes(part)
    return f"{within:.1f} in, {apart:.0f} apart"


def _dots(axes: Axes, places: np.ndarray, labels: np.ndarray, size: float, alpha: float = 1.0) -> None:
    """A dot of ``size`` square points at the first two coordinates of each place."""
    axes.scatter(places[:, 0], places[:, 1], s=size, color=np.asarray(CLASSES)[labels], alpha=alpha, linewidths=0)


def _draw_plane(axes: Axes, part: Part) -> None:
    vectors, labels = part
    reach = np.quantile(np.linalg.norm(vectors, axis=1), 0.98)
    shown = vectors / np.maximum(reach, np.linalg.norm(vectors, axis=1, keepdims=True))
    _dots(axes, shown, labels, 3)
    _dots(axes, RING * unit(vectors), labels, 5)
    _names(axes, 1.18 * RING * unit(class_means((unit(vectors), labels))))
    axes.set(xlim=(-1.7, 1.7), ylim=(-1.7, 1.7))


def _draw_raw(axes: Axes, part: Part) -> None:
    vectors, labels = part
    axes.plot(0, 0, "+", color=INK, markersize=9, alpha=0.6)
    _dots(axes, vectors, labels, 4)
    _names(axes, class_means(part), lift=9)
    axes.set_axis_on()
    axes.margins(0.15)
    axes.set_xlabel("first dimension", fontsize=7)
    axes.set_ylabel("second dimension", fontsize=7)
    axes.tick_params(labelsize=7)
    axes.set_aspect("equal", adjustable="datalim")


def _draw_sphere(axes: Axes, part: Part) -> None:
    vectors, labels = part
    turned = unit(vectors) @ _rotation().T
    for visible, alpha in ((turned[:, 2] <= 0, 0.25), (turned[:, 2] > 0, 1.0)):
        _dots(axes, turned[visible], labels[visible], 4, alpha)
    _graticule(axes)
    means = unit(class_means((unit(vectors), labels))) @ _rotation().T
    _names(axes, means[:, :2], faint=means[:, 2] <= 0)
    axes.set(xlim=(-1.08, 1.08), ylim=(-1.08, 1.08))


def _rotation() -> np.ndarray:
    """Turns the sphere so that the eye looks along the third axis; the first axis points right, the second up."""
    turn = np.array([[math.cos(TURN), math.sin(TURN), 0], [-math.sin(TURN), math.cos(TURN), 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, math.sin(TILT), math.cos(TILT)], [0, -math.cos(TILT), math.sin(TILT)]])
    return tilt @ turn


def _graticule(axes: Axes) -> None:
    """Outline, equator and two meridians; only what faces the eye."""
    around = np.linspace(0, 2 * math.pi, 181)
    axes.plot(np.cos(around), np.sin(around), color=INK, linewidth=0.8)
    flat, up = np.stack([np.cos(around), np.sin(around), 0 * around]), np.stack([np.cos(around), 0 * around, np.sin(around)])
    for circle in (flat, up, up[[1, 0, 2]]):
        points = _rotation() @ circle
        points[:, points[2] < 0] = np.nan
        axes.plot(points[0], points[1], color=INK, linewidth=0.6, alpha=0.35)


def _names(axes: Axes, places: np.ndarray, *, faint: np.ndarray | None = None, lift: float = 0) -> None:
    """The digit of each class at its place, or ``lift`` points above it."""
    for digit, place in enumerate(places):
        text = axes.annotate(
            str(digit), place, (0, lift), textcoords="offset points", ha="center", va="center", fontsize=8, color=INK
        )
        text.set_alpha(0.35 if faint is not None and faint[digit] else 1.0)
        text.set_path_effects([withStroke(linewidth=1.8, foreground="white")])
