"""k-fold accuracy: for each fold, the threshold that is best on the other folds, and the accuracy it reaches
on the fold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from orthodrome.types import InputError


@dataclass(frozen=True)
class FoldResult:
    """One fold: its name, the ``threshold`` chosen on the other folds, and what it decides on the ``genuine``
    + ``impostor`` pairs of this one.
    """

    fold: str
    threshold: float
    accepted_genuine: int
    genuine: int
    accepted_impostor: int
    impostor: int

    @property
    def correct(self) -> int:
        return self.accepted_genuine + self.impostor - self.accepted_impostor

    @property
    def total(self) -> int:
        return self.genuine + self.impostor

    @property
    def accuracy(self) -> float:
        return self.correct / self.total


def best_threshold(scores: np.ndarray, same: np.ndarray) -> float:
    """The threshold of highest accuracy on ``scores`` (N,) with ``same`` (N,).

    Candidates, from the data alone: the midpoints between neighbouring distinct scores (rounded to the
    type of the scores, never down to the lower one), the lowest score, which accepts all, and the next
    number above the highest, which rejects all. Of several best candidates the middle one in their order
    is taken (of an even number, the lower middle).
    """
    levels, of_level = np.unique(scores, return_inverse=True)
    genuine = np.bincount(of_level, weights=same, minlength=len(levels))
    impostor = np.bincount(of_level, weights=~same, minlength=len(levels))
    # correct[c]: the c lowest distinct scores are rejected, the others accepted.
    rejected_right = np.append(0, np.cumsum(impostor))
    accepted_right = genuine.sum() - np.append(0, np.cumsum(genuine))
    correct = rejected_right + accepted_right
    best = np.flatnonzero(correct == correct.max())
    return float(_candidates(levels)[best[(len(best) - 1) // 2]])


def k_fold(scores: np.ndarray, same: np.ndarray, folds: np.ndarray) -> tuple[tuple[FoldResult, ...], np.ndarray]:
    """The result of each fold, in the sorted order of ``folds`` (N,), and whether each pair was decided
    rightly, bool (N,).

    Raises InputError with fewer than two folds or where a fold lacks genuine or impostor pairs.
    """
    names, of_pair = np.unique(folds, return_inverse=True)
    _check_folds(names, of_pair, same)
    accepted = np.zeros(len(scores), dtype=bool)
    results = []
    for number, name in enumerate(names):
        inside = of_pair == number
        threshold = best_threshold(scores[~inside], same[~inside])
        accepted[inside] = scores[inside] >= scores.dtype.type(threshold)
        results.append(_fold_result(str(name), threshold, accepted[inside], same[inside]))
    return tuple(results), accepted == same


def fold_array(folds: ArrayLike, count: int) -> np.ndarray:
    """Fold names (N,); raises InputError on another length."""
    array = np.asarray(folds)
    if array.shape != (count,):
        raise InputError(f"folds must have shape ({count},), one per score; got {array.shape}")
    if array.dtype.kind not in "iubUS":
        raise InputError(f"folds must be named by integers or strings; got dtype {array.dtype}")
    return array


def deal_folds(same: np.ndarray, folds: int = 10, seed: int = 0) -> np.ndarray:
    """Fold numbers (N,) in 1 … folds for pairs that come without: genuines and impostors dealt apart, in
    seeded random order.

    Only for sets without published folds: a published list keeps its own. Raises InputError where a class
    has fewer pairs than folds.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    dealt = np.empty(len(same), dtype=np.int64)
    for name, members in (("genuine", np.flatnonzero(same)), ("impostor", np.flatnonzero(~same))):
        if len(members) < folds:
            raise InputError(f"{folds} folds need at least {folds} {name} pairs; got {len(members)}")
        dealt[generator.permutation(members)] = 1 + np.arange(len(members)) % folds
    return dealt


def _candidates(levels: np.ndarray) -> np.ndarray:
    """One threshold below, between and above the distinct scores: (K,) ascending -> (K + 1,), in the same
    type.
    """
    middle = (levels[:-1] / 2 + levels[1:] / 2).astype(levels.dtype)
    middle = np.where(middle > levels[:-1], middle, levels[1:])
    return np.concatenate([levels[:1], middle, np.nextafter(levels[-1:], levels.dtype.type(np.inf))])


def _fold_result(name: str, threshold: float, accepted: np.ndarray, same: np.ndarray) -> FoldResult:
    return FoldResult(
        fold=name,
        threshold=threshold,
        accepted_genuine=int((accepted & same).sum()),
        genuine=int(same.sum()),
        accepted_impostor=int((accepted & ~same).sum()),
        impostor=int((~same).sum()),
    )


def _check_folds(names: np.ndarray, of_pair: np.ndarray, same: np.ndarray) -> None:
    if len(names) < 2:
        raise InputError(
            f"k-fold verification needs at least two folds; got one fold, {names[0].item()!r}. "
            "For one undivided set use tar_at_far and equal_error_rate"
        )
    genuine = np.bincount(of_pair, weights=same)
    for name, of_fold, total in zip(names.tolist(), genuine, np.bincount(of_pair), strict=True):
        if of_fold in (0, total):
            kind = "genuine" if of_fold else "impostor"
            raise InputError(f"fold {name!r} has only {kind} pairs ({total}); each fold needs both kinds")
