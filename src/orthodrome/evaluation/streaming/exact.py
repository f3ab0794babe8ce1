"""What exact counts in bands say: ROC points, TAR@FAR and the equal error rate, or that a band missed what was asked of it."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from orthodrome.evaluation.streaming.tallies import Tally


@dataclass(frozen=True, eq=False)
class Points:
    """Exact operating points, from the strictest: accepted genuines and impostors at thresholds float32 (K,), descending.

    ``complete`` (K,): no score of either kind lies between this threshold and the one before it.
    """

    thresholds: np.ndarray
    genuine: np.ndarray
    impostor: np.ndarray
    complete: np.ndarray


@dataclass(frozen=True)
class Operating:
    """A threshold and what it accepts."""

    threshold: float
    genuine: int
    impostor: int


@dataclass(frozen=True)
class Crossing:
    """The equal error rate, and the operating point nearest to it."""

    rate: float
    point: Operating


def points(genuine: Tally, impostor: Tally) -> Points:
    """Every distinct score inside the bands, and the upper end of each."""
    parts = [_band_points(genuine, impostor, number) for number in reversed(range(len(genuine.bands)))]
    thresholds, genuines, impostors, complete = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Points(thresholds, genuines, impostors, complete)


def together(found: Points, others: Points) -> Points:
    """The points of two passes, each once."""
    thresholds, place = np.unique(np.concatenate([found.thresholds, others.thresholds]), return_index=True)
    order = place[::-1]
    joined = (
        np.concatenate(pair)[order]
        for pair in (
            (found.genuine, others.genuine),
            (found.impostor, others.impostor),
            (found.complete, others.complete),
        )
    )
    return Points(thresholds[::-1], *joined)


def _band_points(genuine: Tally, impostor: Tally, number: int) -> tuple[np.ndarray, ...]:
    levels = np.union1d(genuine.inside(number)[0], impostor.inside(number)[0])[::-1]
    accepted = [tally.above[number] + np.append(0, _reached(levels, *tally.inside(number))) for tally in (genuine, impostor)]
    high = np.float32(genuine.bands[number].high)
    complete = np.append(not np.isfinite(high), np.ones(len(levels), dtype=bool))
    return np.append(high, levels), *accepted, complete


def _reached(levels: np.ndarray, scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """How many of ``counts`` belong to scores at or above each level."""
    below = np.append(0, np.cumsum(counts))
    return below[-1] - below[np.searchsorted(scores, levels, side="left")]


def at_far(found: Points, far: Fraction, impostors: int) -> Operating | None:
    """The smallest threshold that accepts at most ⌊FAR·N⌋ of N ``impostors``; None where no band holds the score that decides it."""
    limit = far.numerator * impostors // far.denominator
    if limit == impostors:  # nothing need be rejected: the lowest score of all
        lowest = found.complete[-1] and found.impostor[-1] == impostors
        return _operating(found, len(found.thresholds) - 1) if lowest else None
    first = int(np.searchsorted(found.impostor, limit, side="right"))  # the first point that accepts too many
    if first == len(found.thresholds) or not found.complete[first]:
        return None
    return Operating(_above(found.thresholds[first]), int(found.genuine[first - 1]), int(found.impostor[first - 1]))


def at_equal_errors(found: Points, genuines: int, impostors: int) -> Crossing | None:
    """Where the exact ROC crosses FAR = FRR, as in `ranking.equal_error_rates`; None where no band holds the crossing."""

    def excess(at: int) -> int:
        """(FAR − FRR)·G·I, which never falls."""
        return int(found.impostor[at]) * genuines - (genuines - int(found.genuine[at])) * impostors

    after = bisect_left(range(len(found.thresholds)), 0, key=excess)
    if not 0 < after < len(found.thresholds) or not found.complete[after]:
        return None
    before, beyond = -excess(after - 1), excess(after)
    crossed = int(found.impostor[after - 1]) * beyond + int(found.impostor[after]) * before
    strict = (genuines - int(found.genuine[after - 1])) * impostors
    rate = float(Fraction(crossed, (before + beyond) * impostors))
    if strict > int(found.impostor[after]) * genuines:
        return Crossing(rate, _operating(found, after))
    point = _operating(found, after - 1)
    if not found.complete[after - 1] or not np.isfinite(point.threshold):  # the end of a band: no score of the data
        point = replace(point, threshold=_above(found.thresholds[after]))
    return Crossing(rate, point)


def _above(score: np.float32) -> float:
    """The lowest threshold that rejects ``score``."""
    return float(np.nextafter(score, np.float32(np.inf)))


def _operating(found: Points, at: int) -> Operating:
    return Operating(float(found.thresholds[at]), int(found.genuine[at]), int(found.impostor[at]))
