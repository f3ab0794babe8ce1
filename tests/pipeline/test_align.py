"""The similarity transform, templates and the warp."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthodrome.pipeline.align import TEMPLATES, create_aligner, similarity_transform, warp
from orthodrome.types import InputError

pytest.importorskip("cv2", reason="needs the extra align")
FACE = TEMPLATES.get("arcface112").points


def naive_similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Least squares in the four unknowns (a, b, t, u): x' = a·x − b·y + t, y' = b·x + a·y + u."""
    rows = [row for x, y in source for row in ((x, -y, 1, 0), (y, x, 0, 1))]
    a, b, t, u = np.linalg.lstsq(np.array(rows), target.ravel(), rcond=None)[0]
    return np.array([[a, -b, t], [b, a, u]])


@given(st.integers(0, 2**32 - 1))
def test_against_a_least_squares_solver(seed: int) -> None:
    source, target = np.random.default_rng(seed).normal(50, 20, (2, 5, 2))
    np.testing.assert_allclose(similarity_transform(source, target), naive_similarity(source, target), atol=1e-8)


@given(st.floats(-np.pi, np.pi), st.floats(0.01, 100), st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_recovers_a_similarity_exactly(angle: float, scale: float, right: float, down: float) -> None:
    true = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
    target = FACE @ true.T + (right, down)
    found = similarity_transform(FACE, target)
    np.testing.assert_allclose(found[:, :2], true, atol=1e-9 * max(1, scale))
    np.testing.assert_allclose(FACE @ found[:, :2].T + found[:, 2], target, atol=1e-7)


def test_never_a_reflection() -> None:
    mirrored = FACE * (-1, 1)
    assert np.linalg.det(similarity_transform(mirrored, FACE)[:, :2]) > 0


@pytest.mark.parametrize("points", [np.ones((5, 2)), np.full((5, 2), np.nan)])
def test_landmarks_that_say_nothing_are_refused(points: np.ndarray) -> None:
    with pytest.raises(InputError, match="landmarks must be"):
        similarity_transform(points, FACE)


def test_templates_are_the_published_ones() -> None:
    np.testing.assert_array_equal(FACE[0], (38.2946, 51.6963))
    narrow = TEMPLATES.get("sphereface96x112")
    assert narrow.size == (112, 96)
    np.testing.assert_allclose(narrow.points, FACE - (8, 0))
    np.testing.assert_allclose(create_aligner("arcface112", (224, 224)).template.points, 2 * FACE)
    with pytest.raises(InputError, match=r"112×96 \(height×width\) has other proportions"):
        create_aligner("arcface112", (112, 96))


def test_landmarks_in_place_cut_the_image_itself() -> None:
    image = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    np.testing.assert_array_equal(create_aligner()(image, FACE), image)
    padded = np.pad(image, ((30, 5), (17, 3), (0, 0)))
    np.testing.assert_array_equal(create_aligner()(padded, FACE + np.array([17, 30])), image)
    np.testing.assert_array_equal(create_aligner("sphereface96x112")(image, FACE), image[:, 8:104])


def test_outside_of_the_photograph_is_black() -> None:
    image = np.full((112, 112, 3), 200, np.uint8)
    crop = create_aligner()(image, FACE - np.array([40, 0]))
    assert not crop[:, :39].any()
    assert (crop[:, 41:] == 200).all()


def test_a_large_face_is_averaged_not_aliased() -> None:
    board = (np.indices((448, 448)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    crop = create_aligner()(board, (FACE + 0.5) * 4 - 0.5)  # a quarter of the resolution: one-pixel squares become grey
    assert np.abs(crop.astype(int) - 128).max() <= 1
    blocks = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    np.testing.assert_array_equal(create_aligner()(blocks.repeat(4, axis=0).repeat(4, axis=1), (FACE + 0.5) * 4 - 0.5), blocks)


def test_a_face_larger_than_the_photograph_still_gives_a_crop() -> None:
    image = np.full((3, 3, 3), 9, np.uint8)
    assert warp(image, np.array([[1e-3, 0, 5], [0, 1e-3, 5]]), (12, 10)).shape == (12, 10, 3)
