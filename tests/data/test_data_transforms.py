"""Random numbers by index, augmentation, and the network's input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orthodrome.data import Augmentation, Draws, horizontal_flip, shift_images, to_network_input, unchanged
from orthodrome.data.randomness import splitmix64
from orthodrome.types import InputError, Preprocessing


def pictures(count: int, height: int = 9, width: int = 7) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 3, height, width), dtype=np.uint8)


def test_splitmix64_against_the_published_vector() -> None:
    gamma, state, values = 0x9E3779B97F4A7C15, 1234567, []
    for _ in range(3):
        values.append(int(splitmix64(np.array([state], np.uint64))[0]))
        state = (state + gamma) % 2**64
    assert values == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(st.permutations(range(12)), st.integers(0, 2**63 - 1), st.integers(0, 1000))
def test_draws_belong_to_the_index_and_not_to_the_batch(order: list[int], seed: int, epoch: int) -> None:
    whole = Draws(seed, epoch, np.arange(12)).uniform("x")
    np.testing.assert_array_equal(Draws(seed, epoch, np.array(order)).uniform("x"), whole[order])
    np.testing.assert_array_equal(Draws(seed, epoch, np.array(order[:1])).uniform("x"), whole[order[:1]])


def test_draws_are_uniform_and_independent() -> None:
    indices = np.arange(20_000)
    base = Draws(0, 0, indices)
    variants = [base.uniform("x"), base.uniform("y"), Draws(1, 0, indices).uniform("x"), Draws(0, 1, indices).uniform("x")]
    for values in variants:
        counts = np.histogram(values, bins=20, range=(0, 1))[0]
        assert ((counts - 1000) ** 2 / 1000).sum() < 50  # χ² with 19 degrees of freedom: 50 is beyond 1 in 8,000
    correlations = np.corrcoef(variants) - np.eye(4)
    assert np.abs(correlations).max() < 0.03


def test_integers_take_both_ends_and_nothing_else() -> None:
    values = Draws(0, 0, np.arange(5000)).integers("x", -3, 3)
    assert np.unique(values).tolist() == [-3, -2, -1, 0, 1, 2, 3]
    assert np.bincount(values + 3).min() > 5000 / 7 * 0.85


def test_flip_mirrors_the_chosen_images_only() -> None:
    images = pictures(4)
    before = images.copy()
    result = horizontal_flip(images, np.array([True, False, False, True]))
    np.testing.assert_array_equal(result[[0, 3]], np.flip(images, 3)[[0, 3]])
    np.testing.assert_array_equal(result[[1, 2]], images[[1, 2]])
    np.testing.assert_array_equal(images, before)


@given(st.lists(st.tuples(st.integers(-11, 11), st.integers(-11, 11)), min_size=1, max_size=5))
def test_shift_against_a_loop(moves: list[tuple[int, int]]) -> None:
    images = pictures(len(moves))
    down, right = np.array(moves).T
    result = shift_images(images, down, right)
    for i, (dy, dx) in enumerate(moves):
        for y in range(9):
            for x in range(7):
                source = images[i, :, np.clip(y - dy, 0, 8), np.clip(x - dx, 0, 6)]
                np.testing.assert_array_equal(result[i, :, y, x], source)


def test_augmentation_does_what_its_fields_say() -> None:
    images = pictures(64)
    draws = Draws(0, 0, np.arange(64))
    before = images.copy()
    np.testing.assert_array_equal(Augmentation(0, 0)(images, draws), images)
    np.testing.assert_array_equal(unchanged(images, draws), images)
    np.testing.assert_array_equal(Augmentation(1, 0)(images, draws), images[..., ::-1])
    flipped = (Augmentation(0.5, 0)(images, draws) == images[..., ::-1]).all(axis=(1, 2, 3))
    assert 20 < flipped.sum() < 44
    assert (Augmentation(0, 3)(images, draws) != images).any()
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("changes", [{"flip": 1.5}, {"flip": -0.1}, {"shift": -1}])
def test_augmentation_errors(changes: dict[str, float]) -> None:
    with pytest.raises(InputError, match="got"):
        Augmentation(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("channels_last", [False, True])
def test_network_input(dtype: torch.dtype, channels_last: bool) -> None:
    images = torch.from_numpy(pictures(2))
    preprocessing = Preprocessing(size=(9, 7), mean=127.5, std=128.0)
    result = to_network_input(images, preprocessing, dtype, channels_last)
    expected = (images.double() - 127.5) / 128.0
    assert result.dtype == dtype
    torch.testing.assert_close(result.double(), expected, rtol=0, atol=0)  # exact: 8 significant bits are enough
    assert result.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    assert images.dtype == torch.uint8


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("crop", [(9, 7), (5, 3), (4, 7), (1, 2)])
def test_network_input_is_the_middle(crop: tuple[int, int], channels_last: bool) -> None:
    images = torch.from_numpy(pictures(2))
    whole = to_network_input(images, Preprocessing(size=(9, 7)))
    result = to_network_input(images, Preprocessing(size=(9, 7), center_crop=crop), channels_last=channels_last)
    rows, columns = (
        [i for i in range(side) if (side - part) // 2 <= i < (side - part) // 2 + part]
        for side, part in zip((9, 7), crop, strict=True)
    )
    torch.testing.assert_close(result, whole[:, :, rows][:, :, :, columns], rtol=0, atol=0)
    assert result.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


@pytest.mark.parametrize("crop", [(10, 7), (9, 8), (0, 3), (3,)])
def test_a_crop_lies_within_the_image(crop: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"center_crop is \(height, width\) within the image size"):
        Preprocessing(size=(9, 7), center_crop=crop)  # type: ignore[arg-type]


@pytest.mark.parametrize("images", [torch.zeros(2, 3, 9, 7), torch.zeros(2, 3, 7, 9, dtype=torch.uint8)])
def test_network_input_errors(images: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"uint8 \(B, \*\(3, 9, 7\)\); got"):
        to_network_input(images, Preprocessing(size=(9, 7)))
