"""What a report shows beyond what its protocol measured, worked out from its scores: the band of the ROC, the hardest
pairs, and how well the scores can be calibrated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from orthodrome.evaluation.calibration_quality import calibration_metrics
from orthodrome.evaluation.intervals import wilson
from orthodrome.evaluation.roc import roc_summary
from orthodrome.evaluation.scored import ScoredPairs, from_series
from orthodrome.types import Interval, Report

HARDEST = 12
"""Pairs of each kind that a report shows."""

_BAND_POINTS = 40
_MOST_RESAMPLED = 200_000  # pairs: beyond, a bootstrap of the band would take longer than everything else together


def completed(report: Report) -> Report:
    """``report`` with ``roc_band``, ``hardest`` and ``calibration`` among its metrics, where its series suffice and it
    does not bring them itself.

    ``hardest`` needs the ids of the pairs and a ``best_threshold``; ``calibration`` needs folds. A report that
    holds a curve (``roc``: far, tar) in place of scores gets Wilson's band, where ``counts`` say of how many
    genuines.
    """
    pairs = from_series(report.series)
    if pairs is None:
        return _with_band_of_curve(report)
    added = {
        name: found for name, make in _ADDED.items() if name not in report.metrics and (found := make(pairs, report.metrics))
    }
    return replace(report, metrics={**report.metrics, **added})


def roc_band(pairs: ScoredPairs) -> dict[str, Any]:
    """TAR with its 95 % interval at up to 40 FARs k/I, evenly spread over the logarithm: ``far``, ``tar``, ``low``, ``high``
    (K,), and the ``method``.

    The band is pointwise: each FAR alone is covered. By identity where the people are known, on the same
    resamples at every FAR; Wilson's where they are not, where there are more than 200,000 pairs, and where
    no resample differs.
    """
    genuine, impostor = pairs.of_kind("genuine"), pairs.of_kind("impostor")
    counts = np.unique(np.geomspace(1, len(impostor), _BAND_POINTS).round().astype(int)).tolist()
    codes: tuple[np.ndarray | None, ...] = (None, None)
    if pairs.identities is not None and len(pairs) <= _MOST_RESAMPLED:
        codes = (pairs.identities[pairs.same], pairs.identities[~pairs.same])
    _, rows = roc_summary(genuine, impostor, [Fraction(count, len(impostor)) for count in counts], *codes)
    return _band_of([row.far for row in rows], [row.tar for row in rows], [row.interval for row in rows])


def hardest_pairs(pairs: ScoredPairs, threshold: float) -> dict[str, Any]:
    """The impostors of the highest and the genuines of the lowest scores, and how many are accepted or rejected at
    ``threshold``.
    """
    accepted = pairs.scores >= pairs.scores.dtype.type(threshold)
    highest_first = np.argsort(-pairs.scores, kind="stable")
    impostors = highest_first[~pairs.same[highest_first]]
    genuines = highest_first[pairs.same[highest_first]][::-1]

    def described(positions: np.ndarray) -> list[dict[str, Any]]:
        return [
            {"ids": pairs.ids(place), "score": float(pairs.scores[place]), "accepted": bool(accepted[place])}
            for place in positions[:HARDEST].tolist()
        ]

    return {
        "threshold": threshold,
        "false_accepts": described(impostors),
        "false_rejects": described(genuines),
        "accepted_impostor": int(accepted[impostors].sum()),
        "impostor": len(impostors),
        "rejected_genuine": int((~accepted[genuines]).sum()),
        "genuine": len(genuines),
    }


def _with_band_of_curve(report: Report) -> Report:
    counts, curve = report.metrics.get("counts"), report.series.get("roc")
    if counts is None or curve is None or "roc_band" in report.metrics:
        return report
    far, tar = (np.asarray(side, dtype=float) for side in curve)
    above = np.flatnonzero(far > 0)
    steps = np.geomspace(far[above[0]], far[-1], _BAND_POINTS)
    shown = above[np.unique(np.searchsorted(far[above], steps).clip(0, len(above) - 1))]
    intervals = [wilson(round(rate * counts["genuine"]), counts["genuine"]) for rate in tar[shown].tolist()]
    band = _band_of(far[shown].tolist(), tar[shown].tolist(), intervals)
    return replace(report, metrics={**report.metrics, "roc_band": band})


def _band_of(far: list[float], tar: list[float], intervals: Sequence[Interval]) -> dict[str, Any]:
    """A TAR is no less than that at a lower FAR, so each end of the band may borrow from its neighbours, and never falls."""
    methods = dict.fromkeys(interval.method for interval in intervals)
    low = np.maximum.accumulate([interval.low for interval in intervals])
    high = np.minimum.accumulate([interval.high for interval in intervals][::-1])[::-1]
    return {"method": f"pointwise, {'; '.join(methods)}", "far": far, "tar": tar, "low": low.tolist(), "high": high.tolist()}


def _band(pairs: ScoredPairs, _metrics: Mapping[str, Any]) -> dict[str, Any]:
    return roc_band(pairs)


def _hardest(pairs: ScoredPairs, metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    threshold = metrics.get("best_threshold")
    return None if threshold is None or pairs.rows is None else hardest_pairs(pairs, threshold)


def _calibration(pairs: ScoredPairs, _metrics: Mapping[str, Any]) -> Mapping[str, Any] | None:
    judged = pairs.in_folds()
    folds = np.unique(judged.folds)
    can_be_judged = len(folds) > 1 and all(np.ptp(judged.scores[judged.folds != fold]) > 0 for fold in folds)
    return calibration_metrics(pairs) if can_be_judged else None


_ADDED: Mapping[str, Callable[[ScoredPairs, Mapping[str, Any]], Mapping[str, Any] | None]] = {
    "roc_band": _band,
    "hardest": _hardest,
    "calibration": _calibration,
}
