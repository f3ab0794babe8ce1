"""The shapes of SphereFace2 (2108.01513), loss over similarity, g(z) and its geometry, and A-Softmax's annealing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orthodrome.figures.logits import angles, angular, column, logits, row, rows_of, zero_angle
from orthodrome.figures.style import DASHES, FIRST, INK, SAFE, SECOND, degrees, keyed, sheet, titled
from orthodrome.types import LossSpec

SCALES = (1.0, 5.0, 10.0, 40.0)
POWERS = (1.0, 2.0, 3.0, 4.0, 5.0)
EASY, HARD = 0.5, -0.5
"""Similarity to the own class of the easy and of the hard sample that the slopes are compared at."""

Curves = dict[float, np.ndarray]


@dataclass(frozen=True)
class LossCurves:
    """cos θ (N,) and, by scale r, the loss (N,) of a sample against its own class and against another, and their slopes."""

    cosine: np.ndarray
    positive: Curves
    negative: Curves
    positive_slope: Curves
    negative_slope: Curves


def loss_curves() -> LossCurves:
    """SphereFace2's L_e, ζ(−r·c)/r and ζ(r·c)/r, through its link and weight; both weights 1, no margin, no bias."""
    cosine = np.linspace(-1, 1, 401)
    parts = {scale: _both_losses(row("sphereface2_e", lam=None, scale=scale, gradient="exact"), cosine) for scale in SCALES}
    positive, negative, positive_slope, negative_slope = ({scale: part[of] for scale, part in parts.items()} for of in range(4))
    return LossCurves(cosine, positive, negative, positive_slope, negative_slope)


def _both_losses(spec: LossSpec, cosine: np.ndarray) -> tuple[np.ndarray, ...]:
    """Loss of the positive and of one negative at each cosine, and the derivatives of both."""
    cos = column(cosine).requires_grad_()
    phi, nu = spec.angular(cos, cos, **spec.margins(rows_of(cos), {}))
    scale = float(spec.hyper["scale"])
    satisfied = torch.full((len(cos),), 1e6, dtype=torch.float64)
    positive = spec.weight(spec.link.join(scale * phi.squeeze(1), torch.zeros_like(satisfied), 2))
    negative = spec.weight(spec.link.join(satisfied, spec.link.partial(scale * nu), 2))
    slopes = (torch.autograd.grad(part.sum(), cos, retain_graph=True)[0].squeeze(1) for part in (positive, negative))
    return tuple(values.detach().numpy() for values in (positive, negative, *slopes))


def slope_ratio(data: LossCurves, scale: float) -> float:
    """How many times harder the hard sample is pulled than the easy one."""
    slope = np.interp([HARD, EASY], data.cosine, data.positive_slope[scale])
    return float(slope[0] / slope[1])


@dataclass(frozen=True)
class AdjustmentCurves:
    """z (N,) and g(z) (N,) by t."""

    z: np.ndarray
    g: Curves


def adjustment_curves() -> AdjustmentCurves:
    """SphereFace2's similarity adjustment for t = 1…5, as its φ without margin."""
    z = np.linspace(-1, 1, 401)
    return AdjustmentCurves(z, {t: angular(row("sphereface2", margin=0.0, t=t), z, 0.0)[0] for t in POWERS})


@dataclass(frozen=True)
class Geometry:
    """r, b, m, t of one SphereFace2, θ (N,) in radians, the logits without margin (N,) and p, n (N,) over it.

    ``baseline``, ``own`` and ``other`` are the angles at which the three cross 0; ``before`` is the baseline at t = 1.
    """

    hyper: Mapping[str, float]
    theta: np.ndarray
    plain: np.ndarray
    p: np.ndarray
    n: np.ndarray
    unadjusted: np.ndarray
    baseline: float
    own: float
    other: float


GEOMETRY = {"scale": 30.0, "margin": 0.3, "t": 3.0, "bias": 6.0}


def geometry() -> Geometry:
    """SphereFace2 with the numbers of :data:`GEOMETRY`."""
    marginal, plain = row("sphereface2", **GEOMETRY), row("sphereface2", **{**GEOMETRY, "margin": 0.0})
    unadjusted = row("sphereface2", **{**GEOMETRY, "margin": 0.0, "t": 1.0})
    theta = angles()
    p, n = logits(marginal, np.cos(theta), np.cos(theta))
    curves = [logits(spec, np.cos(theta), np.cos(theta))[0] for spec in (plain, unadjusted)]
    return Geometry(
        GEOMETRY, theta, curves[0], p, n, curves[1], zero_angle(plain, 0), zero_angle(marginal, 0), zero_angle(marginal, 1)
    )  # fmt: skip


@dataclass(frozen=True)
class Annealing:
    """Training steps (N,), λ (N,), and the share (N,) of ψ in the target logit."""

    steps: np.ndarray
    annealing: np.ndarray
    share: np.ndarray


def annealing() -> Annealing:
    """A-Softmax's λ by its default schedule, and how much of φ is ψ: (φ − c)/(ψ − c) at θ = 60°, which is the same at every angle."""
    steps = np.unique(np.geomspace(1, 20_000, 400).astype(int))
    spec, alone = row("a_softmax"), row("a_softmax", annealing_lambda=0.0)
    cos = column(math.cos(math.pi / 3))
    psi = float(angular(alone, 0.5, 0.0)[0][0])
    values = [spec.margins(rows_of(cos), {"step": torch.tensor(int(step))}) for step in steps]
    phi = np.array([float(spec.angular(cos, cos, **value)[0]) for value in values])
    return Annealing(steps, np.array([float(value["annealing"]) for value in values]), (phi - 0.5) / (psi - 0.5))


# ------------------------------------------------------------------------------------------------------------- drawing


def draw_loss_curves(data: LossCurves) -> Figure:
    """Loss and pull over similarity, for several r."""
    figure, ((loss, slope),) = sheet("SphereFace2: the scale r tells hard samples from easy ones", 1, 2, (11, 4.9))
    for number, scale in enumerate(SCALES):
        style = {"color": SAFE[number], "linewidth": 1.8}
        loss.plot(data.cosine, data.positive[scale], label=f"r = {scale:g}", **style)
        loss.plot(data.cosine, data.negative[scale], linestyle=DASHES[1], **style)
        ratio = slope_ratio(data, scale)
        words = f"r = {scale:g}: hard / easy = {ratio:.1f}" if ratio < 1e4 else f"r = {scale:g}: hard / easy > 10 000"
        slope.plot(data.cosine, -data.positive_slope[scale], label=words, **style)
        slope.plot(data.cosine, data.negative_slope[scale], linestyle=DASHES[1], **style)
    loss.plot([], [], color=INK, label="own class")
    loss.plot([], [], color=INK, linestyle=DASHES[1], label="another class")
    for position, word in ((HARD, "hard"), (EASY, "easy")):
        slope.plot([position, position], [0, 1.04], color=INK, linewidth=1, linestyle=DASHES[2])
        slope.annotate(f"{word} sample of\nthe own class", (position, 1.06), ha="center", color=INK, fontsize=8)
    slope.set_ylim(-0.03, 1.42)
    titled(loss, "loss ζ(∓ r·cos θ) / r", "similarity cos θ", "loss")
    titled(slope, "pull: size of its slope", "similarity cos θ", "|∂ loss / ∂ cos θ|")
    keyed(loss, "upper center")
    keyed(slope, "upper center", ncols=2)
    return figure


def draw_adjustment_curves(data: AdjustmentCurves) -> Figure:
    """g over z for each t."""
    figure, ((axes,),) = sheet("SphereFace2: similarity adjustment g(z) = 2((z + 1)/2)ᵗ − 1", 1, 1, (6.4, 5.4))
    for number, (t, g) in enumerate(data.g.items()):
        axes.plot(data.z, g, color=SAFE[number], linewidth=1.9, label=f"t = {t:g}" + (": g(z) = z" if t == 1 else ""))
    axes.set(xlim=(-1, 1), ylim=(-1.03, 1.03))
    titled(axes, "", "similarity z = cos θ", "adjusted similarity g(z)")
    keyed(axes, "upper left", fontsize=9)
    return figure


def draw_geometry(data: Geometry) -> Figure:
    """Left the ball around a proxy, right the logits over the angle; the same three angles in both."""
    values = ", ".join(f"{name} = {data.hyper[key]:g}" for name, key in _SYMBOLS.items())
    figure, ((ball, line),) = sheet(f"SphereFace2 in one picture: {values}", 1, 2, (11.5, 5.4), width_ratios=(1, 1.25))
    _draw_ball(ball, data)
    _draw_logits(line, data)
    return figure


_SYMBOLS = {"r": "scale", "b": "bias", "m": "margin", "t": "t"}


def _lines(data: Geometry) -> tuple[tuple[float, str, object, str], ...]:
    return (
        (data.own, FIRST, DASHES[0], "p = 0: own class above"),
        (data.baseline, INK, DASHES[2], "b: baseline boundary"),
        (data.other, SECOND, DASHES[1], "n = 0: other classes below"),
    )


def _draw_ball(axes: Axes, data: Geometry) -> None:
    radius = data.hyper["scale"]
    around = np.linspace(0, 2 * math.pi, 361)
    axes.plot(radius * np.sin(around), radius * np.cos(around), color=INK, linewidth=1.2)
    for theta, colour, dash, words in _lines(data):
        axes.plot(radius * np.sin([-theta, theta]), radius * np.cos([theta, theta]), color=colour, linestyle=dash, linewidth=1.9)
        side, height = radius * math.sin(theta), radius * math.cos(theta)
        axes.text(1.06 * side, 1.06 * height, f"{math.degrees(theta):.0f}°", color=colour, fontsize=9)
        axes.text(0.04 * radius, height - 0.02 * radius, words, color=colour, fontsize=8, va="top")
    axes.annotate("", (0, radius), (0, 0), arrowprops={"arrowstyle": "-|>", "color": INK, "shrinkA": 0, "shrinkB": 0})
    axes.text(0, 1.05 * radius, "proxy W", color=INK, fontsize=9, ha="center")
    end = radius * np.array([math.sin(-2.2), math.cos(-2.2)])
    axes.plot([0, end[0]], [0, end[1]], color=INK, linewidth=1)
    axes.text(0.5 * end[0] - 2, 0.5 * end[1] + 2, "radius r", color=INK, fontsize=9, ha="center")
    axes.set(aspect="equal", xlim=(-1.15 * radius, 1.3 * radius), ylim=(-1.08 * radius, 1.15 * radius))
    axes.set_axis_off()
    titled(axes, "the sphere of radius r, cut across its proxy")


def _draw_logits(axes: Axes, data: Geometry) -> None:
    theta = np.degrees(data.theta)
    axes.axhline(0, color=INK, linewidth=1)
    axes.plot(theta, data.unadjusted, color=SAFE[2], linewidth=1.4, linestyle=DASHES[3], label="t = 1: r·cos θ + b")
    curves = (data.p, data.plain, data.n)
    names = ("p = r(g(cos θ) − m) + b", "r·g(cos θ) + b", "n = r(g(cos θ) + m) + b")
    for (zero, colour, dash, _), curve, name in zip(_lines(data), curves, names, strict=True):
        axes.plot(theta, curve, color=colour, linestyle=dash, linewidth=1.9, label=name)
        axes.plot(math.degrees(zero), 0, "o", color=colour, markersize=5)
    radius, margin, bias = (data.hyper[name] for name in ("scale", "margin", "bias"))
    low, high = axes.get_ylim()
    axes.set(xlim=(0, 180), ylim=(low, high + 0.1 * (high - low)))
    floor = 2 * radius * margin
    axes.annotate("", (165, data.n[-60]), (165, data.p[-60]), arrowprops={"arrowstyle": "<->", "color": INK})
    axes.text(162, (data.plain[-60] + data.p[-60]) / 2, f"2·r·m = {floor:g}", color=INK, fontsize=9, ha="right", va="center")
    axes.annotate(f"b = {bias:g} lifts all three", (4, 0.6), color=INK, fontsize=9, va="bottom")
    degrees(axes)
    titled(axes, "the logits over the angle; dots are the cuts on the left", "angle θ to the proxy", "logit")
    keyed(axes, "upper right", fontsize=9)


def draw_annealing(data: Annealing) -> Figure:
    """λ and the share of ψ over training steps."""
    figure, ((weight, share),) = sheet("A-Softmax: ψ is never more than a sixth of the target logit", 1, 2, (10.5, 4.4))
    weight.plot(data.steps, data.annealing, color=FIRST, linewidth=2, label="λ = max(5, 1000 / (1 + 0.12·step))")
    weight.axhline(5, color=INK, linewidth=1, linestyle=DASHES[1], label="λ = 5")
    share.plot(data.steps, data.share, color=SECOND, linewidth=2, label="1 / (1 + λ)")
    share.axhline(1 / 6, color=INK, linewidth=1, linestyle=DASHES[1], label="1/6")
    weight.set(xscale="log", yscale="log")
    share.set(xscale="log", ylim=(0, 0.25))
    titled(weight, "weight of the plain cosine in φ = (λ·cos θ + ψ(θ)) / (1 + λ)", "training step", "λ")
    titled(share, "share of ψ in the target logit", "training step", "share")
    keyed(weight, "upper right", fontsize=9)
    keyed(share, "upper left", fontsize=9)
    return figure
