"""k-fold verification of lists of pairs: LFW, CFP, AgeDB-30, CALFW, CPLFW and any list of those forms."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, Protocol

import numpy as np

from orthodrome.evaluation.checks import check_both_kinds
from orthodrome.evaluation.conventions import CONVENTIONS
from orthodrome.evaluation.outcome import Outcome, Result
from orthodrome.evaluation.pairs import Pairs
from orthodrome.evaluation.resolution import possible_fars
from orthodrome.evaluation.roc import roc_summary
from orthodrome.evaluation.verification import BY_PAIR, scored_pairs, verification_from_embeddings
from orthodrome.types import EmbeddingSet, Report

OWN = "orthodrome"
VIEW_2 = "LFW verification (View 2, unrestricted, labelled outside data)"
CONVENTION_OPTION = {"convention": (OWN, *CONVENTIONS.names())}


def verify_pairs(embeddings: EmbeddingSet, pairs: Pairs, *, protocol: str, title: str, convention: str = OWN) -> Result:
    """`verification_from_embeddings`, with a note on pairs that are listed twice, and what ``convention`` would print besides."""
    found = verification_from_embeddings(embeddings, pairs, protocol, title)
    report = with_repeated(found.to_report(), pairs)
    return Outcome(_with_convention(report, found.pairs.scores, pairs.same, convention, len(found.folds)))


def verify_lfw(embeddings: EmbeddingSet, pairs: Pairs, *, convention: str = OWN) -> Result:
    """`verify_pairs` of a list in LFW's form, which is called View 2 only where it has the 10 folds of 300 + 300 pairs."""
    folds, count = len(np.unique(pairs.folds)), int(pairs.same.sum())
    shape = f"{folds} folds, {count:,} + {len(pairs) - count:,} pairs"
    title = (
        VIEW_2
        if (folds, count, len(pairs)) == (10, 3000, 6000)
        else f"verification of a list in LFW's form ({shape}; not View 2)"
    )
    return verify_pairs(embeddings, pairs, protocol="lfw", title=title, convention=convention)


def verify_in_order(embeddings: EmbeddingSet, pairs: Pairs, *, protocol: str, title: str, convention: str = OWN) -> Result:
    """`verify_pairs` of a list whose folds were cut by position, which may leave one kind of pair in a fold: then EER and TAR@FAR alone.

    Raises InputError naming the list where all its pairs are of one kind.
    """
    kinds = {(fold, same) for fold, same in zip(pairs.folds.tolist(), pairs.same.tolist(), strict=True)}
    if all((fold, same) in kinds for fold in np.unique(pairs.folds).tolist() for same in (True, False)):
        return verify_pairs(embeddings, pairs, protocol=protocol, title=title, convention=convention)
    check_both_kinds(pairs.same, pairs.source)
    found = scored_pairs(embeddings, pairs)
    genuine, impostor = found.of_kind("genuine"), found.of_kind("impostor")
    eer, rows = roc_summary(genuine, impostor, possible_fars(len(impostor)))
    metrics = {
        "eer": asdict(eer),
        "tar_at_far": [{**asdict(row), "achieved": row.achieved} for row in rows],
        "counts": {"genuine": len(genuine), "impostor": len(impostor)},
    }
    note = "No k-fold accuracy: cut into folds in the order of the list, a fold has pairs of one kind only."
    report = with_repeated(Report(protocol, title, metrics, found.series(), (note, BY_PAIR)), pairs)
    return Outcome(_with_convention(report, found.scores, pairs.same, convention, len(np.unique(pairs.folds))))


def _with_convention(report: Report, scores: np.ndarray, same: np.ndarray, convention: str, folds: int) -> Report:
    """The report as it is, or with ``metrics["compatibility"]``: what another toolkit prints for these pairs in their order."""
    if convention == OWN:
        return report
    found: dict[str, Any] = CONVENTIONS.get(convention)(scores, same, folds)
    return replace(report, metrics={**report.metrics, "compatibility": found}, notes=(*report.notes, found["text"]))


class ListedPairs(Protocol):
    """A list of pairs that knows which of its lines name the same pair."""

    @property
    def source(self) -> str:
        """The file."""

    def repeated(self) -> tuple[tuple[int, int], ...]:
        """Line numbers (first, again)."""


def with_repeated(report: Report, pairs: ListedPairs) -> Report:
    """The report as it is, or with ``metrics["repeated_pairs"]``, a note too: that some are listed more than once, and count as often."""
    repeated = pairs.repeated()
    if not repeated:
        return report
    (first, again), count = repeated[0], len(repeated)
    text = f"{count} pairs are listed again and count again, the first of them in lines {first} and {again} of {pairs.source}."
    return replace(report, metrics={**report.metrics, "repeated_pairs": text}, notes=(*report.notes, text))
