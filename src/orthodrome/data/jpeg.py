"""Plain JPEGs straight through libjpeg-turbo: the pixels that Pillow gives, in half the time or less (`benchmarks/data_formats.py`).

Plain are sound, grey or YCbCr. All others are for Pillow, which knows more colours and says what is wrong.
"""

from __future__ import annotations

import numpy as np
import simplejpeg

_START = b"\xff\xd8\xff"
_MAY_BE_TURNED = (b"Exif\0", b"tiff:Orientation")  # where EXIF and XMP say how a photograph was held


def decode_plain_jpeg(data: bytes, least: int, most_pixels: int) -> np.ndarray | None:
    """uint8 (H, W, 3), RGB, as stored, not turned; None where ``data`` is no plain JPEG of at most ``most_pixels``.

    ``least``: decoded at 1/2, 1/4 or 1/8 of its size, whichever is the smallest of two sides of at least so many pixels; 0: at its size.
    """
    if not data.startswith(_START):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if colours not in ("YCbCr", "Gray") or height * width > most_pixels:
            return None
        part = _reduction(min(height, width), least)
        result: np.ndarray = simplejpeg.decode_jpeg(data, min_height=-(-height // part), min_width=-(-width // part))
        return result
    except ValueError:
        return None


def may_be_turned(data: bytes) -> bool:
    """Whether something in a JPEG may say how the photograph was held. False is certain."""
    return any(words in data for words in _MAY_BE_TURNED)


def _reduction(shorter: int, least: int) -> int:
    return next(part for part in (8, 4, 2, 1) if part == 1 or shorter >= part * least > 0)
