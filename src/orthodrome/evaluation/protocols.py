"""The table of protocols: one row per name. A new protocol is its three functions and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from orthodrome.evaluation.pairs import read_pairs, resolve_pairs
from orthodrome.evaluation.verification import VerificationReport, verification_from_embeddings
from orthodrome.registry import Registry
from orthodrome.types import EmbeddingSet, PathLike


@dataclass(frozen=True)
class EvaluationProtocol:
    """How one protocol runs, in three steps.

    ``read``: its list file -> the list. ``images``: the list, the folder of images -> the images to embed,
    by id. ``evaluate``: their embeddings (ids as in ``images``), the list -> the result, with
    ``summary()`` and ``to_report()``.
    """

    name: str
    description: str
    read: Callable[[PathLike], Any]
    images: Callable[[Any, PathLike], Mapping[str, Path]]
    evaluate: Callable[[EmbeddingSet, Any], VerificationReport]


PROTOCOLS: Registry[EvaluationProtocol] = Registry("protocol")


def _add(name: str, description: str, title: str) -> None:
    evaluate = partial(verification_from_embeddings, protocol=name, title=title)
    PROTOCOLS.add(name, EvaluationProtocol(name, description, read_pairs, resolve_pairs, evaluate))


_add(
    "lfw",
    "LFW View 2: 10 folds of 300 + 300 pairs from pairs.txt; accuracy, EER, TAR@FAR",
    "LFW verification (View 2, unrestricted, labelled outside data)",
)
_add("pairs", "the same for any list in the form of LFW's pairs.txt", "k-fold verification")
