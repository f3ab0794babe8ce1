"""Every search of an identification test: what its mate scored, how many strangers scored as high, and the best a stranger reached."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from orthodrome.evaluation.scores import scores_of_rows, unit_vectors, usable
from orthodrome.types import InputError, Progress

NOT_ENROLLED = np.float32(-2.0)
"""Stands for the score of a search that made none: below every canonical score, so it is accepted at no threshold."""


@dataclass(frozen=True, eq=False)
class Searches:
    """Mated searches, whose person is in the gallery, and non-mated ones.

    ``mate_scores`` float32 (M,): the best score of an own image; ``ahead`` int64 (M,): gallery images of other people that score at
    least as high, so that ties count against the probe; ``mated_people`` (M,). ``stranger_scores`` float32 (N,): the best score of each
    non-mated search; ``stranger_people`` (N,). ``gallery``: images in it. ``failures``: mated searches that could not be made.
    ``stranger_failures``: non-mated ones, which are among the N, last, with the score `NOT_ENROLLED`.
    """

    mate_scores: np.ndarray
    ahead: np.ndarray
    mated_people: np.ndarray
    stranger_scores: np.ndarray
    stranger_people: np.ndarray
    gallery: int
    failures: int = 0
    stranger_failures: int = 0

    @property
    def mated(self) -> int:
        """Mated searches, failures to enrol among them."""
        return len(self.mate_scores) + self.failures

    def hits(self, rank: int) -> np.ndarray:
        """Whether each mated search has its person among the first ``rank`` images: bool (M + failures,)."""
        return np.append(self.ahead < rank, np.zeros(self.failures, dtype=bool))

    def people(self) -> np.ndarray:
        """The person of each mated search (M + failures,); a failed one counts as a person of its own."""
        return np.append(self.mated_people, -1 - np.arange(self.failures))


def search_all(
    probes: ArrayLike,
    probe_labels: ArrayLike,
    gallery: ArrayLike,
    gallery_labels: ArrayLike,
    failures: int = 0,
    stranger_failures: int = 0,
    progress: Progress | None = None,
) -> Searches:
    """Search each probe (P, D) in the gallery (G, D). Labels are integers (P,) ≥ 0 and (G,), where a negative one is nobody's mate.

    A probe whose label is not in the gallery is a non-mate, never an error. ``failures`` and ``stranger_failures``: mated and non-mated
    probes that could not be enrolled, and are not among ``probes``; each counts as a person of its own. ``progress`` is told of each of
    the passes, over the mated and the other probes. Raises InputError for labels of the wrong length or type, a probe of unknown person,
    and naming the row of an embedding that is zero, NaN or infinite.
    """
    from orthodrome.evaluation.streaming import count_at_or_above, top_k  # imports torch

    probe_array, gallery_array = usable(probes, kind="probe"), usable(gallery, kind="gallery embedding")
    people, mates = _labels(probe_labels, len(probe_array), "probe"), _labels(gallery_labels, len(gallery_array), "gallery")
    if min(failures, stranger_failures) < 0:
        raise InputError(f"failures are numbers of searches, ≥ 0; got {failures} mated and {stranger_failures} non-mated")
    unknown = np.flatnonzero(people < 0)
    if unknown.size:
        raise InputError(
            f"probe {unknown[0]} has label {people[unknown[0]]}; each probe must be somebody, known to the gallery or not"
        )
    mated = np.isin(people, mates[mates >= 0])
    best, ties = best_mates(probe_array[mated], people[mated], gallery_array, mates)
    ahead = np.empty(0, dtype=np.int64)
    if mated.any():
        ahead = count_at_or_above(probe_array[mated], best, gallery_array, (len(gallery_array),), progress=progress)
        ahead = ahead[:, 0] - ties
    strangers = np.empty(0, dtype=np.float32)
    if not mated.all():
        strangers = top_k(probe_array[~mated], gallery_array, 1, progress=progress).scores[:, 0]
    strangers = np.append(strangers, np.full(stranger_failures, NOT_ENROLLED))
    others = np.append(people[~mated], -1 - failures - np.arange(stranger_failures))
    return Searches(best, ahead, people[mated], strangers, others, len(gallery_array), failures, stranger_failures)


def best_mates(probes: np.ndarray, people: np.ndarray, gallery: np.ndarray, mates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best score of each probe with an own image in the gallery, float32 (P,), and how many own images reach it, int64 (P,)."""
    if not len(probes):
        return np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64)
    rows, columns = matching_rows(people, mates)
    own, place = np.unique(columns, return_inverse=True)
    scores = scores_of_rows(unit_vectors(probes), unit_vectors(gallery[own]), rows, place)
    best = np.full(len(probes), -np.inf, dtype=np.float32)
    np.maximum.at(best, rows, scores)
    return best, np.bincount(rows[scores == best[rows]], minlength=len(probes))


def matching_rows(people: np.ndarray, mates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All (row of ``people``, row of ``mates``) with one label ≥ 0, by row of ``people``: two int64 (K,)."""
    order = np.argsort(mates, kind="stable")
    low, high = (np.searchsorted(mates[order], people, side=side) for side in ("left", "right"))
    lengths = np.where(people >= 0, high - low, 0)
    offsets = np.repeat(low - np.append(0, np.cumsum(lengths)[:-1]), lengths)
    return np.repeat(np.arange(len(people)), lengths), order[offsets + np.arange(lengths.sum())]


def _labels(labels: ArrayLike, count: int, side: str) -> np.ndarray:
    array = np.asarray(labels)
    if array.shape != (count,) or array.dtype.kind not in "iu":
        raise InputError(
            f"{side} labels must be integers of shape ({count},), one per embedding; got {array.dtype} {array.shape}"
        )
    return array.astype(np.int64)
