"""Image files and payloads for the tests of this room."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def picture(seed: int, size: tuple[int, int] = (20, 16)) -> Image.Image:
    """A smooth picture of (height, width) that is different for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BILINEAR)


def encoded(image: Image.Image, kind: str = "JPEG", **options: int) -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def jpeg(seed: int, size: tuple[int, int] = (20, 16)) -> bytes:
    """`picture` as a JPEG."""
    return encoded(picture(seed, size), quality=90)
