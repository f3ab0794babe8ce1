"""Tiles shared by threads: each is done once, errors end all, and torch has its threads back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from orthodrome.evaluation import compare_all
from orthodrome.evaluation.streaming import tiles
from orthodrome.evaluation.streaming.sharing import MOST, in_threads, tile_threads


@pytest.fixture(params=[1, 3, 2 * MOST])
def torch_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_each_item_is_done_once_and_torch_has_its_threads_back(torch_threads: int) -> None:
    seen: list[tuple[int, int]] = []

    def work(items: Iterator[int]) -> int:
        mine = 0
        for item in items:
            seen.append((threading.get_ident(), torch.get_num_threads()))
            mine += item
            time.sleep(0.001)
        return mine

    results = in_threads(iter(range(100)), work, tile_threads(512))
    assert len(results) == min(torch_threads, MOST)
    assert sum(results) == sum(range(100))
    assert {threads for _, threads in seen} == {torch_threads // len(results)}
    assert len({thread for thread, _ in seen}) == len(results)
    assert torch.get_num_threads() == torch_threads


@pytest.mark.parametrize(
    ("threads", "dimension", "expected"),
    [
        (1, 512, 1),
        (7, 512, 7),
        (9, 512, 8),
        (10, 512, 5),
        (12, 512, 6),
        (15, 512, 5),
        (16, 512, 8),
        (8, 1024, 4),
        (8, 2048, 2),
        (8, 9999, 1),
    ],
)
def test_few_processors_are_left_idle(threads: int, dimension: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """12 are 6 × 2, not 8 × 1; and long embeddings are held by fewer threads, of which each has more processors."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert tile_threads(dimension) == expected


def test_panels_are_loaded_by_all_threads(torch_threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a tile is asked for by one thread of several, among which torch has divided its own."""
    asked: list[int] = []
    monkeypatch.setattr(tiles, "load", lambda *given, load=tiles.load: asked.append(given[-1]) or load(*given))
    vectors = np.random.default_rng(0).normal(size=(40, 8))
    people = np.arange(40) // 4
    compare_all(vectors, people, vectors, people, fars=(0.1,), resamples=0)
    assert asked == [torch_threads] * 2
    compare_all(vectors, people, fars=(0.1,), resamples=0)
    assert asked == [torch_threads] * 3, "within one set, a panel of probes is one of the gallery, too"


def test_an_error_in_one_thread_ends_all(torch_threads: int) -> None:
    done: list[int] = []

    def work(items: Iterator[int]) -> None:
        for item in items:
            if item == 5:
                raise ValueError("five")
            done.append(item)
            time.sleep(0.001)

    with pytest.raises(ValueError, match="five"):
        in_threads(iter(range(10_000)), work, tile_threads(512))
    assert len(done) < 9_000
    assert torch.get_num_threads() == torch_threads


def test_an_error_of_the_items_is_raised(torch_threads: int) -> None:
    def items() -> Iterator[int]:
        yield from range(10)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        in_threads(items(), lambda items: sum(items), tile_threads(512))
    assert torch.get_num_threads() == torch_threads
