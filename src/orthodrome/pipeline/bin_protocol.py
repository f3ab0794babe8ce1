"""The protocol ``bin``: pairs whose images lie in the list itself, as insightface hands out its test sets."""

from __future__ import annotations

from functools import partial

import numpy as np

from orthodrome.data import VerificationSet, read_verification_set
from orthodrome.evaluation.conventions import cut_by_position
from orthodrome.evaluation.outcome import Result
from orthodrome.evaluation.pairs import ImagePath, Pairs
from orthodrome.evaluation.protocols.table import PROTOCOLS, EvaluationProtocol
from orthodrome.evaluation.protocols.verification import CONVENTION_OPTION, OWN, verify_in_order
from orthodrome.types import EmbeddingSet, ImageSource, PathLike

FOLDS = 10


def bin_images(found: VerificationSet, root: PathLike) -> dict[str, ImageSource]:
    """The images of the set by their keys; ``root`` is not read."""
    return dict(zip(found.keys(), found.images, strict=True))


def bin_pairs(found: VerificationSet) -> Pairs:
    """The pairs in the order of the set, in 10 folds cut by position, as insightface cuts them. The set names no people."""
    images = [ImagePath(key) for key in found.keys()]  # noqa: SIM118
    folds = sum(
        (number * inside for number, inside in enumerate(cut_by_position(len(found), FOLDS), start=1)), np.zeros(len(found), int)
    )
    return Pairs(tuple(images[::2]), tuple(images[1::2]), found.same, folds, np.arange(len(found)), found.source)


def evaluate_bin(embeddings: EmbeddingSet, found: VerificationSet, *, convention: str = OWN) -> Result:
    """k-fold verification of the set; see `orthodrome.evaluation.protocols.verification.verify_in_order`."""
    evaluate = partial(
        verify_in_order, protocol="bin", title=f"{found.source.rsplit('/', 1)[-1]} verification, folds by position"
    )
    return evaluate(embeddings, bin_pairs(found), convention=convention)


PROTOCOLS.add(
    "bin",
    EvaluationProtocol(
        "bin",
        "pairs with their images, as insightface hands out lfw.bin, cfp_fp.bin, agedb_30.bin",
        read_verification_set,
        bin_images,
        evaluate_bin,
        "the .bin file, read without running it",
        CONVENTION_OPTION,
        holds_images=True,
    ),
)
