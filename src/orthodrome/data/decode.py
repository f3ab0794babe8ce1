"""One image file to one array: uint8 (H, W, 3), RGB, upright and whole, or an InputError that says why not.

What is done to each kind of file

- EXIF orientation is applied.
- Grey, palette, CMYK and YCCK become RGB. CMYK is converted without a colour profile.
- Transparent pixels are laid over black, the colour that aligned crops have outside the photograph.
- 16-bit values keep their high byte (``value >> 8``), grey and colour alike. 32-bit and float pixels are
  refused: nothing in the file says which value is white.
- Plain JPEGs do not go through Pillow (`orthodrome.data.jpeg`); their pixels are the same.
- Only the formats of `FORMATS` are tried, chosen by content, not by file name.
"""

from __future__ import annotations

import io
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from orthodrome.data.jpeg import decode_plain_jpeg, may_be_turned
from orthodrome.types import InputError

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "PPM", "TIFF")
MAX_PIXELS = 100_000_000

Size = tuple[int, int]

_pillow_limit = threading.RLock()
if hasattr(os, "register_at_fork"):  # a process forked while another thread holds it would wait for ever
    os.register_at_fork(before=_pillow_limit.acquire, after_in_parent=_pillow_limit.release, after_in_child=_pillow_limit.release)


def decode_image(source: bytes | str | Path, size: Size | None = None, name: str | None = None) -> np.ndarray:
    """Decode an image: uint8 (H, W, 3), RGB, upright, contiguous and writable.

    Args:
        source: the encoded bytes, or the path of a file.
        size: (height, width) of the result; None keeps the size of the file. The whole image is resized
            without keeping its aspect ratio, by a triangle filter as wide as the reduction (Pillow's
            bilinear, which is antialiased). A JPEG whose sides are at least twice the longer side of the
            target is first decoded at 1/2, 1/4 or 1/8 scale, never below the target.
        name: what to call the image in errors; the path by default.

    Raises:
        InputError: the file is missing, unreadable, empty, no image, truncated, of an unsupported pixel type,
            or has more than 100 megapixels (known from the header, before any pixel is decoded).
    """
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise InputError(f"image size must be two positive integers (height, width); got {size}")
    called = name or _describe(source)
    data = source if isinstance(source, bytes) else read_bytes(source)
    if not data:
        raise InputError(f"{called}: the file is empty; expected an image")
    least = max(size) if size else 0  # of both sides, because the orientation may still swap them
    plain = _plain_jpeg(data, least)
    if plain is not None:
        return _resized(plain, size)
    try:
        with _open_header(data) as image:
            _check(image)
            return _resized(_decode(image, least), size)
    except (InputError, MemoryError) as error:
        raise type(error)(f"{called}: {error}") from None
    except UnidentifiedImageError:
        raise InputError(f"{called}: not an image that can be read; expected one of {', '.join(FORMATS)}") from None
    except Exception as error:
        # decoders answer hostile bytes with almost anything: OSError, SyntaxError, struct.error, ...
        raise InputError(f"{called}: the image is damaged: {error}") from error


def _plain_jpeg(data: bytes, least: int) -> np.ndarray | None:
    """Upright, without Pillow's decoder; None where it is needed: for other images, and where it cannot be told how one was held."""
    pixels = decode_plain_jpeg(data, least, MAX_PIXELS)
    if pixels is None or not may_be_turned(data):
        return pixels
    try:
        with _open_header(data) as header:
            orientation = header.getexif().get(ExifTags.Base.Orientation, _UPRIGHT)
    except Exception:  # whatever it is, Pillow meets it again and says so
        return None
    return pixels if orientation == _UPRIGHT else _turned(pixels, orientation)


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    image = Image.fromarray(pixels)
    image.getexif()[ExifTags.Base.Orientation] = orientation
    ImageOps.exif_transpose(image, in_place=True)
    return np.array(image)


_UPRIGHT = 1
_CONTROLS = {code: repr(chr(code))[1:-1] for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)}


def printable(path: str | Path) -> str:
    r"""A path as text that can always be printed, in one line: bytes that are not UTF-8 are written ``\xff``, a line break ``\n``."""
    text = str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return text if text.isprintable() else text.translate(_CONTROLS)


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a file. Raises InputError naming it where it is missing, cannot be read, or is a pipe or a device, which may not end."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputError(f"{printable(path)}: a pipe or a device; expected a file")
            return file.read()
    except FileNotFoundError:
        raise InputError(f"{printable(path)}: no such file") from None
    except OSError as error:
        raise InputError(f"{printable(path)}: cannot be read: {error.strerror or error}") from None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for somebody to write into it


def _describe(source: bytes | str | Path) -> str:
    return f"image of {len(source)} bytes" if isinstance(source, bytes) else printable(source)


def _open_header(data: bytes) -> Image.Image:
    with _without_pillow_limit():
        return Image.open(io.BytesIO(data), formats=FORMATS)


@contextmanager
def _without_pillow_limit() -> Iterator[None]:
    """Pillow's own bomb check does not tell height and width; ours, which follows at once, does."""
    with _pillow_limit:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _check(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        limit = f"{MAX_PIXELS // 10**6} megapixels"
        raise InputError(f"{width}×{height} pixels are over the limit of {limit}; make the image smaller first")
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise InputError("PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set, which hides truncated files; set it to False")


def _decode(image: Image.Image, least: int) -> np.ndarray:
    if least:
        image.draft(None, (least, least))
    ImageOps.exif_transpose(image, in_place=True)
    return np.array(_to_rgb(image))


def _resized(pixels: np.ndarray, size: Size | None) -> np.ndarray:
    if size is None or pixels.shape[:2] == size:
        return pixels
    return np.array(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PPM", "PNG")):
        raise InputError("32-bit pixels have no defined white; convert the image to 8 or 16 bits per channel")
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return image.convert("RGB")
