"""`compare_all`: exact error rates over all comparisons of a problem, however many, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from orthodrome.evaluation.intervals import RESAMPLES, wilson
from orthodrome.evaluation.outcome import Outcome
from orthodrome.evaluation.resolution import Rate, exact_far, small_counts_warning
from orthodrome.evaluation.roc import EqualErrorRate, RocCurve, TarAtFar
from orthodrome.evaluation.streaming.choice import choose_screen
from orthodrome.evaluation.streaming.counting import Work
from orthodrome.evaluation.streaming.exact import Crossing, Operating, Points, at_equal_errors, at_far, points, together
from orthodrome.evaluation.streaming.passes import State, mark_of, run_pass
from orthodrome.evaluation.streaming.pilot import DEVIATIONS, Pilot, pilot
from orthodrome.evaluation.streaming.resampling import identity_intervals, people_of
from orthodrome.evaluation.streaming.screens import Screen
from orthodrome.evaluation.streaming.sharing import tile_threads
from orthodrome.evaluation.streaming.sides import Comparison, Counts, comparison, count, side
from orthodrome.evaluation.streaming.tallies import Band, disjoint
from orthodrome.evaluation.streaming.tiles import Unit, check_vectors, most_memory, plan
from orthodrome.files import beside, check_writable
from orthodrome.types import InputError, Interval, PathLike, Progress, Report

ROC_SHARES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
"""Shares of impostors near which the full ROC has a point, where it is not known at every score."""

DENSE_SHARE = 0.003
"""Where a band reaches down to scores this share of impostors has, bands are counted on whole tiles."""

MOST_PASSES = 3

LONG = 2**28
"""Comparisons from which compiling pays."""

ALL_HELD, MOST_HELD, MOST_COMPARED = 2**17, 2**20, 2**33
"""Of so many comparisons a bootstrap by identity holds all; so many scores it may hold; of so many comparisons it makes one more pass."""

LEAST_MARGIN, MARGIN = 2, 10
"""How often the impostors that a figure accepts are held, where all are not: a resample's threshold may lie lower."""

EER = "EER"

Figure = Fraction | str
"""TAR at a FAR, or `EER`."""


@dataclass(frozen=True)
class StreamedRoc:
    """What `compare_all` found; every count is exact on canonical scores.

    ``rows``: TAR at each FAR asked for. ``roc``: exact operating points, at every distinct score where a FAR was asked for, and at a
    dozen more where the full ROC was, as is ``eer``. ``counts``: the comparisons. ``notes``: how they were counted.
    """

    rows: tuple[TarAtFar, ...]
    roc: RocCurve
    eer: EqualErrorRate | None
    counts: Counts
    notes: tuple[str, ...]

    def to_report(self) -> Report:
        """The same as a Report: metrics in plain JSON, the exact points of the ROC as a series."""
        metrics = {
            "tar_at_far": [{**asdict(row), "achieved": row.achieved} for row in self.rows],
            "counts": asdict(self.counts),
            **({"eer": asdict(self.eer)} if self.eer else {}),
        }
        return Report("all-comparisons", "All comparisons", metrics, {"roc": (self.roc.far, self.roc.tar)}, self.notes)

    def summary(self) -> str:
        """A few lines for the terminal."""
        return Outcome(self.to_report()).summary()


def compare_all(
    probes: ArrayLike,
    probe_labels: ArrayLike,
    gallery: ArrayLike | None = None,
    gallery_labels: ArrayLike | None = None,
    fars: Sequence[Rate] = (),
    *,
    probe_groups: ArrayLike | None = None,
    gallery_groups: ArrayLike | None = None,
    roc: bool = False,
    resamples: int = RESAMPLES,
    screen: str = "auto",
    workers: int = 1,
    state: PathLike | None = None,
    progress: Progress | None = None,
) -> StreamedRoc:
    """Count all ``probes`` (P, D) × all ``gallery`` (G, D), or, without a gallery, all pairs within the probes.

    Scores are never stored: tiles of products are screened in float32, bfloat16 or 8-bit integers, and what lies so near a threshold that
    rounding could decide is scored canonically, so that every count is that of brute force on canonical scores (`pair_scores`), whatever
    the screen, the tiles, the processes or the BLAS. Memory beside the embeddings stays below a gigabyte whatever P and G, for D ≤ 4096
    (`streaming_memory`); memory-mapped arrays are read in panels.

    Args:
        probes: embeddings, in memory or memory-mapped.
        probe_labels: people, integers (P,). Negative: unlike everyone of the gallery (a distractor); allowed on one side only.
        gallery: embeddings; None compares the probes among themselves, i < j.
        gallery_labels: people, integers (G,).
        fars: false accept rates asked for, each at least 1/impostors.
        probe_groups: integers (P,), such as media or templates: comparisons within one group are left out. Negative: none.
        gallery_groups: integers (G,).
        roc: also a few points over the whole ROC, and the equal error rate.
        resamples: of the people, for intervals by identity: one more pass, made where it holds at most a million scores; intervals are
            Wilson's elsewhere, as ``notes`` say, where resamples fall below the scores held, and where this is 0.
        screen: ``"fp32"``, ``"bf16"``, ``"int8"``, or ``"auto"``: whichever is fastest on this machine for what is asked.
        workers: processes that share the work.
        state: a file the count is saved to every half minute, between jobs of some seconds; where it exists, the count goes on from
            there. A further pass has one beside it. All are deleted at the end.
        progress: called with (comparisons done, all), anew in each pass; from one thread at a time, not always the same.

    Raises:
        InputError: shapes or types that do not fit, a zero, NaN or infinite embedding (row named), no genuine or no impostor comparison,
            a FAR that the impostors cannot resolve, a ``state`` of another comparison, or one that cannot be written. All before the
            first tile.
    """
    problem = _problem(probes, probe_labels, probe_groups, gallery, gallery_labels, gallery_groups)
    counts = count(problem)
    wanted = _wanted(counts, fars, roc)
    if workers < 1:
        raise InputError(f"workers must be at least 1; got {workers}")
    if resamples < 0 or resamples == 1:
        raise InputError(f"resamples must be at least 2, or 0 for intervals without; got {resamples}")
    check_vectors(problem)
    sample = pilot(problem, counts.counted)
    expected = wanted.bands(sample, DEVIATIONS)
    chosen = choose_screen(screen, problem, lambda error: sample.within(expected, error))
    cut, long = plan(problem), counts.counted > LONG

    states = _states(Path(state), mark_of(problem, cut, str(wanted))) if state else [None] * MOST_PASSES

    def one_pass(number: int, asked: _Wanted, deviations: float) -> Points:
        kept = states[number]
        bands = (kept and kept.bands()) or asked.bands(sample, deviations)
        work = Work(problem, chosen, bands, sample.reached_by(bands, DENSE_SHARE), long)
        counted = run_pass(work, cut, workers, kept, progress)
        return points(counted.genuine, counted.impostor)

    found = _search(wanted, counts, one_pass)
    holding = Work(problem, chosen, (), False, long)
    resampled = _by_identity(found, counts, sample, holding, cut.units, resamples, progress)
    for kept in states:
        if kept:
            kept.path.unlink(missing_ok=True)
    rows = tuple(_row(far, found.rows[far], counts, resampled.intervals.get(far)) for far in wanted.fars)
    eer = _eer(found.eer, counts, resampled.intervals.get(EER))
    return StreamedRoc(rows, _curve(found.points, counts), eer, counts, _notes(found, counts, chosen, resampled.missing))


def streaming_memory(dimension: int, probes: int) -> int:
    """The most bytes `compare_all` takes for so many ``probes``, beside the embeddings, the interpreter and its libraries.

    Panels, a tile in each thread and the pilot's sample; scores recorded one by one come on top, at 12 bytes for each distinct float32
    number.
    """
    return most_memory(dimension, probes, tile_threads(dimension))


# ----------------------------------------------------------------------------------------------------------- the search


@dataclass(frozen=True)
class _Wanted:
    """What was asked: FARs, and the full ROC with the equal error rate."""

    fars: tuple[Fraction, ...]
    roc: bool

    def bands(self, sample: Pilot, deviations: float) -> tuple[Band, ...]:
        """Where to look for all of it."""
        bands = [sample.band(float(far), deviations) for far in self.fars]
        if self.roc:
            bands += [sample.band_of_equal_errors(deviations), *(sample.point(share) for share in ROC_SHARES)]
        return disjoint(bands)


@dataclass
class _Found:
    """What has been found, and in how many passes."""

    rows: dict[Fraction, Operating]
    eer: Crossing | None
    points: Points
    passes: int


def _states(path: Path, mark: str) -> list[State]:
    """Of each pass that there may be: ``path``, then files beside it."""
    check_writable(path.parent)
    return [State(path if not number else beside(path, f".pass-{number + 1}"), mark) for number in range(MOST_PASSES)]


def _search(wanted: _Wanted, counts: Counts, one_pass: Callable[[int, _Wanted, float], Points]) -> _Found:
    """Passes until every threshold lay in its band: nearly always one, at most :data:`MOST_PASSES`: the last records every score."""
    found = _Found({}, None, Points(*(np.empty(0) for _ in range(4))), 0)
    for number, deviations in enumerate((DEVIATIONS, 8 * DEVIATIONS, math.inf)):
        left = _Wanted(tuple(far for far in wanted.fars if far not in found.rows), wanted.roc and found.eer is None)
        if not left.fars and not left.roc:
            break
        here = one_pass(number, left, deviations)
        rows = {far: at_far(here, far, counts.impostor) for far in left.fars}
        found.rows |= {far: row for far, row in rows.items() if row}
        if left.roc:
            found.eer = at_equal_errors(here, counts.genuine, counts.impostor)
        found.points = together(found.points, here)
        found.passes += 1
    return found


@dataclass(frozen=True)
class _Resampled:
    """Intervals by identity, and why the other figures have none."""

    intervals: Mapping[Figure, Interval]
    missing: Mapping[Figure, str]


def _by_identity(
    found: _Found,
    counts: Counts,
    sample: Pilot,
    work: Work,
    units: Sequence[Unit],
    resamples: int,
    progress: Progress | None,
) -> _Resampled:
    """Intervals of the figures whose resamples need few enough scores."""
    shares: dict[Figure, float] = {far: float(far) for far in found.rows} | ({EER: found.eer.rate} if found.eer else {})
    if not resamples:
        return _Resampled({}, dict.fromkeys(shares, "no resamples were asked for"))
    if people_of(work.problem).count < 2:
        return _Resampled({}, dict.fromkeys(shares, "by identity it takes two people or more"))
    most = _most_impostors(counts)
    held = [figure for figure, share in shares.items() if share * counts.impostor <= most]
    missing = dict.fromkeys(shares.keys() - held, "by identity too many scores would be held")
    if not held:
        return _Resampled({}, missing)
    fars = [figure for figure in held if isinstance(figure, Fraction)]
    level = _lowest(found, counts, sample, {figure: shares[figure] for figure in held})
    order: list[Figure] = [EER, *fars]
    found_intervals = identity_intervals(work, units, level, fars, resamples, progress)
    if found_intervals is None:
        return _Resampled({}, missing | dict.fromkeys(held, "too many scores are tied to be held"))
    resampled = zip(order, found_intervals, strict=True)
    intervals = {figure: interval for figure, interval in resampled if interval and figure in held}
    return _Resampled(
        intervals, missing | dict.fromkeys(set(held) - intervals.keys(), "too many resamples of people leave it open")
    )


def _most_impostors(counts: Counts) -> float:
    """How many impostors a figure may accept."""
    if counts.counted > MOST_COMPARED:
        return -1.0
    return counts.impostor if counts.counted <= ALL_HELD else (MOST_HELD - counts.genuine) / LEAST_MARGIN


def _lowest(found: _Found, counts: Counts, sample: Pilot, shares: Mapping[Figure, float]) -> float:
    """The lowest score of impostors to hold for figures that accept these ``shares``."""
    if counts.counted <= ALL_HELD:
        return -math.inf
    points = found.rows | ({EER: found.eer.point} if found.eer else {})
    share = min(MARGIN * max(shares.values()), (MOST_HELD - counts.genuine) / counts.impostor, 1.0)
    return min(sample.level(share), *(points[figure].threshold for figure in shares))


def _better(resampled: Interval | None, otherwise: Interval) -> Interval:
    """The interval by identity, unless there is none or no resample differs from another, so that it would claim certainty."""
    return resampled if resampled and resampled.low < resampled.high else otherwise


# ------------------------------------------------------------------------------------------------------- input and output


def _problem(
    probes: ArrayLike,
    probe_labels: ArrayLike,
    probe_groups: ArrayLike | None,
    gallery: ArrayLike | None,
    gallery_labels: ArrayLike | None,
    gallery_groups: ArrayLike | None,
) -> Comparison:
    searched = side(probes, probe_labels, probe_groups, "probe")
    if gallery is None:
        if gallery_labels is not None or gallery_groups is not None:
            raise InputError(
                "gallery_labels and gallery_groups need a gallery; without one the probes are compared among themselves"
            )
        return comparison(searched, None)
    if gallery_labels is None:
        raise InputError("a gallery needs gallery_labels, one per embedding")
    if (probe_groups is None) != (gallery_groups is None):
        raise InputError("groups are compared between both sides: give probe_groups and gallery_groups, or neither")
    return comparison(searched, side(gallery, gallery_labels, gallery_groups, "gallery"))


def _wanted(counts: Counts, fars: Sequence[Rate], roc: bool) -> _Wanted:
    if not counts.genuine or not counts.impostor:
        raise InputError(
            f"error rates need genuine and impostor comparisons; got {counts.genuine:,} genuine, {counts.impostor:,} impostor "
            f"and {counts.excluded:,} left out. Give several people, some with two images or more; between two sets, label people alike"
        )
    if not fars and not roc:
        raise InputError("nothing is asked for: give fars, such as [1e-3, 1e-6], or roc=True")
    return _Wanted(tuple(exact_far(far, counts.impostor) for far in fars), roc)


def _notes(found: _Found, counts: Counts, screen: Screen, missing: Mapping[Figure, str]) -> tuple[str, ...]:
    passes = "1 pass" if found.passes == 1 else f"{found.passes} passes"
    lines = [
        f"Every count is exact on canonical scores; {screen.name} products screened {counts.counted:,} comparisons in {passes}."
    ]
    if counts.excluded:
        lines.append(f"{counts.excluded:,} comparisons within one group were left out.")
    figures: list[Figure] = [*found.rows, *([EER] if found.eer else [])]
    for why in dict.fromkeys(missing.values()):
        named = [
            figure if isinstance(figure, str) else f"FAR {float(figure):g}" for figure in figures if missing.get(figure) == why
        ]
        which = f" of {', '.join(named)}" if len(named) < len(figures) else ""
        lines.append(f"Intervals{which} are Wilson's, which takes comparisons as independent: {why}.")
    return tuple(lines)


def _row(far: Fraction, point: Operating, counts: Counts, interval: Interval | None) -> TarAtFar:
    return TarAtFar(
        far=float(far),
        threshold=point.threshold,
        tar=point.genuine / counts.genuine,
        accepted_genuine=point.genuine,
        genuine=counts.genuine,
        accepted_impostor=point.impostor,
        impostor=counts.impostor,
        interval=_better(interval, wilson(point.genuine, counts.genuine)),
        warning=small_counts_warning(point.impostor, counts.impostor, point.genuine, counts.genuine),
    )


def _eer(crossing: Crossing | None, counts: Counts, interval: Interval | None) -> EqualErrorRate | None:
    if crossing is None:
        return None
    point, smaller = crossing.point, min(counts.genuine, counts.impostor)
    return EqualErrorRate(
        rate=crossing.rate,
        threshold=point.threshold,
        far=point.impostor / counts.impostor,
        frr=(counts.genuine - point.genuine) / counts.genuine,
        interval=_better(interval, wilson(crossing.rate * smaller, smaller)),
        warning=small_counts_warning(point.impostor, counts.impostor, point.genuine, counts.genuine),
    )


def _curve(found: Points, counts: Counts) -> RocCurve:
    """With the two ends of every ROC, where they are not among the points."""
    inner = np.isfinite(found.thresholds)
    ends = np.array([math.inf]), np.array([-math.inf])
    return RocCurve(
        np.concatenate([ends[0], found.thresholds[inner], ends[1]]),
        np.concatenate([[0], found.genuine[inner], [counts.genuine]]).astype(np.int64),
        np.concatenate([[0], found.impostor[inner], [counts.impostor]]).astype(np.int64),
    )
