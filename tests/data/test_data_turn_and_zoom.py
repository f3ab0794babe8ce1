"""Turning and zooming: against exact cases, and independent of the batch."""

from __future__ import annotations

import numpy as np
import pytest

from orthodrome.data import Augmentation, Draws
from orthodrome.data.geometric import turn_and_zoom
from orthodrome.types import InputError


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, 3, 16, 16), dtype=np.uint8)


def test_nothing_asked_nothing_done(images: np.ndarray) -> None:
    assert np.array_equal(turn_and_zoom(images, np.zeros(4), np.ones(4)), images)


def test_a_quarter_turn_is_clockwise(images: np.ndarray) -> None:
    turned = turn_and_zoom(images, np.full(4, np.pi / 2), np.ones(4))
    assert np.array_equal(turned, np.rot90(images, -1, axes=(2, 3)))


def test_doubling_keeps_the_centre_and_enlarges(images: np.ndarray) -> None:
    ramp = np.broadcast_to(np.arange(0, 160, 10, dtype=np.uint8), (1, 3, 16, 16)).copy()
    zoomed = turn_and_zoom(ramp, np.zeros(1), np.full(1, 2.0)).astype(int)
    assert abs(zoomed[0, 0, 0, 7] + zoomed[0, 0, 0, 8] - 150) <= 1  # the middle stays in the middle
    assert set(np.diff(zoomed[0, 0, 0]).tolist()) <= {4, 5, 6}  # half the slope


def test_each_image_is_on_its_own(images: np.ndarray) -> None:
    augmentation = Augmentation(flip=0.5, shift=2, rotate=20, zoom=0.2)
    whole = augmentation(images, Draws(1, 0, np.arange(4)))
    for i in range(4):
        assert np.array_equal(whole[i : i + 1], augmentation(images[i : i + 1], Draws(1, 0, np.array([i]))))
    assert not np.array_equal(whole, augmentation(images, Draws(1, 1, np.arange(4))))


@pytest.mark.parametrize("wrong", [{"rotate": -1}, {"rotate": 181}, {"zoom": 1}, {"zoom": -0.1}])
def test_wrong_ranges_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Augmentation(**wrong)  # type: ignore[arg-type]
