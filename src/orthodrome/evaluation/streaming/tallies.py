"""Exact counts of scores in bounded memory: one by one inside bands, as a number above each.

Canonical scores are float32, so a band holds at most as many entries as there are float32 numbers in it, however many comparisons
fall there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_PENDING = 2**20


@dataclass(frozen=True, order=True)
class Band:
    """Scores in [low, high) are recorded one by one, and those at or above ``high`` counted. ``low == high``: only counted."""

    low: float
    high: float


def disjoint(bands: Sequence[Band]) -> tuple[Band, ...]:
    """The same scores in bands that do not overlap, from the lowest; empty bands stay where they lie in no other."""
    found: list[Band] = []
    for band in sorted(bands):
        if found and (band.low < found[-1].high or band.high == found[-1].high):
            found[-1] = Band(found[-1].low, max(found[-1].high, band.high))
        else:
            found.append(band)
    return tuple(found)


class Tally:
    """The scores of one kind of comparisons met so far, under ``bands`` that are disjoint and ascending."""

    def __init__(self, bands: Sequence[Band]) -> None:
        self.bands = tuple(bands)
        self.above = np.zeros(len(bands), dtype=np.int64)
        self._scores = [np.empty(0, np.float32) for _ in bands]
        self._counts = [np.empty(0, np.int64) for _ in bands]
        self._pending: list[list[np.ndarray]] = [[] for _ in bands]

    def add_above(self, number: int, count: int) -> None:
        """``count`` comparisons at or above the high end of a band."""
        self.above[number] += count

    def add_inside(self, number: int, scores: np.ndarray) -> None:
        """Those of ``scores`` that lie in a band."""
        band = self.bands[number]
        inside = scores[(scores >= np.float32(band.low)) & (scores < np.float32(band.high))]
        if len(inside):
            self._pending[number].append(inside)
        if sum(map(len, self._pending[number])) > _PENDING:
            self._compact(number)

    def __add__(self, other: Tally) -> Tally:
        """What both have counted under the same bands, as a new tally: an interruption leaves both as they were."""
        if self.bands != other.bands:
            raise ValueError("tallies of other bands cannot be added")
        both = Tally(self.bands)
        for tally in (self, other):
            both.take(tally.arrays())
        return both

    def inside(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Distinct scores of a band, ascending, and how often each occurs."""
        self._compact(number)
        return self._scores[number], self._counts[number]

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything counted, for a file."""
        found = {"above": self.above}
        for number in range(len(self.bands)):
            found[f"scores_{number}"], found[f"counts_{number}"] = self.inside(number)
        return found

    def take(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Add what `arrays` of a tally under the same bands returned."""
        self.above += arrays["above"]
        for number in range(len(self.bands)):
            self._take(number, arrays[f"scores_{number}"], arrays[f"counts_{number}"])

    def _compact(self, number: int) -> None:
        if pending := self._pending[number]:
            self._pending[number] = []
            self._take(number, *np.unique(np.concatenate(pending), return_counts=True))

    def _take(self, number: int, scores: np.ndarray, counts: np.ndarray) -> None:
        both = np.concatenate([self._scores[number], scores])
        self._scores[number], place = np.unique(both, return_inverse=True)
        total = np.zeros(len(self._scores[number]), dtype=np.int64)
        np.add.at(total, place, np.concatenate([self._counts[number], counts]))
        self._counts[number] = total
