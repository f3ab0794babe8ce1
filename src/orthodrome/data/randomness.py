"""Random numbers that are a pure function of (seed, epoch, index, what they are for).

An image therefore draws the same augmentation with any number of workers, any batch size, and after a resume.
SplitMix64 (Steele, Lea & Flood, 2014) is the hash; it is vectorised over the images of a batch, and its
values do not change with the version of a library.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

_MASK = 2**64 - 1


@dataclass(frozen=True, eq=False)
class Draws:
    """The random numbers of the images ``indices`` (B,) in one epoch; ``purpose`` tells draws apart."""

    seed: int
    epoch: int
    indices: np.ndarray

    def uniform(self, purpose: str) -> np.ndarray:
        """float64 (B,) in ``[0, 1)``."""
        return (self._bits(purpose) >> np.uint64(11)) * 2.0**-53

    def integers(self, purpose: str, low: int, high: int) -> np.ndarray:
        """int64 (B,) in ``[low, high]``, both ends included."""
        return low + np.floor(self.uniform(purpose) * (high - low + 1)).astype(np.int64)

    def bytes(self, purpose: str, count: int) -> np.ndarray:
        """uint8 (B, count), uniform in ``[0, 255]``."""
        counters = np.arange(-(-count // 8), dtype=np.uint64)
        words = splitmix64(self._bits(purpose)[:, None] + counters)
        return words.astype("<u8").view(np.uint8)[:, :count]

    def of(self, positions: np.ndarray) -> Draws:
        """The draws of some of the images, by their positions in the batch."""
        return Draws(self.seed, self.epoch, np.asarray(self.indices)[positions])

    def _bits(self, purpose: str) -> np.ndarray:
        state = np.zeros(1, dtype=np.uint64)
        for word in (self.seed, self.epoch, zlib.crc32(purpose.encode())):
            state = splitmix64(state ^ np.uint64(word & _MASK))
        return splitmix64(state ^ np.asarray(self.indices).astype(np.uint64))


def splitmix64(state: np.ndarray) -> np.ndarray:
    """One step of SplitMix64 from each state: uint64 (…) -> uint64 (…), a bijection that mixes all bits."""
    z = state + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
