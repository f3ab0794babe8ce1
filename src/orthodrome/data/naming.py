"""Names of files and folders for the images and people of any set: safe on every system, unique there, and in the order of the set."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

import numpy as np

from orthodrome.data.problems import WHAT_TO_DO
from orthodrome.data.protocol import ImageReader
from orthodrome.types import InputError, Sample

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


def endings_of(key: str, content: bytes) -> tuple[str, ...]:
    """`extensions_of` the image of this key. Raises InputError where it is none."""
    endings = extensions_of(content)
    if not endings:
        raise InputError(f"{key}: not an image; {WHAT_TO_DO}")
    return endings


def safe_name(name: str) -> str:
    """A name with what file systems refuse or hide replaced: separators, control characters, a leading dot, trailing blanks and dots."""
    safe = _UNSAFE.sub("_", name).rstrip(" .")
    return "_" + safe[1:] if safe.startswith(".") else safe or "_"


def folder_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """A folder for each class, so that sorting them gives the order of the classes.

    Names stay where they are in order and do not meet, in another case neither. Else numbers get leading zeros, and if that does not
    do, each name is led by its label: ``0007-name``.
    """
    names = [safe_name(name) for name in class_names]
    width = len(str(len(names) - 1))
    ways = (names, padded(names), [f"{label:0{width}d}-{name}" for label, name in enumerate(names)])
    return tuple(next(way for way in ways if sorted(way) == way and len({name.casefold() for name in way}) == len(way)))


def folder_changes(reader: ImageReader) -> list[str]:
    """What a folder of identities cannot keep of a set: the order of images that are not grouped by person, and names as they are."""
    found = []
    if (np.diff(np.asarray(reader.labels)) < 0).any():
        found.append("the images are in another order: a folder groups them by person")
    renamed = [
        (name, folder)
        for name, folder in zip(reader.class_names, folder_names(reader.class_names), strict=True)
        if name != folder
    ]
    if renamed:
        found.append(f"{len(renamed):,} people have other names, first: {renamed[0][0]} is {renamed[0][1]}")
    return found


def padded(names: Sequence[str]) -> list[str]:
    """Names that are numbers brought to one width."""
    width = max((len(name) for name in names if name.isdecimal()), default=0)
    return [_zeros(name, width) for name in names]


@dataclass(frozen=True, eq=False)
class ItemNames:
    """``<identity>/<image>`` for every image of a reader, so that sorting gives the order of the set within each person.

    The image's own name where those are unique and in order, else with leading zeros where they are numbers, else its position in the set.
    """

    reader: ImageReader

    @cached_property
    def folders(self) -> tuple[str, ...]:
        """One per class."""
        return folder_names(self.reader.class_names)

    def name(self, position: int, content: bytes) -> str:
        """The relative path of an image with these bytes. Raises InputError where they are no image."""
        sample = self.reader.sample(position)
        endings = endings_of(sample.key, content)
        own = PurePosixPath(sample.key).suffix
        return f"{self.folders[sample.label]}/{self._stem(position)}{own if own.lower() in endings else endings[0]}"

    def _stem(self, position: int) -> str:
        return self._way(position, self.reader.sample(position))

    @cached_property
    def _way(self) -> Callable[[int, Sample], str]:
        """How images are named."""
        own = map(stem_of, (self.reader.sample(i).key for i in range(len(self.reader))))
        width = max((len(stem) for stem in own if stem.isdecimal()), default=0)
        digits = len(str(len(self.reader)))
        ways: tuple[Callable[[int, Sample], str], ...] = (
            lambda position, sample: stem_of(sample.key),
            lambda position, sample: _zeros(stem_of(sample.key), width),
        )
        return next(filter(self._is_in_order, ways), lambda position, sample: f"{position:0{digits}d}")

    def _is_in_order(self, way: Callable[[int, Sample], str]) -> bool:
        """Whether names ascend within each person, as file names do, and none meet where case does not count."""
        last: dict[int, str] = {}
        hashes = np.empty(len(self.reader), np.uint64)
        for position in range(len(self.reader)):
            sample = self.reader.sample(position)
            name = way(position, sample) + "."
            if name <= last.get(sample.label, ""):
                return False
            last[sample.label] = name
            text = f"{sample.label}/{name.casefold()}"
            hashes[position] = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
        return len(np.unique(hashes)) == len(hashes)


def stem_of(key: str) -> str:
    """The name in a key without folder and ending, and without dots, at which the key of a tar shard would end."""
    name = PurePosixPath(key)
    return safe_name(name.stem if name.suffix.lower() in KNOWN_ENDINGS else name.name).replace(".", "_")


def _zeros(stem: str, width: int) -> str:
    return stem.zfill(width) if stem.isdecimal() else stem


KNOWN_ENDINGS = frozenset(ending for _, endings in _SIGNATURES for ending in endings)
