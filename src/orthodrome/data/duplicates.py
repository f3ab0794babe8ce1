"""The same picture under two names: equal bytes, and hashes that are near and then compared pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from orthodrome.data.protocol import ImageReader

NEAR_BITS = 3
SAME_LEVELS = 6.0
_SIDE = 32


def equal_pairs(values: np.ndarray) -> np.ndarray:
    """Positions (P, 2) of equal values of (N,): each one with the first of its kind, so that P < N."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    others = np.flatnonzero(first[inverse] != np.arange(len(values)))
    return np.stack([first[inverse][others], others], axis=1)


def near_pairs(hashes: np.ndarray, bits: int = NEAR_BITS) -> np.ndarray:
    """Positions (P, 2) of hashes u64 (N,) that differ in at most ``bits`` < 64 bits, few: each pair of different hashes once.

    Of equal hashes (thousands of blank images have one) each is paired with the first of them, and only that first one with others, so
    that they give fewer pairs than there are hashes. Time goes with N and the number of pairs.
    """
    values, first = np.unique(hashes, return_index=True)
    everyone, every_bit = np.arange(len(values)), np.arange(64, dtype=np.uint64)
    codes = [a * len(values) + b for a, b in _near(values, everyone, np.uint64(0), every_bit, bits)]
    once = np.unique(np.concatenate(codes)) if codes else np.empty(0, np.int64)
    near = np.sort(first[np.stack(np.divmod(once, max(len(values), 1)), axis=1)], axis=1).reshape(-1, 2)
    return np.concatenate([equal_pairs(hashes), near[np.lexsort(near.T[::-1])]])


def _near(
    values: np.ndarray, members: np.ndarray, fixed: np.uint64, free: np.ndarray, bits: int, full: int = 64
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Near pairs, as two arrays of positions a < b, of those ``members`` that are equal in the bits of ``fixed``.

    Of ``bits + 1`` bands of the ``free`` bits at least one is equal in a near pair (Manku, Jain & Sarma, 2007), so only members that
    share a band are compared; where more than ``full`` share one, they are split again by bands of the other bits (``full`` grows, since
    each splitting is by several bands). Pairs come up several times.
    """
    for band in np.array_split(free, bits + 1):
        mask = fixed | np.bitwise_or.reduce(np.uint64(1) << band)
        others = np.setdiff1d(free, band)
        keys = values[members] & mask
        order = np.argsort(keys, kind="stable")
        ends = np.searchsorted(keys[order], keys[order], side="right")
        sizes = ends - np.searchsorted(keys[order], keys[order], side="left")
        is_full = (sizes > full) & (len(others) > bits)  # with so few bits left, all of them are near
        yield from _compared(values, members[order], np.where(is_full, 0, ends), bits)
        if is_full.any():
            yield from _near(values, np.sort(members[order[is_full]]), mask, others, bits, 8 * full)


def _compared(values: np.ndarray, ordered: np.ndarray, ends: np.ndarray, bits: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Near pairs of each of ``ordered`` (M,) with those behind it, up to its place in ``ends`` (M,)."""
    places, step = np.arange(len(ordered)), 1
    while len(places := places[places + step < ends[places]]):
        a, b = ordered[places], ordered[places + step]
        different = values[a] ^ values[b]
        for _ in range(bits):
            different &= different - np.uint64(1)  # the lowest of the ones is removed
        is_near = different == 0
        yield a[is_near], b[is_near]
        step += 1


def thumbnail(reader: ImageReader, index: int) -> np.ndarray:
    """An image shrunk to 32×32 grey levels: uint8 (32, 32)."""
    return np.asarray(Image.fromarray(reader.image(index, (_SIDE, _SIDE))).convert("L"))


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Mean difference of two thumbnails in grey levels, after they are brought to the same brightness; below `SAME_LEVELS` they show the
    same picture."""
    first, second = a.astype(np.float32), b.astype(np.float32)
    return float(np.abs((first - first.mean()) - (second - second.mean())).mean())
