"""Calibration against scikit-learn, known distributions and hand-worked costs; saved, loaded and refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from orthodrome.evaluation import (
    ScoredPairs,
    calibrate,
    cllr,
    cross_fitted,
    load_calibration,
    minimum_cllr,
    reliability,
    save_calibration,
)
from orthodrome.evaluation.calibration import CALIBRATIONS, log_odds, sigmoid
from orthodrome.evaluation.hull import roc_hull
from orthodrome.types import InputError


def normal_pairs(genuine: int = 4000, impostor: int = 20_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Genuine N(1, 1) and impostor N(−1, 1): the log-likelihood ratio of a score s is exactly 2s."""
    random = np.random.default_rng(seed)
    scores = np.concatenate([random.normal(1, 1, genuine), random.normal(-1, 1, impostor)])
    return scores, np.arange(genuine + impostor) < genuine


def test_logistic_finds_the_true_ratio_whatever_the_numbers_of_the_kinds() -> None:
    """20,000 impostors for 4,000 genuines must not shift the ratio: the kinds weigh the same."""
    fitted = calibrate(*normal_pairs())
    assert fitted.parameters["slope"][0] == pytest.approx(2, abs=0.05)
    assert fitted.parameters["offset"][0] == pytest.approx(0, abs=0.05)
    np.testing.assert_allclose(fitted.probabilities([0.0], prior=0.01), 0.01, atol=0.001)


def test_logistic_is_the_one_of_scikit_learn() -> None:
    scores, same = normal_pairs(500, 2000, seed=1)
    ours = calibrate(scores, same)
    theirs = LogisticRegression(C=np.inf, class_weight="balanced", tol=1e-10).fit(scores[:, None], same)
    assert ours.parameters["slope"][0] == pytest.approx(theirs.coef_[0, 0], rel=0.01)  # Platt's targets differ from 0 and 1
    assert ours.parameters["offset"][0] == pytest.approx(theirs.intercept_[0], abs=0.02)


def test_logistic_stays_finite_where_the_kinds_do_not_overlap() -> None:
    fitted = calibrate([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])
    ratios = fitted.log_likelihood_ratios([0.0, 0.5, 1.0])
    assert np.isfinite(ratios).all()
    assert ratios[0] < 0 < ratios[2]
    assert ratios[1] == pytest.approx(0, abs=1e-6)


small = st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2, max_size=40).filter(
    lambda rows: len({kind for _, kind in rows}) == 2
)


@settings(max_examples=200, deadline=None)
@given(small)
def test_the_hull_is_pool_adjacent_violators(rows) -> None:
    scores, same = np.array([float(s) for s, _ in rows]), np.array([kind for _, kind in rows])
    hull = roc_hull(scores[same], scores[~same])
    expected = IsotonicRegression().fit(scores, same.astype(float)).predict(scores)
    share = hull.genuine / (hull.genuine + hull.impostor)
    segment = np.array([int(np.argmax(score >= hull.lowest_scores)) for score in scores])
    np.testing.assert_allclose(share[segment], expected, atol=1e-12)
    assert (np.diff(hull.log_likelihood_ratios()) < 0).all()


@settings(max_examples=100, deadline=None)
@given(small)
def test_isotonic_is_finite_never_falls_and_counts_in_one_error_at_each_end(rows) -> None:
    scores, same = np.array([float(s) for s, _ in rows]), np.array([kind for _, kind in rows])
    if scores.min() == scores.max():
        return
    places = np.linspace(-6, 6, 49)
    ratios = calibrate(scores, same, "isotonic").log_likelihood_ratios(places)
    assert np.isfinite(ratios).all()
    assert (np.diff(ratios) >= 0).all()
    ends = [np.append(scores[same], -9.0), np.append(scores[~same], 9.0)]
    pooled, kind = np.concatenate(ends), np.arange(len(scores) + 2) < same.sum() + 1
    share = IsotonicRegression().fit(pooled, kind.astype(float)).predict(scores)
    expected = np.log(share / (1 - share)) - np.log((same.sum() + 1) / ((~same).sum() + 1))
    np.testing.assert_allclose(calibrate(scores, same, "isotonic").log_likelihood_ratios(scores), expected, atol=1e-12)


def test_cllr_by_hand() -> None:
    assert cllr(np.zeros(5), np.zeros(9)) == pytest.approx(1)  # ratios that say nothing cost one bit
    assert cllr(np.full(3, 50.0), np.full(3, -50.0)) < 1e-12
    assert cllr(np.full(3, -5.0), np.full(3, 5.0)) > 5  # misleading
    assert cllr(np.array([np.log(3)]), np.array([-np.log(3)])) == pytest.approx(np.log2(4 / 3))


def test_minimum_cllr_by_hand_and_as_a_bound() -> None:
    assert minimum_cllr(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 0
    assert minimum_cllr(np.ones(4), np.ones(2)) == pytest.approx(1)
    # One genuine below one impostor of two each: segments (1, 0), (1, 1), (0, 1); only the middle one costs, ½·½·2 bits.
    assert minimum_cllr(np.array([1.0, 3.0]), np.array([0.0, 2.0])) == pytest.approx(0.5)
    scores, same = normal_pairs(300, 600)
    least = minimum_cllr(scores[same], scores[~same])
    assert least == pytest.approx(minimum_cllr(np.exp(scores[same]), np.exp(scores[~same])))
    for method in CALIBRATIONS:
        ratios = calibrate(scores, same, method).log_likelihood_ratios(scores)
        assert cllr(ratios[same], ratios[~same]) >= least
    many, kind = normal_pairs(4000, 4000)
    genuine, impostor = many[kind], many[~kind]
    assert cllr(2 * genuine, 2 * impostor) == pytest.approx(minimum_cllr(genuine, impostor), abs=0.02)


def test_a_fold_is_never_judged_by_its_own_pairs() -> None:
    """Labels of one fold swapped: its own ratios must stay as they were, those of the others change."""
    scores, same = normal_pairs(300, 300)
    folds = np.array(["a", "b", "c"])[np.arange(600) % 3]
    swapped = np.where(folds == "a", ~same, same)
    for method in CALIBRATIONS:
        plain, other = (cross_fitted(ScoredPairs(scores, kind, folds), method) for kind in (same, swapped))
        np.testing.assert_array_equal(plain[folds == "a"], other[folds == "a"])
        assert (plain[folds != "a"] != other[folds != "a"]).any()
    with pytest.raises(InputError, match="two folds or more; got 1"):
        cross_fitted(ScoredPairs(scores, same, np.full(600, "a")), "logistic")


def test_reliability_of_true_ratios_lies_on_the_diagonal_and_counts_every_pair() -> None:
    scores, same = normal_pairs(5000, 5000)
    bins = reliability(2 * scores, same)
    assert sum(row.count for row in bins) == 10_000
    assert sum(row.genuine for row in bins) == 5000
    assert all(row.low <= row.predicted <= row.high for row in bins)
    inside = [row.interval.low <= row.predicted <= row.interval.high for row in bins]
    assert np.mean(inside) >= 0.75
    misled = reliability(6 * scores, same)
    assert np.mean([row.interval.low <= row.predicted <= row.interval.high for row in misled]) < 0.5


def test_saved_and_loaded(tmp_path: Path) -> None:
    scores, same = normal_pairs(50, 80)
    for method in CALIBRATIONS:
        fitted = calibrate(scores, same, method)
        again = load_calibration(save_calibration(fitted, tmp_path / "new" / f"{method}.json"))
        assert again == fitted
        np.testing.assert_array_equal(again.probabilities(scores), fitted.probabilities(scores))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a calibration"),
        ("[]", "is not a calibration"),
        ('{"method": "magic", "parameters": {}, "genuine": 1, "impostor": 1}', "unknown calibration 'magic'"),
        ('{"method": "logistic", "parameters": {"slope": [1]}, "genuine": 1, "impostor": 1}', "offset"),
        (
            '{"method": "logistic", "parameters": {"slope": ["x"], "offset": [0]}, "genuine": 1, "impostor": 1}',
            "could not convert",
        ),
        ('{"method": "logistic", "parameters": {"slope": [], "offset": [0]}, "genuine": 1, "impostor": 1}', "empty"),
        ('{"method": "logistic", "parameters": {"slope": [NaN], "offset": [0]}, "genuine": 1, "impostor": 1}', "not finite"),
        (
            '{"method": "isotonic", "parameters": {"from_score": [0, 1], "log_likelihood_ratio": [0]}, "genuine": 1, "impostor": 1}',
            "length",
        ),
    ],
)
def test_files_that_are_no_calibration_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        load_calibration(path)
    with pytest.raises(InputError, match="cannot read the calibration"):
        load_calibration(tmp_path / "none.json")


def test_bad_input() -> None:
    with pytest.raises(InputError, match="genuine and impostor pairs; got 3 and 0"):
        calibrate([1.0, 2.0, 3.0], [1, 1, 1])
    with pytest.raises(InputError, match=r"all 4 scores are 0\.5"):
        calibrate([0.5] * 4, [1, 0, 1, 0])
    with pytest.raises(InputError, match="unknown calibration 'platt'"):
        calibrate([0.1, 0.9], [0, 1], "platt")
    fitted = calibrate([0.1, 0.9], [0, 1])
    for prior in (0, 1, -1, float("nan")):
        with pytest.raises(InputError, match="prior probability must lie between 0 and 1"):
            fitted.probabilities([0.5], prior)
    with pytest.raises(InputError, match="nan at position 0"):
        fitted.probabilities([float("nan")])


def test_log_odds_and_sigmoid_are_inverse_and_do_not_overflow() -> None:
    assert sigmoid(np.array([log_odds(0.3)])) == pytest.approx([0.3])
    assert sigmoid(np.array([-1e4, 1e4])).tolist() == [0, 1]
    assert json.dumps(log_odds(0.5)) == "0.0"
