"""Tiles shared by threads: each does all of a tile on its own, so that no processor waits where work on a tile is not parallel."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

import torch

MOST, MOST_NUMBERS = 8, 2**12
"""Threads that hold a tile at the same time, and the numbers in one embedding of each of theirs; torch's others are spread over these."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def most_threads(dimension: int) -> int:
    """How many threads may hold tiles of such embeddings, on any machine: their panels of the gallery take memory."""
    return max(1, min(MOST, MOST_NUMBERS // dimension))


def tile_threads(dimension: int) -> int:
    """How many threads hold tiles of such embeddings here: the number that leaves fewest of torch's idle."""
    threads = torch.get_num_threads()
    most = min(threads, most_threads(dimension))
    return max(range(most // 2 + 1, most + 1), key=lambda number: (threads // number * number, number))


def in_threads(items: Iterator[Item], work: Callable[[Iterator[Item]], Result], threads: int) -> list[Result]:
    """What ``work`` makes of ``items``, each of which goes to one of ``threads`` calls: whichever asks next.

    Meanwhile torch has its threads divided among these, which are its own again at the end. An error ends all of them.
    """
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

    # before the threads begin, which take it over
    with torch_threads(torch.get_num_threads() // threads), ThreadPoolExecutor(threads) as pool:
        results = [pool.submit(work, drawn()) for _ in range(threads)]
        try:
            wait(results, return_when=FIRST_EXCEPTION)
        finally:
            stop.set()
        return [result.result() for result in results]


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """So many threads for torch meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
