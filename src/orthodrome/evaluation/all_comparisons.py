"""TAR@FAR over all comparisons of two sides, or within one set, that are too many to keep: plainly, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from orthodrome.evaluation.intervals import wilson
from orthodrome.evaluation.resolution import Rate, exact_far, small_counts_warning
from orthodrome.evaluation.roc import TarAtFar
from orthodrome.evaluation.scores import score_block, unit_vectors
from orthodrome.types import InputError

_ROWS = 512


@dataclass(frozen=True, eq=False)
class Tail:
    """The scores that decide small FARs: all ``genuine`` (G,), and the ``highest`` (K,) of ``impostors`` impostor scores, descending."""

    genuine: np.ndarray
    highest: np.ndarray
    impostors: int


def compare_all(
    probes: ArrayLike,
    probe_labels: ArrayLike,
    gallery: ArrayLike | None,
    gallery_labels: ArrayLike | None,
    fars: Sequence[Rate],
) -> tuple[TarAtFar, ...]:
    """TAR@FAR of all probes (P, D) × gallery (G, D), genuine where integer labels agree; all pairs i < j of the probes without a gallery.

    A negative label agrees with none. Intervals are Wilson's. Raises InputError where a FAR asks for less than one impostor, where there
    are no genuine comparisons, and naming the row of an unusable embedding.
    """
    labels = np.asarray(probe_labels)
    other = labels if gallery is None else np.asarray(gallery_labels)
    impostors = count_impostors(labels, None if gallery is None else other)
    exact = [exact_far(far, impostors) for far in fars]
    keep = max((far.numerator * impostors // far.denominator for far in exact), default=0) + 1
    return tar_of_tail(collect_tail(probes, labels, gallery, other, keep), fars)


def count_impostors(labels: np.ndarray, others: np.ndarray | None) -> int:
    """Impostor comparisons of two sides with integer ``labels`` (P,) and ``others`` (G,), or of all pairs within one."""
    names, counts = np.unique(labels[labels >= 0], return_counts=True)
    if others is None:
        return len(labels) * (len(labels) - 1) // 2 - int((counts * (counts - 1) // 2).sum())
    at = np.searchsorted(names, others[others >= 0])
    at = np.minimum(at, max(len(names) - 1, 0))
    genuine = int(counts[at][names[at] == others[others >= 0]].sum()) if len(names) else 0
    return len(labels) * len(others) - genuine


def collect_tail(probes: ArrayLike, labels: np.ndarray, gallery: ArrayLike | None, others: np.ndarray, keep: int) -> Tail:
    """All genuine scores and the ``keep`` highest impostor scores of what `compare_all` compares."""
    units = unit_vectors(probes)
    gallery_units = units if gallery is None else unit_vectors(gallery)
    genuine: list[np.ndarray] = []
    highest, impostors = np.empty(0, dtype=np.float32), 0
    for scores, same in _blocks(units, labels, gallery_units, others, within=gallery is None):
        genuine.append(scores[same])
        others_scores = scores[~same]
        impostors += len(others_scores)
        level = highest[-1] if len(highest) == keep else -np.inf
        highest = np.sort(np.concatenate([highest, others_scores[others_scores >= level]]))[::-1][:keep]
    return Tail(np.concatenate(genuine), highest, impostors)


def tar_of_tail(tail: Tail, fars: Sequence[Rate]) -> tuple[TarAtFar, ...]:
    """One row per FAR, as `orthodrome.evaluation.tar_at_far` defines them, from the scores that decide it."""
    if not len(tail.genuine):
        raise InputError("no genuine comparisons: no label occurs on both sides")
    return tuple(_row(tail, far) for far in fars)


def _row(tail: Tail, far: Rate) -> TarAtFar:
    exact = exact_far(far, tail.impostors)
    allowed = exact.numerator * tail.impostors // exact.denominator
    if allowed < tail.impostors:
        threshold = np.nextafter(tail.highest[allowed], np.float32(np.inf))
    else:
        threshold = min(tail.genuine.min(), tail.highest.min())
    accepted, genuines = int((tail.genuine >= threshold).sum()), len(tail.genuine)
    accepted_impostor = int((tail.highest >= threshold).sum())
    return TarAtFar(
        far=float(exact),
        threshold=float(threshold),
        tar=accepted / genuines,
        accepted_genuine=accepted,
        genuine=genuines,
        accepted_impostor=accepted_impostor,
        impostor=tail.impostors,
        interval=wilson(accepted, genuines),
        warning=small_counts_warning(accepted_impostor, tail.impostors, accepted, genuines),
    )


def _blocks(
    units: np.ndarray, labels: np.ndarray, gallery: np.ndarray, others: np.ndarray, within: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Scores (n,) and whether they are genuine, a block of probes at a time."""
    for start in range(0, len(units), _ROWS):
        for first in range(start if within else 0, len(gallery), 16 * _ROWS):
            rows, columns = slice(start, start + _ROWS), slice(first, first + 16 * _ROWS)
            scores = score_block(units[rows], gallery[columns])
            same = (labels[rows, None] == others[columns]) & (labels[rows, None] >= 0)
            numbers = np.arange(first, first + scores.shape[1])
            kept = numbers > np.arange(start, start + scores.shape[0])[:, None] if within else np.ones(scores.shape, dtype=bool)
            yield scores[kept], same[kept]
