"""Names of files and folders for the images and people of any set: safe on every system, unique there, and in the order of the set."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

import numpy as np

from orthodrome.data.protocol import ImageReader
from orthodrome.types import InputError

_SIGNATURES = (
    (b"\xff\xd8\xff", (".jpg", ".jpeg")),
    (b"\x89PNG\r\n\x1a\n", (".png",)),
    (b"BM", (".bmp",)),
    (b"RIFF", (".webp",)),
    (b"II*\0", (".tif", ".tiff")),
    (b"MM\0*", (".tif", ".tiff")),
    (b"P2", (".pgm", ".ppm")),
    (b"P5", (".pgm", ".ppm")),
    (b"P3", (".ppm",)),
    (b"P6", (".ppm",)),
)
_UNSAFE = re.compile(r'[\x00-\x1f<>:"/\\|?*]')


def extensions_of(content: bytes) -> tuple[str, ...]:
    """The endings that fit an image file by its first bytes; none where it is no image that is read here."""
    return next((endings for signature, endings in _SIGNATURES if content.startswith(signature)), ())


def safe_name(name: str) -> str:
    """A name with what file systems refuse or hide replaced: separators, control characters, a leading dot, trailing blanks and dots."""
    safe = _UNSAFE.sub("_", name).rstrip(" .")
    return "_" + safe[1:] if safe.startswith(".") else safe or "_"


def folder_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """A folder for each class, so that sorting them gives the order of the classes: numbers get leading zeros.

    Where names would meet (also in another case) or sort otherwise, each is led by its label: ``0007-name``.
    """
    names = [safe_name(name) for name in class_names]
    if all(name.isdecimal() for name in names):
        width = max(map(len, names), default=0)
        names = [name.zfill(width) for name in names]
    if len({name.casefold() for name in names}) < len(names) or sorted(names) != names:
        width = len(str(len(names) - 1))
        names = [f"{label:0{width}d}-{name}" for label, name in enumerate(names)]
    return tuple(names)


@dataclass(frozen=True, eq=False)
class ItemNames:
    """``<identity>/<image>`` for every image of a reader: its own name where names are unique within each person, else its position."""

    reader: ImageReader

    @cached_property
    def folders(self) -> tuple[str, ...]:
        """One per class."""
        return folder_names(self.reader.class_names)

    def name(self, position: int, content: bytes) -> str:
        """The relative path of an image with these bytes. Raises InputError where they are no image."""
        sample = self.reader.sample(position)
        endings = extensions_of(content)
        if not endings:
            raise InputError(
                f"{sample.key}: not an image; list what cannot be used with `orthodrome data verify`, which leaves it out"
            )
        own = PurePosixPath(sample.key).suffix
        stem = self._stem(sample.key) if self._are_unique else str(position)
        stem = stem.zfill(self._width) if stem.isdecimal() else stem
        return f"{self.folders[sample.label]}/{stem}{own if own.lower() in endings else endings[0]}"

    @cached_property
    def _are_unique(self) -> bool:
        hashes = np.fromiter(map(self._hash, range(len(self.reader))), np.uint64, len(self.reader))
        return len(np.unique(hashes)) == len(hashes)

    @cached_property
    def _width(self) -> int:
        """Of numbers: that of the last position, or of the longest stem that is a number."""
        stems = (self._stem(self.reader.sample(i).key) for i in range(len(self.reader)))
        return max([len(str(len(self.reader))), *(len(stem) for stem in stems if stem.isdecimal())]) if self._are_unique else 9

    def _hash(self, position: int) -> int:
        sample = self.reader.sample(position)
        text = f"{sample.label}/{self._stem(sample.key).casefold()}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")

    @staticmethod
    def _stem(key: str) -> str:
        """The name without folder and ending, and without dots, at which the key of a tar shard would end."""
        name = PurePosixPath(key)
        stem = name.stem if name.suffix.lower() in KNOWN_ENDINGS else name.name
        return safe_name(stem).replace(".", "_")


KNOWN_ENDINGS = frozenset(ending for _, endings in _SIGNATURES for ending in endings)
