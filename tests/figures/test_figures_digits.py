"""Clouds of digits: trained in a few steps here, in full under ``slow``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

from orthodrome.figures import clouds, digits, distributions
from orthodrome.figures.digits import Cloud, Recipe
from orthodrome.types import InputError

Plane = Mapping[str, Cloud]


@pytest.fixture(scope="module")
def images() -> digits.Digits:
    return digits.load_digits()


def test_digits_are_split_by_class(images: digits.Digits) -> None:
    (train, train_labels), (test, test_labels) = images.train, images.test
    assert train.shape == (1257, 64)
    assert test.shape == (540, 64)
    assert 0 <= float(train.min()) <= float(train.max()) == 1
    shares = torch.bincount(test_labels) / (torch.bincount(train_labels) + torch.bincount(test_labels))
    assert ((shares - 0.3).abs() < 0.01).all()


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn", None)
    with pytest.raises(InputError, match=r'scikit-learn: pip install "orthodrome\[plots\]"'):
        digits.load_digits()


def test_training_is_reproducible_and_leaves_the_generator_alone(images: digits.Digits) -> None:
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    first, second = (digits.train_cloud(images, Recipe("it", "arcface"), 3, start=2, steps=2) for _ in range(2))
    np.testing.assert_array_equal(first.test[0], second.test[0])
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("name", clouds.RECIPES)
def test_every_recipe_trains(images: digits.Digits, name: str) -> None:
    for dimension in (2, 3):
        cloud = digits.train_cloud(images, clouds.RECIPES[name], dimension, start=1, steps=2)
        assert cloud.train[0].shape == (1257, dimension)
        assert cloud.proxies.shape == (10, dimension)
        assert np.isfinite(cloud.test[0]).all()
        if name not in ("softmax", "center"):
            np.testing.assert_allclose(np.linalg.norm(cloud.proxies, axis=1), 1, rtol=1e-5)
            assert not cloud.class_bias.any()


def test_softmax_goes_on_from_its_start(images: digits.Digits) -> None:
    """The head takes over proxies and biases of the start."""
    whole = digits.train_cloud(images, Recipe("it", "softmax"), 2, start=15, steps=0)
    assert whole.class_bias.any()
    assert digits.accuracy(whole, whole.train) > 0.4


def test_initial_centres_are_where_they_were_put() -> None:
    runs = clouds.initial_center_runs(start=1, steps=1)
    assert len(runs) == len(clouds.INITIAL_CENTERS) * len(clouds.CENTER_RATES)
    starts = [runs[f"{words}, α = 0.5"].initial for words in clouds.INITIAL_CENTERS]
    assert not starts[0].any()
    np.testing.assert_allclose(np.linalg.norm(starts[1], axis=1), clouds.FAR, rtol=1e-5)
    np.testing.assert_allclose(starts[2], np.roll(starts[1], 5, axis=0))
    assert (starts[3] == clouds.FAR).all()


def test_numbers_of_a_cloud() -> None:
    """Ten classes on a circle, 36° apart, each of two points ±6° from its middle, at radius 2."""
    labels = np.repeat(np.arange(10), 2)
    angles = np.radians(36 * labels + np.tile([-6, 6], 10))
    part = 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1), labels
    assert digits.spread(part) == pytest.approx((6, 36))
    mean = 2 * np.cos(np.radians(6))
    assert digits.sizes(part) == pytest.approx((2 * np.sin(np.radians(6)), 2 * mean * np.sin(np.radians(18))))
    cloud = Cloud("it", part, part, digits.class_means(part), np.zeros(10))
    assert digits.accuracy(cloud, part) == 1
    assert digits.accuracy(Cloud("it", part, part, np.roll(cloud.proxies, 1, axis=0), np.zeros(10)), part) == 0


def test_pairs_and_their_separation() -> None:
    vectors, labels = np.array([[1.0, 0], [2, 0], [0, 3], [0, -1]]), np.array([0, 0, 1, 2])
    pairs = distributions.pairs_of("it", (vectors, labels))
    assert pairs.positive.tolist() == [1]
    assert sorted(pairs.negative.tolist()) == [-1, 0, 0, 0, 0]
    assert pairs.separation == pytest.approx(1.2 / np.sqrt(0.16 / 2))


# ------------------------------------------------------------------------------------------------------- in full: slow


@pytest.mark.slow
@pytest.mark.parametrize(("make", "least"), [(clouds.plane_clouds, 0.88), (clouds.sphere_clouds, 0.94)])
def test_every_loss_works_and_arcs_narrow_with_m(make: Callable[[], Plane], least: float) -> None:
    data = make()
    for name, cloud in data.items():
        assert digits.accuracy(cloud, cloud.train) > 0.99, name
        assert digits.accuracy(cloud, cloud.test) > least, name
    arcs = [digits.spread(data[name].train)[0] for name in ("modified_softmax", "a_softmax_2", "a_softmax_3", "a_softmax_4")]
    assert arcs == sorted(arcs, reverse=True)
    assert digits.spread(data["cosface"].train)[1] > digits.spread(data["modified_softmax"].train)[1]


@pytest.mark.slow
def test_center_loss_trades_separation_for_compactness() -> None:
    sizes = [digits.sizes(cloud.train) for cloud in clouds.center_clouds().values()]
    within, apart = zip(*sizes, strict=True)
    assert list(within) == sorted(within, reverse=True)
    assert list(apart) == sorted(apart, reverse=True)


@pytest.mark.slow
def test_center_loss_is_sensitive_to_its_start_when_centres_move_slowly() -> None:
    runs = clouds.initial_center_runs()
    accuracy = {name: digits.accuracy(run.cloud, run.cloud.test) for name, run in runs.items()}
    assert accuracy["in one far corner, α = 0.005"] < 0.6 < 0.88 < accuracy["in one far corner, α = 0.5"]
    assert accuracy["on their own class, α = 0.005"] > 0.88


@pytest.mark.slow
def test_similarity_adjustment_separates() -> None:
    data = distributions.similarity_pairs()
    assert data["with"].separation > data["without"].separation
    assert data["with"].negative.std() < data["without"].negative.std()
