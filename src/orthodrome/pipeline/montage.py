"""Many crops in one picture, to see at a glance whether an alignment went well."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from orthodrome.data.decode import decode_image
from orthodrome.files import write_file

MOST = 100
_TALLEST = 112


def write_montage(path: Path, crops: Sequence[Path], size: tuple[int, int]) -> Path:
    """A PNG of up to 100 of the crops, evenly spread over the sequence; each at most 112 pixels high, ``size`` is their proportions."""
    shown = [crops[i] for i in np.linspace(0, len(crops) - 1, min(len(crops), MOST)).round().astype(int)]
    ratio = min(1.0, _TALLEST / size[0])
    cell = (max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio)))
    picture = Image.fromarray(grid([decode_image(crop, cell) for crop in shown]))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return write_file(path, buffer.getvalue())


def grid(images: Sequence[np.ndarray]) -> np.ndarray:
    """Images uint8 (H, W, 3) of one size in rows, as square as can be: uint8 (rows·H, columns·W, 3), what is left over white."""
    height, width = images[0].shape[:2]
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    result = np.full((rows, height, columns, width, 3), 255, dtype=np.uint8)
    for i, image in enumerate(images):
        result[i // columns, :, i % columns] = image
    return result.reshape(rows * height, columns * width, 3)
