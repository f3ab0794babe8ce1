"""The canonical score: one number per comparison, whatever the block size, the thread count or the BLAS.

Both embeddings are normalised to float32 unit vectors, the products of their coordinates are summed in
float64 from the first dimension to the last, and the sum is rounded once to float32. A product of two
float32 numbers is exact in float64, so the order of the sum is all there is to fix, and a fused
multiply-add changes nothing. Ties therefore mean something.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from orthodrome.types import InputError

MAX_COMPARISONS = 20_000_000
"""The most comparisons `pair_scores` holds in memory: about 6,300 embeddings, half a gigabyte."""

_BLOCK_ROWS = 256
_CHUNK_NUMBERS = (
    2**16
)  # of float64, on either side of a chunk of pairs: half a megabyte, near a core and not asked of the system anew


@dataclass(frozen=True)
class Comparisons:
    """Scored comparisons: ``scores`` float32 (N,), ``same`` bool (N,), ``identities`` int64 (N, 2), the
    labels of both sides.
    """

    scores: np.ndarray
    same: np.ndarray
    identities: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)


def usable(vectors: ArrayLike, ids: Sequence[str] | None = None, first: int = 0, kind: str = "embedding") -> np.ndarray:
    """``vectors`` (N, D) as float32, themselves where they are, if each has a direction.

    Raises InputError naming the ``kind``, the row, counted from ``first``, and its id, if ``ids`` are given, of an embedding that is
    zero, NaN or infinite.
    """
    given = np.asarray(vectors)
    if given.ndim != 2 or given.shape[1] == 0:
        raise InputError(f"embeddings must have shape (N, D) with D ≥ 1; got {given.shape}")
    rows = _float32(given)
    with np.errstate(over="ignore"):
        squares = np.einsum("nd,nd->n", rows, rows)  # one fast look; infinite or zero by its own rounding is looked at again
    if np.isfinite(squares).all() and squares.all():
        return rows
    _refuse(~np.isfinite(rows).all(axis=1), "holds NaN or infinity", ids, first, kind)
    _refuse((rows == 0).all(axis=1), "is zero and has no direction", ids, first, kind)
    return rows


def unit_vectors(vectors: ArrayLike, ids: Sequence[str] | None = None) -> np.ndarray:
    """Rows of ``vectors`` (N, D) over their length: ‖x‖ and x/‖x‖ in float64, rounded once to float32 (N, D).

    Inputs of another type are first rounded to float32. Raises InputError as `usable` does.
    """
    rows = usable(vectors, ids)
    units = np.empty_like(rows)
    room = np.empty_like(rows[:_BLOCK_ROWS], dtype=np.float64)
    for block in _blocks(len(rows)):
        given = room[: len(rows[block])]
        given[:] = rows[block]
        _normalize(given, units[block])
    return units


def canonical_scores(vectors_a: ArrayLike, vectors_b: ArrayLike) -> np.ndarray:
    """The canonical score, float32 (N,), of row i of ``vectors_a`` (N, D) with row i of ``vectors_b`` (N, D),
    in [−1, 1] up to rounding.

    Raises InputError on different shapes, and naming the row of a zero, NaN or infinite embedding.
    """
    shape_a, shape_b = np.shape(vectors_a), np.shape(vectors_b)
    if shape_a != shape_b:
        raise InputError(f"both sides of the comparisons must have one shape (N, D); got {shape_a} and {shape_b}")
    return unit_scores(unit_vectors(vectors_a), unit_vectors(vectors_b))


def unit_scores(units_a: np.ndarray, units_b: np.ndarray) -> np.ndarray:
    """The canonical score (N,) of the rows of two float32 (N, D) arrays that `unit_vectors` made."""
    scores = np.empty(len(units_a), dtype=np.float32)
    for block in _blocks(len(units_a)):
        scores[block] = _ordered_sums(units_a[block].astype(np.float64), units_b[block].astype(np.float64))
    return scores


def scores_of_rows(units_a: np.ndarray, units_b: np.ndarray, rows_a: np.ndarray, rows_b: np.ndarray) -> np.ndarray:
    """The canonical score (N,) of row ``rows_a[i]`` of ``units_a`` with row ``rows_b[i]`` of ``units_b``, in bounded memory."""
    return rounded_at(_sums_of_rows(units_a, units_b, rows_a, rows_b), units_a, units_b, rows_a, rows_b)


def rounded_at(sums: np.ndarray, units_a: np.ndarray, units_b: np.ndarray, rows_a: np.ndarray, rows_b: np.ndarray) -> np.ndarray:
    """Canonical scores (N,) from float64 ``sums`` of those rows that are within 4·D·2⁻⁵³ of the canonical ones."""
    scores, (unsure,) = _rounded(sums, units_a.shape[1])
    if unsure.size:
        scores[unsure] = unit_scores(units_a[rows_a[unsure]], units_b[rows_b[unsure]])
    return scores


def _sums_of_rows(units_a: np.ndarray, units_b: np.ndarray, rows_a: np.ndarray, rows_b: np.ndarray) -> np.ndarray:
    """Σ_d a_d·b_d of those rows in float64, in any order, at most 2·D·2⁻⁵³ from any other order: (N,)."""
    step = max(1, _CHUNK_NUMBERS // units_a.shape[1])
    sums = np.empty(len(rows_a))
    for start in range(0, len(rows_a), step):
        chunk = slice(start, start + step)
        a, b = units_a[rows_a[chunk]].astype(np.float64), units_b[rows_b[chunk]].astype(np.float64)
        np.einsum("nd,nd->n", a, b, out=sums[chunk])
    return sums


def score_block(units_a: np.ndarray, units_b: np.ndarray) -> np.ndarray:
    """The canonical scores, float32 (A, B), of all rows of (A, D) with all rows of (B, D), by one float64
    matrix product.

    Any order of summing D products of unit vectors is within D·2⁻⁵³ of the true sum, and so within twice
    that of the canonical one. Where the float32 rounding could differ inside that bound, the canonical sum
    is computed.
    """
    return rounded_once(units_a.astype(np.float64) @ units_b.astype(np.float64).T, units_a, units_b)


def rounded_once(product: np.ndarray, units_a: np.ndarray, units_b: np.ndarray) -> np.ndarray:
    """Canonical scores (A, B) from float64 products of all rows that are within 4·D·2⁻⁵³ of the canonical sums."""
    scores, unsure = _rounded(product, units_a.shape[1])
    if unsure[0].size:
        scores[unsure] = unit_scores(units_a[unsure[0]], units_b[unsure[1]])
    return scores


def _rounded(products: np.ndarray, dimension: int) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """float32 of float64 products within 4·D·2⁻⁵³ of the canonical sums, and where that could differ from the canonical score."""
    bound = 4 * dimension * 2.0**-53
    unsure = np.nonzero((products - bound).astype(np.float32) != (products + bound).astype(np.float32))
    return products.astype(np.float32), unsure


def pair_scores(
    vectors: ArrayLike, labels: ArrayLike, ids: Sequence[str] | None = None, limit: int = MAX_COMPARISONS
) -> Comparisons:
    """All N·(N − 1)/2 comparisons of one labelled set, i < j: ``vectors`` (N, D), integer ``labels`` (N,) ≥
    0.

    Raises InputError where a label is unknown (negative), an embedding is unusable, or there are more than
    ``limit`` comparisons.
    """
    units, people = unit_vectors(vectors, ids), _known_labels(labels, np.shape(vectors)[0])
    count = len(people) * (len(people) - 1) // 2
    if not 1 <= count <= limit:
        raise InputError(
            f"{len(people)} embeddings make {count:,} comparisons; between 1 and {limit:,} fit in memory here. "
            "Give fewer embeddings, or count with a streaming comparison, which stores no scores"
        )
    scores = np.concatenate([_scores_above_diagonal(units, start) for start in range(0, len(units), _BLOCK_ROWS)])
    first, second = np.triu_indices(len(people), 1)
    return Comparisons(scores, people[first] == people[second], np.stack([people[first], people[second]], axis=1))


def _ordered_sums(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Σ_d a_d·b_d of the rows of two float64 (N, D) arrays, summed from the first dimension to the last: (N,)."""
    return np.add.accumulate(a * b, axis=1)[:, -1]


def _normalize(given: np.ndarray, units: np.ndarray) -> None:
    """Writes rows float64 (N, D) over their length to ``units`` float32 (N, D).

    Squares are summed in whatever order is fast, which changes a quotient by at most (D + 8)·2⁻⁵³ of itself. Rows in which that could
    change a rounding to float32 are summed in the canonical order.
    """
    off = (given.shape[1] + 8) * 2.0**-53
    lengths = np.sqrt(np.einsum("nd,nd->n", given, given))[:, None]
    others = np.divide(given, lengths * (1 - off), out=np.empty_like(units), casting="same_kind")
    np.divide(given, lengths * (1 + off), out=units, casting="same_kind")
    unsure = np.flatnonzero((units != others).any(axis=1))
    if unsure.size:
        again = given[unsure]
        units[unsure] = again / np.sqrt(_ordered_sums(again, again))[:, None]


def _blocks(count: int) -> Iterator[slice]:
    """So many rows at a time that their float64 copies stay near a core."""
    return (slice(start, start + _BLOCK_ROWS) for start in range(0, count, _BLOCK_ROWS))


def _scores_above_diagonal(units: np.ndarray, start: int) -> np.ndarray:
    """Scores of rows ``start … start + block`` with every later row, in the order of ``np.triu_indices``."""
    block = units[start : start + _BLOCK_ROWS]
    scores = score_block(block, units[start:])
    return scores[np.arange(scores.shape[1]) > np.arange(len(block))[:, None]]


def _float32(given: np.ndarray) -> np.ndarray:
    if given.dtype.kind not in "fiu":
        raise InputError(f"embeddings must be real numbers; got dtype {given.dtype}")
    with np.errstate(over="ignore"):  # what overflows becomes infinite and is refused by name
        return given.astype(np.float32, copy=False)


def _refuse(bad: np.ndarray, what: str, ids: Sequence[str] | None, first: int, kind: str) -> None:
    rows = np.flatnonzero(bad)
    if rows.size:
        name = f" ({ids[rows[0]]!r})" if ids is not None else ""
        raise InputError(
            f"{kind} in row {first + rows[0]}{name} {what} ({rows.size} such in all); leave it out or embed it again"
        )


def _known_labels(labels: ArrayLike, count: int) -> np.ndarray:
    array = np.asarray(labels)
    if array.shape != (count,) or array.dtype.kind not in "iu":
        raise InputError(f"labels must be integers of shape ({count},); got {array.dtype} {array.shape}")
    unknown = np.flatnonzero(array < 0)
    if unknown.size:
        raise InputError(f"labels must be ≥ 0, one per known person; got {array[unknown[0]]} at position {unknown[0]}")
    return array.astype(np.int64)
