"""Is A better than B? Two systems on the same pairs: differences with paired intervals, and McNemar's test."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from orthodrome.evaluation.folds import FoldResult
from orthodrome.evaluation.intervals import Statistics, bootstrap_by_identity
from orthodrome.evaluation.resolution import exact_far, possible_fars
from orthodrome.evaluation.roc import roc_statistics
from orthodrome.evaluation.scored import ScoredPairs
from orthodrome.evaluation.verification import accuracy_statistic
from orthodrome.evaluation.wording import false_accept_rate
from orthodrome.types import InputError, Interval

_EXACT_UP_TO = 1000  # discordant pairs


@dataclass(frozen=True)
class System:
    """One system's ``pairs``, and the ``folds`` with the thresholds that decide them; without folds there is no accuracy."""

    pairs: ScoredPairs
    folds: tuple[FoldResult, ...] = ()

    def decided_rightly(self) -> np.ndarray:
        """Whether each pair that lies in a fold is decided rightly at the threshold of its fold, bool (M,).

        Raises InputError where a fold of the pairs has no threshold.
        """
        judged = self.pairs.in_folds()
        thresholds = {fold.fold: fold.threshold for fold in self.folds}
        missing = sorted(set(judged.folds.tolist()) - thresholds.keys())
        if missing:
            raise InputError(
                f"no threshold is known for fold {missing[0]!r} of the pairs; known: {', '.join(thresholds) or 'none'}"
            )
        limits = np.array([thresholds[fold] for fold in judged.folds.tolist()]).astype(judged.scores.dtype)
        return (judged.scores >= limits) == judged.same


@dataclass(frozen=True)
class Difference:
    """One figure of both systems, and A − B with its paired interval. ``higher_is_better`` is false for the EER."""

    name: str
    a: float
    b: float
    interval: Interval
    higher_is_better: bool = True

    @property
    def difference(self) -> float:
        return self.a - self.b

    @property
    def better(self) -> str:
        """``a``, ``b``, or empty where the interval holds 0 and nothing is shown."""
        if self.interval.low <= 0 <= self.interval.high:
            return ""
        return "a" if (self.difference > 0) == self.higher_is_better else "b"


@dataclass(frozen=True)
class McNemar:
    """McNemar's test: pairs that only A and that only B decides rightly, and the probability of a split at least as uneven
    if both were equally good. It takes pairs as independent.
    """

    only_a: int
    only_b: int
    p_value: float
    method: str


@dataclass(frozen=True)
class PairedComparison:
    """System A against system B on the same pairs. ``mcnemar`` is None where there are no folds to decide by."""

    differences: tuple[Difference, ...]
    mcnemar: McNemar | None


def compare_systems(a: System, b: System, resamples: int = 1000, seed: int = 0) -> PairedComparison:
    """Accuracy, EER and TAR at every FAR the impostors resolve: A − B, with 95 % intervals.

    Both are computed on the same resamples of people (`bootstrap_by_identity`), so what makes both better
    or worse at once cancels; thresholds of the folds are kept, those of TAR@FAR are found anew in each
    resample. Where the people of the pairs are unknown, pairs are resampled instead, and the method says
    so. Raises InputError where the pairs differ, naming the first difference.
    """
    _check_same_pairs(a.pairs, b.pairs)
    measures = [_measures(system) for system in (a, b)]
    ones = np.ones((1, len(a.pairs)))
    plain = [measure(ones) for measure in measures]

    def differences(weights: np.ndarray) -> Mapping[str, np.ndarray]:
        of_a, of_b = (measure(weights) for measure in measures)
        return {name: of_a[name] - of_b[name] for name in of_a}

    intervals = _bootstrap(a.pairs, differences, resamples, seed)
    found = tuple(
        Difference(name, float(plain[0][name][0]), float(plain[1][name][0]), intervals[name], name != "EER") for name in intervals
    )
    return PairedComparison(found, mcnemar(a.decided_rightly(), b.decided_rightly()) if a.folds and b.folds else None)


def mcnemar(right_a: np.ndarray, right_b: np.ndarray) -> McNemar:
    """McNemar's test of two systems' decisions on the same pairs, bool (N,) each.

    Of the n discordant pairs, only A is right in k. Up to 1,000: exact, twice the binomial tail of min(k,
    n − k) at ½; beyond: (|k − (n − k)| − 1)²/n against χ² of one degree. McNemar, "Note on the sampling
    error of the difference between correlated proportions or percentages", Psychometrika 12 (1947).
    """
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    count = only_a + only_b
    if count <= _EXACT_UP_TO:
        tail = sum(math.comb(count, k) for k in range(min(only_a, only_b) + 1))
        return McNemar(only_a, only_b, float(min(Fraction(1), Fraction(2 * tail, 2**count))), "exact binomial")
    statistic = max(abs(only_a - only_b) - 1, 0) ** 2 / count
    return McNemar(only_a, only_b, math.erfc(math.sqrt(statistic / 2)), "χ² with continuity correction")


def _measures(system: System) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Weights (R, N) of the pairs -> each figure (R,) by name, accuracy first."""
    pairs = system.pairs
    impostors = int((~pairs.same).sum())
    fars = {false_accept_rate(far): exact_far(far, impostors) for far in possible_fars(impostors)}
    order, roc = roc_statistics(pairs.scores, pairs.same, tuple(fars.values()))
    inside = np.flatnonzero(pairs.folds != "")
    accuracy = accuracy_statistic(system.decided_rightly(), pairs.folds[inside]) if system.folds and len(inside) else None

    def measures(weights: np.ndarray) -> dict[str, np.ndarray]:
        eer, *tars = roc(weights[:, order]).values()
        found = {"EER": eer, **{f"TAR@FAR={far}": tar for far, tar in zip(fars, tars, strict=True)}}
        return found if accuracy is None else {**accuracy(weights[:, inside]), **found}

    return measures


def _bootstrap(pairs: ScoredPairs, statistics: Statistics, resamples: int, seed: int) -> dict[str, Interval]:
    if pairs.identities is not None:
        return bootstrap_by_identity(pairs.identities, statistics, resamples=resamples, seed=seed)
    each_alone = np.repeat(np.arange(len(pairs))[:, None], 2, axis=1)
    found = bootstrap_by_identity(each_alone, statistics, resamples=resamples, seed=seed)
    return {name: replace(interval, method=interval.method.replace("identity", "pair")) for name, interval in found.items()}


def _check_same_pairs(a: ScoredPairs, b: ScoredPairs) -> None:
    if len(a) != len(b):
        raise InputError(f"the two runs hold different pairs: {len(a):,} and {len(b):,} of them; evaluate both on one list")
    columns = (
        ("kind (genuine or impostor)", a.same, b.same),
        ("fold", a.folds, b.folds),
        ("people", a.identities, b.identities),
    )
    for what, ours, theirs in (*columns, ("images", a.rows, b.rows)):
        if (ours is None) != (theirs is None):
            raise InputError(f"the two runs hold different pairs: only one knows the {what} of each pair; evaluate both anew")
    for what, ours, theirs in columns:
        if ours is not None and theirs is not None:
            _refuse_first(what, (ours != theirs).reshape(len(a), -1).any(axis=1), ours, theirs)
    _check_same_images(a, b)


def _check_same_images(a: ScoredPairs, b: ScoredPairs) -> None:
    if a.rows is None or b.rows is None or a.names is None or b.names is None:
        return
    place = {name: number for number, name in enumerate(a.names.tolist())}
    ours = np.array([place.get(name, -1) for name in b.names.tolist()])
    differs = (a.rows != ours[b.rows]).any(axis=1)
    if differs.any():
        first = int(np.flatnonzero(differs)[0])
        names = [" – ".join(side.ids(first) or ()) for side in (a, b)]
        raise InputError(
            f"the two runs hold different pairs: pair {first} is {names[0]} in one and {names[1]} in the other; "
            "evaluate both on one list"
        )


def _refuse_first(what: str, differs: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> None:
    if differs.any():
        first = int(np.flatnonzero(differs)[0])
        raise InputError(
            f"the two runs hold different pairs: the {what} of pair {first} is {ours[first].tolist()} in one and "
            f"{theirs[first].tolist()} in the other; evaluate both on one list"
        )
