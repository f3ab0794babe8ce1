"""Pictures of error rates: ROC, DET, and the rates over the threshold, drawn from arrays; and, by name, all pictures of an
evaluation. Needs matplotlib (extra ``plots``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from orthodrome.evaluation.wording import COMPARISONS, Trials
from orthodrome.figures.rates import rate_figure, reliability_figure
from orthodrome.figures.scores import GENUINE, HEIGHT, IMPOSTOR, WIDTH, score_distribution_figure, vertical_lines
from orthodrome.figures.style import INK, SYSTEMS, as_written, in_percent, inked, keyed

__all__ = [
    "INK",
    "Band",
    "det_figure",
    "error_rates_figure",
    "rate_figure",
    "reliability_figure",
    "roc_figure",
    "score_distribution_figure",
]

_MOST_POINTS = 1000
_DET_TICKS = (1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.8, 0.9)
_HIGHEST_RATE = 0.999

Curve = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Band:
    """A pointwise confidence band of a ROC: at each ``far`` (K,), rising, TAR lies between ``low`` and ``high`` (K,)."""

    far: np.ndarray
    low: np.ndarray
    high: np.ndarray


def roc_figure(curves: Mapping[str, Curve], bands: Mapping[str, Band] | None = None, trials: Trials = COMPARISONS) -> Figure:
    """TAR over FAR (logarithmic) of each named curve: arrays (far, tar) from the strictest threshold to the
    laxest.

    A curve is drawn as the steps it is: at each FAR the TAR that is reached without exceeding it. It
    starts at the lowest FAR above 0 that was observed; the TAR at no accepted impostor is the level it
    starts from. ``bands`` shade the confidence band of the curves they name; ``trials`` names the axes.
    """
    figure, axes = _axes()
    lowest = min(_lowest_far(far) for far, _ in curves.values())
    for (name, (far, tar)), colour in zip(curves.items(), _colours(len(curves)), strict=True):
        shown_far, shown_tar = _thinned(*_from(lowest, far, tar))
        axes.plot(shown_far, shown_tar, drawstyle="steps-post", color=colour, linewidth=1.8, label=as_written(name))
        if band := (bands or {}).get(name):
            seen, low, high = _band_along(shown_far, band)
            axes.fill_between(seen, low, high, step="post", color=colour, alpha=0.18, linewidth=0)
    axes.set(xscale="log", xlim=(lowest, 1), ylim=(_floor_of(curves, bands or {}, lowest), 1))
    axes.set_xlabel(trials.far)
    axes.set_ylabel(trials.tar)
    axes.xaxis.set_major_formatter(FuncFormatter(_power_or_percent))
    axes.set_yticks([tick for tick in axes.get_yticks() if tick <= 1])
    axes.yaxis.set_major_formatter(FuncFormatter(in_percent))
    axes.set_ylim(top=1 + 0.03 * (1 - axes.get_ylim()[0]))
    _named(axes, curves, "lower right")
    return figure


def det_figure(curves: Mapping[str, Curve], bands: Mapping[str, Band] | None = None, trials: Trials = COMPARISONS) -> Figure:
    """FRR over FAR on normal-deviate axes, the curves and bands as in `roc_figure`.

    Martin et al., "The DET curve in assessment of detection task performance", Eurospeech 1997: where
    scores of both kinds are normal, the curve is straight. An FRR of 0 is drawn at the edge: half of the
    smallest one that was observed.
    """
    figure, axes = _axes()
    lowest_far = min(_lowest_far(far) for far, _ in curves.values())
    lowest_frr = min(_lowest_far(1 - tar) if (tar < 1).any() else 1e-3 for _, tar in curves.values()) / 2

    def place(rates: np.ndarray, lowest: float) -> np.ndarray:
        return _deviates(np.clip(rates, lowest, _HIGHEST_RATE))

    worst = 1 - _worst_tar(curves, bands or {}, lowest_far)
    for (name, (far, tar)), colour in zip(curves.items(), _colours(len(curves)), strict=True):
        shown_far, shown_tar = _thinned(*_from(lowest_far, far, tar))
        across, up = place(shown_far, lowest_far), place(1 - shown_tar, lowest_frr)
        axes.plot(across, up, drawstyle="steps-post", color=colour, linewidth=1.8, label=as_written(name))
        if band := (bands or {}).get(name):
            seen, low, high = _band_along(shown_far, band)
            ends = place(1 - high, lowest_frr), place(1 - low, lowest_frr)
            axes.fill_between(place(seen, lowest_far), *ends, step="post", color=colour, alpha=0.18, linewidth=0)
    _deviate_axis(axes, "x", lowest_far, 0.6)
    _deviate_axis(axes, "y", lowest_frr, float(np.clip(1.6 * worst, 4 * lowest_frr, 0.95)))
    axes.set_xlabel(trials.far)
    axes.set_ylabel(trials.frr)
    _named(axes, curves, "best")
    return figure


def error_rates_figure(
    thresholds: np.ndarray,
    far: np.ndarray,
    frr: np.ndarray,
    lines: Mapping[str, float] | None = None,
    trials: Trials = COMPARISONS,
) -> Figure:
    """FAR and FRR (logarithmic) over the threshold, arrays (K,), thresholds falling; ``lines`` names thresholds to mark.

    A rate of 0 is not drawn.
    """
    figure, axes = _axes()
    lowest = min(_lowest_far(far), _lowest_far(frr) if (frr > 0).any() else 1.0)
    for name, rates, colour in ((trials.far, far, IMPOSTOR), (trials.frr, frr, GENUINE)):
        shown = rates > 0
        across, up = thresholds[shown][::-1], rates[shown][::-1]
        kept = _spread(across, np.log(up))
        axes.plot(
            across[kept], up[kept], drawstyle="steps-pre", color=colour, linewidth=1.8, label=as_written(name.split(":")[0])
        )
    axes.set(yscale="log", ylim=(lowest / 1.5, 1.5 / 1.2))
    vertical_lines(axes, lines or {})
    axes.set_xlabel("threshold")
    axes.set_ylabel("share of comparisons decided wrongly")
    axes.yaxis.set_major_formatter(FuncFormatter(_power_or_percent))
    keyed(axes, "lower left", fontsize=9)
    return figure


def _axes() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.subplots()
    inked(axes)
    return figure, axes


def _colours(count: int) -> list[str]:
    return [SYSTEMS[number % len(SYSTEMS)] for number in range(count)]


def _named(axes: Axes, curves: Mapping[str, Curve], place: Any) -> None:
    """A legend where there is more than one curve to tell apart."""
    if len(curves) > 1:
        keyed(axes, place, fontsize=9)


def _lowest_far(far: np.ndarray) -> float:
    """The lowest rate above 0, and no more than ½, so that an axis has a length."""
    return min(0.5, float(far[far > 0].min()))


def _floor_of(curves: Mapping[str, Curve], bands: Mapping[str, Band], lowest: float) -> float:
    """Where the TAR axis begins: a little under the lowest curve and its band, at 0 where that is near."""
    worst = _worst_tar(curves, bands, lowest)
    return 0.0 if worst < 0.3 else max(0.0, worst - 0.15 * (1 - worst) - 0.005)


def _worst_tar(curves: Mapping[str, Curve], bands: Mapping[str, Band], lowest: float) -> float:
    """The lowest TAR that is drawn: where the curves start, or where a band reaches."""
    starts = [float(tar[far <= lowest].max()) for far, tar in curves.values()]
    return min([*starts, *(float(band.low.min()) for band in bands.values())])


def _from(lowest: float, far: np.ndarray, tar: np.ndarray) -> Curve:
    """A curve from FAR ``lowest`` on."""
    seen = slice(np.flatnonzero(far <= lowest)[-1], None)
    return np.maximum(far[seen], lowest), tar[seen]


def _band_along(far: np.ndarray, band: Band) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The FARs of a curve that ``band`` reaches, and its ends there: it has steps where the curve has, and so holds the curve."""
    seen = far[(far >= band.far[0]) & (far <= band.far[-1])]
    low, high = (np.interp(np.log(seen), np.log(band.far), side) for side in (band.low, band.high))
    return seen, low, high


def _deviates(rates: np.ndarray) -> np.ndarray:
    """The normal deviate of each rate in (0, 1): where a standard normal variable falls below it that often."""
    inverse = NormalDist().inv_cdf
    return np.array([inverse(rate) for rate in rates.tolist()])


def _deviate_axis(axes: Axes, side: str, lowest: float, highest: float) -> None:
    """Ticks at plain rates, the labels no nearer than an eighth of the axis."""
    low, high = _deviates(np.clip([lowest, highest], None, _HIGHEST_RATE))
    ticks: dict[float, str] = {}
    for rate, place in zip(_DET_TICKS, _deviates(np.array(_DET_TICKS)).tolist(), strict=True):
        if low <= place <= high and place - max(ticks, default=-np.inf) >= (high - low) / 8:
            ticks[place] = _power_or_percent(rate, None)
    getattr(axes, f"set_{side}ticks")(list(ticks), list(ticks.values()))
    getattr(axes, f"set_{side}lim")(low, high)


def _thinned(far: np.ndarray, tar: np.ndarray) -> Curve:
    """At most a thousand points of a curve (far > 0), evenly spread over both axes of the picture, for the eye only."""
    kept = _spread(np.log(far), tar)
    return far[kept], tar[kept]


def _spread(across: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Positions of at most `_MOST_POINTS` points of a curve, evenly along it; the first and the last among them."""
    if len(across) <= _MOST_POINTS:
        return np.arange(len(across))
    moves = [np.abs(np.diff(side, prepend=side[0])) for side in (across, up)]
    along = np.cumsum(sum(move / max(float(move.sum()), 1e-300) for move in moves))
    return np.unique(np.searchsorted(along, np.linspace(0, along[-1], _MOST_POINTS)).clip(0, len(across) - 1))


def _power_or_percent(value: float, _position: Any) -> str:
    return in_percent(value) if value >= 0.000999 else f"$10^{{{round(np.log10(value))}}}$"
