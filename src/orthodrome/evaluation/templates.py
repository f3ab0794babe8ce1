"""Templates: one vector for several images of a person, as IJB-B, IJB-C and video sets compare them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from orthodrome.evaluation.scores import unit_vectors
from orthodrome.registry import Registry
from orthodrome.types import InputError

Weighting = Callable[[np.ndarray, "np.ndarray | None"], np.ndarray]
"""Raw embeddings (N, D), detector scores (N,) or None -> what is averaged, (N, D)."""

WEIGHTINGS: Registry[Weighting] = Registry("weighting")
"""What each image of a template weighs. ``equal``: unit vectors. ``norm``: embeddings as the network gives them, so that a longer one
weighs more. ``detector``: unit vectors times the detector's score. ``norm+detector``: both, as insightface's scripts do.
"""

WEIGHTINGS.add("equal", lambda vectors, scores: unit_vectors(vectors))
WEIGHTINGS.add("norm", lambda vectors, scores: vectors)
WEIGHTINGS.add("detector", lambda vectors, scores: unit_vectors(vectors) * _column(scores))
WEIGHTINGS.add("norm+detector", lambda vectors, scores: vectors * _column(scores))


def pool(vectors: np.ndarray, templates: np.ndarray, media: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Template ids (T,), ascending, and their vectors float32 (T, D), from (N, D) of images with ``templates`` and ``media`` (N,).

    Mean within each media of a template (all frames of a video count as one), sum over its media; without ``media`` every image is one
    of its own. Sums in float64. The L2 normalisation of the protocol is that of the canonical score, made once, when they are compared.
    """
    own = np.arange(len(vectors)) if media is None else media
    pairs, of_row = np.unique(np.stack([templates, own], axis=1), axis=0, return_inverse=True)
    of_row = of_row.reshape(-1)
    means = _sums(vectors, of_row, len(pairs)) / np.bincount(of_row)[:, None]
    names, of_pair = np.unique(pairs[:, 0], return_inverse=True)
    return names, _sums(means, of_pair, len(names)).astype(np.float32)


def _sums(rows: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """Sums (count, D) of the rows of each group, in float64; each group has a row."""
    order = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[order], np.arange(count))
    sums: np.ndarray = np.add.reduceat(rows[order].astype(np.float64), starts, axis=0)
    return sums


def _column(scores: np.ndarray | None) -> np.ndarray:
    if scores is None:
        raise InputError(
            "this weighting needs the detector's scores: put the list of names, points and scores beside the other lists"
        )
    return np.asarray(scores, dtype=np.float32)[:, None]
