"""Tiles shared by threads: each does all of a tile on its own, so that no processor waits where work on a tile is not parallel."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

import torch

MOST = 8
"""Threads that hold a tile at the same time; where torch has more, they are spread over these."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def tile_threads() -> int:
    """How many threads `in_threads` makes."""
    return min(torch.get_num_threads(), MOST)


def in_threads(items: Iterator[Item], work: Callable[[Iterator[Item]], Result]) -> list[Result]:
    """What ``work`` makes of ``items``, each of which goes to one of `tile_threads` calls: whichever asks next.

    Meanwhile torch has its other threads divided among these, which are its own again at the end. An error ends all of them.
    """
    threads, before = tile_threads(), torch.get_num_threads()
    if threads == 1:
        return [work(items)]
    lock, stop = threading.Lock(), threading.Event()

    def drawn() -> Iterator[Item]:
        while not stop.is_set():
            with lock:
                item = next(items, stop)
            if item is stop:
                return
            yield item  # type: ignore[misc]

    torch.set_num_threads(before // threads)  # before the threads begin, which take it over
    try:
        with ThreadPoolExecutor(threads) as pool:
            results = [pool.submit(work, drawn()) for _ in range(threads)]
            try:
                wait(results, return_when=FIRST_EXCEPTION)
            finally:
                stop.set()
            return [result.result() for result in results]
    finally:
        torch.set_num_threads(before)
