"""The same picture under two names: equal bytes, and hashes that are near and then compared pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

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
    """Positions (P, 2) of hashes u64 (N,) that differ in at most ``bits`` < 64 bits; of equal hashes only the first one is compared.

    Of ``bits + 1`` bands at least one is the same in such a pair (Manku, Jain & Sarma, 2007), so only hashes that share a band are
    compared.
    """
    values, first = np.unique(hashes, return_index=True)
    edges = np.linspace(0, 64, bits + 2).astype(int)
    found = {
        (int(first[a]), int(first[b]))
        for low, high in pairwise(edges.tolist())
        for a, b in _sharing(values, (values >> np.uint64(low)) & np.uint64(2 ** (high - low) - 1), bits)
    }
    near = np.array(sorted((min(pair), max(pair)) for pair in found), np.int64).reshape(-1, 2)
    return np.concatenate([equal_pairs(hashes), near])


def _sharing(values: np.ndarray, band: np.ndarray, bits: int) -> Iterator[tuple[int, int]]:
    """Pairs of positions whose ``band`` is equal and whose values differ in at most ``bits`` bits."""
    order = np.argsort(band, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(band[order])) + 1):
        for i in range(len(group) - 1):
            near = np.flatnonzero(_bit_count(values[group[i + 1 :]] ^ values[group[i]]) <= bits)
            yield from ((int(group[i]), int(group[i + 1 + j])) for j in near)


def _bit_count(values: np.ndarray) -> np.ndarray:
    """Ones in each of u64 (N,)."""
    return np.unpackbits(values[:, None].view(np.uint8), axis=1).sum(axis=1)


def same_picture(reader: ImageReader, first: int, second: int) -> float:
    """Mean difference of two images in grey levels, after each is shrunk to 32×32 and brought to the same brightness; below
    `SAME_LEVELS` they show the same picture."""
    grey = (Image.fromarray(reader.image(index, (_SIDE, _SIDE))).convert("L") for index in (first, second))
    a, b = (np.asarray(image, np.float32) for image in grey)
    return float(np.abs((a - a.mean()) - (b - b.mean())).mean())
