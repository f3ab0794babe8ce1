"""ROC, TAR@FAR and EER against naive loops, scikit-learn, and their own defining properties under ties."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve as sklearn_roc_curve

from orthodrome.evaluation.resolution import exact_far, possible_fars
from orthodrome.evaluation.roc import equal_error_rate, roc_curve, tar_at_far
from orthodrome.types import InputError

# Few levels: most draws have ties within and between the classes.
tied = st.lists(st.integers(-6, 6).map(lambda k: k / 8), min_size=1, max_size=60).map(lambda v: np.array(v, np.float32))
denominators = st.integers(1, 60)


def normal_scores(genuine: int, impostor: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.normal(1, 1, genuine).astype(np.float32), random.normal(-1, 1, impostor).astype(np.float32)


def naive_equal_error_rate(genuine: np.ndarray, impostor: np.ndarray) -> Fraction:
    """Walk the ROC from the strictest threshold; cross FAR = FRR on the straight line between two points."""
    points = []
    for threshold in [np.inf, *sorted({*genuine.tolist(), *impostor.tolist()}, reverse=True)]:
        far = Fraction(sum(s >= threshold for s in impostor.tolist()), len(impostor))
        points.append((far, Fraction(sum(s < threshold for s in genuine.tolist()), len(genuine))))
    for (far, frr), (next_far, next_frr) in pairwise(points):
        if next_far >= next_frr:
            share = (frr - far) / ((frr - far) + (next_far - next_frr))
            return far + share * (next_far - far)
    raise AssertionError("the last point accepts everything")


@settings(max_examples=500, deadline=None)
@given(tied, tied, denominators, denominators)
def test_threshold_never_exceeds_the_far_and_is_the_smallest(genuine, impostor, numerator, denominator) -> None:
    far = Fraction(min(numerator, denominator), max(numerator, denominator))
    if far * len(impostor) < 1:
        with pytest.raises(ValueError, match="impostors"):
            tar_at_far(genuine, impostor, [far])
        return
    (row,) = tar_at_far(genuine, impostor, [far])
    allowed = far.numerator * len(impostor) // far.denominator
    threshold = np.float32(row.threshold)
    assert row.accepted_impostor == (impostor >= threshold).sum() <= allowed
    assert row.accepted_genuine == (genuine >= threshold).sum()
    assert row.achieved <= float(far)
    assert row.tar == row.accepted_genuine / len(genuine)
    lower = np.nextafter(threshold, np.float32(-np.inf))
    assert (impostor >= lower).sum() > allowed or row.accepted_impostor == len(impostor)


def threshold_at_the_nearest_far(genuine: np.ndarray, impostor: np.ndarray, far: float) -> float:
    """The rule of other toolkits: the operating point whose FAR is nearest to the one that was asked for."""
    curve = roc_curve(genuine, impostor)
    return float(curve.thresholds[np.argmin(np.abs(curve.far - far))])


def test_no_threshold_exceeds_its_far_in_10_000_draws_where_the_nearest_far_does_half_the_time() -> None:
    """TAR at the *nearest* FAR is a published bug: it accepts more impostors than allowed in 40 to 55 % of these draws."""
    random = np.random.default_rng(0)
    exceeded = nearest_exceeded = 0
    for _ in range(10_000):
        genuine, impostor = (random.integers(-8, 9, random.integers(1, 60)).astype(np.float32) / 8 for _ in range(2))
        far = float(random.uniform(1 / len(impostor), 1))
        (row,) = tar_at_far(genuine, impostor, [far])
        exceeded += (impostor >= np.float32(row.threshold)).sum() > far * len(impostor)
        nearest = threshold_at_the_nearest_far(genuine, impostor, far)
        nearest_exceeded += (impostor >= nearest).sum() > far * len(impostor)
    assert exceeded == 0
    assert 4000 < nearest_exceeded < 5500


@settings(max_examples=300, deadline=None)
@given(tied, tied)
def test_equal_error_rate_is_the_naive_one_and_symmetric(genuine, impostor) -> None:
    found = equal_error_rate(genuine, impostor)
    assert found.rate == pytest.approx(float(naive_equal_error_rate(genuine, impostor)), abs=1e-14)
    assert equal_error_rate(-impostor, -genuine).rate == pytest.approx(found.rate, abs=1e-14)
    threshold = np.float32(found.threshold)
    assert found.far == np.mean(impostor >= threshold)
    assert found.frr == pytest.approx(np.mean(genuine < threshold), abs=1e-15)
    assert found.interval.low <= found.interval.high


def test_equal_error_rate_by_hand() -> None:
    assert equal_error_rate([0.8, 0.9], [0.1, 0.2]).rate == 0
    assert equal_error_rate([0.1, 0.2], [0.8, 0.9]).rate == 1
    assert equal_error_rate([0.5] * 4, [0.5] * 7).rate == 0.5
    assert equal_error_rate([0.2, 0.8, 0.9, 0.95], [0.1, 0.1, 0.3, 0.1]).rate == 0.25


def test_roc_equals_scikit_learn_on_every_distinct_score() -> None:
    genuine, impostor = normal_scores(300, 500)
    genuine, impostor = np.round(genuine, 1), np.round(impostor, 1)
    curve = roc_curve(genuine, impostor)
    far, tar, thresholds = sklearn_roc_curve([1] * 300 + [0] * 500, np.concatenate([genuine, impostor]), drop_intermediate=False)
    np.testing.assert_array_equal(curve.thresholds, thresholds)
    np.testing.assert_allclose(curve.far, far, rtol=1e-15)
    np.testing.assert_allclose(curve.tar, tar, rtol=1e-15)
    assert curve.accepted_impostor[-1] == 500
    assert curve.accepted_genuine[0] == 0


@pytest.mark.parametrize("far", [0.001, 0.003, 0.007, 0.009, 0.011, 0.03, 0.07, 0.29, 0.57, 0.58, 0.1, np.float32(0.001)])
@pytest.mark.parametrize("impostors", [1000, 3000, 7000])
def test_the_allowed_count_is_that_of_the_decimal_number(far: float, impostors: int) -> None:
    impostor = np.arange(impostors, dtype=np.float32)
    (row,) = tar_at_far([0.0], impostor, [far])
    assert row.accepted_impostor == round(float(str(far)) * impostors)  # a whole number for each of these


def test_far_of_one_accepts_everything() -> None:
    genuine, impostor = normal_scores(50, 60)
    (row,) = tar_at_far(genuine, impostor, [1])
    assert (row.tar, row.achieved) == (1, 1)
    assert row.threshold == min(genuine.min(), impostor.min())


def test_float64_scores_keep_their_precision() -> None:
    impostor = np.array([0.5, np.nextafter(0.5, 1)])
    (row,) = tar_at_far([0.7], impostor, [0.5])
    assert row.threshold == impostor[1]
    assert row.accepted_impostor == 1


def test_monotone_transforms_change_no_rate() -> None:
    genuine, impostor = normal_scores(400, 400)
    plain = tar_at_far(genuine, impostor, [0.1, 0.01])
    bent = tar_at_far(np.exp(genuine.astype(float)), np.exp(impostor.astype(float)), [0.1, 0.01])
    assert [row.tar for row in plain] == [row.tar for row in bent]
    assert [row.accepted_impostor for row in plain] == [row.accepted_impostor for row in bent]
    bent_rate = equal_error_rate(genuine.astype(float) ** 3, impostor.astype(float) ** 3).rate
    assert equal_error_rate(genuine, impostor).rate == bent_rate


def test_order_changes_nothing() -> None:
    genuine, impostor = normal_scores(100, 200)
    assert tar_at_far(genuine, impostor, [0.1]) == tar_at_far(genuine[::-1], np.roll(impostor, 7), [0.1])


def test_warnings_of_rule_3_and_rule_30() -> None:
    genuine, impostor = normal_scores(5000, 5000)
    few, plenty = tar_at_far(genuine, impostor, [0.001, 0.1])
    assert "5 accepted impostors in 5,000" in few.warning
    assert "rule of 30" in few.warning
    assert plenty.warning == ""
    (none,) = tar_at_far([2.0] * 100, [1.0] * 100, [0.01])
    assert none.accepted_impostor == 0
    assert "true FAR may be up to 0.03 (rule of 3)" in none.warning
    assert "true FRR may be up to 0.03 (rule of 3)" in none.warning


def test_intervals_with_and_without_identities() -> None:
    genuine, impostor = normal_scores(40, 200)
    people = np.random.default_rng(1).integers(0, 20, (200, 2))
    people[:, 1] = (people[:, 0] + 1 + people[:, 1] % 19) % 20
    (plain,) = tar_at_far(genuine, impostor, [0.1])
    (resampled,) = tar_at_far(genuine, impostor, [0.1], np.arange(40) // 2, people)
    assert plain.interval.method == "Wilson"
    assert resampled.interval.method.startswith("bootstrap by identity")
    assert resampled.interval.low <= resampled.tar <= resampled.interval.high
    mixed = np.random.default_rng(2).permutation(200)  # comparisons and their people move together
    assert tar_at_far(genuine[::-1], impostor[mixed], [0.1], (np.arange(40) // 2)[::-1], people[mixed]) == (resampled,)
    pairs_of_people = np.repeat(np.arange(40)[:, None] // 2, 2, axis=1)
    assert tar_at_far(genuine, impostor, [0.1], pairs_of_people, people) == (resampled,)
    assert equal_error_rate(genuine, impostor, np.arange(40) // 2, people).interval.method.startswith("bootstrap")


def test_a_bootstrap_that_never_errs_does_not_claim_certainty() -> None:
    """No genuine is rejected in any resample: 100–100 % would be false; Wilson's interval says what 30 trials can say."""
    impostor_people = np.stack([np.arange(30) % 6, 1 + np.arange(30) % 6], axis=1)
    genuine, impostor = np.linspace(1, 2, 30), np.linspace(0, 0.9, 30)
    (row,) = tar_at_far(genuine, impostor, [0.1], np.arange(30) % 7, impostor_people)
    assert (row.tar, row.interval.high, row.interval.method) == (1, 1, "Wilson")
    assert row.interval.low == pytest.approx(0.8865, abs=1e-4)
    assert equal_error_rate(genuine, impostor, np.arange(30) % 7, impostor_people).interval.low == 0
    assert equal_error_rate(genuine, impostor, np.arange(30) % 7, impostor_people).interval.high > 0.1


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"needs ≥ 1/FAR = 1,000 impostors; got 999"):
        tar_at_far([0.5], np.zeros(999), [0.001])
    for far in (0, -0.1, 1.5, float("nan"), float("inf"), "many"):
        with pytest.raises(InputError, match="FAR"):
            tar_at_far([0.5], [0.1], [far])
    with pytest.raises(InputError, match="impostor scores must be finite; got nan at position 1"):
        roc_curve([0.5], [0.1, float("nan")])
    with pytest.raises(InputError, match="genuine scores is empty"):
        equal_error_rate([], [0.1])
    with pytest.raises(InputError, match="only one of them"):
        tar_at_far([0.5], [0.1], [1], genuine_identities=[0])
    with pytest.raises(InputError, match=r"shapes \(1, 2\) and \(2, 2\)"):
        tar_at_far([0.5], [0.1, 0.2], [1], [0], [[0, 1]])
    with pytest.raises(InputError, match="pair 1 is labelled different; its identities are 3 and 3"):
        tar_at_far([0.5], [0.1], [1], [0], [[3, 3]])


@pytest.mark.parametrize("impostors", [7, 53, 999, 1000, 1001, 10**9 - 1])
def test_the_far_that_a_refusal_advises_is_possible(impostors: int) -> None:
    with pytest.raises(InputError, match="Ask for FAR ≥ ") as refused:
        exact_far("1e-12", impostors)
    advised = str(refused.value).split("≥ ")[-1].split()[0]
    assert 1 <= exact_far(advised, impostors) * impostors < 1.1


def test_possible_fars() -> None:
    assert possible_fars(9) == ()
    assert possible_fars(10) == (0.1,)
    assert possible_fars(3000) == (0.1, 0.01, 0.001)
    assert possible_fars(10**6) == (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
