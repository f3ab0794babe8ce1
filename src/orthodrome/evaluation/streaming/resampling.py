"""Bootstrap by identity over all comparisons, of which only the highest scores are held.

What a resample of people needs of the impostors below is their weight alone, and that is known without looking at them: n_a·w_a items of
person a meet n_b·w_b of person b. They stand in the ranking as one comparison that scores below all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain

import numpy as np
import torch

from orthodrome.evaluation.intervals import pair_weights, percentiles, resampled_people
from orthodrome.evaluation.roc import roc_statistics
from orthodrome.evaluation.streaming.counting import Work, canonical, genuine_positions, impostors_at, narrowed, peaks
from orthodrome.evaluation.streaming.sharing import in_threads, tile_threads
from orthodrome.evaluation.streaming.sides import Comparison, Lookup
from orthodrome.evaluation.streaming.tiles import Cut, Tile, Unit, comparisons, cuts_of, room_for, told
from orthodrome.types import Interval, Progress

MOST = 2**22
"""The most scores held. As many are asked for as a quarter of it; more are there where they tie."""

BELOW = np.float32(-3)
"""The score of the impostors that are not held: below every canonical score."""

_SAFETY = 1 + 1e-9  # a share of a whole is rounded

MOST_OPEN = 0.01
"""The share of resamples that may leave a figure open: they are not like the others, and without them the interval is off."""


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
    work: Work,
    units: Sequence[Unit],
    level: float,
    fars: Sequence[Fraction],
    resamples: int,
    progress: Progress | None = None,
) -> list[Interval | None] | None:
    """Percentile intervals of the EER, and of TAR at each of ``fars``; None where more than :data:`MOST_OPEN` of all leave it open,
    and for all where ties make more scores reach ``level`` than are held.

    ``level``: the lowest score of impostors to hold. A resample whose threshold lies below it leaves its figure open.
    """
    people = people_of(work.problem)
    held = hold(work, units, level, people, progress)
    if held is None:
        return None
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
        shares = zip(values, (values["EER"], *map(float, fars)), strict=True)
        accepted = {
            name: np.floor(share * total * _SAFETY) for name, share in shares
        }  # as many as are held: what is below decides too
        return {name: np.where((accepted[name] >= known) & (known < total), np.inf, values[name]) for name in values}

    values = resampled_people(people.count, of_draws, len(order), resamples=resamples)
    return [_interval(found, name) for name, found in values.items()]


def _interval(values: np.ndarray, name: str) -> Interval | None:
    """Of resampled ``values`` (R,): infinite where open, NaN where undefined."""
    if np.isinf(values).mean() > MOST_OPEN or not np.isfinite(values).any():
        return None
    return percentiles(np.where(np.isinf(values), np.nan, values), name)


def hold(work: Work, units: Sequence[Unit], level: float, people: People, progress: Progress | None = None) -> Held | None:
    """One pass over all comparisons, keeping what reaches ``level`` and all genuines; None where that is more than :data:`MOST`."""
    count = 0

    def kept(cuts: Iterator[tuple[int, Cut]]) -> list[tuple[int, Held]]:
        nonlocal count
        room, found = room_for(work.screen), []
        for number, cut in cuts:
            found.append((number, _held_of(work, cut.scored(room), level, people)))
            count += len(found[-1][1].scores)
            if count > MOST:
                break
        return found

    report, total = progress or (lambda done, total: None), sum(comparisons(work.problem, unit) for unit in units)
    report(0, total)
    cuts = enumerate(told(cuts_of(work.problem, work.screen, units, torch.get_num_threads()), report, 0, total))
    parts = sorted(
        chain(*in_threads(cuts, kept, tile_threads(work.problem.dimension))), key=lambda part: part[0]
    )  # in one order, whichever thread had which
    if count > MOST:
        return None
    columns = zip(*((part.scores, part.same, part.people) for _, part in parts), strict=True)
    return Held(*map(np.concatenate, columns))


def _held_of(work: Work, tile: Tile, level: float, people: People) -> Held:
    lowest = tile.rounding.lowest(torch.tensor(level, dtype=torch.float64))
    rows, columns = impostors_at(work.problem, tile, peaks(tile.scores, lowest)).positions
    likely = np.logical_or(*narrowed(tile, (rows, columns), np.full(len(rows), level)))
    impostors = rows[likely], columns[likely]
    parts = []
    for same, (rows, columns) in ((True, genuine_positions(work.problem, tile)), (False, impostors)):
        scores = canonical(tile, (rows, columns))
        kept = slice(None) if same else scores >= level
        codes = np.stack([people.probes[tile.rows][rows], people.gallery[tile.columns][columns]], axis=1)
        parts.append((scores[kept], np.full(len(scores[kept]), same), codes[kept]))
    return Held(*map(np.concatenate, zip(*parts, strict=True)))


def people_of(problem: Comparison) -> People:
    """Those of both sides."""
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
