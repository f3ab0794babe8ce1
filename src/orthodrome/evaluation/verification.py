"""Verification of pairs: k-fold accuracy, equal error rate and TAR@FAR of one scored list, with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from orthodrome.evaluation.checks import identity_codes, same_array, score_array
from orthodrome.evaluation.folds import FoldResult, best_threshold, deal_folds, fold_array, k_fold
from orthodrome.evaluation.intervals import bootstrap_by_identity, wilson
from orthodrome.evaluation.pairs import Pairs, match_embeddings
from orthodrome.evaluation.resolution import possible_fars
from orthodrome.evaluation.roc import EqualErrorRate, TarAtFar, roc_summary
from orthodrome.evaluation.scores import Comparisons, pair_scores, scores_of_rows, unit_vectors
from orthodrome.evaluation.wording import between, false_accept_rate, percent, with_interval
from orthodrome.types import EmbeddingSet, InputError, Interval, Report

CONVENTIONS = (
    "A comparison is accepted when its score is at or above the threshold; all rates are per comparison.",
    "Accuracy: for each fold, the threshold that is best on the other folds; mean over the folds, "
    "standard error = standard deviation (ddof = 1) / √folds.",
    "TAR@FAR: the smallest threshold that accepts at most ⌊FAR·N⌋ of the N impostors; ties counted, nothing interpolated.",
    "EER: where the exact ROC crosses FAR = FRR.",
)
BY_IDENTITY = (
    "Intervals by identity: people, not pairs, are drawn with replacement, 1,000 times; all pairs of a person move "
    "together, and the thresholds of the folds are kept."
)
BY_PAIR = "Intervals: Wilson's, which takes comparisons as independent; give identities for a bootstrap by identity."


@dataclass(frozen=True)
class VerificationReport:
    """What `verification` found.

    ``accuracy`` is the mean over ``folds``, with its ``standard_error`` and the ``wilson`` interval of the
    pooled decisions; ``by_identity`` is the bootstrap interval of the accuracy (thresholds of the folds
    kept), None without identities. ``best_threshold`` is best on all pairs at once: for use on other data,
    its accuracy here would flatter. ``genuine`` and ``impostor`` hold the scores behind ``eer`` and
    ``tar_at_far``.
    """

    accuracy: float
    standard_error: float
    wilson: Interval
    by_identity: Interval | None
    folds: tuple[FoldResult, ...]
    best_threshold: float
    eer: EqualErrorRate
    tar_at_far: tuple[TarAtFar, ...]
    genuine: np.ndarray = field(repr=False, compare=False)
    impostor: np.ndarray = field(repr=False, compare=False)
    protocol: str = "pairs"
    title: str = "k-fold verification"
    notes: tuple[str, ...] = CONVENTIONS

    def summary(self) -> str:
        """A few lines for the terminal: accuracy, EER and TAR@FAR, each with its interval, and the warnings."""
        lines = [f"{self.title}: {len(self.genuine):,} genuine, {len(self.impostor):,} impostor comparisons"]
        lines.append(f"  accuracy          {self._accuracy_text()}")
        lines.append(f"  EER               {with_interval(self.eer.rate, self.eer.interval)}")
        for row in self.tar_at_far:
            warning = f"   ! {row.warning}" if row.warning else ""
            name = f"TAR@FAR={false_accept_rate(row.far)}"
            lines.append(f"  {name:<17} {with_interval(row.tar, row.interval)}{warning}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()

    def to_report(self) -> Report:
        """The same as a Report: metrics in plain JSON, the scores as series."""
        series = {"genuine": self.genuine, "impostor": self.impostor}
        return Report(self.protocol, self.title, self._metrics(), series, self.notes)

    def _accuracy_text(self) -> str:
        people = f"; by identity {between(self.by_identity)}" if self.by_identity else ""
        error = f"{100 * self.standard_error:.2f} standard error"
        return f"{percent(self.accuracy)} ± {error} (Wilson interval {between(self.wilson)}{people})"

    def _metrics(self) -> dict[str, Any]:
        return {
            "accuracy": {
                "mean": self.accuracy,
                "standard_error": self.standard_error,
                "wilson": asdict(self.wilson),
                "by_identity": asdict(self.by_identity) if self.by_identity else None,
                "text": self._accuracy_text(),
            },
            "eer": asdict(self.eer),
            "tar_at_far": [{**asdict(row), "achieved": row.achieved} for row in self.tar_at_far],
            "best_threshold": self.best_threshold,
            "folds": [{**asdict(fold), "accuracy": fold.accuracy} for fold in self.folds],
            "counts": {"genuine": len(self.genuine), "impostor": len(self.impostor)},
        }


def verification(scores: ArrayLike, same: ArrayLike, folds: ArrayLike, identities: ArrayLike | None = None) -> VerificationReport:
    """k-fold verification of ``scores`` (N,), ``same`` (N,) true for genuine pairs, ``folds`` (N,) as
    published with the pairs.

    ``identities`` (N, 2), the people of each pair, switch on the bootstrap by identity (1,000 resamples,
    seeded) of every figure; without them the intervals are Wilson's. TAR is given at every FAR = 10⁻ᵏ that
    the impostors resolve.

    Raises InputError on lengths that differ, scores that are not finite (position named), a fold with one
    kind of pair only (fold named), a single fold, and identities that contradict ``same`` (pair named).
    """
    array = score_array(scores)
    genuine = same_array(same, len(array))
    fold_names = fold_array(folds, len(array))
    codes = None if identities is None else identity_codes(identities, genuine)
    return _verify(array, genuine, fold_names, codes, (array, genuine, codes))


def verification_from_embeddings(
    embeddings: EmbeddingSet, pairs: Pairs, protocol: str = "pairs", title: str = "k-fold verification"
) -> VerificationReport:
    """Verify ``pairs`` on the canonical scores of ``embeddings``, matched by id (``name/name_0001``, suffix
    and leading folders ignored).

    The people of the pairs come from the list. Raises InputError where an image of the list has no
    embedding, two have the same id, or an embedding is zero or NaN (all named).
    """
    first, second = match_embeddings(embeddings, pairs)
    units = unit_vectors(embeddings.vectors, embeddings.ids)
    scores = scores_of_rows(units, units, first, second)
    report = verification(scores, pairs.same, pairs.folds, pairs.identities())
    return replace(report, protocol=protocol, title=title)


def all_pairs(embeddings: EmbeddingSet, folds: int = 10, seed: int = 0) -> VerificationReport:
    """Verify every image of a labelled set against every other, for sets that come without a list of pairs.

    EER, TAR@FAR and the ROC are counted on all comparisons. The accuracy, which means little where
    impostors outnumber genuines, is that of all genuine pairs and as many impostor pairs drawn with
    ``seed`` and dealt into ``folds``. Raises InputError as `pair_scores` and `verification` do.
    """
    everything = pair_scores(embeddings.vectors, embeddings.labels, embeddings.ids)
    balanced = _balanced(everything, seed)
    codes, all_codes = (identity_codes(c.identities, c.same) for c in (balanced, everything))
    dealt = deal_folds(balanced.same, folds, seed)
    curve = (everything.scores, everything.same, all_codes)
    report = _verify(balanced.scores, balanced.same, dealt, codes, curve)
    note = (
        f"EER, ROC and TAR@FAR: all {len(everything):,} comparisons. Accuracy: {len(balanced):,} of them, all genuine and "
        f"as many impostor pairs, drawn and dealt into {folds} folds with seed {seed}."
    )
    return replace(report, protocol="all-pairs", title="every image against every other", notes=(*report.notes, note))


def _verify(
    scores: np.ndarray,
    same: np.ndarray,
    folds: np.ndarray,
    codes: np.ndarray | None,
    curve: tuple[np.ndarray, np.ndarray, np.ndarray | None],
) -> VerificationReport:
    """Accuracy of the folded pairs, EER and TAR@FAR of ``curve`` (scores, same, codes): the same pairs, or
    more of them.
    """
    results, right = k_fold(scores, same, folds)
    accuracies = np.array([result.accuracy for result in results])
    all_scores, all_same, all_codes = curve
    genuine, impostor = all_scores[all_same], all_scores[~all_same]
    people = (None, None) if all_codes is None else (all_codes[all_same], all_codes[~all_same])
    eer, tars = roc_summary(genuine, impostor, possible_fars(len(impostor)), *people)
    return VerificationReport(
        accuracy=float(accuracies.mean()),
        standard_error=float(accuracies.std(ddof=1) / math.sqrt(len(accuracies))),
        wilson=wilson(int(right.sum()), len(right)),
        by_identity=None if codes is None else _accuracy_interval(right, folds, codes),
        folds=results,
        best_threshold=best_threshold(scores, same),
        eer=eer,
        tar_at_far=tars,
        genuine=genuine,
        impostor=impostor,
        notes=(*CONVENTIONS, BY_PAIR if codes is None else BY_IDENTITY),
    )


def _accuracy_interval(right: np.ndarray, folds: np.ndarray, codes: np.ndarray) -> Interval:
    """Bootstrap by identity of the mean accuracy of the folds; a fold without a drawn pair does not count in
    its resample.
    """
    in_fold = (folds[:, None] == np.unique(folds)).astype(np.float64)

    def statistics(weights: np.ndarray) -> Mapping[str, np.ndarray]:
        totals = weights @ in_fold
        correct = weights @ (in_fold * right[:, None])
        drawn = totals > 0
        accuracies = np.divide(correct, totals, out=np.zeros_like(correct), where=drawn)
        counted = drawn.sum(axis=1)
        return {"accuracy": np.where(counted > 0, accuracies.sum(axis=1) / np.maximum(counted, 1), np.nan)}

    return bootstrap_by_identity(codes, statistics)["accuracy"]


def _balanced(comparisons: Comparisons, seed: int) -> Comparisons:
    """All genuine comparisons and as many impostor ones, drawn without replacement."""
    genuine, impostor = np.flatnonzero(comparisons.same), np.flatnonzero(~comparisons.same)
    if not len(genuine) or not len(impostor):
        raise InputError(
            f"verification needs people with two images or more, and two people or more; "
            f"got {len(genuine)} genuine and {len(impostor)} impostor pairs"
        )
    count = min(len(genuine), len(impostor))
    generator = np.random.Generator(np.random.PCG64(seed))
    drawn = [generator.choice(kind, count, replace=False) for kind in (genuine, impostor)]
    return comparisons.take(np.sort(np.concatenate(drawn)))
