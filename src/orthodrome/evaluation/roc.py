"""ROC, TAR@FAR and equal error rate, exactly: thresholds come from the data, ties are counted, nothing is
interpolated.

A comparison is accepted when ``score ≥ threshold``. FAR = accepted impostors / impostors, TAR = accepted
genuines / genuines, FRR = 1 − TAR; all per comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from orthodrome.evaluation.checks import identity_codes, score_array
from orthodrome.evaluation.intervals import Statistics, bootstrap_by_identity, wilson
from orthodrome.evaluation.ranking import Ranking, Weighed, cuts_at_far, equal_error_rates, rank, tars_at_far, weigh
from orthodrome.evaluation.resolution import Rate, exact_far, small_counts_warning
from orthodrome.types import InputError, Interval


@dataclass(frozen=True)
class RocCurve:
    """Every operating point of a set of comparisons, from the strictest: arrays (K + 1,) over +∞ and the K
    distinct scores.

    ``far`` and ``tar`` are ``accepted_impostor`` and ``accepted_genuine`` over their last, complete
    counts.
    """

    thresholds: np.ndarray
    accepted_genuine: np.ndarray
    accepted_impostor: np.ndarray

    @property
    def far(self) -> np.ndarray:
        return self.accepted_impostor / self.accepted_impostor[-1]

    @property
    def tar(self) -> np.ndarray:
        return self.accepted_genuine / self.accepted_genuine[-1]


@dataclass(frozen=True)
class TarAtFar:
    """TAR at one FAR: what was asked (``far``), the ``threshold``, and what it does on these comparisons,
    with the counts.

    ``achieved`` = accepted_impostor / impostor ≤ far. ``interval`` is of ``tar``. ``warning`` is empty, or
    says that a rate is read off too few errors (rule of 3, rule of 30).
    """

    far: float
    threshold: float
    tar: float
    accepted_genuine: int
    genuine: int
    accepted_impostor: int
    impostor: int
    interval: Interval
    warning: str = ""

    @property
    def achieved(self) -> float:
        return self.accepted_impostor / self.impostor


@dataclass(frozen=True)
class EqualErrorRate:
    """``rate``: where the ROC crosses FAR = FRR. ``threshold``: the operating point nearest to it, with its
    ``far`` and ``frr``. ``warning`` as in `TarAtFar`.
    """

    rate: float
    threshold: float
    far: float
    frr: float
    interval: Interval
    warning: str = ""


def roc_curve(genuine: ArrayLike, impostor: ArrayLike) -> RocCurve:
    """The exact ROC of genuine (G,) and impostor (I,) scores: one point per distinct score, and (0, 0) first.

    Raises InputError when a set is empty or holds a score that is not finite.
    """
    ranking = rank(*(np.sort(scores)[::-1] for scores in _of_one_type(genuine, impostor)))
    return RocCurve(np.append(np.inf, ranking.levels), ranking.genuine, ranking.impostor)


def tar_at_far(
    genuine: ArrayLike,
    impostor: ArrayLike,
    fars: Sequence[Rate],
    genuine_identities: ArrayLike | None = None,
    impostor_identities: ArrayLike | None = None,
) -> tuple[TarAtFar, ...]:
    """One row per FAR: TAR at the smallest threshold whose accepted impostors are ≤ ⌊FAR·I⌋.

    ``genuine`` (G,) and ``impostor`` (I,) are scores. The first impostor that must be rejected is the
    (⌊FAR·I⌋ + 1)-th highest, and the threshold is the next number above its score in the type of the
    scores (float32 or float64): one step lower and it, with all its ties, would be accepted. At FAR = 1
    nothing is rejected and the threshold is the lowest score of all. ⌊FAR·I⌋ is exact for the decimal
    number that was written: 0.001 of 3000 is 3, whatever binary fractions say.

    With identities, the people of each comparison, (G, 2) or (G,) and (I, 2), the interval is a bootstrap
    by identity; without, Wilson's, which takes comparisons as independent. Impostor identities (I,) say that each impostor score is
    the best of a search by that one person, as in open-set identification. Where no resample differs from
    another (no genuine rejected, say) the bootstrap would claim certainty, and the interval is Wilson's too. Raises InputError (a
    ValueError) for a FAR outside (0, 1] or one with FAR·I < 1, which these impostors cannot resolve.
    """
    return roc_summary(genuine, impostor, fars, genuine_identities, impostor_identities)[1]


def equal_error_rate(
    genuine: ArrayLike,
    impostor: ArrayLike,
    genuine_identities: ArrayLike | None = None,
    impostor_identities: ArrayLike | None = None,
) -> EqualErrorRate:
    """The equal error rate: where the exact ROC crosses FAR = FRR.

    Between two distinct scores of which one class moves, the crossing is a quotient of counts. A tie
    between genuines and impostors is crossed on the straight line, as if it were broken at random (all
    scores equal: 1/2). Exchanging the classes and the sign of the scores changes nothing. Interval by
    identity as in `tar_at_far`; without identities Wilson's, over the smaller of the two sets. Raises
    InputError as `roc_curve` does.
    """
    return roc_summary(genuine, impostor, (), genuine_identities, impostor_identities)[0]


def roc_summary(
    genuine: ArrayLike,
    impostor: ArrayLike,
    fars: Sequence[Rate],
    genuine_identities: ArrayLike | None = None,
    impostor_identities: ArrayLike | None = None,
) -> tuple[EqualErrorRate, tuple[TarAtFar, ...]]:
    """`equal_error_rate` and `tar_at_far` with one sort and the same resamples of people."""
    ranking, order = _ranked(genuine, impostor)
    genuines, impostors = int(ranking.genuine[-1]), int(ranking.impostor[-1])
    exact = [exact_far(far, impostors) for far in fars]
    plain = weigh(ranking, np.ones((1, genuines + impostors)))
    eer, rows = _eer_point(plain), [_far_point(plain, far) for far in exact]
    intervals = _wilson(eer[0], rows, min(genuines, impostors))
    if genuine_identities is not None or impostor_identities is not None:
        codes = _identities(genuine_identities, impostor_identities, genuines, impostors)[order]
        resampled = bootstrap_by_identity(codes, _statistics(ranking, exact))
        intervals |= {name: interval for name, interval in resampled.items() if interval.low < interval.high}
    _, _, far, frr = eer
    warning = small_counts_warning(round(far * impostors), impostors, round((1 - frr) * genuines), genuines)
    return EqualErrorRate(*eer, interval=intervals["EER"], warning=warning), tuple(
        _row(row, intervals[_name(row.far)]) for row in rows
    )


def roc_statistics(scores: np.ndarray, same: np.ndarray, fars: Sequence[Fraction]) -> tuple[np.ndarray, Statistics]:
    """For a bootstrap: the order (N,) in which weights must stand, and the statistics, ``EER`` and then TAR at each FAR.

    ``scores`` (N,), ``same`` bool (N,); the statistics take ``weights[:, order]``.
    """
    ranking, order = _ranked(scores[same], scores[~same])
    return np.concatenate([np.flatnonzero(same), np.flatnonzero(~same)])[order], _statistics(ranking, fars)


@dataclass(frozen=True)
class _Point:
    far: Fraction
    threshold: float
    accepted_genuine: int
    genuine: int
    accepted_impostor: int
    impostor: int


def _ranked(genuine: ArrayLike, impostor: ArrayLike) -> tuple[Ranking, np.ndarray]:
    """The ranking, and the order (G + I,) that sorts the genuines, then the impostors, each from the highest score."""
    genuines, impostors = _of_one_type(genuine, impostor)
    by_genuine, by_impostor = np.argsort(-genuines, kind="stable"), np.argsort(-impostors, kind="stable")
    order = np.concatenate([by_genuine, len(genuines) + by_impostor])
    return rank(genuines[by_genuine], impostors[by_impostor]), order


def _of_one_type(genuine: ArrayLike, impostor: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both sets of scores, checked, in the wider of their types."""
    genuines, impostors = score_array(genuine, "genuine scores"), score_array(impostor, "impostor scores")
    dtype = np.result_type(genuines, impostors)
    return genuines.astype(dtype), impostors.astype(dtype)


def _far_point(plain: Weighed, far: Fraction) -> _Point:
    ranking, cut = plain.ranking, int(cuts_at_far(plain, far)[0])
    threshold = ranking.threshold(cut) if cut == len(ranking.levels) else ranking.above(cut)
    genuine, impostor = ranking.genuine, ranking.impostor
    return _Point(far, threshold, int(genuine[cut]), int(genuine[-1]), int(impostor[cut]), int(impostor[-1]))


def _eer_point(plain: Weighed) -> tuple[float, float, float, float]:
    """Rate, threshold, FAR and FRR."""
    rates, cuts = equal_error_rates(plain)
    ranking, cut = plain.ranking, int(cuts[0])
    genuine, impostor = ranking.genuine, ranking.impostor
    far, frr = impostor[cut] / impostor[-1], (genuine[-1] - genuine[cut]) / genuine[-1]
    return float(rates[0]), ranking.threshold(cut), float(far), float(frr)


def _statistics(ranking: Ranking, fars: Sequence[Fraction]) -> Statistics:
    def statistics(weights: np.ndarray) -> dict[str, np.ndarray]:
        weighed = weigh(ranking, weights)
        return {"EER": equal_error_rates(weighed)[0], **{_name(far): tars_at_far(weighed, far) for far in fars}}

    return statistics


def _wilson(eer: float, rows: Sequence[_Point], smaller: int) -> dict[str, Interval]:
    tars = {_name(row.far): wilson(row.accepted_genuine, row.genuine) for row in rows}
    return {"EER": wilson(min(eer, 1.0) * smaller, smaller), **tars}


def _name(far: Fraction) -> str:
    return f"TAR@FAR={far}"


def _row(point: _Point, interval: Interval) -> TarAtFar:
    return TarAtFar(
        far=float(point.far),
        threshold=point.threshold,
        tar=point.accepted_genuine / point.genuine,
        accepted_genuine=point.accepted_genuine,
        genuine=point.genuine,
        accepted_impostor=point.accepted_impostor,
        impostor=point.impostor,
        interval=interval,
        warning=small_counts_warning(point.accepted_impostor, point.impostor, point.accepted_genuine, point.genuine),
    )


def _identities(genuine: ArrayLike | None, impostor: ArrayLike | None, genuines: int, impostors: int) -> np.ndarray:
    if genuine is None or impostor is None:
        raise InputError("a bootstrap by identity needs genuine_identities and impostor_identities; got only one of them")
    people = np.asarray(genuine)
    people = np.stack([people, people], axis=1) if people.ndim == 1 else people
    others = np.asarray(impostor)
    searches = others.ndim == 1
    others = np.stack([others, others], axis=1) if searches else others
    if people.shape != (genuines, 2) or others.shape != (impostors, 2):
        raise InputError(
            f"identities must have shapes ({genuines}, 2) and ({impostors}, 2), two people per score; "
            f"got {people.shape} and {others.shape}"
        )
    both = np.concatenate([people, others])
    if searches:
        return np.unique(both, return_inverse=True)[1].reshape(both.shape).astype(np.int64)
    return identity_codes(both, np.arange(genuines + impostors) < genuines)
