"""Paired resamples of people against a naive reference that weighs every comparison of every resample."""

from __future__ import annotations

import numpy as np
import pytest

from orthodrome.evaluation.intervals import pair_weights
from orthodrome.evaluation.scores import pair_scores, unit_vectors
from orthodrome.study.resampled import FARS, Resampled, _blocks, _level, draw_people, paired_difference, percentiles, resample
from orthodrome.types import InputError

PEOPLE, IMAGES, RESAMPLES = 100, 8, 30


def faces(noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of people with one to `IMAGES` images, in an order of their own."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(PEOPLE), generator.integers(1, IMAGES + 1, PEOPLE))
    generator.shuffle(labels)
    centres = np.random.default_rng(0).normal(size=(PEOPLE, 12))
    return unit_vectors(centres[labels] + noise * generator.normal(size=(len(labels), 12))), labels


def naive(units: np.ndarray, labels: np.ndarray, draws: np.ndarray) -> dict[str, np.ndarray]:
    """Weighted rates at every score, one resample after another."""
    found = pair_scores(units, labels)
    order = np.argsort(-found.scores, kind="stable")
    same = found.same[order]
    values: dict[str, list[float]] = {"eer": [], **{name: [] for name in FARS}}
    for weights in pair_weights(draws.astype(np.float64), found.identities)[:, order]:
        far = np.cumsum(weights * ~same) / (weights * ~same).sum()
        tar = np.cumsum(weights * same) / (weights * same).sum()
        at = int(np.argmax(far >= 1 - tar))
        values["eer"].append((far[at] + 1 - tar[at]) / 2)
        for name, share in FARS.items():
            values[name].append(tar[far <= share].max(initial=0))
    return {name: np.array(rates) for name, rates in values.items()}


def exact(units: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return {"eer": float(naive(units, labels, np.ones((1, PEOPLE), np.float32))["eer"][0])}


@pytest.mark.parametrize("noise", [0.5, 1.2])
def test_resamples_are_those_of_a_naive_reference(noise: float) -> None:
    units, labels = faces(noise, 1)
    reference = naive(units, labels, draw_people(PEOPLE, RESAMPLES, 0))
    eer = naive(units, labels, np.ones((1, PEOPLE), np.float32))["eer"][0]
    found, _ = resample(units, labels, {"eer": float(eer)}, RESAMPLES)
    np.testing.assert_allclose(found.figures["eer"], reference["eer"], atol=0.006)
    defined = ~np.isnan(found.figures["tar_1e-2"])
    assert defined.all()
    np.testing.assert_allclose(found.figures["tar_1e-2"], reference["tar_1e-2"], atol=0.03)


def test_a_paired_difference_is_that_of_the_same_resamples() -> None:
    (first, labels), (second, other_labels) = faces(0.8, 1), faces(0.8, 1)
    second = unit_vectors(second + 0.25 * np.random.default_rng(9).normal(size=second.shape))
    assert (labels == other_labels).all()
    a, b = (resample(units, labels, exact(units, labels), 60)[0] for units in (first, second))
    draws = draw_people(PEOPLE, 60, 0)
    differences = naive(first, labels, draws)["eer"] - naive(second, labels, draws)["eer"]
    low, high = np.quantile(differences, [0.025, 0.975])
    found = paired_difference([a], [b], "eer")
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.006)
    unpaired = np.quantile(a.figures["eer"][::-1] - b.figures["eer"], [0.025, 0.975])
    assert found.high - found.low < unpaired[1] - unpaired[0]


def test_the_distributions_hold_every_comparison_once() -> None:
    units, labels = faces(0.8, 3)
    found = pair_scores(units, labels)
    _, seen = resample(units, labels, exact(units, labels), 2)
    assert (seen.genuine.sum(), seen.impostor.sum()) == (found.same.sum(), (~found.same).sum())
    expected = np.histogram(found.scores[found.same], bins=100, range=(-1, 1))[0]
    assert np.abs(seen.genuine - expected).sum() <= 2  # a score on an edge
    angles = np.degrees(np.arccos(found.scores[~found.same].astype(np.float64)))
    assert seen.impostor_angle == pytest.approx((angles.mean(), angles.std()), abs=0.01)


def test_the_order_of_the_embeddings_does_not_matter() -> None:
    units, labels = faces(0.8, 4)
    order = np.random.default_rng(5).permutation(len(labels))
    known = exact(units, labels)
    first, second = resample(units, labels, known, 10)[0], resample(units[order], labels[order], known, 10)[0]
    np.testing.assert_allclose(first.figures["eer"], second.figures["eer"], atol=1e-6)


def test_the_mean_over_seeds_is_paired_too() -> None:
    runs = [Resampled({"eer": np.array(values)}, "same") for values in ([0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.1, 0.1, 0.1])]
    found = paired_difference(runs[:2], runs[2:], "eer")
    assert (found.low, found.high) == pytest.approx((0.1, 0.1))


def test_other_people_cannot_be_paired() -> None:
    a, b = Resampled({"eer": np.ones(5)}, "these"), Resampled({"eer": np.ones(5)}, "those")
    with pytest.raises(InputError, match="same people"):
        paired_difference([a], [b], "eer")


def test_undefined_resamples_are_counted() -> None:
    assert "1 undefined left out" in percentiles(np.array([0.1, np.nan, 0.3])).method
    assert percentiles(np.full(5, np.nan)) is None


def test_a_network_that_makes_all_faces_one_has_figures_without_intervals() -> None:
    units, labels = np.full((60, 4), 0.5, np.float32), np.arange(60) // 3
    units[1::3] -= np.float32(1e-6)  # nearly: all cosines within one thousandth of the finest threshold
    found, _ = resample(unit_vectors(units), labels, {"eer": 0.4, "tar_1e-2": 0.0}, 20)
    assert found.interval("tar_1e-2") is None
    assert found.interval("eer") is None
    assert paired_difference([found], [found], "tar_1e-2") is None


def test_blocks_cover_all_people_even_one_with_many_images() -> None:
    starts = np.array([0, 3, 2000, 2001])
    assert list(_blocks(starts, 2100)) == [(0, 1), (1, 2), (2, 4)]


def test_levels_are_reached_by_their_share() -> None:
    counts = np.zeros(20_000, np.int64)
    counts[[100, 15_000]] = 90, 10
    assert _level(counts, 0.05) == pytest.approx(0.5)
    assert _level(counts, 0.5) == pytest.approx(-0.99)
