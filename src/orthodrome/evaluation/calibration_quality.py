"""How good log-likelihood ratios are: Cllr, its minimum, and the reliability of the probabilities, judged on pairs
that the calibration was not fitted on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from orthodrome.evaluation.calibration import CALIBRATIONS, Calibration, calibrate, log_odds, sigmoid
from orthodrome.evaluation.hull import roc_hull
from orthodrome.evaluation.intervals import wilson
from orthodrome.evaluation.scored import ScoredPairs
from orthodrome.types import InputError, Interval

_EDGES = (0, 0.01, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.99, 1)


@dataclass(frozen=True)
class ReliabilityBin:
    """Pairs whose predicted probability lies between ``low`` and ``high``: its mean, and how many are genuine."""

    low: float
    high: float
    predicted: float
    genuine: int
    count: int
    interval: Interval

    @property
    def observed(self) -> float:
        return self.genuine / self.count


def cllr(genuine: np.ndarray, impostor: np.ndarray) -> float:
    """The cost of log-likelihood ratios, in bits per comparison: of genuine (G,) and impostor (I,) pairs.

    Cllr = ½·mean_genuine log₂(1 + e^{−LLR}) + ½·mean_impostor log₂(1 + e^{LLR}): 0 for certainty, 1 for
    ratios that say nothing (LLR = 0), above 1 for ratios that mislead. Brümmer & du Preez (2006).
    """
    costs = np.logaddexp(0, -genuine).mean() + np.logaddexp(0, impostor).mean()
    return float(costs / (2 * math.log(2)))


def minimum_cllr(genuine: np.ndarray, impostor: np.ndarray) -> float:
    """Cllr of the best non-falling map of these scores to ratios (PAV), found on the scores themselves: what a
    calibration could at most reach. The difference from `cllr` is the loss by calibration.
    """
    hull = roc_hull(genuine, impostor)
    ratios = hull.log_likelihood_ratios()
    # A segment without a kind costs that kind nothing, though its ratio be infinite.
    costs = [
        (counts @ np.where(counts > 0, np.logaddexp(0, sign * ratios), 0)) / counts.sum()
        for sign, counts in ((-1, hull.genuine), (1, hull.impostor))
    ]
    return float(sum(costs) / (2 * math.log(2)))


def cross_fitted(pairs: ScoredPairs, method: str) -> np.ndarray:
    """Log-likelihood ratios (N,) of ``pairs``, each fold's from a calibration fitted on the other folds.

    Raises InputError where there are fewer than two folds, or as `calibrate` does.
    """
    folds = np.unique(pairs.folds)
    if len(folds) < 2:
        raise InputError(f"cross-fitting needs two folds or more; got {len(folds)}")
    ratios = np.empty(len(pairs))
    for fold in folds:
        inside = pairs.folds == fold
        fitted = calibrate(pairs.scores[~inside], pairs.same[~inside], method)
        ratios[inside] = fitted.log_likelihood_ratios(pairs.scores[inside])
    return ratios


def reliability(ratios: np.ndarray, same: np.ndarray) -> tuple[ReliabilityBin, ...]:
    """Predicted against observed: ``ratios`` (N,) as probabilities at the share of genuines in ``same`` (N,), in bins.

    Bins without a pair are left out; each has Wilson's interval of its observed share.
    """
    probability = sigmoid(ratios + log_odds(same.mean()))
    of_bin = np.clip(np.searchsorted(_EDGES, probability, side="right") - 1, 0, len(_EDGES) - 2)
    return tuple(_bin(number, probability[of_bin == number], same[of_bin == number]) for number in np.unique(of_bin).tolist())


def _bin(number: int, probability: np.ndarray, same: np.ndarray) -> ReliabilityBin:
    genuine, count = int(same.sum()), len(same)
    low, high = _EDGES[number : number + 2]
    return ReliabilityBin(low, high, float(probability.mean()), genuine, count, wilson(genuine, count))


def calibration_metrics(pairs: ScoredPairs) -> Mapping[str, Any]:
    """What a report says of calibration: for each method of `CALIBRATIONS`, cross-fitted over the folds, its Cllr and
    reliability; the minimum Cllr; the share of genuines, and the number of folds.
    """
    judged = pairs.in_folds()
    methods = []
    for method in CALIBRATIONS:
        ratios = cross_fitted(judged, method)
        bins = [{**asdict(row), "observed": row.observed} for row in reliability(ratios, judged.same)]
        methods.append({"method": method, "cllr": cllr(ratios[judged.same], ratios[~judged.same]), "bins": bins})
    return {
        "methods": methods,
        "minimum_cllr": minimum_cllr(judged.of_kind("genuine"), judged.of_kind("impostor")),
        "genuine_share": float(judged.same.mean()),
        "folds": len(np.unique(judged.folds)),
    }


def calibration_for_use(pairs: ScoredPairs) -> Calibration:
    """A logistic calibration fitted on all ``pairs`` that lie in a fold: what a report writes down for new scores."""
    judged = pairs.in_folds()
    return calibrate(judged.scores, judged.same)
