"""k-fold verification against a naive loop, its invariances and errors, and the real LFW list."""

from __future__ import annotations

import json
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orthodrome.evaluation import (
    PROTOCOLS,
    all_pairs,
    canonical_scores,
    deal_folds,
    equal_error_rate,
    pair_scores,
    tar_at_far,
    verification,
)
from orthodrome.evaluation.folds import best_threshold
from orthodrome.types import EmbeddingSet, InputError


def scored_pairs(folds: int = 5, per_fold: int = 40, seed: int = 0, decimals: int = 1):
    same = np.tile(np.arange(2 * per_fold) < per_fold, folds)
    scores = np.random.default_rng(seed).normal(same * 1.2, 1).round(decimals).astype(np.float32)
    return scores, same, np.repeat(np.arange(1, folds + 1), 2 * per_fold)


def naive_best(scores: np.ndarray, same: np.ndarray) -> tuple[list[float], int]:
    """Every candidate tried in turn: the best ones, ascending, and how many pairs they decide rightly."""
    levels = sorted(set(scores.tolist()))
    middles = [float(np.float32((a + b) / 2)) for a, b in pairwise(levels)]
    candidates = [levels[0], *middles, float(np.nextafter(np.float32(levels[-1]), np.float32(np.inf)))]
    right = [sum((s >= t) == y for s, y in zip(scores.tolist(), same.tolist(), strict=True)) for t in candidates]
    return [t for t, r in zip(candidates, right, strict=True) if r == max(right)], max(right)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=1, max_size=40))
def test_best_threshold_is_the_middle_of_the_naive_best(rows) -> None:
    scores, same = np.array([r[0] / 8 for r in rows], np.float32), np.array([r[1] for r in rows])
    best, right = naive_best(scores, same)
    found = best_threshold(scores, same)
    assert found == best[(len(best) - 1) // 2]
    assert ((scores >= np.float32(found)) == same).sum() == right


def test_neighbouring_numbers_are_told_apart() -> None:
    low = np.float32(0.5)
    scores = np.array([low, np.nextafter(low, np.float32(1))])
    threshold = best_threshold(scores, np.array([False, True]))
    assert scores[0] < np.float32(threshold) <= scores[1]


def test_equals_a_naive_loop() -> None:
    scores, same, folds = scored_pairs()
    report = verification(scores, same, folds)
    accuracies = []
    for fold, found in zip(range(1, 6), report.folds, strict=True):
        best, _ = naive_best(scores[folds != fold], same[folds != fold])
        threshold = np.float32(best[(len(best) - 1) // 2])
        decided = (scores[folds == fold] >= threshold) == same[folds == fold]
        accuracies.append(decided.mean())
        assert (found.fold, found.threshold, found.correct) == (str(fold), float(threshold), decided.sum())
    assert report.accuracy == pytest.approx(np.mean(accuracies), abs=1e-15)
    assert report.standard_error == pytest.approx(np.std(accuracies, ddof=1) / np.sqrt(5), abs=1e-15)
    assert report.wilson.low < report.accuracy < report.wilson.high
    assert [row.far for row in report.tar_at_far] == [0.1, 0.01]
    assert report.by_identity is None


def test_the_threshold_of_a_fold_never_sees_the_fold() -> None:
    """The large fold, and all pairs together, want a threshold of 5; the small fold wants 0.5 and misjudges the large one."""
    same = np.array([True] * 4 + [False] * 4 + [True, False])
    scores = np.array([9.0] * 4 + [1] * 4 + [1, 0], np.float32)
    report = verification(scores, same, np.array(["large"] * 8 + ["small"] * 2))
    assert [(fold.fold, fold.threshold, fold.correct) for fold in report.folds] == [("large", 0.5, 4), ("small", 5.0, 1)]
    assert report.best_threshold == 5


def test_scale_shift_and_order_change_nothing() -> None:
    scores, same, folds = scored_pairs(decimals=3)
    plain = verification(scores, same, folds)
    moved = verification(scores.astype(np.float64) * 4 + 0.5, same, folds)
    shuffled = np.random.default_rng(0).permutation(len(scores))
    mixed = verification(scores[shuffled], same[shuffled], folds[shuffled])
    for other in (moved, mixed):
        assert [fold.correct for fold in other.folds] == [fold.correct for fold in plain.folds]
        assert [row.tar for row in other.tar_at_far] == [row.tar for row in plain.tar_at_far]
        assert other.eer.rate == plain.eer.rate
    assert mixed == plain


def test_the_ends_of_the_candidates_are_used() -> None:
    folds = np.repeat([0, 1], 4)
    same = np.array([True, True, True, False] * 2)
    report = verification(np.full(8, 0.25, np.float32), same, folds)
    assert report.accuracy == 0.75  # everything accepted
    report = verification(np.full(8, 0.25, np.float32), ~same, folds)
    assert report.accuracy == 0.75  # everything rejected


def test_bootstrap_by_identity_of_the_accuracy_against_a_loop() -> None:
    scores, same, folds = scored_pairs(folds=4, per_fold=30)
    random = np.random.default_rng(5)
    people = random.integers(0, 15, (len(same), 2))
    people[:, 1] = np.where(same, people[:, 0], (people[:, 0] + 1 + people[:, 1] % 14) % 15)
    people += 15 * folds[:, None]  # folds are disjoint in people, as in LFW
    report = verification(scores, same, folds, people)
    decided = np.concatenate(
        [(scores[folds == f] >= r.threshold) == same[folds == f] for f, r in zip(range(1, 5), report.folds, strict=True)]
    )
    codes = np.unique(people, return_inverse=True)[1].reshape(people.shape)
    values, generator = [], np.random.default_rng(99)
    for _ in range(1500):
        drawn = np.bincount(generator.integers(0, codes.max() + 1, codes.max() + 1), minlength=codes.max() + 1)
        weight = np.where(same, drawn[codes[:, 0]], drawn[codes[:, 0]] * drawn[codes[:, 1]])
        values.append(np.mean([np.average(decided[folds == f], weights=weight[folds == f]) for f in range(1, 5)]))
    alone = tar_at_far(scores[same], scores[~same], [0.1], people[same], people[~same])
    assert report.tar_at_far[:1] == alone
    assert report.eer == equal_error_rate(scores[same], scores[~same], people[same], people[~same])
    assert "bootstrap by identity" in report.eer.interval.method
    assert report.by_identity is not None
    assert report.by_identity.low == pytest.approx(np.quantile(values, 0.025), abs=0.012)
    assert report.by_identity.high == pytest.approx(np.quantile(values, 0.975), abs=0.012)


def test_summary_and_report() -> None:
    scores, same, folds = scored_pairs()
    report = verification(scores, same, folds)
    assert "standard error (Wilson interval " in str(report)
    assert "TAR@FAR=1 %" in report.summary()
    plain = report.to_report()
    assert json.loads(json.dumps(plain.metrics, allow_nan=False))["accuracy"]["mean"] == report.accuracy
    assert len(plain.series["genuine"]) == plain.metrics["counts"]["genuine"] == 200


def test_errors() -> None:
    scores, same, folds = scored_pairs()
    broken = scores.copy()
    broken[17] = np.nan
    with pytest.raises(InputError, match="nan at position 17"):
        verification(broken, same, folds)
    with pytest.raises(InputError, match="fold '3' has only genuine pairs"):
        verification(scores, same | (folds == 3), folds.astype(str))
    with pytest.raises(InputError, match="at least two folds; got one fold, 1"):
        verification(scores, same, np.ones_like(folds))
    with pytest.raises(InputError, match=r"same must have shape \(400,\)"):
        verification(scores, same[:-1], folds)
    with pytest.raises(InputError, match="folds must have shape"):
        verification(scores, same, folds[:-1])
    with pytest.raises(InputError, match="same must be true/false or 0/1; got 2 at position 0"):
        verification(scores, same.astype(int) + 1, folds)
    people = np.zeros((400, 2), int)
    with pytest.raises(InputError, match="pair 40 is labelled different"):
        verification(scores, same, folds, people)


def test_perfect_separation_claims_no_certainty() -> None:
    """Every resample of people is 100 % right; Wilson's interval says what so few pairs can show."""
    same = np.arange(80) < 40
    people = np.array([[i, i] if i < 40 else [i % 40, (i + 1) % 40] for i in range(80)])
    report = verification(np.where(same, 0.9, 0.1) + 1e-3 * np.arange(80) / 80, same, np.tile(np.arange(4), 20), people)
    assert (report.accuracy, report.by_identity) == (1.0, None)
    assert "by identity" not in report.to_report().metrics["accuracy"]["text"]


def labelled_set(people: int = 10, images: int = 6) -> EmbeddingSet:
    random, labels = np.random.default_rng(0), np.repeat(np.arange(people), images)
    vectors = random.normal(size=(people, 16))[labels] + 0.8 * random.normal(size=(len(labels), 16))
    return EmbeddingSet(vectors.astype(np.float32), labels, tuple(f"image{i}" for i in range(len(labels))))


def test_all_pairs_counts_everything_and_balances_the_accuracy() -> None:
    report = all_pairs(labelled_set(), folds=5)
    everything = pair_scores(labelled_set().vectors, labelled_set().labels)
    assert len(report.genuine) == everything.same.sum() == 150
    assert len(report.impostor) == 60 * 59 // 2 - 150
    assert [(fold.genuine, fold.impostor) for fold in report.folds] == [(30, 30)] * 5
    assert report.by_identity is not None
    assert all_pairs(labelled_set(), folds=5) == report
    with pytest.raises(InputError, match="0 genuine"):
        all_pairs(labelled_set(images=1))


def test_dealt_folds_are_even_and_seeded() -> None:
    same = np.arange(103) < 40
    folds = deal_folds(same, 4)
    assert set(np.bincount(folds[same])[1:]) == {10}
    assert set(np.bincount(folds[~same])[1:]) <= {15, 16}
    assert (deal_folds(same, 4, seed=1) != folds).any()
    with pytest.raises(InputError, match="at least 50 genuine pairs; got 40"):
        deal_folds(same, 50)


def test_lfw_from_embeddings_in_seconds(shared) -> None:
    """The real list with synthetic embeddings: counts, folds, scores, and a time far above what it takes."""
    protocol = PROTOCOLS.get("lfw")
    pairs = protocol.read(shared("data/lfw_pairs.txt"))
    images = protocol.images(pairs, shared("data/lfw"))
    assert (len(pairs), len(images)) == (6000, 7701)
    np.testing.assert_array_equal(np.bincount(pairs.folds)[1:], [600] * 10)
    np.testing.assert_array_equal(np.bincount(pairs.folds, weights=pairs.same)[1:], [300] * 10)
    labels = np.unique([key.split("/")[0] for key in images], return_inverse=True)[1]
    random = np.random.default_rng(0)
    vectors = random.normal(size=(labels.max() + 1, 32))[labels] + random.normal(size=(len(labels), 32))
    ids = tuple(str(path) for path in images.values())
    started = time.process_time()
    report = protocol.evaluate(EmbeddingSet(vectors.astype(np.float32), labels, ids), pairs).to_report()
    assert time.process_time() - started < 6
    assert 0.9 < report.metrics["accuracy"]["mean"] < 1
    assert report.protocol == "lfw"
    where = {key: row for row, key in enumerate(images)}
    first = [where[str(image)] for image in pairs.first]
    second = [where[str(image)] for image in pairs.second]
    scores = canonical_scores(vectors[first], vectors[second])
    np.testing.assert_array_equal(np.sort(report.series["genuine"]), np.sort(scores[pairs.same]))
