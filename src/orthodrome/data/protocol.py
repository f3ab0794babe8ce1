"""What the rest of the room asks of a reader, whatever form its set has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from orthodrome.data.decode import Size
from orthodrome.data.problems import Place, Problem
from orthodrome.types import Reader


@runtime_checkable
class Images(Reader, Protocol):
    """A `Reader` that gives all labels at once and decodes straight to a size: what is embedded, or trained on."""

    @property
    def labels(self) -> np.ndarray:
        """Integers (N,), in ``[0, C)``, or −1 where nobody is known."""

    def image(self, index: int, size: Size | None = None) -> np.ndarray:
        """The decoded image: uint8 (H, W, 3), RGB, upright, of ``size`` (height, width) when it is given."""


class ImageReader(Images, Protocol):
    """A set on disk: it knows where each image is, gives its bytes as they are, and what of the set was left out."""

    @property
    def problems(self) -> Sequence[Problem]:
        """Items of the set that were left out, each with its reason."""

    def place(self, index: int) -> Place:
        """File of an image, and offset where it is a part of it."""

    def encoded(self, index: int) -> bytes:
        """The bytes of the image file."""
