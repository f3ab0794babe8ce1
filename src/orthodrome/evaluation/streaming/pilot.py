"""Where the thresholds will lie, from a small sample of the comparisons: it decides what is recorded, never what is counted.

The sample is some probes × some of the gallery, drawn by a fixed seed. The share of impostors at or above a level is read off it with
the error of such a crossed sample, √(s_r²/R + s_c²/C), where s_r and s_c are the standard deviations of the share over its rows and
columns. A pass then verifies that each threshold lay in its band; where one did not, the band is widened and the pass repeated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from orthodrome.evaluation.scores import canonical_scores, unit_vectors
from orthodrome.evaluation.streaming.screens import FLOAT32, bound
from orthodrome.evaluation.streaming.sides import Comparison, Lookup
from orthodrome.evaluation.streaming.tallies import Band

SAMPLE = (2**16, 2**24)
"""Fewest and most comparisons of the sample; between, one in a hundred of all."""

PILOT_BYTES = 3 * 4 * SAMPLE[1]
"""Memory of the largest sample: its scores, the impostors among them, and their sorted copy."""

GENUINE_PROBES, GENUINE = 2**11, 2**13
"""Most probes whose genuine comparisons are sampled, and most of these."""

DEVIATIONS = 6.0
"""Standard errors to either side of a share that a band covers at the first try."""


@dataclass(frozen=True, eq=False)
class Pilot:
    """Sampled scores (R, C), −inf where no impostor; the impostors among them, descending; how far they are from canonical ones."""

    scores: np.ndarray
    descending: np.ndarray
    error: float
    draw_genuine: Callable[[], np.ndarray]

    @cached_property
    def genuine(self) -> np.ndarray:
        """Canonical scores of some genuine comparisons, made where they are asked for."""
        return self.draw_genuine()

    def level(self, share: float) -> float:
        """The score that this share of impostors reaches."""
        return float(self.descending[min(int(share * len(self.descending)), len(self.descending) - 1)])

    def spread(self, share: float) -> float:
        """Standard error of the share of impostors that reach `level`."""
        reached = self.scores >= self.level(share)
        rows, columns = reached.mean(axis=1), reached.mean(axis=0)
        return math.sqrt(rows.var() / len(rows) + columns.var() / len(columns))

    def band(self, share: float, deviations: float, error: float = 0.0) -> Band:
        """The scores that ``share`` of impostors may turn out to reach: ``deviations`` standard errors to either side.

        ``error``: that of the share itself. All scores, where the sample says nothing.
        """
        count = len(self.descending)
        if count <= deviations:
            return Band(-math.inf, math.inf)
        off = deviations * (self.spread(share) + math.sqrt(share / count) + error) + deviations / count
        low = self.level(share + off) - self.error if share + off < 1 else -math.inf
        high = self.level(share - off) + self.error if (share - off) * count >= 1 else math.inf
        return Band(_float32(low), _float32(high))

    def within(self, bands: Sequence[Band], error: float) -> float:
        """The share of impostors in ``bands``, or within ``error`` of their ends."""
        if not len(self.descending):
            return 1.0
        ends = np.array([[band.low - error, band.high + error] for band in bands])
        inside = np.searchsorted(-self.descending, -ends, side="right")
        return float((inside[:, 0] - inside[:, 1]).sum()) / len(self.descending)

    def reached_by(self, bands: Sequence[Band], share: float) -> bool:
        """Whether one of ``bands`` reaches down to what this share of impostors scores."""
        return not len(self.descending) or any(band.low < self.level(share) for band in bands)

    def point(self, share: float) -> Band:
        """An empty band at the level of a share: one point of the ROC."""
        level = _float32(self.level(share))
        return Band(level, level)

    def band_of_equal_errors(self, deviations: float) -> Band:
        """Where the share of impostors at or above meets the share of genuines below."""
        levels = np.sort(self.genuine)
        if not len(levels) or not len(self.descending):
            return Band(-math.inf, math.inf)
        accepted = np.searchsorted(-self.descending, -levels, side="right") / len(self.descending)
        rejected = np.arange(len(levels)) / len(levels)
        share = float(accepted[np.argmin(np.abs(accepted - rejected))])
        return self.band(share, deviations, math.sqrt((share + 1 / len(levels)) / len(levels)))


def pilot(problem: Comparison, comparisons: int) -> Pilot:
    """Sample about one in a hundred of ``comparisons``."""
    wanted = min(max(comparisons // 100, SAMPLE[0]), SAMPLE[1])
    generator = np.random.Generator(np.random.PCG64(0))
    rows = _drawn(generator, len(problem.probes), math.isqrt(wanted))
    columns = _drawn(generator, len(problem.gallery), max(1, wanted // len(rows)))
    probes, gallery = problem.probes, problem.gallery
    panels = [FLOAT32.panel(unit_vectors(part.vectors[chosen])) for part, chosen in ((probes, rows), (gallery, columns))]
    scores = (panels[0].factors @ panels[1].factors.T).numpy()
    others = [
        Lookup(theirs[columns]).matches(ours[rows])
        for ours, theirs in ((probes.labels, gallery.labels), (probes.groups, gallery.groups))
    ]
    if problem.within:
        others.append(Lookup(columns).matches(rows))
    for positions in others:
        scores[positions] = -np.inf
    impostors = np.sort(scores[scores > -np.inf])[::-1]
    return Pilot(scores, impostors, bound(*panels), partial(_genuine, problem, generator))


def _genuine(problem: Comparison, generator: np.random.Generator) -> np.ndarray:
    """Canonical scores of the genuine comparisons of some probes."""
    probes, gallery = problem.probes, problem.gallery
    mated = np.flatnonzero(np.isin(probes.labels, gallery.labels) & (probes.labels >= 0))
    rows = mated[_drawn(generator, len(mated), GENUINE_PROBES)]
    within, columns = Lookup(gallery.labels).matches(probes.labels[rows])
    rows = rows[within]
    counted = (probes.groups[rows] != gallery.groups[columns]) | (probes.groups[rows] < 0)
    if problem.within:
        counted &= rows != columns
    kept = np.flatnonzero(counted)
    kept = kept[_drawn(generator, len(kept), GENUINE)]
    return canonical_scores(probes.vectors[rows[kept]], gallery.vectors[columns[kept]])


def _drawn(generator: np.random.Generator, total: int, count: int) -> np.ndarray:
    return np.sort(generator.choice(total, min(count, total), replace=False))


def _float32(level: float) -> float:
    return float(np.float32(level))
