"""Search in tiles finds what brute force on canonical scores finds, ties included."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orthodrome.evaluation.scores import score_block, unit_vectors
from orthodrome.evaluation.streaming import search, tiles
from orthodrome.evaluation.streaming.screens import FLOAT32, Screen
from orthodrome.evaluation.streaming.search import count_at_or_above, top_k
from orthodrome.evaluation.streaming.sides import Comparison
from orthodrome.types import InputError


def grid(seed: int, count: int, dimension: int) -> np.ndarray:
    """Points on a coarse grid: many scores tie."""
    return np.random.default_rng(seed).integers(-1, 2, size=(count, dimension)).astype(np.float32) + np.float32(0.25)


def best(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), order


@pytest.fixture(params=[(16, 24), (1024, 4096)], ids=["small tiles", "one tile"])
def cut(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "TILE_ROWS", request.param[0])
    monkeypatch.setattr(tiles, "TILE_COLUMNS", request.param[1])
    monkeypatch.setattr(tiles, "_panel_rows", lambda dimension: 48)


@pytest.mark.parametrize("screen", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("k", [1, 5, 100])
def test_top_k_with_ties(k: int, screen: str, cut: None) -> None:
    probes, gallery = grid(0, 70, 6), grid(1, 100, 6)
    found = top_k(probes, gallery, k, screen=screen)
    scores, rows = best(score_block(unit_vectors(probes), unit_vectors(gallery)), k)
    np.testing.assert_array_equal(found.scores, scores)
    np.testing.assert_array_equal(found.rows, rows)


@pytest.mark.parametrize("screen", ["fp32", "bf16", "int8"])
def test_top_k_of_what_is_allowed(screen: str, cut: None) -> None:
    probes, gallery = grid(2, 60, 6), grid(3, 90, 6)
    mask = np.random.default_rng(4).random((60, 90)) < 0.1
    mask[7] = False
    found = top_k(probes, gallery, 12, allowed=lambda across, down: mask[across, down], screen=screen)
    scores, rows = best(np.where(mask, score_block(unit_vectors(probes), unit_vectors(gallery)), -np.inf).astype(np.float32), 12)
    np.testing.assert_array_equal(found.scores, scores)
    np.testing.assert_array_equal(found.rows, np.where(np.isneginf(scores), -1, rows))
    assert (found.rows[7] == -1).all()


def test_a_screen_is_chosen_by_what_it_leaves_open(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(8)
    probes, gallery = (generator.normal(size=(size, 64)).astype(np.float32) for size in (30, 2500))
    shares: list[float] = []

    def asked(name: str, problem: Comparison, near: Callable[[float], float]) -> Screen:
        shares.extend(near(error) for error in (1e-6, 0.05, 2.0))
        return FLOAT32

    monkeypatch.setattr(search, "choose_screen", asked)
    scores = unit_vectors(probes) @ unit_vectors(gallery).T
    top_k(probes, gallery, 25)
    expected = [(scores >= np.quantile(scores, 0.99, axis=1, keepdims=True) - off).mean() for off in (2e-6, 0.1, 4.0)]
    np.testing.assert_allclose(shares, expected, atol=0.02)
    shares.clear()
    count_at_or_above(probes, np.zeros(30), gallery, [2500])
    np.testing.assert_allclose(shares, [(abs(scores) <= off).mean() for off in (1e-6, 0.05, 2.0)], atol=0.02)


@pytest.mark.parametrize("share", [-1.0, 1.0], ids=["whole tiles", "peaks"])
@pytest.mark.parametrize("screen", ["fp32", "bf16", "int8"])
def test_counts_at_growing_sizes(screen: str, share: float, cut: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "DENSE_SHARE", share)
    probes, gallery = grid(5, 50, 6), grid(6, 120, 6)
    scores = score_block(unit_vectors(probes), unit_vectors(gallery))
    thresholds = scores[np.arange(50), np.arange(50)]  # each is reached exactly, at least once
    sizes = (0, 1, 10, 24, 25, 100, 120, 10)
    found = count_at_or_above(probes, thresholds, gallery, sizes, screen=screen)
    reached = scores >= thresholds[:, None]
    np.testing.assert_array_equal(found, np.stack([reached[:, :size].sum(axis=1) for size in sizes], axis=1))


def test_counts_are_binned_alike_by_peaks_and_on_whole_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gallery of 4,100: tiles of whole segments, and one of fewer columns than a segment has."""
    probes, gallery = grid(9, 40, 6), grid(10, 4100, 6)
    levels = score_block(unit_vectors(probes), unit_vectors(gallery[:40])).diagonal()
    sizes = (10, 1000, 4096, 4099, 4100)
    found = []
    for share in (-1.0, 1.0):
        monkeypatch.setattr(search, "DENSE_SHARE", share)
        found.append(count_at_or_above(probes, levels, gallery, sizes, screen="int8"))
    reached = score_block(unit_vectors(probes), unit_vectors(gallery)) >= levels[:, None]
    np.testing.assert_array_equal(found[0], np.stack([reached[:, :size].sum(axis=1) for size in sizes], axis=1))
    np.testing.assert_array_equal(found[1], found[0])


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6), probes=st.integers(1, 30), gallery=st.integers(1, 40), dimension=st.integers(1, 5), data=st.data()
)
def test_any_search(seed: int, probes: int, gallery: int, dimension: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, gallery))
    a, b = grid(seed, probes, dimension), grid(seed + 1, gallery, dimension)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "TILE_ROWS", 8)
        patch.setattr(tiles, "TILE_COLUMNS", 8)
        found = top_k(a, b, k, screen=data.draw(st.sampled_from(["fp32", "bf16", "int8"] if dimension > 1 else ["fp32", "bf16"])))
    scores, rows = best(score_block(unit_vectors(a), unit_vectors(b)), k)
    np.testing.assert_array_equal(found.scores, scores)
    np.testing.assert_array_equal(found.rows, rows)


def test_a_mapped_gallery_and_progress(tmp_path: Path, cut: None) -> None:
    probes, gallery = grid(7, 40, 6), grid(8, 80, 6)
    np.save(tmp_path / "gallery.npy", gallery)
    steps: list[tuple[int, int]] = []
    mapped = np.load(tmp_path / "gallery.npy", mmap_mode="r")
    found = top_k(probes, mapped, 3, progress=lambda done, total: steps.append((done, total)))
    np.testing.assert_array_equal(found.rows, top_k(probes, gallery, 3).rows)
    assert steps[-1] == (40 * 80, 40 * 80)


@pytest.mark.parametrize("k", [0, 91])
def test_k_out_of_range(k: int) -> None:
    with pytest.raises(InputError, match="between 1 and the size of the gallery, 90"):
        top_k(grid(0, 5, 6), grid(1, 90, 6), k)


@pytest.mark.parametrize(
    ("thresholds", "sizes", "message"),
    [
        (np.zeros(4), (1,), "one per probe"),
        (np.zeros(5), (91,), "sizes must lie in 0 … 90"),
        (np.array([0, 0, np.nan, 0, 0]), (1,), "that of probe 2 is NaN"),
    ],
)
def test_bad_counts(thresholds: np.ndarray, sizes: Sequence[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        count_at_or_above(grid(0, 5, 6), thresholds, grid(1, 90, 6), sizes)


def test_bad_embeddings_are_named() -> None:
    gallery = grid(1, 90, 6)
    gallery[17] = 0
    with pytest.raises(InputError, match="row 17"):
        top_k(grid(0, 5, 6), gallery, 1)
    with pytest.raises(InputError, match="one dimension"):
        top_k(grid(0, 5, 6), grid(1, 9, 5), 1)
