"""A reader of images that are already in memory, for small sets, notebooks and tests."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from orthodrome.data.decode import Size
from orthodrome.data.problems import Place, Problem
from orthodrome.types import InputError, Sample


@dataclass(frozen=True, eq=False)
class MemoryReader:
    """Images (N, H, W, 3) uint8 RGB, or a sequence of (H, W, 3) arrays of any sizes, with their labels.

    Labels must lie in ``[0, C)``. ``class_names`` and ``keys`` default to the numbers of labels and
    positions.
    """

    images: np.ndarray | Sequence[np.ndarray]
    labels: np.ndarray
    class_names: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels)
        _check_images(self.images)
        _check_labels(labels, len(self.images), len(self.class_names))
        names = self.class_names or tuple(str(label) for label in range(int(labels.max(initial=-1)) + 1))
        keys = self.keys or tuple(str(position) for position in range(len(labels)))
        if len(keys) != len(labels):
            raise InputError(f"keys must name each of the {len(labels)} images; got {len(keys)} keys")
        object.__setattr__(self, "labels", labels.astype(np.int64))
        object.__setattr__(self, "class_names", tuple(names))
        object.__setattr__(self, "keys", tuple(keys))

    def __len__(self) -> int:
        return len(self.images)

    def sample(self, index: int) -> Sample:
        """Key and label of one image."""
        return Sample(self.keys[index], int(self.labels[index]))

    def encoded(self, index: int) -> bytes:
        """The image as the bytes of a PNG file."""
        file = io.BytesIO()
        Image.fromarray(np.asarray(self.images[index])).save(file, "PNG")
        return file.getvalue()

    def place(self, index: int) -> Place:
        """Memory."""
        return Place("memory")

    def image(self, index: int, size: Size | None = None) -> np.ndarray:
        """A copy of one image, uint8 (H, W, 3); resized as `decode_image` does for ``size``."""
        image = np.array(self.images[index])
        if size is None or image.shape[:2] == tuple(size):
            return image
        return np.array(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def _check_images(images: np.ndarray | Sequence[np.ndarray]) -> None:
    arrays = [images[:1]] if isinstance(images, np.ndarray) else [image[None] for image in images]
    for position, array in enumerate(arrays):
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3:
            raise InputError(f"images must be uint8 (H, W, 3); got {array.dtype} {array.shape[1:]} at position {position}")


def _check_labels(labels: np.ndarray, images: int, classes: int) -> None:
    if labels.shape != (images,):
        raise InputError(f"labels must have shape ({images},), one per image; got {labels.shape}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"labels must be integers; got {labels.dtype}")
    limit = classes or np.iinfo(np.int64).max
    wrong = np.flatnonzero((labels < 0) | (labels >= limit))
    if wrong.size:
        where = int(wrong[0])
        raise InputError(f"labels must be in [0, {classes or 'C'}); got {labels[where]} at position {where}")
