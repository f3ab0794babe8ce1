"""Wilson against published and library values; the bootstrap against resampling people one by one."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from orthodrome.evaluation import intervals
from orthodrome.evaluation.intervals import bootstrap_by_identity, of_mean, pair_weights, wilson
from orthodrome.evaluation.ranking import equal_error_rates, rank, tars_at_far, weigh
from orthodrome.evaluation.roc import equal_error_rate, tar_at_far
from orthodrome.types import InputError


def small_set(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores with ties, same and identity codes of all pairs of 8 people with 3 images each."""
    labels = np.repeat(np.arange(8), 3)
    first, second = np.triu_indices(24, 1)
    codes = np.stack([labels[first], labels[second]], axis=1)
    same = codes[:, 0] == codes[:, 1]
    scores = np.round(np.random.default_rng(seed).normal(same * 1.5, 1), 1).astype(np.float32)
    return scores, same, codes


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_equals_published_values(k: int, n: int, low: float, high: float) -> None:
    interval = wilson(k, n)
    assert interval.low == pytest.approx(low, abs=5e-5)
    assert interval.high == pytest.approx(high, abs=5e-5)


def test_wilson_at_the_ends_and_errors() -> None:
    assert wilson(0, 10).low == 0
    assert wilson(10, 10).high == 1
    assert wilson(3, 10, 0.99).high > wilson(3, 10).high
    for k, n in ((1, 0), (-1, 5), (6, 5)):
        with pytest.raises(InputError, match="0 ≤ k ≤ n"):
            wilson(k, n)
    with pytest.raises(InputError, match="level"):
        wilson(1, 2, 95)


def test_weights_equal_the_comparisons_of_the_drawn_people() -> None:
    """Draw people with repetition, write down every comparison of the copies, count how often each pair occurs."""
    _, same, codes = small_set()
    random = np.random.default_rng(3)
    for _ in range(20):
        drawn = random.integers(0, 8, 8)
        expected = np.zeros(len(codes))
        for copy, person in enumerate(drawn):
            expected += (codes == person).all(axis=1)
            for other in drawn[copy + 1 :]:
                expected += ~same & (np.sort(codes, axis=1) == sorted((person, other))).all(axis=1)
        draws = np.bincount(drawn, minlength=8)[None].astype(float)
        np.testing.assert_array_equal(pair_weights(draws, codes)[0], expected)


def test_weighted_rates_equal_those_of_the_repeated_scores() -> None:
    scores, same, codes = small_set(1)
    draws = np.stack([np.bincount(np.random.default_rng(s).integers(0, 8, 8), minlength=8) for s in range(30)])
    weights = pair_weights(draws.astype(float), codes)
    order = np.lexsort((-scores, ~same))  # genuines, then impostors, each from the highest
    ranking = rank(scores[order][: same.sum()], scores[order][same.sum() :])
    weighed = weigh(ranking, weights[:, order])
    rates, tars = equal_error_rates(weighed)[0], tars_at_far(weighed, Fraction(1, 10))
    for row, rate, tar in zip(weights.astype(int), rates, tars, strict=True):
        genuine, impostor = np.repeat(scores[same], row[same]), np.repeat(scores[~same], row[~same])
        assert rate == pytest.approx(equal_error_rate(genuine, impostor).rate, abs=1e-14)
        assert tar == tar_at_far(genuine, impostor, [0.1])[0].tar


def mean_score(scores: np.ndarray):
    return lambda weights: {"mean": weights @ scores / weights.sum(axis=1)}


def test_bootstrap_is_seeded_and_does_not_depend_on_its_chunks(monkeypatch) -> None:
    scores, _, codes = small_set()
    whole = bootstrap_by_identity(codes, mean_score(scores), resamples=200)
    assert bootstrap_by_identity(codes, mean_score(scores), resamples=200) == whole
    assert bootstrap_by_identity(codes, mean_score(scores), resamples=200, seed=1) != whole
    monkeypatch.setattr(intervals, "_CHUNK_WEIGHTS", 1000)
    chunked = bootstrap_by_identity(codes, mean_score(scores), resamples=200)["mean"]
    assert chunked.low == pytest.approx(whole["mean"].low, rel=1e-12)
    assert chunked.high == pytest.approx(whole["mean"].high, rel=1e-12)


def test_dependent_pairs_widen_the_interval() -> None:
    """One person's ten pairs are one observation: the interval by identity must be about √10 wider than Wilson's."""
    right = np.repeat(np.random.default_rng(0).random(200) < 0.7, 10).astype(float)
    codes = np.repeat(np.arange(200)[:, None], 2, axis=1).repeat(10, axis=0)
    by_identity = bootstrap_by_identity(codes, mean_score(right))["mean"]
    independent = wilson(int(right.sum()), len(right))
    ratio = (by_identity.high - by_identity.low) / (independent.high - independent.low)
    assert 2.6 < ratio < 3.8


def test_undefined_resamples_are_counted() -> None:
    scores, same = np.array([1.0, -1.0, 1.0, 0.0, 0.0], np.float32), np.array([True, True, True, False, False])
    codes = np.array([[0, 0], [1, 1], [2, 2], [0, 1], [1, 2]])
    found = equal_error_rate(scores[same], scores[~same], codes[same], codes[~same])
    assert "undefined left out" in found.interval.method
    with pytest.raises(InputError, match="at least two people"):
        bootstrap_by_identity(np.zeros((3, 2), int), mean_score(scores))
    with pytest.raises(InputError, match="none of the 1000 resamples"):
        bootstrap_by_identity(codes, lambda weights: {"x": np.full(len(weights), np.nan)})


def test_the_interval_of_a_mean_holds_its_level() -> None:
    """Two galleries of 200 searches each, rates 0.9 and 0.7: the mean lies in 95 % of the intervals, within the noise of 4,000 draws."""
    random = np.random.default_rng(0)
    inside = 0
    for first, second in random.binomial(200, (0.9, 0.7), (4000, 2)).tolist():
        found = of_mean((first / 200, second / 200), (wilson(first, 200), wilson(second, 200)))
        inside += found.low <= 0.8 <= found.high
    assert abs(inside / 4000 - 0.95) < 0.012
    alone = wilson(150, 200)
    assert (of_mean([0.75], [alone]).low, of_mean([0.75], [alone]).high) == pytest.approx((alone.low, alone.high))
    with pytest.raises(InputError, match="one interval of one level"):
        of_mean([0.5, 0.5], [wilson(1, 2), wilson(1, 2, 0.9)])
