"""Every step of the augmentation: what holds for all rows of the table, then what each paper says."""

from __future__ import annotations

import pickle
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthodrome.data import Augmentation, Draws
from orthodrome.data.geometric import FILTERS, enlarge_windows, lower_resolution
from orthodrome.data.occlusion import GREY, Rectangles, draw_rectangles, draw_squares, fill_inside, keep_inside
from orthodrome.data.photometric import jitter_colours
from orthodrome.data.transforms import STEPS, STRENGTHS
from orthodrome.training.recipe import AugmentationSettings, parse_recipe
from orthodrome.types import InputError

STRONG = {"shift": 3, "rotate": 30.0, "zoom": 0.3, "random_crop": 0.5, "cutout": 0.5}
NAMES = tuple(STRENGTHS)


def only(name: str, strength: float | None = None) -> Augmentation:
    """An augmentation of one step."""
    value = STRONG.get(name, 0.5) if strength is None else strength
    return Augmentation(**{"flip": 0.0, "shift": 0, name: value})  # type: ignore[arg-type]


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (16, 3, 20, 14), dtype=np.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_strength_zero_is_the_identity(name: str, images: np.ndarray) -> None:
    assert np.array_equal(only(name, 0)(images, Draws(0, 0, np.arange(16))), images)


@pytest.mark.parametrize("name", NAMES)
def test_it_changes_something_and_keeps_shape_type_and_input(name: str, images: np.ndarray) -> None:
    before = images.copy()
    result = only(name)(images, Draws(0, 0, np.arange(16)))
    assert result.shape == images.shape
    assert result.dtype == np.uint8
    assert not np.array_equal(result, images)
    assert np.array_equal(images, before)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_gets_the_same_alone_in_any_batch_and_after_a_resume(name: str, images: np.ndarray) -> None:
    augmentation = only(name)
    indices = np.arange(100, 116)
    whole = augmentation(images, Draws(3, 2, indices))
    assert np.array_equal(whole, augmentation(images, Draws(3, 2, indices)))
    order = np.random.default_rng(0).permutation(16)
    assert np.array_equal(augmentation(images[order], Draws(3, 2, indices[order])), whole[order])
    for i in range(16):
        assert np.array_equal(augmentation(images[i : i + 1], Draws(3, 2, indices[i : i + 1]))[0], whole[i])


@pytest.mark.parametrize("name", NAMES)
def test_another_seed_and_another_epoch_draw_something_else(name: str, images: np.ndarray) -> None:
    augmentation = only(name)
    first = augmentation(images, Draws(0, 0, np.arange(16)))
    assert not np.array_equal(first, augmentation(images, Draws(1, 0, np.arange(16))))
    assert not np.array_equal(first, augmentation(images, Draws(0, 1, np.arange(16))))


@pytest.mark.parametrize("name", ["flip", "crop", "photometric", "low_resolution", "erase"])
def test_a_probability_is_the_share_of_images_it_changes(name: str) -> None:
    images = np.random.default_rng(1).integers(0, 256, (600, 3, 12, 12), dtype=np.uint8)
    changed = (only(name, 0.25)(images, Draws(0, 0, np.arange(600))) != images).any(axis=(1, 2, 3)).mean()
    assert 0.18 < changed < 0.32


@pytest.mark.parametrize("name", NAMES)
def test_wrong_strengths_are_refused_here_and_in_the_recipe(name: str) -> None:
    high = STRENGTHS[name].high
    wrong = [-1] + ([high + 1] if np.isfinite(high) else []) + ([] if STRENGTHS[name].includes_high else [high])
    for value in wrong:
        with pytest.raises(InputError, match=f"{name} is .*got {value}"):
            only(name, value)
        with pytest.raises(InputError, match=rf"data\.{name}"):
            parse_recipe({"data": {name: value}}, "recipe")


def test_table_class_and_recipe_have_the_same_keys() -> None:
    read = [name for names, _ in STEPS for name in names]
    assert read == list(NAMES) == [field.name for field in fields(Augmentation)] == list(AugmentationSettings.model_fields)


def test_all_at_once_travels_to_workers(images: np.ndarray) -> None:
    every = Augmentation(**{name: STRONG.get(name, 0.5) for name in NAMES})  # type: ignore[arg-type]
    draws = Draws(0, 0, np.arange(16))
    assert np.array_equal(pickle.loads(pickle.dumps(every))(images, draws), every(images, draws))


def test_bytes_are_uniform_and_belong_to_the_index() -> None:
    values = Draws(0, 0, np.arange(50)).bytes("noise", 1001)
    assert values.shape == (50, 1001)
    counts = np.bincount(values.ravel(), minlength=256)
    expected = values.size / 256
    assert ((counts - expected) ** 2 / expected).sum() < 350  # χ² with 255 degrees of freedom
    assert np.array_equal(values[7:9], Draws(0, 0, np.arange(50)).of(np.array([7, 8])).bytes("noise", 1001))


def test_random_crop_enlarges_the_window_it_is_told() -> None:
    image = np.zeros((1, 3, 8, 8), np.uint8)
    image[:, :, 4:, 4:] = 200
    top_left, bottom_right = (enlarge_windows(image, np.array([0.5]), *[np.array([place])] * 2) for place in (0.0, 1.0))
    assert not top_left[:, :, :6, :6].any()  # the filter may look over the edge of the window
    assert (bottom_right[:, :, 2:, 2:] == 200).all()
    assert np.array_equal(enlarge_windows(image, np.ones(1), np.zeros(1), np.zeros(1)), image)


def test_low_resolution_of_a_box_filter_is_the_mean_of_blocks(images: np.ndarray) -> None:
    nearest, box = 0, 1
    result = lower_resolution(images[:1], np.array([0.5]), np.array([box]), np.array([nearest]))
    means = images[:1].astype(float).reshape(1, 3, 10, 2, 7, 2).mean(axis=(3, 5)).repeat(2, axis=2).repeat(2, axis=3)
    assert np.abs(result - means).max() <= 1
    for way in range(len(FILTERS)):
        same = lower_resolution(images[:1], np.ones(1), np.array([way]), np.array([way]))
        assert np.array_equal(same, images[:1])


@given(st.integers(0, 2**32 - 1), st.floats(0.5, 1.5), st.floats(0.5, 1.5), st.floats(0.5, 1.5))
def test_colours_against_a_loop_over_pixels(seed: int, b: float, c: float, s: float) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (1, 3, 4, 5), dtype=np.uint8)

    def grey(p: np.ndarray) -> float:
        return float(0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2])

    pixels = np.clip(image[0].astype(float) * b, 0, 255)
    mean = np.mean([grey(pixels[:, y, x]) for y in range(4) for x in range(5)])
    pixels = np.clip(mean + c * (pixels - mean), 0, 255)
    for y in range(4):
        for x in range(5):
            g = grey(pixels[:, y, x])
            pixels[:, y, x] = np.clip(g + s * (pixels[:, y, x] - g), 0, 255)
    result = jitter_colours(image, np.array([b]), np.array([c]), np.array([s]))[0]
    assert np.abs(result - pixels).max() < 0.51
    assert np.array_equal(jitter_colours(image, np.ones(1), np.ones(1), np.ones(1)), image)


@given(st.integers(1, 40), st.integers(1, 40))
def test_rectangles_lie_inside_and_have_the_area_they_drew(height: int, width: int) -> None:
    r = draw_rectangles(Draws(0, 0, np.arange(64)), (height, width), "x", (0.02, 0.4), (0.3, 1 / 0.3))
    assert ((r.top >= 0) & (r.left >= 0) & (r.bottom <= height) & (r.right <= width)).all()
    assert ((r.top < r.bottom) & (r.left < r.right)).all()
    if min(height, width) > 20:
        share = (r.bottom - r.top) * (r.right - r.left) / (height * width)
        assert share.max() < 0.45
        assert share.min() < 0.1


def test_what_is_kept_and_what_is_hidden(images: np.ndarray) -> None:
    r = Rectangles(*(np.full(16, side) for side in (2, 3, 9, 11)))
    kept, hidden = keep_inside(images, r), fill_inside(images, r, GREY)
    assert np.array_equal(kept[:, :, 2:9, 3:11], images[:, :, 2:9, 3:11])
    assert (hidden[:, :, 2:9, 3:11] == GREY).all()
    kept[:, :, 2:9, 3:11] = 0
    hidden[:, :, 2:9, 3:11] = images[:, :, 2:9, 3:11]
    assert not kept.any()
    assert np.array_equal(hidden, images)


def test_cutout_squares_hang_over_the_edge_and_whole_ones_have_their_side() -> None:
    draws = Draws(0, 0, np.arange(2000))
    counts = draw_squares(draws, (20, 20), "x", 6).mask(20, 20).sum(axis=(1, 2, 3))
    assert counts.max() == 36
    assert counts.min() < 36
    # each centre is as likely as another: the expected share hidden is Σ over squares, computed exactly
    lengths = [min(20, centre - 3 + 6) - max(0, centre - 3) for centre in range(20)]
    assert abs(counts.mean() - np.mean(lengths) ** 2) < 0.5
