"""Bootstrap by identity over all comparisons, of which only the highest scores are held.

What a resample of people needs of the impostors below is their weight alone, and that is known without looking at them: n_a·w_a items of
person a meet n_b·w_b of person b. They stand in the ranking as one comparison that scores below all others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from orthodrome.evaluation.intervals import bootstrap_people, pair_weights
from orthodrome.evaluation.roc import roc_statistics
from orthodrome.evaluation.streaming.counting import Work, canonical, genuine_positions, impostors_at, peaks
from orthodrome.evaluation.streaming.sides import Comparison, Lookup
from orthodrome.evaluation.streaming.tiles import Unit, tiles_of
from orthodrome.types import Interval

BELOW = np.float32(-3)
"""The score of the impostors that are not held: below every canonical score."""


@dataclass(frozen=True, eq=False)
class Held:
    """Canonical ``scores`` (N,) of all genuines and of the impostors at or above a level, and the codes (N, 2) of their people."""

    scores: np.ndarray
    same: np.ndarray
    people: np.ndarray


@dataclass(frozen=True, eq=False)
class People:
    """Codes of the people on both sides, in [0, count); ``count`` itself for items unlike everyone, which are never resampled."""

    probes: np.ndarray
    gallery: np.ndarray
    count: int


def identity_intervals(
    work: Work, units: Sequence[Unit], level: float, fars: Sequence[Fraction], resamples: int
) -> dict[str, Interval]:
    """Percentile intervals of TAR at each of ``fars`` and of the EER, by the names that `roc_statistics` gives.

    ``level``: the lowest score of impostors to hold. A resample whose threshold falls below it leaves its TAR undefined.
    """
    people = _people(work.problem)
    held = hold(work, units, level, people)
    order, statistics = roc_statistics(np.append(held.scores, BELOW), np.append(held.same, False), fars)
    pairs, genuines = held.people[order[:-1]], int(held.same.sum())  # genuines, then impostors, and those not held at the end
    others = _excluded_impostors(work.problem, people)

    def of_draws(draws: np.ndarray) -> Mapping[str, np.ndarray]:
        draws = np.append(draws, np.ones((len(draws), 1)), axis=1)
        weights = np.empty((len(draws), len(order)))
        weights[:, :-1] = pair_weights(draws, pairs)
        known = weights[:, genuines:-1].sum(axis=1)
        total = _impostor_weight(work.problem, people, draws) - pair_weights(draws, others).sum(axis=1)
        weights[:, -1] = total - known
        values = statistics(weights)
        reached = [known >= np.floor(share * total) for share in (0.0, *map(float, fars))]  # the EER's own share is not known
        return {name: np.where(enough, values[name], np.nan) for enough, name in zip(reached, values, strict=True)}

    return bootstrap_people(people.count, of_draws, len(order), resamples=resamples)


def hold(work: Work, units: Sequence[Unit], level: float, people: People) -> Held:
    """One pass over all comparisons, keeping what reaches ``level`` and all genuines."""
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = [
        (np.empty(0, np.float32), np.empty(0, bool), np.empty((0, 2), np.int64))
    ]
    for tile in tiles_of(work.problem, work.screen, units):
        lowest = work.screen.rounded(level - tile.error)
        impostors = impostors_at(work.problem, tile, peaks(tile.scores, lowest)).positions
        for same, (rows, columns) in ((True, genuine_positions(work.problem, tile)), (False, impostors)):
            scores = canonical(work, tile, (rows, columns))
            kept = slice(None) if same else scores >= level
            codes = np.stack([people.probes[tile.rows][rows], people.gallery[tile.columns][columns]], axis=1)
            parts.append((scores[kept], np.full(len(scores[kept]), same), codes[kept]))
    return Held(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _people(problem: Comparison) -> People:
    labels = np.concatenate([problem.probes.labels, problem.gallery.labels])
    names = np.unique(labels[labels >= 0])
    codes = [
        np.where(side.labels < 0, len(names), np.searchsorted(names, side.labels)) for side in (problem.probes, problem.gallery)
    ]
    return People(codes[0], codes[1], len(names))


def _impostor_weight(problem: Comparison, people: People, draws: np.ndarray) -> np.ndarray:
    """Σ w_a·w_b over all comparisons of two people: draws (R, count + 1) -> (R,)."""
    size = people.count + 1
    probes, gallery = (draws * np.bincount(codes, minlength=size) for codes in (people.probes, people.gallery))
    same = (probes * gallery)[:, :-1].sum(axis=1)  # items unlike everyone are unlike each other
    everyone = probes.sum(axis=1) * gallery.sum(axis=1)
    if problem.within:
        return (everyone - same - probes[:, -1]) / 2  # at most one is unlike everyone, and it is not compared with itself
    return everyone - same


def _excluded_impostors(problem: Comparison, people: People) -> np.ndarray:
    """The people (N, 2) of comparisons of two people within one group."""
    rows, columns = Lookup(problem.gallery.groups).matches(problem.probes.groups)
    first, second = people.probes[rows], people.gallery[columns]
    kept = (first != second) | (first == people.count)
    if problem.within:
        kept &= rows < columns
    return np.stack([first[kept], second[kept]], axis=1)
