"""What is in a set, before anything is trained on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orthodrome.data.problems import Problem
from orthodrome.data.protocol import ImageReader
from orthodrome.types import InputError


@dataclass(frozen=True)
class SetSummary:
    """People and images of a set.

    ``fewest``, ``median`` and ``most`` are images per person; ``singles`` counts the people who have one; ``left_out`` is what could
    not be used.
    """

    people: int
    images: int
    fewest: int
    median: float
    most: int
    singles: int
    left_out: Sequence[Problem] = ()

    def __str__(self) -> str:
        spread = f"{self.fewest} to {self.most} per person, median {self.median:g}"
        singles = f"; {self.singles:,} with a single image" if self.singles else ""
        left_out = f"; {len(self.left_out):,} left out, first: {self.left_out[0]}" if self.left_out else ""
        return f"{self.images:,} images of {self.people:,} people ({spread}{singles}){left_out}"


def require_images(reader: ImageReader) -> None:
    """Raise InputError for a set without images, with the first of what cannot be used."""
    if not len(reader):
        unusable = f"; {len(reader.problems):,} items cannot be used, first: {reader.problems[0]}" if reader.problems else ""
        raise InputError(f"the set has no images{unusable}")


def class_counts(reader: ImageReader) -> np.ndarray:
    """Images per class: int64 (C,)."""
    return np.bincount(reader.labels, minlength=len(reader.class_names))


def check_trainable(reader: ImageReader) -> SetSummary:
    """Count people and images, and refuse a set no identity loss can learn from.

    People with a single image are allowed (a proxy can still be learnt for them) and counted in the result.

    Raises:
        InputError: no images, fewer than two people, or a class without images.
    """
    counts = class_counts(reader)
    if counts.sum() == 0:
        raise InputError("the training set has no images")
    if counts.size < 2:
        raise InputError(f"training needs at least two identities; got one, {reader.class_names[0]!r}")
    empty = np.flatnonzero(counts == 0)
    if empty.size:
        raise InputError(f"class {reader.class_names[empty[0]]!r} (label {empty[0]}) has no images; remove it or add some")
    return SetSummary(
        people=counts.size,
        images=int(counts.sum()),
        fewest=int(counts.min()),
        median=float(np.median(counts)),
        most=int(counts.max()),
        singles=int((counts == 1).sum()),
        left_out=reader.problems,
    )
