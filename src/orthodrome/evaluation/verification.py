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
from orthodrome.evaluation.intervals import Statistics, bootstrap_by_identity, wilson
from orthodrome.evaluation.outcome import Outcome
from orthodrome.evaluation.pairs import Pairs, match_embeddings
from orthodrome.evaluation.resolution import few_errors_warning, possible_fars
from orthodrome.evaluation.roc import EqualErrorRate, TarAtFar, roc_summary
from orthodrome.evaluation.scored import ScoredPairs
from orthodrome.evaluation.scores import Comparisons, pair_scores, scores_of_rows, unit_vectors
from orthodrome.evaluation.wording import between, percent
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
    kept), None without identities and where no resample differs. ``best_threshold`` is best on all pairs at once: for use on other data,
    its accuracy here would flatter. ``pairs`` are those behind ``eer`` and ``tar_at_far``, with their
    scores.
    """

    accuracy: float
    standard_error: float
    wilson: Interval
    by_identity: Interval | None
    folds: tuple[FoldResult, ...]
    best_threshold: float
    eer: EqualErrorRate
    tar_at_far: tuple[TarAtFar, ...]
    pairs: ScoredPairs = field(repr=False, compare=False)
    protocol: str = "pairs"
    title: str = "k-fold verification"
    notes: tuple[str, ...] = CONVENTIONS

    @property
    def genuine(self) -> np.ndarray:
        """Scores of the genuine comparisons."""
        return self.pairs.of_kind("genuine")

    @property
    def impostor(self) -> np.ndarray:
        """Scores of the impostor comparisons."""
        return self.pairs.of_kind("impostor")

    def summary(self) -> str:
        """A few lines for the terminal: accuracy, EER and TAR@FAR, each with its interval, and the warnings."""
        return Outcome(self.to_report()).summary()

    def __str__(self) -> str:
        return self.summary()

    def to_report(self) -> Report:
        """The same as a Report: metrics in plain JSON, the scored pairs as series."""
        return Report(self.protocol, self.title, self._metrics(), self.pairs.series(), self.notes)

    @property
    def accuracy_warning(self) -> str:
        """Empty, or that the accuracy is read off too few wrong decisions (rule of 3, rule of 30)."""
        total = sum(fold.total for fold in self.folds)
        wrong = total - sum(fold.correct for fold in self.folds)
        return few_errors_warning(wrong, total, "wrong decisions", "error rate")

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
                "warning": self.accuracy_warning,
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
    return _verify(ScoredPairs(array, genuine, fold_names, codes), np.ones(len(array), dtype=bool))


def verification_from_embeddings(
    embeddings: EmbeddingSet, pairs: Pairs, protocol: str = "pairs", title: str = "k-fold verification"
) -> VerificationReport:
    """Verify ``pairs`` on the canonical scores of ``embeddings``, matched by id (``name/name_0001``, suffix
    and leading folders ignored).

    The people of the pairs come from the list. Raises InputError where an image of the list has no
    embedding, two have the same id, or an embedding is zero or NaN (all named).
    """
    found = scored_pairs(embeddings, pairs)
    report = verification(found.scores, found.same, pairs.folds, found.identities)
    return replace(report, pairs=replace(report.pairs, rows=found.rows, names=found.names), protocol=protocol, title=title)


def scored_pairs(embeddings: EmbeddingSet, pairs: Pairs) -> ScoredPairs:
    """The canonical scores of ``pairs``, with the people and images of each; in no fold. Matched, and raises, as
    `verification_from_embeddings`.
    """
    units = unit_vectors(embeddings.vectors, embeddings.ids)
    scores = scores_of_rows(units, units, *match_embeddings(embeddings, pairs))
    return ScoredPairs(scores, pairs.same, np.full(len(pairs), ""), pairs.identities(), *_image_places(pairs))


def all_pairs(embeddings: EmbeddingSet, folds: int = 10, seed: int = 0) -> VerificationReport:
    """Verify every image of a labelled set against every other, for sets that come without a list of pairs.

    EER, TAR@FAR and the ROC are counted on all comparisons. The accuracy, which means little where
    impostors outnumber genuines, is that of all genuine pairs and as many impostor pairs drawn with
    ``seed`` and dealt into ``folds``. Raises InputError as `pair_scores` and `verification` do.
    """
    everything = pair_scores(embeddings.vectors, embeddings.labels, embeddings.ids)
    drawn = _balanced(everything, seed)
    dealt = np.zeros(len(everything), dtype=np.int64)
    dealt[drawn] = deal_folds(everything.same[drawn], folds, seed)
    codes = identity_codes(everything.identities, everything.same)
    rows = np.stack(np.triu_indices(len(embeddings), 1), axis=1).astype(np.int32)
    pairs = ScoredPairs(everything.scores, everything.same, dealt, codes, rows, np.array(embeddings.ids))
    report = _verify(pairs, dealt > 0)
    note = (
        f"EER, ROC and TAR@FAR: all {len(everything):,} comparisons. Accuracy: {len(drawn):,} of them, all genuine and "
        f"as many impostor pairs, drawn and dealt into {folds} folds with seed {seed}."
    )
    return replace(report, protocol="all-pairs", title="Every image against every other", notes=(*report.notes, note))


def _verify(pairs: ScoredPairs, folded: np.ndarray) -> VerificationReport:
    """Accuracy of the ``folded`` pairs, bool (N,); EER and TAR@FAR of all."""
    inside = pairs.take(folded)
    results, right = k_fold(inside.scores, inside.same, inside.folds)
    accuracies = np.array([result.accuracy for result in results])
    genuine, impostor = pairs.of_kind("genuine"), pairs.of_kind("impostor")
    codes, by_identity = pairs.identities, None
    people: tuple[np.ndarray | None, ...] = (None, None)
    if codes is not None and inside.identities is not None:
        people = (codes[pairs.same], codes[~pairs.same])
        by_identity = _accuracy_interval(right, inside.folds, identity_codes(inside.identities, inside.same))
    eer, tars = roc_summary(genuine, impostor, possible_fars(len(impostor)), *people)
    return VerificationReport(
        accuracy=float(accuracies.mean()),
        standard_error=float(accuracies.std(ddof=1) / math.sqrt(len(accuracies))),
        wilson=wilson(int(right.sum()), len(right)),
        by_identity=by_identity,
        folds=results,
        best_threshold=best_threshold(inside.scores, inside.same),
        eer=eer,
        tar_at_far=tars,
        pairs=replace(pairs, folds=np.where(folded, pairs.folds.astype(str), "")),
        notes=(*CONVENTIONS, BY_PAIR if codes is None else BY_IDENTITY),
    )


def _accuracy_interval(right: np.ndarray, folds: np.ndarray, codes: np.ndarray) -> Interval | None:
    """Bootstrap by identity of the mean accuracy of the folds; None where no resample differs, so that it would claim certainty."""
    found = bootstrap_by_identity(codes, accuracy_statistic(right, folds))["accuracy"]
    return found if found.low < found.high else None


def accuracy_statistic(right: np.ndarray, folds: np.ndarray) -> Statistics:
    """The mean accuracy of the folds, from the weights of the pairs: ``right`` bool (N,), ``folds`` (N,).

    A fold without a drawn pair does not count in its resample.
    """
    in_fold = (folds[:, None] == np.unique(folds)).astype(np.float64)

    def statistics(weights: np.ndarray) -> Mapping[str, np.ndarray]:
        totals = weights @ in_fold
        correct = weights @ (in_fold * right[:, None])
        drawn = totals > 0
        accuracies = np.divide(correct, totals, out=np.zeros_like(correct), where=drawn)
        counted = drawn.sum(axis=1)
        return {"accuracy": np.where(counted > 0, accuracies.sum(axis=1) / np.maximum(counted, 1), np.nan)}

    return statistics


def _balanced(comparisons: Comparisons, seed: int) -> np.ndarray:
    """Positions of all genuine comparisons and of as many impostor ones, drawn without replacement."""
    genuine, impostor = np.flatnonzero(comparisons.same), np.flatnonzero(~comparisons.same)
    if not len(genuine) or not len(impostor):
        raise InputError(
            f"verification needs people with two images or more, and two people or more; "
            f"got {len(genuine)} genuine and {len(impostor)} impostor pairs"
        )
    count = min(len(genuine), len(impostor))
    generator = np.random.Generator(np.random.PCG64(seed))
    drawn = [generator.choice(kind, count, replace=False) for kind in (genuine, impostor)]
    return np.sort(np.concatenate(drawn))


def _image_places(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """The places (N, 2) of both images of each pair among the distinct images, and the names (M,) of those."""
    images = pairs.images()
    place = {image: number for number, image in enumerate(images)}
    both = [[place[image] for image in side] for side in (pairs.first, pairs.second)]
    return np.array(both, dtype=np.int64).T, np.array([str(image) for image in images])
