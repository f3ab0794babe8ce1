"""What embeddings say about a set: images far from their person, and people who are in two sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from orthodrome.types import EmbeddingSet, InputError

_TILE = 4096


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Each row of (N, D) divided by its length, float32; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)


def class_centres(units: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Unit means (C, D) of unit rows (N, D) by label, each row counted ``weights`` (N,) times."""
    sums = np.zeros((int(labels.max()) + 1, units.shape[1]), np.float32)
    np.add.at(sums, labels, units if weights is None else units * weights[:, None].astype(np.float32))
    return unit_rows(sums)


def angles_to_centre(embeddings: EmbeddingSet, rounds: int = 3, trim: float = 75.0) -> np.ndarray:
    """Degrees (N,) between each embedding and the centre of its person, as sub-center ArcFace (Deng et al., 2020) uses to drop noise.

    The centre is the mean direction; in each further round images beyond ``trim`` degrees do not count, unless none would. (The paper
    takes the dominant of K learned sub-centres; means of embeddings need no such training.)

    Raises:
        InputError: an embedding has no label, or is not finite.
    """
    _check(embeddings)
    units, labels = unit_rows(embeddings.vectors), embeddings.labels
    centres = class_centres(units, labels)
    for _ in range(rounds - 1):
        near = _degrees(units, centres[labels]) <= trim
        trimmed = class_centres(units, labels, near)
        centres = np.where(np.abs(trimmed).sum(axis=1, keepdims=True) > 0, trimmed, centres)
    return _degrees(units, centres[labels])


@dataclass(frozen=True)
class Shared:
    """A person of one set who may be a person of another: the first image of each, and the cosine of their centres."""

    first: str
    second: str
    cosine: float


def shared_people(first: EmbeddingSet, second: EmbeddingSet, threshold: float) -> list[Shared]:
    """Pairs of people of two sets whose centres have a cosine of at least ``threshold``, most similar first.

    Raises:
        InputError: dimensions differ, embeddings have no labels or are not finite, or the threshold is no cosine.
    """
    if first.vectors.shape[1] != second.vectors.shape[1]:
        raise InputError(
            f"embeddings of one model are compared; got dimensions {first.vectors.shape[1]} and {second.vectors.shape[1]}"
        )
    if not -1 <= threshold <= 1:
        raise InputError(f"the threshold is a cosine in [−1, 1]; got {threshold}")
    (people, names), (others, other_names) = _people(first), _people(second)
    found = [
        Shared(names[i], other_names[j], round(float(cosine), 4))
        for start in range(0, len(people), _TILE)
        for i, j, cosine in _above(people[start : start + _TILE] @ others.T, threshold, start)
    ]
    return sorted(found, key=lambda pair: -pair.cosine)


def _above(cosines: np.ndarray, threshold: float, start: int) -> Iterator[tuple[int, int, float]]:
    for row, column in np.argwhere(cosines >= threshold).tolist():
        yield start + row, column, cosines[row, column]


def _people(embeddings: EmbeddingSet) -> tuple[np.ndarray, list[str]]:
    """Centres (C, D) of the people of a set, and the id of the first image of each."""
    _check(embeddings)
    _, first, labels = np.unique(embeddings.labels, return_index=True, return_inverse=True)
    return class_centres(unit_rows(embeddings.vectors), labels), [embeddings.ids[i] for i in first.tolist()]


def _check(embeddings: EmbeddingSet) -> None:
    """A number that is not finite would compare as neither near nor far, for its whole person."""
    if (embeddings.labels < 0).any():
        raise InputError("the embeddings have no labels; embed a set of identities: orthodrome embed MODEL SET -o set.npz")
    broken = np.flatnonzero(~np.isfinite(embeddings.vectors).all(axis=1))
    if broken.size:
        raise InputError(
            f"{broken.size} embeddings are not finite, the first of them {embeddings.ids[broken[0]]}; embed the set again"
        )


def _degrees(units: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return np.rad2deg(np.arccos(np.clip((units * centres).sum(axis=1), -1.0, 1.0)))
