"""Identification: is the right person among the first of a gallery (CMC), and at a threshold that keeps strangers out (open set)?

A search is *mated* where its person is in the gallery. Rank: one more than the gallery images of other people that score at least as high
as the person's best image; ties count against the probe. FPIR = non-mated searches with a candidate at or above the threshold /
non-mated searches. TPIR = mated searches whose own person scores at or above it / mated searches; DIR asks for rank 1 besides
(Phillips, Grother & Micheals, "Evaluation methods in face recognition", 2005). FNIR = 1 − TPIR, as NIST FRTE prints it. A search that
could not be made, because the face was not enrolled, counts: a mated one found nobody, a non-mated one has no candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from orthodrome.evaluation.intervals import rates_by_identity, wilson
from orthodrome.evaluation.outcome import Outcome
from orthodrome.evaluation.resolution import Rate, possible_rates, small_counts_warning, unresolved
from orthodrome.evaluation.roc import TarAtFar, tar_at_far
from orthodrome.evaluation.searches import NOT_ENROLLED, Searches, search_all
from orthodrome.types import InputError, Interval, Report

RANKS = (1, 5, 10, 20)
FPIRS = (0.01, 0.1)

CONVENTIONS = (
    "Rank: one more than the gallery images of other people that score at least as high as the person's best image; ties count "
    "against the probe.",
    "FPIR: non-mated searches with a candidate at or above the threshold, over all non-mated searches. The threshold is the smallest "
    "that accepts at most ⌊FPIR·N⌋ of them; nothing interpolated.",
    "TPIR: mated searches whose own person scores at or above the threshold, whatever the rank; DIR: at rank 1 besides. FNIR = 1 − TPIR.",
    "Failures to enrol count: such a mated search found nobody, such a non-mated one has no candidate.",
)


@dataclass(frozen=True)
class RankRate:
    """One point of the CMC: ``hits`` of ``searches`` have their person among the first ``rank``; Wilson's ``interval`` and, with two
    people or more, a bootstrap ``by_identity``.
    """

    rank: int
    rate: float
    hits: int
    searches: int
    interval: Interval
    by_identity: Interval | None


@dataclass(frozen=True)
class OpenSetRate:
    """TPIR at one FPIR, with its counts; ``identified`` of the accepted mated searches are at rank 1, and ``dir`` is their share.

    ``interval`` (of ``tpir``) is a bootstrap by identity in which the threshold moves too.
    """

    fpir: float
    threshold: float
    tpir: float
    accepted_mated: int
    mated: int
    accepted_non_mated: int
    non_mated: int
    interval: Interval
    identified: int
    dir: float
    dir_interval: Interval
    warning: str = ""

    @property
    def fnir(self) -> float:
        return 1 - self.tpir

    @property
    def achieved(self) -> float:
        """FPIR on these searches, ≤ ``fpir``."""
        return self.accepted_non_mated / self.non_mated


@dataclass(frozen=True)
class IdentificationReport:
    """What `identification` found: ``cmc`` by rank, ``open_set`` by FPIR, and the ``searches`` behind them."""

    cmc: tuple[RankRate, ...]
    open_set: tuple[OpenSetRate, ...]
    searches: Searches = field(repr=False, compare=False)
    protocol: str = "identification"
    title: str = "Identification"
    notes: tuple[str, ...] = CONVENTIONS

    def rank(self, rank: int) -> RankRate:
        """The rate at one of the ranks asked for."""
        for point in self.cmc:
            if point.rank == rank:
                return point
        raise InputError(f"rank {rank} was not counted; ranks: {[point.rank for point in self.cmc]}")

    def metrics(self) -> dict[str, Any]:
        """In plain JSON: ``cmc``, ``open_set``, ``failures_to_enrol`` and ``search_counts``."""
        return {
            "cmc": [asdict(point) for point in self.cmc],
            "open_set": [{**asdict(row), "fnir": row.fnir, "achieved": row.achieved} for row in self.open_set],
            "failures_to_enrol": self.searches.failures + self.searches.stranger_failures,
            "search_counts": {
                "mated": self.searches.mated,
                "non_mated": len(self.searches.stranger_scores),
                "gallery": self.searches.gallery,
            },
        }

    def to_report(self) -> Report:
        """The same as a Report. It holds no scores to plot: those of searches are not those of comparisons."""
        return Report(self.protocol, self.title, self.metrics(), {}, self.notes)

    def summary(self) -> str:
        """A few lines for the terminal."""
        return Outcome(self.to_report()).summary()

    def headline(self) -> str:
        """One line for a log."""
        return Outcome(self.to_report()).headline()

    def __str__(self) -> str:
        return self.summary()


def identification(
    probes: ArrayLike,
    probe_labels: ArrayLike,
    gallery: ArrayLike,
    gallery_labels: ArrayLike,
    *,
    ranks: Sequence[int] = RANKS,
    fpirs: Sequence[Rate] = FPIRS,
    failures: int = 0,
    stranger_failures: int = 0,
) -> IdentificationReport:
    """Search ``probes`` (P, D) in a ``gallery`` (G, D) on canonical scores; labels integers (P,) ≥ 0 and (G,), negative for distractors.

    CMC at ``ranks`` over the mated searches; TPIR and DIR at ``fpirs`` where there are non-mated ones. ``failures`` and
    ``stranger_failures``: mated and non-mated probes that could not be enrolled, and are not among ``probes``. Raises InputError where
    no probe is mated, a rank is below 1, an FPIR is not in (0, 1) or asks for less than one of the non-mated searches, and as `search_all`.
    """
    searches = search_all(probes, probe_labels, gallery, gallery_labels, failures, stranger_failures)
    return identification_of(searches, ranks=ranks, fpirs=fpirs)


def identification_of(searches: Searches, *, ranks: Sequence[int] = RANKS, fpirs: Sequence[Rate] = FPIRS) -> IdentificationReport:
    """`identification` of searches already made."""
    rows = open_set(searches, fpirs) if len(searches.stranger_scores) else ()
    return IdentificationReport(cmc(searches, ranks), rows, searches)


def resolved_metrics(searches: Searches, ranks: Sequence[int], fpirs: Sequence[Rate]) -> dict[str, Any]:
    """The metrics of the searches at those of ``ranks`` and ``fpirs`` that they resolve; ``unresolved`` says which others were asked
    for.
    """
    strangers = len(searches.stranger_scores)
    possible = [rank for rank in ranks if rank <= searches.gallery]
    metrics = identification_of(searches, ranks=possible, fpirs=possible_rates(fpirs, strangers)).metrics()
    beyond = ", ".join(str(rank) for rank in ranks if rank not in possible)
    left_out = (
        f"rank {beyond}: more gallery images are needed than {searches.gallery:,}" if beyond else "",
        unresolved("FPIR", fpirs, strangers, "non-mated searches"),
    )
    return {**metrics, "unresolved": "; ".join(filter(None, left_out))}


def cmc(searches: Searches, ranks: Sequence[int] = RANKS) -> tuple[RankRate, ...]:
    """The cumulative match characteristic at ``ranks``."""
    if not searches.mated:
        raise InputError("no probe has its person in the gallery; identification needs mated searches")
    wrong = [rank for rank in ranks if rank < 1]
    if wrong:
        raise InputError(f"ranks count from 1; got {wrong[0]}")
    hits = np.stack([searches.hits(rank) for rank in ranks], axis=1)
    return tuple(RankRate(rank, *rest) for rank, rest in zip(ranks, rates(hits, searches.people()), strict=True))


def rates(hits: np.ndarray, people: np.ndarray) -> list[tuple[float, int, int, Interval, Interval | None]]:
    """Rate, hits, searches, Wilson interval and bootstrap by identity of each column of ``hits`` bool (N, K).

    A rate of 0 or 1 has no bootstrap: every resample repeats it, which would be an interval of no width.
    """
    counts, total = hits.sum(axis=0).tolist(), len(hits)
    found = rates_by_identity(hits, people) or (None,) * len(counts)
    spreads = [None if count in (0, total) else spread for count, spread in zip(counts, found, strict=True)]
    return [(count / total, count, total, wilson(count, total), spread) for count, spread in zip(counts, spreads, strict=True)]


def open_set(searches: Searches, fpirs: Sequence[Rate] = FPIRS) -> tuple[OpenSetRate, ...]:
    """TPIR and DIR at each FPIR: TAR@FAR whose genuines are the best mate scores and whose impostors are the strangers' best scores."""
    if not searches.mated:
        raise InputError("no probe has its person in the gallery; identification needs mated searches")
    strangers = len(searches.stranger_scores)
    for fpir in fpirs:
        if not 0 < Fraction(str(fpir)) < 1:
            raise InputError(f"FPIR must lie between 0 and 1; got {fpir}")
        if Fraction(str(fpir)) * strangers < 1:
            raise InputError(
                f"FPIR {fpir} needs ≥ 1/FPIR non-mated searches; got {strangers:,}. Ask for a higher one or search more"
            )
    scores = np.append(searches.mate_scores, np.full(searches.failures, NOT_ENROLLED))
    at_rank_1 = np.where(searches.hits(1), scores, NOT_ENROLLED)
    people = (searches.people(), searches.stranger_people)
    identities = people if len(np.unique(np.concatenate(people))) > 1 else (None, None)
    found, named = (tar_at_far(genuine, searches.stranger_scores, fpirs, *identities) for genuine in (scores, at_rank_1))
    return tuple(_open_set_rate(row, first) for row, first in zip(found, named, strict=True))


def _open_set_rate(row: TarAtFar, first: TarAtFar) -> OpenSetRate:
    warning = small_counts_warning(row.accepted_impostor, row.impostor, row.accepted_genuine, row.genuine)
    words = {"accepted impostors": "accepted non-mates", "rejected genuines": "rejected mates", "FAR": "FPIR", "FRR": "FNIR"}
    for word, replacement in words.items():
        warning = warning.replace(word, replacement)
    return OpenSetRate(
        fpir=row.far,
        threshold=row.threshold,
        tpir=row.tar,
        accepted_mated=row.accepted_genuine,
        mated=row.genuine,
        accepted_non_mated=row.accepted_impostor,
        non_mated=row.impostor,
        interval=row.interval,
        identified=first.accepted_genuine,
        dir=first.tar,
        dir_interval=first.interval,
        warning=warning,
    )
