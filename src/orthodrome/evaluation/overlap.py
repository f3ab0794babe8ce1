"""Overlap audit: are people of the test among those of the training? By name where there are names, by nearest embeddings where not."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from orthodrome.evaluation.listed import without_suffix
from orthodrome.evaluation.scores import unit_vectors
from orthodrome.evaluation.templates import pool
from orthodrome.types import EmbeddingSet, InputError

NEAREST = 20
"""How many of the nearest pairs of people an audit by embeddings lists."""

_NUMBER = re.compile(r"_\d{4}$")
_TOKEN = re.compile(r"[^\W_]+")


def people_of(embeddings: EmbeddingSet) -> tuple[str, ...]:
    """The person of each embedding (N,), as its id names it: the folder it lies in, or a file name without LFW's ``_0001``."""
    stems = [without_suffix(identifier) for identifier in embeddings.ids]
    return tuple(stem.split("/")[-2] if "/" in stem else _NUMBER.sub("", stem) for stem in stems)


def codes_among(names: Iterable[str]) -> int:
    """How many of the distinct ``names`` are numbers or codes, which say nothing about another set.

    A name has words, two letters or more that are not mixed with digits, and nobody else has the same ones: ``10000``, ``n000001``,
    ``m.0bh7c`` are codes, and all but one of ``person_0``, ``person_1``, … are.
    """
    distinct = {_plain(name): _words(name) for name in names}
    return len(distinct) - len({words for words in distinct.values() if len(words) > 1})


def overlap_by_name(train: Iterable[str], test: Iterable[str]) -> dict[str, Any]:
    """The people of both sets whose names agree without regard to case, accents, blanks, underscores, dots and dashes.

    Result, in plain JSON: ``method``, ``pairs`` of ``train`` and ``test`` names, ``text``.
    """
    trained = {_plain(name): name for name in train}
    tested = dict.fromkeys(test)
    pairs = [{"train": trained[_plain(name)], "test": name} for name in tested if _plain(name) in trained]
    text = f"{len(pairs):,} of {len(tested):,} test people have the name of one of {len(trained):,} training people"
    return {"method": "by name", "pairs": pairs, "text": text}


def overlap_by_embedding(
    train: EmbeddingSet,
    test: EmbeddingSet,
    threshold: float | None = None,
    listed: int = NEAREST,
    people: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The test people whose nearest training person scores at or above ``threshold`` (None: only the nearest ones); the nearest pairs,
    best first, to look at.

    Each person is the mean of their unit embeddings. ``people``: those of the test, one per embedding; of an empty name, the image stands
    for itself. None: as labels or ids tell. A threshold finds the people a model takes for one another, which are more than
    those who are: the pairs have to be looked at. Result as `overlap_by_name`, each pair with its ``score``. Raises InputError where a
    set has no labels, or both are not from one model (dimensions differ).
    """
    from orthodrome.evaluation.streaming import top_k  # imports torch

    named = (train, "training", None), (test, "test", people)
    names, vectors = zip(*(_templates(*side) for side in named), strict=True)
    nearest = top_k(vectors[1], vectors[0], 1)
    scores, rows = nearest.scores[:, 0], nearest.rows[:, 0]
    order = np.argsort(-scores, kind="stable")
    near = 0 if threshold is None else int((scores >= np.float32(threshold)).sum())
    shown = order[: max(near, listed)].tolist()
    pairs = [{"train": names[0][rows[i]], "test": names[1][i], "score": float(scores[i])} for i in shown]
    tested = "people" if people is None or all(people) else "images or people"
    sizes = f"{len(names[1]):,} test {tested} and {len(names[0]):,} training people"
    found = "" if threshold is None else f"{near:,} test {tested} score at or above {threshold:.4f} with a training one; "
    text = f"{sizes}: {found}nearest are {pairs[0]['test']} and {pairs[0]['train']}, {pairs[0]['score']:.4f}"
    return {"method": "by nearest embeddings (means of unit embeddings)", "pairs": pairs, "text": text}


def _templates(embeddings: EmbeddingSet, what: str, given: Sequence[str] | None) -> tuple[list[str], np.ndarray]:
    if given is None:
        people: Sequence[str] = people_of(embeddings)
    else:
        people = [name or identifier for name, identifier in zip(given, embeddings.ids, strict=True)]
    by_name = given is not None or (embeddings.labels < 0).any()
    labels = np.unique(np.array(people), return_inverse=True)[1] if by_name else embeddings.labels
    if not len(labels):
        raise InputError(f"the {what} set has no embeddings")
    _, vectors = pool(unit_vectors(embeddings.vectors, embeddings.ids), labels)
    first = np.unique(labels, return_index=True)[1]
    return [people[row] for row in first.tolist()], vectors


def _words(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name).casefold()
    return "".join(token for token in _TOKEN.findall(letters) if token.isalpha())


def _plain(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name).casefold()
    return "".join(letter for letter in letters if letter.isalnum())
