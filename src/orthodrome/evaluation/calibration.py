"""Scores into log-likelihood ratios and match probabilities, fitted, saved, and applied to new scores.

The log-likelihood ratio of a score s is ln p(s | genuine) / p(s | impostor): what the comparison says, whatever one believed
before. With a prior probability π of a match, the posterior is σ(LLR + ln π/(1 − π)).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from orthodrome.evaluation.checks import same_array, score_array
from orthodrome.evaluation.hull import roc_hull
from orthodrome.files import write_file
from orthodrome.registry import Registry
from orthodrome.types import InputError, PathLike

Parameters = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class CalibrationMethod:
    """``fit``: scores (N,), same (N,) -> parameters. ``apply``: parameters, scores (N,) -> log-likelihood ratios (N,)."""

    fit: Callable[[np.ndarray, np.ndarray], Parameters]
    apply: Callable[[Parameters, np.ndarray], np.ndarray]
    parameters: tuple[str, ...]


CALIBRATIONS: Registry[CalibrationMethod] = Registry("calibration")


@dataclass(frozen=True)
class Calibration:
    """A fitted ``method`` of `CALIBRATIONS`, its ``parameters``, and how many comparisons it was fitted on."""

    method: str
    parameters: Parameters
    genuine: int
    impostor: int

    def log_likelihood_ratios(self, scores: ArrayLike) -> np.ndarray:
        """Natural log-likelihood ratios, float64 (N,), of ``scores`` (N,)."""
        return CALIBRATIONS.get(self.method).apply(self.parameters, score_array(scores).astype(np.float64))

    def probabilities(self, scores: ArrayLike, prior: float = 0.5) -> np.ndarray:
        """Probability (N,) in [0, 1] that each comparison is genuine, where a share ``prior`` of all comparisons is.

        ``prior`` is that of the place of use, in (0, 1): 0.5 where half of those who claim an identity are
        who they say, 1/G for a search in a gallery of G people one of whom is the right one.
        """
        return sigmoid(self.log_likelihood_ratios(scores) + log_odds(prior))


def calibrate(scores: ArrayLike, same: ArrayLike, method: str = "logistic") -> Calibration:
    """Fit ``method``, ``logistic`` or ``isotonic``, to ``scores`` (N,), ``same`` (N,) true for genuine pairs.

    Both weigh the two kinds equally, whatever their numbers. Raises InputError where a kind is missing or
    all scores are equal, and as `CALIBRATIONS.get` does.
    """
    array = score_array(scores).astype(np.float64)
    genuine = same_array(same, len(array))
    if genuine.all() or not genuine.any():
        raise InputError(f"a calibration needs genuine and impostor pairs; got {genuine.sum()} and {(~genuine).sum()}")
    if array.min() == array.max():
        raise InputError(f"all {len(array)} scores are {array[0]:g}: they tell nothing apart, and nothing can be calibrated")
    parameters = CALIBRATIONS.get(method).fit(array, genuine)
    return Calibration(method, parameters, int(genuine.sum()), int((~genuine).sum()))


def save_calibration(calibration: Calibration, path: PathLike) -> Path:
    """Write a calibration as JSON; raises InputError where the file cannot be written."""
    return write_file(Path(path), calibration_json(calibration))


def calibration_json(calibration: Calibration) -> bytes:
    """The bytes of the file that `load_calibration` reads."""
    return (json.dumps(asdict(calibration), indent=2, allow_nan=False) + "\n").encode()


def load_calibration(path: PathLike) -> Calibration:
    """Read what `save_calibration` wrote; raises InputError naming the file and what is wrong with it."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        found = Calibration(**content)
        wanted = CALIBRATIONS.get(found.method).parameters
        columns = {name: tuple(map(float, found.parameters[name])) for name in wanted}
        if len({len(column) for column in columns.values()}) > 1 or not all(columns.values()):
            raise ValueError("its parameters are empty or of different length")
    except OSError as error:
        raise InputError(f"cannot read the calibration {path}: {error.strerror or error}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} is not a calibration as orthodrome writes it: {error}") from None
    if not all(math.isfinite(value) for column in columns.values() for value in column):
        raise InputError(f"{path} is not a calibration as orthodrome writes it: a parameter is not finite")
    return Calibration(found.method, columns, found.genuine, found.impostor)


def sigmoid(log_odds: np.ndarray) -> np.ndarray:
    """1/(1 + e^{−x}), without overflow."""
    return np.exp(-np.logaddexp(0, -log_odds))


def log_odds(probability: float) -> float:
    """ln π/(1 − π); raises InputError outside (0, 1)."""
    if not 0 < probability < 1:
        raise InputError(f"a prior probability must lie between 0 and 1; got {probability}")
    return math.log(probability) - math.log1p(-probability)


def _fit_logistic(scores: np.ndarray, same: np.ndarray) -> Parameters:
    """Slope a and offset b of LLR = a·s + b by logistic regression, both kinds of equal total weight.

    Platt, "Probabilistic outputs for support vector machines" (1999), with his targets (N + 1)/(N + 2) and
    1/(N + 2), which keep the slope finite where the kinds do not overlap; equal weights as in Brümmer &
    du Preez, "Application-independent evaluation of speaker detection", Computer Speech & Language 20
    (2006). Newton's method on the standardised scores: convex, two parameters.
    """
    centre, width = scores.mean(), scores.std()
    design = np.stack([(scores - centre) / width, np.ones(len(scores))], axis=1)
    genuine, impostor = same.sum(), (~same).sum()
    targets = np.where(same, (genuine + 1) / (genuine + 2), 1 / (impostor + 2))
    weights = np.where(same, 0.5 / genuine, 0.5 / impostor)

    def cost(coefficients: np.ndarray) -> float:
        x = design @ coefficients
        return float(weights @ (np.logaddexp(0, x) - targets * x))

    coefficients = np.zeros(2)
    for _ in range(100):
        probability = sigmoid(design @ coefficients)
        gradient = design.T @ (weights * (probability - targets))
        curvature = (design * (weights * probability * (1 - probability))[:, None]).T @ design
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while cost(coefficients - size * step) > cost(coefficients) and size > 1e-9:
            size /= 2
        coefficients = coefficients - size * step
        if np.abs(step).max() < 1e-9 * (1 + np.abs(coefficients).max()):
            break
    slope = coefficients[0] / width
    return {"slope": (float(slope),), "offset": (float(coefficients[1] - slope * centre),)}


def _apply_logistic(parameters: Parameters, scores: np.ndarray) -> np.ndarray:
    return parameters["slope"][0] * scores + parameters["offset"][0]


def _fit_isotonic(scores: np.ndarray, same: np.ndarray) -> Parameters:
    """Log-likelihood ratios that never fall with the score: the pool-adjacent-violators fit, as steps.

    Step k holds from ``from_score[k]`` (rising) to the next; the first also holds below it. One impostor
    above and one genuine below all scores are counted in, so that no ratio is infinite (Laplace).
    """
    below, above = scores.min() - 1, scores.max() + 1
    hull = roc_hull(np.append(scores[same], below), np.append(scores[~same], above))
    starts = hull.lowest_scores[::-1].copy()
    starts[0] = scores.min()  # where the made-up genuine stands, the lowest step begins at the lowest real score
    return {"from_score": tuple(starts.tolist()), "log_likelihood_ratio": tuple(hull.log_likelihood_ratios()[::-1].tolist())}


def _apply_isotonic(parameters: Parameters, scores: np.ndarray) -> np.ndarray:
    step = np.searchsorted(np.array(parameters["from_score"]), scores, side="right") - 1
    return np.array(parameters["log_likelihood_ratio"])[np.maximum(step, 0)]


CALIBRATIONS.add("logistic", CalibrationMethod(_fit_logistic, _apply_logistic, ("slope", "offset")))
CALIBRATIONS.add("isotonic", CalibrationMethod(_fit_isotonic, _apply_isotonic, ("from_score", "log_likelihood_ratio")))
