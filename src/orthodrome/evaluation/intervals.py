"""Confidence intervals: Wilson's for a proportion, and the bootstrap by identity for anything made of
dependent pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import NormalDist

import numpy as np

from orthodrome.types import InputError, Interval

RESAMPLES = 1000
_CHUNK_WEIGHTS = 1_000_000  # weights held at a time: 8 MB an array, near the cache

Statistics = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""Weights of pairs or people, float64 (R, N), one row per resample -> values (R,) by name, NaN where a resample
defines none.
"""


def wilson(k: float, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of ``k`` successes in ``n`` independent trials; holds its level near 0 and 1
    too.

    centre = (p + z²/2n) / (1 + z²/n), half width = z/(1 + z²/n) · √(p(1 − p)/n + z²/4n²), p = k/n.
    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    Raises InputError unless n ≥ 1, 0 ≤ k ≤ n and 0 < level < 1.
    """
    if n < 1 or not 0 <= k <= n:
        raise InputError(f"a proportion needs 0 ≤ k ≤ n and n ≥ 1; got k = {k}, n = {n}")
    p, z = k / n, NormalDist().inv_cdf((1 + _level(level)) / 2)
    shrink = 1 + z * z / n
    centre = (p + z * z / (2 * n)) / shrink
    half = z / shrink * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if k == 0 else max(0.0, centre - half)
    high = 1.0 if k == n else min(1.0, centre + half)
    return Interval(low, high, level, "Wilson")


def of_mean(rates: Sequence[float], intervals: Sequence[Interval]) -> Interval:
    """That of the mean of independent ``rates``, from theirs: the mean ∓ √(Σ d²)/n, d the distances of the rates to their ends (MOVER).

    G. Y. Zou and A. Donner, "Construction of confidence limits about effect measures: a general approach", Statistics in Medicine 27
    (2008). Raises InputError where there are none, or levels differ.
    """
    levels = {interval.level for interval in intervals}
    if len(rates) != len(intervals) or len(levels) != 1:
        raise InputError(f"a mean needs one interval of one level for each rate; got {len(rates)} rates, levels {sorted(levels)}")
    ends = [(rate - interval.low, interval.high - rate) for rate, interval in zip(rates, intervals, strict=True)]
    below, above = (math.hypot(*distances) / len(rates) for distances in zip(*ends, strict=True))
    mean, methods = sum(rates) / len(rates), " and ".join(dict.fromkeys(interval.method for interval in intervals))
    return Interval(mean - below, mean + above, levels.pop(), f"mean of independent rates, each {methods}")


def pair_weights(draws: np.ndarray, identities: np.ndarray) -> np.ndarray:
    """Weights (R, N) of the pairs when person p was drawn ``draws[r, p]`` times: (R, P) counts, identity
    codes (N, 2).

    A pair of two people weighs w_i·w_j: each copy of one meets each copy of the other. A pair within one
    person weighs w_i: each copy brings its own comparisons. Two copies of one person are not compared:
    they would be impostors of themselves.
    """
    first, second = identities.T
    alone = draws.shape[1]  # one column of ones more stands for the other side of a pair within one person
    others = np.concatenate([draws, np.ones((len(draws), 1))], axis=1)
    return np.take(draws, first, axis=1) * np.take(others, np.where(first == second, alone, second), axis=1)


def bootstrap_by_identity(
    identities: np.ndarray,
    statistics: Statistics,
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Percentile intervals of several statistics from the same resamples of people, drawn with replacement.

    ``identities``: codes int (N, 2) in [0, people), the two people of each pair. People, not pairs, are
    the independent units: all pairs of a person move together (`pair_weights`). The vertex bootstrap of
    Snijders & Borgatti, "Non-parametric standard errors and tests for network statistics", Connections 22
    (1999); for biometrics the subsets bootstrap of Bolle, Ratha & Pankanti, "Error analysis of pattern
    recognition systems", CVIU 93 (2004). Drawn by PCG64(``seed``).

    Errors and what is left out as in `bootstrap_people`.
    """
    if len(identities) == 0:
        raise InputError("a bootstrap by identity needs pairs of at least two people; got no pairs")
    people = int(identities.max()) + 1

    def weighed(draws: np.ndarray) -> Mapping[str, np.ndarray]:
        return statistics(pair_weights(draws, identities))

    return bootstrap_people(people, weighed, len(identities), resamples=resamples, level=level, seed=seed)


def bootstrap_people(
    people: int, statistics: Statistics, size: int, *, resamples: int = RESAMPLES, level: float = 0.95, seed: int = 0
) -> dict[str, Interval]:
    """Percentile intervals of ``statistics`` of how often each person is drawn: counts float64 (R, people) -> values (R,) by name.

    ``size``: numbers that a statistic holds for one resample, so that a few resamples at a time fit near the cache. A resample that
    leaves a statistic undefined (no impostor in it) is left out of that statistic and counted in ``method``. Raises InputError with
    fewer than two people or resamples, or where no resample defines a statistic.
    """
    values = resampled_people(people, statistics, size, resamples=resamples, seed=seed)
    return {name: percentiles(found, name, level) for name, found in values.items()}


def resampled_people(
    people: int, statistics: Statistics, size: int, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, np.ndarray]:
    """The values (resamples,) that `bootstrap_people` takes its percentiles of."""
    if people < 2:
        raise InputError(f"a bootstrap by identity needs pairs of at least two people; got {people}")
    if resamples < 2:
        raise InputError(f"resamples must be at least 2; got {resamples}")
    chunks = [dict(statistics(draws)) for draws in _draws(people, size, resamples, seed)]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def percentiles(values: np.ndarray, name: str, level: float = 0.95) -> Interval:
    """The percentile interval of resampled ``values`` (R,) of ``name``; NaN is left out and counted in ``method``."""
    defined = values[~np.isnan(values)]
    if not defined.size:
        raise InputError(f"none of the {values.size} resamples of people defines {name}; too few people for a bootstrap")
    low, high = np.quantile(defined, [(1 - _level(level)) / 2, (1 + level) / 2])
    left_out = f", {values.size - defined.size} undefined left out" if defined.size < values.size else ""
    return Interval(float(low), float(high), level, f"bootstrap by identity ({values.size} resamples{left_out})")


def rates_by_identity(hits: np.ndarray, people: np.ndarray) -> tuple[Interval, ...] | None:
    """Bootstrap intervals by identity of the K rates of ``hits`` bool (N, K), all of one person's rows moving together: ``people`` (N,).

    None with fewer than two people, where nothing can be said.
    """
    names, codes = np.unique(people, return_inverse=True)
    if len(names) < 2:
        return None
    trials = np.bincount(codes).astype(np.float64)
    successes = np.stack([np.bincount(codes, weights=column) for column in hits.T], axis=1)

    def statistics(draws: np.ndarray) -> dict[str, np.ndarray]:
        rates = (draws @ successes) / (draws @ trials)[:, None]
        return {str(number): rates[:, number] for number in range(hits.shape[1])}

    return tuple(bootstrap_people(len(names), statistics, len(names)).values())


def _draws(people: int, size: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each person is drawn, float64 (R, P), a few resamples at a time; the same whatever the size
    of a chunk.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    rows = max(1, _CHUNK_WEIGHTS // max(people, size))
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        drawn = generator.integers(0, people, size=(count, people)) + people * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * people).reshape(count, people).astype(np.float64)


def _level(level: float) -> float:
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1, for example 0.95; got {level}")
    return level
