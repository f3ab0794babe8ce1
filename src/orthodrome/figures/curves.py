"""What each margin does to a cosine: φ(θ) of the target, ν(θ) of the other classes, and how mining weights samples."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orthodrome import losses
from orthodrome.figures.logits import NORM, angles, angular, row
from orthodrome.figures.style import DASHES, INK, SAFE, degrees, keyed, sheet, titled
from orthodrome.types import LossSpec


@dataclass(frozen=True)
class Setting:
    """A row at certain hyper-parameters and feature norm, with the words that say so."""

    words: str = ""
    hyper: Mapping[str, Any] = field(default_factory=dict)
    norm: float = NORM


DEFAULT = (Setting(),)

PLAIN_ANNEALING = (Setting("λ = 0", {"annealing_lambda": 0.0}), Setting("λ = 5", {"annealing_lambda": 5.0}))
_QUALITY = {"mu0": 20.0, "sigma0": 6.0}

SETTINGS: Mapping[str, tuple[Setting, ...]] = {
    "a_softmax": PLAIN_ANNEALING,
    "sv_a_softmax": PLAIN_ANNEALING,
    "sphereface_r": tuple(Setting(version, {"version": version}) for version in ("v0", "v1", "v2")),
    "magface": (Setting("‖x‖ = 10", norm=10.0), Setting("‖x‖ = 110", norm=110.0)),
    "adaface": (Setting("ẑ = −1", _QUALITY, 1.0), Setting("ẑ = 0", _QUALITY), Setting("ẑ = 1", _QUALITY, 39.0)),
    "sphereface2": tuple(Setting(variant, {"variant": variant}) for variant in ("C", "A", "M")),
}
"""Rows whose curve depends on more than the defaults show; all others are drawn once, as they come."""

MINING: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "sv_softmax": ("sv_softmax", {}),
    "sv_softmax, fixed": ("sv_softmax", {"variant": "fixed"}),
    "sv_am_softmax": ("sv_am_softmax", {}),
    "sv_arc_softmax": ("sv_arc_softmax", {}),
    "curricularface, t = 0": ("curricularface", {"t0": 0.0}),
    "curricularface, t = 0.5": ("curricularface", {"t0": 0.5}),
}
FAMILIES: Mapping[str, tuple[str, ...]] = {
    SAFE[0]: ("arcface", "magface"),  # a margin on the angle
    SAFE[4]: ("cosface", "uniface"),  # on the cosine
    SAFE[3]: ("combined_margin", "adaface"),  # on both
    SAFE[2]: ("a_softmax", "sphereface_r"),  # a multiple of the angle
    SAFE[1]: ("sphereface2",),  # similarity adjustment and margin
}
"""Colour of the curves by the first row of their label; a row in no family is drawn in sky blue."""

TARGET_ANGLE = math.radians(50)
"""θ_y of the sample whose other classes are drawn."""

NESTED = {"sv_softmax": 5.5, "sv_am_softmax": 3.2, "sv_arc_softmax": 1.2}
"""Line widths of curves that lie on each other."""

Curves = dict[str, np.ndarray]


@dataclass(frozen=True)
class TargetCurves:
    """θ (N,) in radians and φ(θ) (N,) by label; rows with the same curve share it. ``plain`` are the rows with φ(c) = c."""

    theta: np.ndarray
    phi: Curves
    plain: tuple[str, ...]


@dataclass(frozen=True)
class MiningCurves:
    """θ (N,), ν(θ) (N,) by label for a sample at ``TARGET_ANGLE``, losses (L,) of a batch and the weight (L,) of each by label."""

    theta: np.ndarray
    nu: Curves
    losses: np.ndarray
    weights: Curves


def target_curves() -> TargetCurves:
    """φ of every proxy row of the table, computed by its own angular function."""
    theta = angles()
    groups: dict[bytes, list[str]] = {}
    values: dict[bytes, np.ndarray] = {}
    for name in losses.proxy_names():
        for setting in SETTINGS.get(name, DEFAULT):
            phi, _ = angular(row(name, **setting.hyper), np.cos(theta), 0.0, norm=setting.norm)
            key = _key(phi)
            values[key] = phi
            groups.setdefault(key, []).append(f"{name} {setting.words}".strip())
    plain = _key(np.cos(theta))
    drawn = {", ".join(names): values[key] for key, names in groups.items() if key != plain}
    return TargetCurves(theta, drawn, tuple(groups[plain]))


def _key(curve: np.ndarray) -> bytes:
    """Equal for curves that no eye can tell apart (AdaFace keeps angles 10⁻³ away from 0 and π)."""
    return np.round(curve + 0.0, 5).tobytes()


def mining_curves() -> MiningCurves:
    """ν of the rows that mine by class, and ω(ℓ)/ℓ of those that mine by sample."""
    theta = angles()
    specs = {label: row(name, **hyper) for label, (name, hyper) in MINING.items()}
    nu = {label: angular(spec, math.cos(TARGET_ANGLE), np.cos(theta))[1] for label, spec in specs.items()}
    batch = np.linspace(0.01, 4, 400)
    return MiningCurves(theta, nu, batch, {name: _weights(row(name), batch) for name in ("hm_softmax", "f_softmax")})


def _weights(spec: LossSpec, batch: np.ndarray) -> np.ndarray:
    return spec.weight(torch.as_tensor(batch)).numpy() / batch


# --------------------------------------------------------------------------------------------------------------- drawing


def draw_target_curves(data: TargetCurves) -> Figure:
    """φ over θ, all rows on one axis."""
    figure, ((axes,),) = sheet("What a margin does to the target: φ(θ)", 1, 1, (11, 7))
    axes.plot(np.degrees(data.theta), np.cos(data.theta), color=INK, linewidth=2.6, label="cos θ: no margin")
    dashes = {colour: itertools.cycle(DASHES) for colour in SAFE}
    for label, phi in sorted(data.phi.items(), key=lambda curve: _colour(curve[0])):
        style = {"color": _colour(label), "linestyle": next(dashes[_colour(label)]), "linewidth": 1.7}
        axes.plot(np.degrees(data.theta), phi, label=_folded(label), **style)
    axes.set(xlim=(0, 180), ylim=(-2.1, 1.05))
    titled(axes, "", "angle θ between embedding and own proxy", "target logit before the scale, φ(θ)")
    degrees(axes)
    figure.legend(loc="outside right center", frameon=False, fontsize=8, labelcolor=INK, handlelength=3.4)
    return figure


def draw_mining_curves(data: MiningCurves) -> Figure:
    """ν over θ, and sample weights over the loss."""
    figure, ((by_class, by_sample),) = sheet("Mining by class and mining by sample", 1, 2, (11, 4.8))
    _draw_raised(by_class, data)
    _draw_weights(by_sample, data)
    return figure


def _draw_raised(axes: Axes, data: MiningCurves) -> None:
    theta, cosine = np.degrees(data.theta), np.cos(data.theta)
    axes.plot(theta, cosine, color=INK, linewidth=1.6, label="cos θ: classes that are not hard")
    for number, (label, nu) in enumerate(data.nu.items()):
        hard = np.abs(nu - cosine) > 1e-9
        width = NESTED.get(label, 1.8)
        axes.plot(theta[hard], nu[hard], label=label, color=SAFE[number], linewidth=width, zorder=4 - width / 6)
        last = np.flatnonzero(hard)[-1]
        axes.plot(theta[last], nu[last], "o", color=SAFE[number], markersize=6)
    axes.axvline(math.degrees(TARGET_ANGLE), color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate("θ of the own class", (math.degrees(TARGET_ANGLE) - 3, -0.95), color=INK, fontsize=8, ha="right")
    axes.set_xlim(0, 180)
    degrees(axes)
    titled(axes, "ν(θ) of another class while it is hard (up to the dot)", "angle θ between embedding and other proxy", "ν(θ)")
    keyed(axes, "upper right")


def _draw_weights(axes: Axes, data: MiningCurves) -> None:
    words = {"hm_softmax": "hm_softmax: the hardest 90 % of this batch", "f_softmax": "f_softmax: focal, γ = 2"}
    axes.axhline(1, color=INK, linewidth=2.6, label="no mining")
    for number, (name, weights) in enumerate(data.weights.items()):
        axes.plot(data.losses, weights, label=words[name], color=SAFE[number], linewidth=1.8)
    titled(axes, "weight of a sample: its loss after mining over its loss", "loss ℓ of the sample", "ω(ℓ) / ℓ")
    keyed(axes, "lower right")


def _colour(label: str) -> str:
    name = label.split(",")[0].split(" ")[0]
    return next((colour for colour, rows in FAMILIES.items() if name in rows), SAFE[5])


def _folded(label: str, width: int = 44) -> str:
    lines, current = [], ""
    for name in label.split(", "):
        if current and len(current) + len(name) + 2 > width:
            lines.append(current + ",")
            current = name
        else:
            current = f"{current}, {name}" if current else name
    return "\n".join([*lines, current])
