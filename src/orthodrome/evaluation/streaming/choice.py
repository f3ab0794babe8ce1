"""Which screen to use: all are right, one is fastest here."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import numpy as np
import torch

from orthodrome.evaluation.scores import unit_vectors
from orthodrome.evaluation.streaming.screens import BFLOAT16, FLOAT32, INT8, Screen, bound, holds
from orthodrome.evaluation.streaming.sharing import torch_threads
from orthodrome.evaluation.streaming.sides import Comparison
from orthodrome.registry import Registry
from orthodrome.types import InputError

SCREENS: Registry[Screen] = Registry("screen")
SCREENS.add("fp32", FLOAT32)
SCREENS.add("bf16", BFLOAT16)
SCREENS.add("int8", INT8)

TIMED = 2**26
"""Comparisons from which it pays to time all."""

SCORED_AGAIN = 6e-7
"""Seconds that one canonical score costs, roughly."""

_ROWS, _COLUMNS, _TRIES = 256, 1024, 6
_CHECKED = 64  # rows, with four times as many columns: canonical scores take a while


def choose_screen(name: str, problem: Comparison, near: Callable[[float], float]) -> Screen:
    """The screen of a ``name``, or for ``"auto"`` the one that costs least; checked on this machine.

    ``near``: the share of comparisons that a screen with an error leaves to be scored again.

    Raises InputError where products are rounded to less than the screen's bound assumes.
    """
    rows, columns = (unit_vectors(part.vectors[:most]) for part, most in ((problem.probes, _ROWS), (problem.gallery, _COLUMNS)))
    candidates = _candidates(name, problem)
    usable = [screen for screen in candidates if screen.works(problem.dimension)]
    if len(usable) > 1:
        usable = sorted(usable, key=lambda screen: _cost(screen, rows, columns, near))
    chosen = next((screen for screen in usable if holds(screen, rows[:_CHECKED], columns[: 4 * _CHECKED])), None)
    if chosen is None:
        raise InputError(
            f"{' and '.join(screen.name for screen in candidates)} products on this machine are rounded to less than they should be, or "
            "not made at all, so that no count would be exact; set torch.set_float32_matmul_precision('highest'), or ask for "
            "screen='auto'"
        )
    return chosen


def _candidates(name: str, problem: Comparison) -> list[Screen]:
    if name != "auto":
        return [SCREENS.get(name)]
    large = len(problem.probes) * len(problem.gallery) >= TIMED
    return [SCREENS.get(each) for each in SCREENS] if large else [FLOAT32]


def _cost(screen: Screen, rows: np.ndarray, columns: np.ndarray, near: Callable[[float], float]) -> float:
    """Seconds a comparison: its product, and its share of those that are scored again."""
    error = bound(screen.panel(rows), screen.panel(columns))
    return _product_seconds(screen, rows.shape[1]) + SCORED_AGAIN * near(error)


@cache
def _product_seconds(screen: Screen, dimension: int) -> float:
    """Seconds a product on one of torch's threads, the best of a few tries: measured once, since the first try alone takes a while."""
    units = unit_vectors(np.random.default_rng(0).standard_normal((_COLUMNS, dimension), dtype=np.float32))
    rows, columns = screen.panel(units[:_ROWS]), screen.panel(units)
    room = torch.empty(_ROWS * _COLUMNS, dtype=screen.dtype)
    with torch_threads(1):
        return min(_seconds(lambda: screen.products(rows, columns, slice(0, _ROWS), room)) for _ in range(_TRIES)) / len(room)


def _seconds(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start
