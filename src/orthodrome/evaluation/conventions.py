"""What other toolkits print for the same scores, so that old numbers can be compared. Never the default: each has a known bias.

``insightface``: distances 2 − 2·score on a fixed grid of thresholds 0, 0.01, … 3.99; a pair is accepted when its distance is *below*
the threshold; the first best threshold of the other folds; "±" is the standard deviation over folds with ddof = 0, not a standard error;
folds are cut by position; TAR is read at the FPR *nearest* to the one asked for, which may lie above it.

``opensphere``: the best accuracy over all thresholds on the test pairs themselves, with no folds; TAR interpolated between the two
neighbouring points of the ROC, which no threshold reaches.

Both read their ROC from scikit-learn's ``roc_curve``, which leaves out points on a straight line; so do we here. Checked against the
published sources of both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from orthodrome.evaluation.roc import roc_curve
from orthodrome.registry import Registry

Convention = Callable[[np.ndarray, np.ndarray, int], dict[str, Any]]
"""Scores (N,), same bool (N,), number of folds -> ``convention``, ``accuracy``, ``plus_minus``, ``tar_at_fpr`` and ``text``."""

CONVENTIONS: Registry[Convention] = Registry("convention")

_FPRS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


def insightface(scores: np.ndarray, same: np.ndarray, folds: int) -> dict[str, Any]:
    """As insightface's ``verification.py`` and IJB scripts print it; distances are computed from the canonical scores."""
    accepted = (2 - 2 * scores.astype(np.float64))[:, None] < np.arange(0, 4, 0.01)
    right = accepted == same[:, None]
    accuracies = []
    for inside in cut_by_position(len(scores), folds):
        best = int(np.argmax(right[~inside].mean(axis=0)))
        accuracies.append(right[inside, best].mean())
    accuracy, spread = float(np.mean(accuracies)), float(np.std(accuracies))
    how = f"± {spread:.5f} (standard deviation over folds, ddof = 0); TAR at the nearest FPR"
    return _told("insightface", accuracy, spread, how, nearest_tars(scores, same))


def opensphere(scores: np.ndarray, same: np.ndarray, folds: int) -> dict[str, Any]:
    """As OpenSphere's evaluation prints it."""
    curve = roc_curve(scores[same], scores[~same])
    right = curve.accepted_genuine + (curve.accepted_impostor[-1] - curve.accepted_impostor)
    how = "(threshold chosen on the test pairs); TAR interpolated"
    return _told("opensphere", float(right.max() / len(scores)), None, how, interpolated_tars(scores, same))


CONVENTIONS.add("insightface", insightface)
CONVENTIONS.add("opensphere", opensphere)


def cut_by_position(count: int, folds: int) -> list[np.ndarray]:
    """Masks bool (N,) of the folds that cutting a list by position gives, the first ``count % folds`` one longer."""
    numbers = np.repeat(np.arange(folds), [len(part) for part in np.array_split(np.arange(count), folds)])
    return [numbers == fold for fold in range(folds)]


def nearest_tars(scores: np.ndarray, same: np.ndarray, fprs: Sequence[float] = _FPRS) -> dict[float, float]:
    """TAR at the operating point whose FPR is nearest to each of ``fprs``; the laxest of equally near ones."""
    far, tar = _corners(scores, same)
    nearest = (len(far) - 1 - int(np.argmin(np.abs(far - fpr)[::-1])) for fpr in fprs)
    return {fpr: float(tar[point]) for fpr, point in zip(fprs, nearest, strict=True)}


def interpolated_tars(scores: np.ndarray, same: np.ndarray, fprs: Sequence[float] = _FPRS) -> dict[float, float]:
    """TAR on the straight line between the points of the ROC before and after each FPR; of points with one FPR, the highest."""
    far, tar = _corners(scores, same)
    return {fpr: float(np.interp(fpr, far, tar)) for fpr in fprs}


def _corners(scores: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """FAR and TAR of the ROC as scikit-learn thins it out: from the first real point on, those that bend it, and the last."""
    curve = roc_curve(scores[same], scores[~same])
    bends = [np.diff(counts[1:], 2) != 0 for counts in (curve.accepted_impostor, curve.accepted_genuine)]
    kept = np.concatenate([[True, True], bends[0] | bends[1], [True]])[: len(curve.far)]
    return curve.far[kept], curve.tar[kept]


def _told(name: str, accuracy: float, spread: float | None, how: str, tars: dict[float, float]) -> dict[str, Any]:
    rows = ", ".join(f"{fpr:g}: {tar:.4f}" for fpr, tar in tars.items())
    text = f"convention {name}: accuracy {accuracy:.5f} {how} {rows}"
    listed = [{"fpr": fpr, "tar": tar} for fpr, tar in tars.items()]
    return {"convention": name, "accuracy": accuracy, "plus_minus": spread, "tar_at_fpr": listed, "text": text}
