"""A reader of images given one by one, each as a file, as encoded bytes or as pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orthodrome.data.decode import Size, decode_image
from orthodrome.types import ImageSource, InputError, Sample


@dataclass(frozen=True, eq=False)
class SourceReader:
    """Unlabelled images (label −1) with their ``keys``.

    Files are resized to the size that is asked for. Bytes and pixels come out of lists that hold their images, cropped for one
    resolution: another one is refused, since resizing them would measure something else.
    """

    keys: tuple[str, ...]
    sources: tuple[ImageSource, ...]
    class_names: tuple[str, ...] = ()

    @property
    def labels(self) -> np.ndarray:
        """−1 for every image: int64 (N,)."""
        return np.full(len(self.keys), -1, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.keys)

    def sample(self, index: int) -> Sample:
        """The key of one image."""
        return Sample(self.keys[index], -1)

    def image(self, index: int, size: Size | None = None) -> np.ndarray:
        """The decoded image, uint8 (H, W, 3). Raises InputError for an image that cannot be decoded, or is of another resolution."""
        source = self.sources[index]
        if isinstance(source, Path):
            return decode_image(source, size)
        image = decode_image(source, name=self.keys[index]) if isinstance(source, bytes) else np.array(source)
        if size is not None and image.shape[:2] != tuple(size):
            found, expected = ("×".join(map(str, shape)) for shape in (image.shape[:2], size))
            raise InputError(
                f"{self.keys[index]}: the image is {found} (height × width), the model takes {expected}; take the set made for {expected}"
            )
        return image
