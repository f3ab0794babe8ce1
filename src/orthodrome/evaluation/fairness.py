"""Fairness: the error rates of each group of people at one threshold for all, and how far they lie apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from orthodrome.evaluation.checks import identity_codes, same_array, score_array
from orthodrome.evaluation.intervals import wilson
from orthodrome.evaluation.resolution import Rate
from orthodrome.evaluation.roc import TarAtFar, tar_at_far
from orthodrome.types import InputError, Interval


@dataclass(frozen=True)
class GroupRates:
    """FMR and FNMR of one group at the common threshold, with counts and Wilson intervals; None where it has no such comparisons."""

    group: str
    fmr: float | None
    accepted_impostor: int
    impostor: int
    fmr_interval: Interval | None
    fnmr: float | None
    rejected_genuine: int
    genuine: int
    fnmr_interval: Interval | None


@dataclass(frozen=True)
class FairnessReport:
    """What `fairness` found: the ``overall`` rates that chose the ``threshold``, each group's, and the ``ratios`` between groups."""

    threshold: float
    overall: TarAtFar
    groups: tuple[GroupRates, ...]
    ratios: dict[str, float | None]

    def metrics(self) -> dict[str, Any]:
        """In plain JSON, under ``fairness``, with ``tar_at_far`` of everybody beside."""
        found = {"threshold": self.threshold, "groups": [asdict(row) for row in self.groups], "ratios": dict(self.ratios)}
        return {"tar_at_far": [{**asdict(self.overall), "achieved": self.overall.achieved}], "fairness": found}


def fairness(
    scores: ArrayLike,
    same: ArrayLike,
    groups: ArrayLike,
    far: Rate = 0.001,
    alpha: float = 0.5,
    identities: ArrayLike | None = None,
) -> FairnessReport:
    """Error rates by group at the one threshold whose FAR over all impostor pairs is at most ``far``.

    ``scores`` (N,), ``same`` (N,), ``groups`` (N, 2): the group of each person of the pair. FMR of a group: pairs of two different people
    who are both of it; pairs across groups choose the threshold too, and count for no group. FNMR: its genuine pairs. Ratios over the
    groups that have the comparisons: largest over smallest, and largest over geometric mean (NIST IR 8429, 2022), undefined (None) where
    a rate is 0; and the fairness discrepancy rate FDR = 1 − (α·max|ΔFMR| + (1 − α)·max|ΔFNMR|), 1 where all groups are alike
    (Pereira & Marcel, "Fairness in biometrics", T-BIOM 2021).

    With ``identities`` (N, 2), the people of each pair, the interval of the overall TAR is a bootstrap by identity as in `tar_at_far`;
    those of groups are Wilson's. Raises InputError where a group is missing or a genuine pair has two groups, with fewer than two
    groups, and as `tar_at_far`.
    """
    values = score_array(scores)
    genuine = same_array(same, len(values))
    names = np.asarray(groups).astype(str)
    if names.shape != (len(values), 2):
        raise InputError(f"groups must have shape ({len(values)}, 2), one per person of a pair; got {names.shape}")
    mixed = np.flatnonzero(genuine & (names[:, 0] != names[:, 1]))
    if mixed.size:
        one, other = names[mixed[0]].tolist()
        raise InputError(f"pair {mixed[0]} is of one person, whose group is both {one!r} and {other!r}")
    codes = None if identities is None else identity_codes(identities, genuine)
    people = (None, None) if codes is None else (codes[genuine], codes[~genuine])
    overall = tar_at_far(values[genuine], values[~genuine], [far], *people)[0]
    accepted = values >= values.dtype.type(overall.threshold)
    within = names[:, 0] == names[:, 1]
    rows = tuple(_group(str(name), within & (names[:, 0] == name), genuine, accepted) for name in np.unique(names))
    if len(rows) < 2:
        raise InputError(f"fairness compares groups; got one, {rows[0].group!r}")
    return FairnessReport(overall.threshold, overall, rows, _ratios(rows, alpha))


def _group(name: str, members: np.ndarray, genuine: np.ndarray, accepted: np.ndarray) -> GroupRates:
    mated, strangers = members & genuine, members & ~genuine
    wrong, rejected = int((strangers & accepted).sum()), int((mated & ~accepted).sum())
    impostors, genuines = int(strangers.sum()), int(mated.sum())
    return GroupRates(
        group=name,
        fmr=wrong / impostors if impostors else None,
        accepted_impostor=wrong,
        impostor=impostors,
        fmr_interval=wilson(wrong, impostors) if impostors else None,
        fnmr=rejected / genuines if genuines else None,
        rejected_genuine=rejected,
        genuine=genuines,
        fnmr_interval=wilson(rejected, genuines) if genuines else None,
    )


def _ratios(rows: Sequence[GroupRates], alpha: float) -> dict[str, float | None]:
    fmrs = [row.fmr for row in rows if row.fmr is not None]
    fnmrs = [row.fnmr for row in rows if row.fnmr is not None]
    found: dict[str, float | None] = {}
    for name, values in (("FMR", fmrs), ("FNMR", fnmrs)):
        defined = len(values) > 1 and min(values) > 0
        mean = math.exp(sum(map(math.log, values)) / len(values)) if defined else 0.0
        found[f"{name} max/min"] = max(values) / min(values) if defined else None
        found[f"{name} max/geometric mean"] = max(values) / mean if defined else None
    if len(fmrs) > 1 and len(fnmrs) > 1:
        found["FDR"] = 1 - alpha * (max(fmrs) - min(fmrs)) - (1 - alpha) * (max(fnmrs) - min(fnmrs))
    return found
