"""Where each loss draws the line between two classes: in the plane of the angles (θ₁, θ₂) and on the circle."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Wedge

from orthodrome.figures.logits import angles, compares, crossing, decided, logits, row, zero_angle
from orthodrome.figures.style import DASHES, FIRST, INK, SECOND, degrees, sheet, titled
from orthodrome.heads import engine
from orthodrome.types import LossSpec

BETWEEN = math.radians(120)
"""θ₁₂, the angle between the two proxies on the circle."""
PROXY_NORMS, CLASS_BIAS, FEATURE_NORM = (1.0, 1.6), (0.0, 0.3), 1.0
"""‖W₁‖ and ‖W₂‖, b₁ and b₂, ‖x‖: they move the boundary of softmax, and of no other loss here."""

_SPHEREFACE2 = {"scale": 30.0, "margin": 0.2}

BOUNDARIES: Mapping[str, LossSpec] = {
    "softmax": row("softmax"),
    "modified softmax": row("modified_softmax"),
    "A-Softmax, m = 3": row("a_softmax", margin=3, annealing_lambda=0.0),
    "CosFace, m = 0.35": row("cosface"),
    "ArcFace, m = 0.5": row("arcface"),
    "SV-Softmax, t = 1.2": row("sv_softmax"),
    "SphereFace2, no bias": row("sphereface2_a", **_SPHEREFACE2),
    "SphereFace2, b = −9": row("sphereface2_bias", bias=-9.0, **_SPHEREFACE2),
}
"""The rows of the picture by their titles. SphereFace2 as its paper builds it, r = 30 and m = 0.2, before similarity adjustment."""


Roles = tuple[int, int]
CLASSES: tuple[Roles, Roles] = ((0, 1), (1, 0))
"""Own proxy and other proxy, for samples of class 1 and of class 2."""


@dataclass(frozen=True)
class Boundary:
    """Points (N, 2) of (θ₁, θ₂) in radians on the boundary for class 1 and for class 2, in order.

    ``strived`` are the boundaries that a sample meets once it is misclassified, where those differ.
    """

    first: np.ndarray
    second: np.ndarray
    strived: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class Cut:
    """What is decided on the circle, in radians: the arcs (from, to), counter-clockwise, where class 1 and class 2 are satisfied.

    ``thresholds`` are the angles to any proxy at which p = 0 and n = 0 (binary link); ``line`` (2, 2) is the straight boundary of
    softmax, which need not pass through the centre. None for the losses without them.
    """

    first: tuple[tuple[float, float], ...]
    second: tuple[tuple[float, float], ...]
    thresholds: tuple[float, float] | None
    line: np.ndarray | None


# ------------------------------------------------------------------------------------------------- the plane of angles


def similarity(spec: LossSpec, theta: np.ndarray, proxy: int) -> np.ndarray:
    """What the loss compares at angle θ to a proxy: the cosine, or ‖W‖·‖x‖·cos θ + b for softmax."""
    if not spec.similarity.class_bias:
        return np.cos(theta)
    return PROXY_NORMS[proxy] * FEATURE_NORM * np.cos(theta) + CLASS_BIAS[proxy]


def plane_margin(spec: LossSpec, points: np.ndarray, roles: Roles) -> np.ndarray:
    """How far samples at (θ₁, θ₂) (N, 2) satisfy the loss as samples of the first of ``roles``; 0 on the boundary."""
    own, other = roles
    return decided(spec, similarity(spec, points[:, own], own), similarity(spec, points[:, other], other))


def strived_margin(spec: LossSpec, points: np.ndarray, roles: Roles) -> np.ndarray:
    """p − n with ν as it is for a class that is harder than the own: what SV-Softmax asks of a misclassified sample."""
    own, other = np.cos(points[:, roles[0]]), np.cos(points[:, roles[1]])
    p, _ = logits(spec, own, other)
    _, n = logits(spec, np.full_like(own, -1.0), other)
    return p - n


def plane_boundaries() -> dict[str, Boundary]:
    """The boundaries of every row of :data:`BOUNDARIES`, found where its own logits meet."""
    return {title: _plane_boundary(spec) for title, spec in BOUNDARIES.items()}


def _plane_boundary(spec: LossSpec) -> Boundary:
    if not compares(spec):
        corner = _corner(*thresholds(spec))
        return Boundary(corner, corner[:, ::-1])
    first, second = (_traced(partial(plane_margin, spec, roles=roles)) for roles in CLASSES)
    mining = "t" in spec.hyper
    return Boundary(
        first, second, tuple(_traced(partial(strived_margin, spec, roles=roles)) for roles in CLASSES) if mining else ()
    )


def _traced(margin: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Points with margin 0 along a rising curve: for each θ₂ the θ₁, and for each θ₁ the θ₂, where the margin changes sign."""
    grid = angles()
    ends = np.zeros_like(grid), np.full_like(grid, math.pi)
    first = crossing(lambda theta: margin(np.stack([theta, grid], axis=1)), *ends)
    second = crossing(lambda theta: margin(np.stack([grid, theta], axis=1)), *ends)
    points = np.concatenate([np.stack([first, grid], axis=1), np.stack([grid, second], axis=1)])
    points = points[np.isfinite(points).all(axis=1)]
    return points[points.sum(axis=1).argsort()]


def thresholds(spec: LossSpec) -> tuple[float, float]:
    """The angles to the own proxy at p = 0 and to another at n = 0 (binary link)."""
    return zero_angle(spec, 0), zero_angle(spec, 1)


def _corner(own: float, other: float) -> np.ndarray:
    """Each logit meets its own threshold: θ₂ at n = 0 up to the corner, then θ₁ at p = 0."""
    return np.array([[0.0, other], [own, other], [own, math.pi]])


# ---------------------------------------------------------------------------------------------------------- the circle


def proxies() -> np.ndarray:
    """W₁ and W₂ (2, 2), θ₁₂ apart, left and right of the upward direction, with the norms of :data:`PROXY_NORMS`."""
    directions = np.array([math.pi / 2 + BETWEEN / 2, math.pi / 2 - BETWEEN / 2])
    return np.stack([np.cos(directions), np.sin(directions)], axis=1) * np.array(PROXY_NORMS)[:, None]


def circle_margin(spec: LossSpec, direction: np.ndarray, roles: Roles) -> np.ndarray:
    """How far x at angle ``direction`` (N,) satisfies the loss as a sample of the first of ``roles``; 0 on the boundary."""
    x = FEATURE_NORM * np.stack([np.cos(direction), np.sin(direction)], axis=1)
    class_bias = torch.tensor(CLASS_BIAS, dtype=torch.float64) if spec.similarity.class_bias else None
    query = spec.similarity.query(torch.as_tensor(x), {})
    products = engine.similarities(spec, query, torch.as_tensor(proxies()), class_bias).numpy()
    return decided(spec, products[:, roles[0]], products[:, roles[1]], norm=FEATURE_NORM)


def circle_cuts() -> dict[str, Cut]:
    """Arcs and boundaries on the circle of every row of :data:`BOUNDARIES`."""
    return {title: _cut(spec) for title, spec in BOUNDARIES.items()}


def _cut(spec: LossSpec) -> Cut:
    first, second = (_arcs(partial(circle_margin, spec, roles=roles)) for roles in CLASSES)
    line = _softmax_line() if spec.similarity.class_bias else None
    return Cut(first, second, None if compares(spec) else thresholds(spec), line)


def _arcs(margin: Callable[[np.ndarray], np.ndarray]) -> tuple[tuple[float, float], ...]:
    """Where the margin is positive around the circle."""
    grid = np.linspace(0, 2 * math.pi, 3601) + 1e-4
    inside = margin(grid) > 0
    changes = np.flatnonzero(inside[1:] != inside[:-1])
    edges = crossing(margin, grid[changes], grid[changes + 1])
    starts, ends = edges[~inside[changes]], edges[inside[changes]]
    if len(starts) and starts[0] > ends[0]:  # an arc that runs over the end of the grid
        ends = np.append(ends[1:], ends[0] + 2 * math.pi)
    return tuple(zip(starts.tolist(), ends.tolist(), strict=True))


def gap(cut: Cut) -> float:
    """Angle in radians between the arcs of the two classes where they face each other between the proxies."""
    nearest = [min((_from_top(edge) for arc in arcs for edge in arc), key=abs) for arcs in (cut.first, cut.second)]
    return nearest[0] - nearest[1]


def _from_top(direction: float) -> float:
    """The angle from the upward direction, in [−π, π)."""
    return (direction + math.pi / 2) % (2 * math.pi) - math.pi


def _softmax_line() -> np.ndarray:
    """Two points of (W₁ − W₂)·x + b₁ − b₂ = 0, beyond the circle on both sides."""
    normal = proxies()[0] - proxies()[1]
    foot = normal * (CLASS_BIAS[1] - CLASS_BIAS[0]) / (normal @ normal)
    along = np.array([-normal[1], normal[0]]) / np.linalg.norm(normal)
    reach = math.sqrt(1 - foot @ foot)
    return np.stack([foot - reach * along, foot + reach * along])


# ------------------------------------------------------------------------------------------------------------- drawing


def draw_plane_boundaries(data: Mapping[str, Boundary]) -> Figure:
    """One panel a loss: the regions where samples of class 1 and of class 2 are satisfied."""
    figure, panels = sheet("Decision boundaries by the angles to two proxies", 2, 4, (11.5, 6.6), sharex=True, sharey=True)
    for panel, (title, boundary) in zip(panels.flat, data.items(), strict=True):
        _draw_regions(panel, boundary)
        panel.set(xlim=(0, 180), ylim=(0, 180), aspect="equal")
        degrees(panel, up=True)
        titled(panel, title, "θ₁, angle to proxy 1", "θ₂, angle to proxy 2")
        panel.label_outer()
    marks = [*_class_marks(), Line2D([], [], color=INK, linestyle=DASHES[1], label="once misclassified")]
    figure.legend(handles=marks, loc="outside lower center", ncols=3, frameon=False, fontsize=9, labelcolor=INK)
    return figure


def _draw_regions(axes: Axes, boundary: Boundary) -> None:
    for points, colour, mirror in ((boundary.first, FIRST, 1), (boundary.second, SECOND, -1)):
        axes.plot(*np.degrees(points).T, color=colour, linewidth=2)
        region = _closed(points[:, ::mirror])[:, ::mirror]
        axes.fill(*np.degrees(region).T, color=colour, alpha=0.25, linewidth=0)
    for points, colour in zip(boundary.strived, (FIRST, SECOND), strict=False):
        axes.plot(*np.degrees(points).T, color=colour, linewidth=1.6, linestyle=DASHES[1])


def _closed(points: np.ndarray) -> np.ndarray:
    """The region between a rising boundary and the corner (0, π)."""
    return np.concatenate([points, [[points[-1, 0], math.pi], [0, math.pi], [0, points[0, 1]]]])


def _class_marks() -> list[Patch]:
    return [Patch(color=colour, alpha=0.5, label=f"class {number}") for number, colour in ((1, FIRST), (2, SECOND))]


def draw_circle_cuts(data: Mapping[str, Cut]) -> Figure:
    """One panel a loss: the arcs of the two classes, and the lines that bound them."""
    title = f"Decision boundaries on the circle, proxies {math.degrees(BETWEEN):.0f}° apart"
    figure, panels = sheet(title, 2, 4, (11.5, 6.9))
    for panel, (name, cut) in zip(panels.flat, data.items(), strict=True):
        _draw_circle(panel, cut)
        panel.set(xlim=(-1.3, 1.3), ylim=(-1.2, 1.2), aspect="equal")
        panel.set_axis_off()
        titled(panel, f"{name}\n{_gap_in_words(cut)}")
    marks = [
        *_class_marks(),
        Line2D([], [], color=INK, label="p = n, or p = 0"),
        Line2D([], [], color=INK, linestyle=DASHES[1], label="n = 0"),
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=4, frameon=False, fontsize=9, labelcolor=INK)
    return figure


def _draw_circle(axes: Axes, cut: Cut) -> None:
    around = np.linspace(0, 2 * math.pi, 361)
    axes.plot(np.cos(around), np.sin(around), color=INK, linewidth=1, alpha=0.5)
    for number, (arcs, colour) in enumerate(((cut.first, FIRST), (cut.second, SECOND))):
        for start, end in arcs:
            axes.add_patch(Wedge((0, 0), 1.1, math.degrees(start), math.degrees(end), width=0.1, color=colour, linewidth=0))
        _draw_lines(axes, cut, number, colour)
        tip = proxies()[number] / PROXY_NORMS[number]
        axes.plot([0, tip[0]], [0, tip[1]], color=INK, linewidth=1, alpha=0.6)
        axes.plot(*tip, "o", color=INK, markersize=4)
        axes.text(1.24 * tip[0], 1.24 * tip[1], f"W{'₁₂'[number]}", color=INK, ha="center", va="center", fontsize=10)


def _draw_lines(axes: Axes, cut: Cut, number: int, colour: str) -> None:
    """Softmax' straight line, the parallel pair of the binary link, or a ray at each end of an arc."""
    if cut.line is not None:
        axes.plot(*cut.line.T, color=INK, linewidth=1.8)
    elif cut.thresholds is not None:
        centre = math.pi / 2 + (0.5 - number) * BETWEEN
        for threshold, dash in zip(cut.thresholds, DASHES, strict=False):
            ends = centre + np.array([-threshold, threshold])
            axes.plot(np.cos(ends), np.sin(ends), color=colour, linewidth=1.8, linestyle=dash)
    else:
        for edge in np.ravel((cut.first, cut.second)[number]):
            axes.plot([0, math.cos(edge)], [0, math.sin(edge)], color=colour, linewidth=1.8)


def _gap_in_words(cut: Cut) -> str:
    width = math.degrees(gap(cut))
    return "no gap between the classes" if abs(width) < 0.05 else f"gap {width:.1f}°"
