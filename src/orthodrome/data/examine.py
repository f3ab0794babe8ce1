"""One image looked at closely: whether it decodes, what it is, its checksum and its perceptual hash."""

from __future__ import annotations

import hashlib
import io
import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from PIL import Image

from orthodrome.data.decode import FORMATS, decode_image
from orthodrome.data.naming import KNOWN_ENDINGS, extensions_of
from orthodrome.data.parallel import map_in_processes
from orthodrome.data.problems import Problem
from orthodrome.data.protocol import ImageReader
from orthodrome.types import InputError, Progress

Found = TypeVar("Found")

DIGEST_BYTES = 16

_CHUNK = 64
_HASH_SIDE = 8


Describe = Callable[[str, bytes, np.ndarray], Found]
"""Key, bytes and pixels uint8 (H, W, 3) of an image that decodes -> what is to be known of it."""


@dataclass(frozen=True)
class ImageFacts:
    """What an image is. ``size`` in bytes; ``hash``: see `difference_hash`."""

    size: int
    digest: bytes
    format: str
    mode: str
    width: int
    height: int
    hash: int
    remarks: tuple[str, ...]


def facts(key: str, content: bytes, pixels: np.ndarray) -> ImageFacts:
    """Everything about one image."""
    with Image.open(io.BytesIO(content), formats=FORMATS) as header:
        kind, mode, (width, height) = header.format or "", header.mode, header.size
    digest, remarks = digest_and_remarks(key, content, pixels)
    return ImageFacts(len(content), digest, kind, mode, width, height, difference_hash(pixels), remarks)


def digest_and_remarks(key: str, content: bytes, pixels: np.ndarray) -> tuple[bytes, tuple[str, ...]]:
    """BLAKE2b-128 of the bytes, and what is odd about an image that can be used all the same."""
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest(), tuple(_remarks(key, content))


def examine(reader: ImageReader, describe: Describe[Found], index: int) -> Found | Problem:
    """Decode one image of a reader and describe it; what cannot be decoded comes back as a problem."""
    key = reader.sample(index).key
    try:
        content = reader.encoded(index)
        return describe(key, content, decode_image(content, None, "image"))
    except InputError as error:
        place = reader.place(index)
        reason = str(error).removeprefix("image: ").removeprefix(f"{place.of(key)}: ").removeprefix(f"{place.file}: ")
        return Problem(place.file, key, place.offset, reason)


def examine_all(
    reader: ImageReader, describe: Describe[Found], workers: int, progress: Progress | None = None
) -> Iterator[Found | Problem]:
    """`examine` every image, in order, by ``workers`` processes (0: in this one)."""
    total = len(reader)
    chunks = (range(first, min(first + _CHUNK, total)) for first in range(0, total, _CHUNK))
    look = partial(_examine_many, reader, describe)
    done = 0
    for found in map_in_processes(look, chunks, workers) if workers else map(look, chunks):
        yield from found
        done += len(found)
        if progress:
            progress(done, total)


def _examine_many(reader: ImageReader, describe: Describe[Found], indices: range) -> list[Found | Problem]:
    return [examine(reader, describe, index) for index in indices]


def difference_hash(pixels: np.ndarray) -> int:
    """64 bits that survive re-encoding and resizing: whether each of 8×8 grey cells is darker than its right neighbour (Krawetz, 2013)."""
    small = Image.fromarray(pixels).resize((_HASH_SIDE + 1, _HASH_SIDE), Image.Resampling.BOX).convert("L")
    grey = np.asarray(small, np.int16)
    return int.from_bytes(np.packbits(grey[:, :-1] < grey[:, 1:]).tobytes(), "big")


def _remarks(key: str, content: bytes) -> Iterator[str]:
    ending = posixpath.splitext(key)[1].lower()
    fitting = extensions_of(content)
    if ending in KNOWN_ENDINGS and fitting and ending not in fitting:
        yield f"named {ending}, but it is a {fitting[0]}"
    if fitting and fitting[0] == ".jpg" and (extra := len(content) - jpeg_end(content)) > 0:
        yield f"{extra} bytes behind the end of the JPEG"


def jpeg_end(content: bytes) -> int:
    """Where the first JPEG of ``content`` ends, found by following its segments; the whole length where no end marker is met."""
    if content.find(b"\xff\xd9") == len(content) - 2:
        return len(content)
    at = 2
    while 0 <= at < len(content) - 1:
        if content[at] != 0xFF:
            at = content.find(b"\xff", at)
            continue
        marker = content[at + 1]
        if marker == 0xD9:
            return at + 2
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:  # stuffed or stand-alone
            at += 1 if marker == 0xFF else 2
        else:
            at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return len(content)
