"""Which screen to use: all are right, one is fastest here."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from orthodrome.evaluation.scores import unit_vectors
from orthodrome.evaluation.streaming.screens import BFLOAT16, FLOAT32, INT8, Screen, bound, holds
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

_ROWS, _COLUMNS = 128, 512
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
    panels = screen.panel(rows), screen.panel(columns)
    room = torch.empty(len(rows) * len(columns), dtype=screen.dtype)
    seconds = min(_seconds(lambda: screen.products(*panels, slice(0, len(rows)), room)) for _ in range(2))
    return seconds / len(room) + SCORED_AGAIN * near(bound(*panels))


def _seconds(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start
