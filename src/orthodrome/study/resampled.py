"""All comparisons of one set under resampling of its people: error rates whose differences between systems are paired.

A comparison of two people a, b weighs w_a·w_b in a resample that draws them w_a and w_b times, one within a person w_a, as everywhere
here (`pair_weights`). With A_t[a, b] the number of comparisons of a with b that score at least t, the impostors accepted at t weigh
Σ_{a<b} w_a·A_t[a, b]·w_b: for all resamples at once a matrix product, and no score is held. Rates are found at a few thresholds around
each figure and interpolated between them. Every system is given the same resamples, so those of a difference are the differences of
theirs.

Shapes: N embeddings, P people, R resamples, K thresholds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from orthodrome.types import InputError, Interval

BINS = 100
MANY_PEOPLE, FEW_LEVELS, MORE_LEVELS = 1000, (0.5, 0.7, 0.85, 1.0, 1.18, 1.43, 2.0), tuple(np.geomspace(1 / 32, 32, 61))
"""Shares of impostors, relative to the one a figure has on the set itself, at which rates are counted: in resamples of many people a figure
stays near, and each level costs a product of (R, P) with (P, P).
"""

FOUND_AGAIN = 0.02

_ROWS = 128
FIGURES = ("eer", "tar_1e-2", "tar_1e-3")
CURVE = "resampled "
FARS = {"tar_1e-2": 0.01, "tar_1e-3": 0.001}


@dataclass(frozen=True, eq=False)
class Distributions:
    """All comparisons i < j of a set: counts of genuine and impostor scores in `BINS` equal bins of [−1, 1], and the mean and standard
    deviation of their angles in degrees.
    """

    genuine: np.ndarray
    impostor: np.ndarray
    genuine_angle: tuple[float, float]
    impostor_angle: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Resampled:
    """Each figure in each resample, (R,) by name, NaN where the thresholds did not reach; ``people`` marks whose comparisons these are."""

    figures: Mapping[str, np.ndarray]
    people: str

    def interval(self, figure: str) -> Interval | None:
        """95 % of the resamples, as `percentiles`."""
        return percentiles(self.figures[figure])

    def curves(self) -> dict[str, list[float | None]]:
        """For the table of curves, six decimals; None for NaN."""
        return {
            f"{CURVE}{figure}": [None if np.isnan(value) else round(value, 6) for value in values.tolist()]
            for figure, values in self.figures.items()
        }


def from_curves(curves: Mapping[str, Sequence[float | None]], people: str) -> Resampled:
    """What `Resampled.curves` has written."""
    return Resampled({figure: np.array(curves[f"{CURVE}{figure}"], np.float64) for figure in FIGURES}, people)


def percentiles(values: np.ndarray) -> Interval | None:
    """The middle 95 % of resampled values (R,), undefined ones left out and counted.

    None where fewer than two are defined: of a handful of people, or of a network that makes all faces one.
    """
    defined = values[~np.isnan(values)]
    if len(defined) < 2:
        return None
    low, high = np.quantile(defined, [0.025, 0.975])
    left_out = f", {len(values) - len(defined)} undefined left out" * (len(defined) < len(values))
    return Interval(float(low), float(high), 0.95, f"bootstrap by identity ({len(values)} resamples{left_out})")


def paired_difference(first: Sequence[Resampled], second: Sequence[Resampled], figure: str) -> Interval | None:
    """The interval of first − second, each the mean over its runs (seeds), in the same resamples of people; None as `percentiles`.

    Raises InputError where they are not of the same people and resamples.
    """
    if len({(run.people, len(run.figures[figure])) for run in (*first, *second)}) != 1:
        raise InputError("a paired difference needs systems judged on the same people with the same resamples; these are not")
    means = [np.mean([run.figures[figure] for run in runs], axis=0) for runs in (first, second)]
    return percentiles(means[0] - means[1])


def draw_people(people: int, resamples: int, seed: int = 0) -> np.ndarray:
    """How often each person is drawn, float32 (R, P): the same for every system."""
    generator = np.random.Generator(np.random.PCG64(seed))
    drawn = [np.bincount(generator.integers(0, people, people), minlength=people) for _ in range(resamples)]
    return np.array(drawn, dtype=np.float32)


def resample(
    units: np.ndarray, labels: np.ndarray, exact: Mapping[str, float], resamples: int, seed: int = 0
) -> tuple[Resampled, Distributions]:
    """Figures of all comparisons i < j of unit vectors (N, D) of ``labels`` (N,) in resamples of people; and their distributions.

    ``exact``: figures on the set itself, by name; thresholds are laid around its "eer". A figure that they do not find again there, to
    `FOUND_AGAIN`, is undefined in all resamples: the scores of a network that makes all faces one lie between two thresholds.
    """
    order = np.argsort(labels, kind="stable")
    vectors, people = torch.from_numpy(units[order]), np.unique(labels[order], return_inverse=True)[1]
    impostors, distributions = _first_pass(vectors, people)
    shares = {"eer": max(exact["eer"], 1e-6), **FARS}
    sizes = np.bincount(people)
    factors = FEW_LEVELS if len(sizes) >= MANY_PEOPLE else MORE_LEVELS
    near = {_level(impostors, share * factor) for share in shares.values() for factor in factors}
    levels = np.array(sorted({*near, _above_all(impostors)}, reverse=True))
    itself = np.ones((1, len(sizes)), np.float32)
    draws = np.concatenate([itself, draw_people(len(sizes), resamples, seed)])
    accepted, rightly = _weights(vectors, people, levels.astype(np.float32), draws)
    with np.errstate(invalid="ignore", divide="ignore"):  # a resample may have no genuine comparison
        far = accepted / _impostor_weight(draws, sizes)[:, None]
        tar = rightly / (draws @ (sizes * (sizes - 1) / 2))[:, None]
    figures = {"eer": _equal_error_rates(far, tar), **{name: _rates_at(far, tar, share) for name, share in FARS.items()}}
    mark = f"{len(labels)} images, {len(sizes)} people, {hash_of(labels)}, seed {seed}"
    return Resampled({name: _known(values, exact.get(name)) for name, values in figures.items()}, mark), distributions


def _known(values: np.ndarray, exact: float | None) -> np.ndarray:
    """The resampled ones of ``values`` (1 + R,), of which the first is that of the set itself."""
    lost = exact is not None and not abs(values[0] - exact) <= FOUND_AGAIN  # also where it is undefined
    return np.full(len(values) - 1, np.nan) if lost else values[1:]


def hash_of(labels: np.ndarray) -> str:
    """8 hexadecimal digits of labels (N,)."""
    return hashlib.sha256(np.ascontiguousarray(labels, np.int64).tobytes()).hexdigest()[:8]


# ------------------------------------------------------------------------------------------------------------- counting

_FINE = 20_000


def _first_pass(vectors: torch.Tensor, people: np.ndarray) -> tuple[np.ndarray, Distributions]:
    """Counts of impostor scores in `_FINE` bins of [−1, 1], and the distributions."""
    counts, labels = np.zeros(2 * _FINE, np.int64), torch.from_numpy(people)
    for start in range(0, len(vectors), _ROWS):
        scores = vectors[start : start + _ROWS] @ vectors[start:].T
        codes = ((scores + 1) * (_FINE / 2)).to(torch.int64).clamp_(0, _FINE - 1)
        codes += _FINE * (labels[start : start + _ROWS].unsqueeze(1) == labels[start:])
        square = codes[:, : len(codes)]
        square[torch.ones_like(square).tril_().bool()] = 2 * _FINE  # no comparison i < j
        counts += torch.bincount(codes.view(-1), minlength=2 * _FINE + 1)[:-1].numpy()
    fine = {"impostor": counts[:_FINE], "genuine": counts[_FINE:]}
    centres = np.degrees(np.arccos((np.arange(_FINE) + 0.5) * 2 / _FINE - 1))
    coarse = {kind: counts.reshape(BINS, -1).sum(axis=1) for kind, counts in fine.items()}
    angles = {kind: _moments(centres, counts) for kind, counts in fine.items()}
    return fine["impostor"], Distributions(coarse["genuine"], coarse["impostor"], angles["genuine"], angles["impostor"])


def _moments(values: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    mean = float(values @ counts / counts.sum())
    return mean, float(np.sqrt((values - mean) ** 2 @ counts / counts.sum()))


def _level(counts: np.ndarray, share: float) -> float:
    """A threshold that about this ``share`` of the impostors reaches, of the edges of the fine bins."""
    above = np.cumsum(counts[::-1])
    bins = int(np.searchsorted(above, min(share, 1.0) * above[-1])) + 1
    return (_FINE - bins) * 2 / _FINE - 1


def _above_all(counts: np.ndarray) -> float:
    """A threshold that no impostor reaches."""
    return (int(np.flatnonzero(counts)[-1]) + 1) * 2 / _FINE - 1


def _weights(vectors: torch.Tensor, people: np.ndarray, levels: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Resampled weight (R, K) of the impostors, and of the genuines, at or above each of the descending levels. ``people`` (N,) ascend."""
    starts, weights = np.flatnonzero(np.diff(people, prepend=-1)), torch.from_numpy(draws)
    impostors, genuines = torch.zeros(2, len(draws), len(levels), dtype=torch.float64)
    for first, last in _blocks(starts, len(vectors)):
        begin, end = starts[first], starts[last] if last < len(starts) else len(vectors)
        counts = _reached(vectors[begin:end], vectors[begin:], torch.from_numpy(people[begin:] - first), levels)
        own = torch.arange(last - first)
        genuines += weights[:, first:last].double() @ (counts[own, own].double() / 2)
        counts[own.unsqueeze(1) >= torch.arange(counts.shape[1])] = 0  # not a < b
        beside = weights[:, first:] @ counts.transpose(0, 1).reshape(counts.shape[1], -1)  # (R, people of the block · K)
        impostors += (beside.view(len(draws), *counts[:, 0].shape) * weights[:, first:last, None]).sum(dim=1, dtype=torch.float64)
    return impostors.numpy(), genuines.numpy()


def _reached(vectors: torch.Tensor, others: torch.Tensor, people: torch.Tensor, levels: np.ndarray) -> torch.Tensor:
    """How many comparisons of each person of ``vectors`` with each of ``others``, which begin with them, reach each descending level.

    No image is compared with itself. float32 (people of ``vectors``, people of ``others``, K): no two people have 2²⁴ comparisons.
    """
    scores, kinds = vectors @ others.T, len(levels) + 1
    scores.fill_diagonal_(-2)  # each with itself, below all levels
    codes = torch.bucketize(scores.neg_(), torch.from_numpy(-levels))  # the first level it reaches
    codes += people.mul(kinds)
    rows, columns = int(people[len(vectors) - 1]) + 1, int(people[-1]) + 1
    codes += people[: len(vectors), None].mul(columns * kinds)
    counts = torch.bincount(codes.view(-1), minlength=rows * columns * kinds).view(rows, columns, kinds)
    return counts[:, :, :-1].float().cumsum(2)


def _blocks(starts: np.ndarray, count: int) -> Iterator[tuple[int, int]]:
    """People first … last − 1 whose embeddings are about `_ROWS`, or one person's that has more."""
    ends, first = np.append(starts[1:], count), 0
    while first < len(starts):
        last = max(first + 1, int(np.searchsorted(ends, starts[first] + _ROWS, side="right")))
        yield first, last
        first = last


def _impostor_weight(draws: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Σ_{a<b} w_a·w_b·n_a·n_b of each resample, (R,)."""
    images = draws.astype(np.float64) * sizes
    return (images.sum(axis=1) ** 2 - (images**2).sum(axis=1)) / 2


# -------------------------------------------------------------------------------------------------------- interpolation


def _rates_at(far: np.ndarray, tar: np.ndarray, share: float) -> np.ndarray:
    """TAR where FAR is ``share``: (R, K) ascending along the levels -> (R,), linear in log FAR between them, NaN outside them."""
    return _crossing(np.log(np.maximum(far, share / 100)) - np.log(share), tar)


def _equal_error_rates(far: np.ndarray, tar: np.ndarray) -> np.ndarray:
    """FAR where it equals 1 − TAR: (R, K) -> (R,)."""
    return _crossing(far - (1 - tar), far)


def _crossing(excess: np.ndarray, values: np.ndarray) -> np.ndarray:
    """``values`` (R, K) where the rising ``excess`` (R, K) crosses 0, linear between levels; NaN where it does not."""
    after = np.argmax(excess >= 0, axis=1)
    rows = np.arange(len(excess))
    low, high = excess[rows, after - 1], excess[rows, after]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(high > low, -low / (high - low), 0.0)
    found = values[rows, after - 1] + share * (values[rows, after] - values[rows, after - 1])
    found = np.where((after > 0) & (excess[rows, after] >= 0), found, np.nan)
    return np.where(excess[:, 0] == 0, values[:, 0], found)
