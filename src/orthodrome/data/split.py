"""Parts of a set: open-set splits by identity, and the reader of a part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from orthodrome.data.decode import Size
from orthodrome.data.encoded import contiguous_labels
from orthodrome.data.problems import Place, Problem
from orthodrome.data.protocol import ImageReader
from orthodrome.types import InputError, Labels, Sample


def split_identities(labels: Labels | np.ndarray, test_identities: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Open-set split: positions (int64, ascending) of the training images and of those of other people.

    ``test_identities`` people are held out; nobody is on both sides. The choice depends on the set of labels
    and the seed only (PCG64).

    Raises:
        InputError: ``test_identities`` leaves one side without people.
    """
    values = np.asarray(labels)
    identities = np.unique(values)
    if not 0 < test_identities < identities.size:
        raise InputError(
            f"test_identities must be in [1, {identities.size - 1}] to leave people on both sides; got {test_identities}"
        )
    held_out = np.random.Generator(np.random.PCG64(seed)).permutation(identities)[:test_identities]
    is_test = np.isin(values, held_out)
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


@dataclass(frozen=True, eq=False)
class Subset:
    """Some images of a reader, in any order, as a reader: labels are made contiguous again, names and keys stay.

    ``left_out`` adds to the problems of the whole set, where the part is what a quarantine list leaves. ``relabelled`` gives the images
    other labels (N,) and the classes other names (C,).
    """

    reader: ImageReader
    indices: np.ndarray
    left_out: tuple[Problem, ...] = ()
    relabelled: tuple[np.ndarray, Sequence[str]] | None = None

    def __post_init__(self) -> None:
        indices = np.asarray(self.indices, dtype=np.int64)
        wrong = np.flatnonzero((indices < 0) | (indices >= len(self.reader)))
        if wrong.size:
            where = int(wrong[0])
            raise InputError(f"indices must be in [0, {len(self.reader)}); got {indices[where]} at position {where}")
        object.__setattr__(self, "indices", indices)

    def __len__(self) -> int:
        return len(self.indices)

    @cached_property
    def _labels_and_names(self) -> tuple[np.ndarray, Sequence[str]]:
        if self.relabelled:
            return self.relabelled
        labels, kept = contiguous_labels(self.reader.labels[self.indices])
        return labels.astype(np.int64), tuple(self.reader.class_names[label] for label in kept.tolist())

    @property
    def labels(self) -> np.ndarray:
        """int64 (N,), in ``[0, C)`` of the identities that occur here."""
        return self._labels_and_names[0]

    @property
    def class_names(self) -> Sequence[str]:
        """The names of those identities, in label order."""
        return self._labels_and_names[1]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What was left out of the set."""
        return (*self.reader.problems, *self.left_out)

    def sample(self, index: int) -> Sample:
        """Key of the image and its label within this part."""
        return Sample(self.reader.sample(int(self.indices[index])).key, int(self.labels[index]))

    def encoded(self, index: int) -> bytes:
        """The bytes of the image in the whole set's reader."""
        return self.reader.encoded(int(self.indices[index]))

    def place(self, index: int) -> Place:
        """File and offset in the whole set."""
        return self.reader.place(int(self.indices[index]))

    def image(self, index: int, size: Size | None = None) -> np.ndarray:
        """The image of the whole set's reader."""
        return self.reader.image(int(self.indices[index]), size)
