"""The convex hull of the ROC, which is the isotonic fit of match probabilities to scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from orthodrome.evaluation.roc import roc_curve


@dataclass(frozen=True)
class RocHull:
    """The K segments of the hull from the highest scores down: the ``lowest_scores`` (K,) of each, and how many genuines
    and impostors lie in it (K,).
    """

    lowest_scores: np.ndarray
    genuine: np.ndarray
    impostor: np.ndarray

    def log_likelihood_ratios(self) -> np.ndarray:
        """ln (genuine share / impostor share) of each segment (K,), falling: the log of its slope; ±∞ where one kind is missing."""
        with np.errstate(divide="ignore"):
            return np.log(self.genuine / self.genuine.sum()) - np.log(self.impostor / self.impostor.sum())


def roc_hull(genuine: ArrayLike, impostor: ArrayLike) -> RocHull:
    """The upper convex hull of the exact ROC of genuine (G,) and impostor (I,) scores.

    Its slopes are the likelihood ratios that pool-adjacent-violators gives (Fawcett & Niculescu-Mizil, "PAV
    and the ROC convex hull", Machine Learning 68, 2007). Raises InputError as `roc_curve` does.
    """
    curve = roc_curve(genuine, impostor)
    x, y = curve.accepted_impostor, curve.accepted_genuine
    corners = _outer_corners(x, y)
    kept: list[int] = []
    for corner in corners.tolist():
        while len(kept) > 1 and not _turns_right(x, y, kept[-2], kept[-1], corner):
            kept.pop()
        kept.append(corner)
    ends = np.array(kept)
    return RocHull(curve.thresholds[ends[1:]], np.diff(y[ends]), np.diff(x[ends]))


def _outer_corners(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Points where the curve does not go on straight up or straight to the right: all that can be on the hull."""
    right, up = np.diff(x), np.diff(y)
    straight = ((right[:-1] == 0) & (right[1:] == 0)) | ((up[:-1] == 0) & (up[1:] == 0))
    return np.concatenate([[0], 1 + np.flatnonzero(~straight), [len(x) - 1]])


def _turns_right(x: np.ndarray, y: np.ndarray, a: int, b: int, c: int) -> bool:
    """Whether a → b → c bends to the right, in whole numbers."""
    return int(x[b] - x[a]) * int(y[c] - y[b]) < int(y[b] - y[a]) * int(x[c] - x[b])
