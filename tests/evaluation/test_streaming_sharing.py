"""Tiles shared by threads: each is done once, errors end all, and torch has its threads back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

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

    results = in_threads(iter(range(100)), work)
    assert len(results) == min(torch_threads, MOST) == tile_threads()
    assert sum(results) == sum(range(100))
    assert {threads for _, threads in seen} == {torch_threads // tile_threads()}
    assert len({thread for thread, _ in seen}) == tile_threads()
    assert torch.get_num_threads() == torch_threads


def test_an_error_in_one_thread_ends_all(torch_threads: int) -> None:
    done: list[int] = []

    def work(items: Iterator[int]) -> None:
        for item in items:
            if item == 5:
                raise ValueError("five")
            done.append(item)
            time.sleep(0.001)

    with pytest.raises(ValueError, match="five"):
        in_threads(iter(range(10_000)), work)
    assert len(done) < 9_000
    assert torch.get_num_threads() == torch_threads


def test_an_error_of_the_items_is_raised(torch_threads: int) -> None:
    def items() -> Iterator[int]:
        yield from range(10)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        in_threads(items(), lambda items: sum(items))
    assert torch.get_num_threads() == torch_threads
