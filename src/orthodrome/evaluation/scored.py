"""Scored pairs with all that is known of them: what a report draws from, and what two runs are compared on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from orthodrome.evaluation.checks import same_array, score_array
from orthodrome.types import InputError

KINDS = ("genuine", "impostor")


@dataclass(frozen=True)
class ScoredPairs:
    """``scores`` (N,) and ``same`` bool (N,), with what is known beside them.

    ``folds`` (N,): names as strings, empty for a pair outside every fold. ``identities`` int (N, 2): codes
    of the two people, or None. ``rows`` int (N, 2): the two images of each pair, as places in ``names``
    (M,), or None.
    """

    scores: np.ndarray
    same: np.ndarray
    folds: np.ndarray
    identities: np.ndarray | None = None
    rows: np.ndarray | None = None
    names: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def of_kind(self, kind: str) -> np.ndarray:
        """The scores of the ``genuine`` or of the ``impostor`` pairs."""
        return self.scores[self.same == (kind == "genuine")]

    def take(self, positions: np.ndarray) -> ScoredPairs:
        """The pairs at ``positions`` (indices or a mask)."""
        people, rows = (None if array is None else array[positions] for array in (self.identities, self.rows))
        return ScoredPairs(self.scores[positions], self.same[positions], self.folds[positions], people, rows, self.names)

    def in_folds(self) -> ScoredPairs:
        """The pairs that lie in some fold."""
        return self.take(self.folds != "")

    def ids(self, position: int) -> tuple[str, str] | None:
        """The names of the two images of one pair, where they are known."""
        if self.rows is None or self.names is None:
            return None
        first, second = self.names[self.rows[position]].tolist()
        return first, second

    def series(self) -> dict[str, np.ndarray]:
        """As arrays by name, the kinds apart: ``genuine``, ``genuine_folds``, …, ``ids``; see `from_series`."""
        found: dict[str, np.ndarray] = {}
        for kind in KINDS:
            part = self.take(self.same == (kind == "genuine"))
            columns = {"": part.scores, "_folds": part.folds, "_identities": part.identities, "_ids": part.rows}
            found |= {kind + suffix: array for suffix, array in columns.items() if array is not None}
        return found if self.names is None else {**found, "ids": self.names}


def from_series(series: Mapping[str, Any]) -> ScoredPairs | None:
    """The scored pairs in the series of a report, genuines first; None where it holds no scores.

    Scores: ``genuine`` (G,), ``impostor`` (I,). Optional, for both kinds: ``…_folds`` (strings),
    ``…_identities`` (N, 2), and ``…_ids`` (N, 2), image names or places in a series ``ids`` (M,). Raises
    InputError on a shape that does not fit, or where only one kind has an optional array.
    """
    if not set(KINDS) <= series.keys():
        return None
    scores = [score_array(series[kind], f"{kind} scores") for kind in KINDS]
    counts = [len(part) for part in scores]
    folds = _joined(series, "folds", counts, width=1)
    rows, names = _rows(_joined(series, "ids", counts, width=2), series.get("ids"))
    return ScoredPairs(
        np.concatenate(scores),
        same_array(np.arange(sum(counts)) < counts[0], sum(counts)),
        np.full(sum(counts), "") if folds is None else folds.astype(str),
        _joined(series, "identities", counts, width=2),
        rows,
        names,
    )


def _joined(series: Mapping[str, Any], name: str, counts: list[int], width: int) -> np.ndarray | None:
    keys = [f"{kind}_{name}" for kind in KINDS]
    held = [key in series for key in keys]
    if not any(held):
        return None
    if not all(held):
        raise InputError(f"series must hold both {keys[0]} and {keys[1]}; got only {keys[held.index(True)]}")
    parts = [np.asarray(series[key]) for key in keys]
    for key, part, count in zip(keys, parts, counts, strict=True):
        if part.shape != ((count,) if width == 1 else (count, width)):
            raise InputError(f"{key} must have one row of {width} for each of the {count} scores; got shape {part.shape}")
    return np.concatenate(parts)


def _rows(ids: np.ndarray | None, names: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Ids (N, 2), names or places in ``names`` -> places and the names."""
    if ids is None:
        return None, None
    if ids.dtype.kind not in "iu":
        found, places = np.unique(ids.astype(str), return_inverse=True)
        return places.reshape(ids.shape), found
    known = np.asarray(() if names is None else names, dtype=str)
    if ids.size and not 0 <= ids.min() <= ids.max() < len(known):
        raise InputError(
            f"ids of pairs must be places in the series 'ids', 0 to {len(known) - 1}; got {ids.min()} to {ids.max()}"
        )
    return ids, known
