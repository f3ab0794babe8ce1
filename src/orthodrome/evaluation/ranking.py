"""Scores ranked once, counted under any weights: the ground on which ROC, EER, TAR@FAR and their bootstraps stand.

A *cut* c accepts the c highest of the K distinct scores: cut 0 accepts nothing, cut K everything. Weights come in R rows, one
per resample, and are whole numbers in float64: every sum is exact, and a row of ones gives the plain counts. What a cut accepts
only grows with the cut, so the cut in question is found by bisection, for all rows at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np


@dataclass(frozen=True)
class Ranking:
    """The distinct scores ``levels`` (K,), highest first, and the genuines and impostors each cut accepts, int64 (K + 1,)."""

    levels: np.ndarray
    genuine: np.ndarray
    impostor: np.ndarray

    def threshold(self, cut: int) -> float:
        """The threshold of a cut: its lowest accepted score, or the next number above all scores for cut 0."""
        return float(self.levels[cut - 1]) if cut else self.above(0)

    def above(self, level: int) -> float:
        """The smallest threshold that rejects ``levels[level]``: the next number above it, in the type of the scores."""
        return float(np.nextafter(self.levels[level], self.levels.dtype.type(np.inf)))


@dataclass(frozen=True)
class Weighed:
    """A ranking under R rows of weights: the weight of the first 0, 1, … genuines (R, G + 1) and impostors (R, I + 1)."""

    ranking: Ranking
    genuine: np.ndarray
    impostor: np.ndarray

    def accepted(self, cuts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weight (R,) of the genuines and of the impostors that each row accepts at its own cut (R,)."""
        rows = np.arange(len(self.genuine))
        return self.genuine[rows, self.ranking.genuine[cuts]], self.impostor[rows, self.ranking.impostor[cuts]]

    def first_cut(self, holds: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """The first cut (R,) whose accepted weights satisfy ``holds``, which never turns false again; K + 1 where none does."""
        cuts = len(self.ranking.genuine)
        low, high = np.zeros(len(self.genuine), dtype=np.int64), np.full(len(self.genuine), cuts)
        while np.any(low < high):
            middle = (low + high) // 2
            found = holds(*self.accepted(np.minimum(middle, cuts - 1))) | (middle == cuts)
            low, high = np.where(found, low, middle + 1), np.where(found, middle, high)
        return low


def rank(genuine: np.ndarray, impostor: np.ndarray) -> Ranking:
    """Rank scores of one type, (G,) and (I,), each sorted from the highest."""
    levels = np.unique(np.concatenate([genuine, impostor]))[::-1]
    return Ranking(levels, _accepted(genuine, levels), _accepted(impostor, levels))


def weigh(ranking: Ranking, weights: np.ndarray) -> Weighed:
    """Apply ``weights`` (R, G + I): of the genuines, then of the impostors, each from the highest score."""
    genuines = ranking.genuine[-1]
    return Weighed(ranking, _cumulated(weights[:, :genuines]), _cumulated(weights[:, genuines:]))


def equal_error_rates(weighed: Weighed) -> tuple[np.ndarray, np.ndarray]:
    """Equal error rate (R,), NaN where a class has no weight, and the cut (R,) nearest to it.

    The rate is where the ROC, its points joined by straight lines, crosses FAR = FRR. Between two cuts either one class moves,
    the line is horizontal or vertical and the rate a quotient of counts, or genuines and impostors tie, and the line stands for
    the tie broken at random: equal scores all over give 1/2. Swapping the classes and the sign of the scores changes nothing.
    """
    genuines, impostors = weighed.genuine[:, -1], weighed.impostor[:, -1]

    def excess(genuine: np.ndarray, impostor: np.ndarray) -> np.ndarray:
        """(FAR − FRR)·G·I: −GI at the first cut, never falling, +GI at the last."""
        return impostor * genuines - (genuines - genuine) * impostors

    after = np.maximum(weighed.first_cut(lambda genuine, impostor: excess(genuine, impostor) >= 0), 1)
    genuine_before, impostor_before = weighed.accepted(after - 1)
    genuine_after, impostor_after = weighed.accepted(after)
    below, above = -excess(genuine_before, impostor_before), excess(genuine_after, impostor_after)
    with np.errstate(invalid="ignore", divide="ignore"):
        rates = (impostor_before * above + impostor_after * below) / (below + above) / impostors
    # The larger error of each of the two cuts, times G·I: where it is smaller lies the operating point nearest to the crossing.
    strict, lax = (genuines - genuine_before) * impostors, impostor_after * genuines
    return rates, np.where(strict <= lax, after - 1, after)


def cuts_at_far(weighed: Weighed, far: Fraction) -> np.ndarray:
    """The laxest cut (R,) that accepts at most ⌊FAR·N⌋ of the impostor weight N, in exact arithmetic."""
    totals = weighed.impostor[:, -1]
    limits = np.array([far.numerator * int(total) // far.denominator for total in totals], dtype=np.float64)
    return weighed.first_cut(lambda _, impostor: impostor > limits) - 1


def tars_at_far(weighed: Weighed, far: Fraction) -> np.ndarray:
    """TAR (R,) at `cuts_at_far`; NaN where a class has no weight."""
    accepted = weighed.accepted(cuts_at_far(weighed, far))[0]
    genuines = weighed.genuine[:, -1]
    defined = (genuines > 0) & (weighed.impostor[:, -1] > 0)
    return np.divide(accepted, genuines, out=np.full(len(genuines), np.nan), where=defined)


def _accepted(scores: np.ndarray, levels: np.ndarray) -> np.ndarray:
    return np.append(0, len(scores) - np.searchsorted(scores[::-1], levels, side="left"))


def _cumulated(weights: np.ndarray) -> np.ndarray:
    sums = np.zeros((len(weights), weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums
