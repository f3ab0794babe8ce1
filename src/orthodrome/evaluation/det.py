"""False non-match rate at false match rates, and the DET curve, as NIST FRTE prints them: the ROC's errors, failures to enrol included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from orthodrome.evaluation.checks import score_array
from orthodrome.evaluation.intervals import wilson
from orthodrome.evaluation.resolution import Rate
from orthodrome.evaluation.roc import TarAtFar, roc_curve, tar_at_far
from orthodrome.evaluation.searches import NOT_ENROLLED
from orthodrome.types import InputError, Interval


@dataclass(frozen=True)
class FnmrAtFmr:
    """FNMR at one FMR, both per comparison: ``rejected_genuine`` of ``genuine``, ``failures`` to enrol among both."""

    fmr: float
    threshold: float
    fnmr: float
    rejected_genuine: int
    genuine: int
    accepted_impostor: int
    impostor: int
    failures: int
    interval: Interval
    warning: str = ""


def fnmr_at_fmr(genuine: ArrayLike, impostor: ArrayLike, fmrs: Sequence[Rate], failures: int = 0) -> tuple[FnmrAtFmr, ...]:
    """FNMR at the smallest threshold whose FMR is at most each of ``fmrs``; see `orthodrome.evaluation.tar_at_far` for both.

    ``failures``: genuine comparisons that could not be made, because a face was not enrolled; they count as non-matches. Intervals are
    Wilson's. Raises InputError as `tar_at_far` does.
    """
    rows = tar_at_far(with_failures(genuine, failures), impostor, fmrs)
    lowest = min(score_array(genuine, "genuine scores").min(), score_array(impostor, "impostor scores").min())
    return tuple(_mirrored(_without_failures(row, failures, float(lowest)), failures) for row in rows)


def det_curve(genuine: ArrayLike, impostor: ArrayLike, failures: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """FMR and FNMR (K + 1,) of every operating point, from the strictest."""
    curve = roc_curve(with_failures(genuine, failures), impostor)
    real = slice(None, -1 if failures else None)  # the lowest score is then that of the failures, which no threshold reaches
    return curve.far[real], 1 - curve.tar[real]


def with_failures(genuine: ArrayLike, failures: int) -> np.ndarray:
    """Genuine scores with ``failures`` more that no threshold accepts."""
    scores = score_array(genuine, "genuine scores")
    if failures < 0 or (failures and scores.min() <= NOT_ENROLLED):
        raise InputError(f"failures is a number ≥ 0, and goes with canonical scores, which lie in [−1, 1]; got {failures}")
    return np.append(scores, np.full(failures, NOT_ENROLLED, dtype=scores.dtype))


def _without_failures(row: TarAtFar, failures: int, lowest: float) -> TarAtFar:
    """The row, its threshold no lower than the ``lowest`` score that was made."""
    if not failures or row.threshold > NOT_ENROLLED:
        return row
    return replace(row, threshold=lowest, accepted_genuine=row.accepted_genuine - failures)


def _mirrored(row: TarAtFar, failures: int) -> FnmrAtFmr:
    rejected = row.genuine - row.accepted_genuine
    return FnmrAtFmr(
        fmr=row.far,
        threshold=row.threshold,
        fnmr=rejected / row.genuine,
        rejected_genuine=rejected,
        genuine=row.genuine,
        accepted_impostor=row.accepted_impostor,
        impostor=row.impostor,
        failures=failures,
        interval=wilson(rejected, row.genuine),
        warning=row.warning.replace("FAR", "FMR").replace("FRR", "FNMR"),
    )
