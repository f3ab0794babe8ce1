"""What every evaluation asks of its scores, labels and identities, with errors that name the position."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from orthodrome.types import InputError


def score_array(scores: ArrayLike, name: str = "scores") -> np.ndarray:
    """Finite scores (N,), N ≥ 1, as float32 where they are float32 or float16 and as float64 otherwise.

    Raises InputError when the shape is wrong, there is none, or one is NaN or infinite (with its position).
    """
    array = np.asarray(scores)
    if array.ndim != 1:
        raise InputError(f"{name} must have shape (N,); got {array.shape}")
    if array.size == 0:
        raise InputError(f"{name} is empty; at least one comparison is needed")
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name} must be real numbers; got dtype {array.dtype}")
    array = array.astype(np.float32 if array.dtype in (np.float16, np.float32) else np.float64)
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise InputError(f"{name} must be finite; got {array[bad[0]]} at position {bad[0]} ({bad.size} in all)")
    return array


def same_array(same: ArrayLike, count: int) -> np.ndarray:
    """Booleans (N,) from booleans or 0/1; raises InputError on another length or value (with its position)."""
    array = np.asarray(same)
    if array.shape != (count,):
        raise InputError(f"same must have shape ({count},), one per score; got {array.shape}")
    if array.dtype == bool:
        return array
    if array.dtype.kind not in "iuf":
        raise InputError(f"same must be true/false or 0/1; got dtype {array.dtype}")
    bad = np.flatnonzero((array != 0) & (array != 1))
    if bad.size:
        raise InputError(f"same must be true/false or 0/1; got {array[bad[0]]} at position {bad[0]}")
    return array.astype(bool)


def check_both_kinds(same: np.ndarray, source: str) -> None:
    """Raises InputError naming the ``source`` where all pairs are of one kind: ``same`` bool (N,)."""
    if same.all() or not same.any():
        kind = "the same person" if same.all() else "different people"
        raise InputError(f"{source}: all {len(same):,} pairs are of {kind}; error rates need pairs of both kinds")


def identity_codes(identities: ArrayLike, same: np.ndarray) -> np.ndarray:
    """Identities (N, 2) of any type, as codes int64 (N, 2) in [0, people) in the sorted order of the
    identities.

    Raises InputError when the shape is wrong or when a pair called the same has two identities, or the
    other way round.
    """
    array = np.asarray(identities)
    if array.shape != (len(same), 2):
        raise InputError(f"identities must have shape ({len(same)}, 2), two per score; got {array.shape}")
    codes = np.unique(array, return_inverse=True)[1].reshape(array.shape).astype(np.int64)
    wrong = np.flatnonzero((codes[:, 0] == codes[:, 1]) != same)
    if wrong.size:
        first, second = array[wrong[0]].tolist()
        given = "same" if same[wrong[0]] else "different"
        raise InputError(f"pair {wrong[0]} is labelled {given}; its identities are {first!r} and {second!r}")
    return codes
