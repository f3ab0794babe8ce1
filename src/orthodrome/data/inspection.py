"""What is in a set: people, images, sizes, colour modes, duplicates, and the mean face of the people with most images."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image
from rich.markup import escape
from rich.table import Table

from orthodrome.data.check import class_counts, require_images
from orthodrome.data.duplicates import SAME_LEVELS, difference, equal_pairs, near_pairs, thumbnail
from orthodrome.data.examine import DIGEST_BYTES, ImageFacts, examine_all, facts
from orthodrome.data.problems import Problem
from orthodrome.data.protocol import ImageReader
from orthodrome.types import InputError, Progress

_SHOWN = 10
_TILE = 64
_MOST_OF_A_MEAN = 50
_THUMBNAILS = 65_536  # of a kilobyte each, kept while near pairs are compared


@dataclass(frozen=True)
class Duplicate:
    """Two images that show the same picture. ``difference`` in grey levels, 0 where the bytes are equal."""

    first: str
    first_person: str
    second: str
    second_person: str
    difference: float

    @property
    def across_people(self) -> bool:
        """Whether one of the two labels is wrong."""
        return self.first_person != self.second_person


@dataclass(frozen=True)
class Inspection:
    """``histogram``: images per person -> people, by powers of two; counters of sizes (width×height), modes, formats."""

    people: int
    images: int
    fewest: int
    median: float
    mean: float
    most: int
    histogram: dict[str, int]
    sizes: dict[str, int]
    modes: dict[str, int]
    formats: dict[str, int]
    bytes: int
    duplicates: tuple[Duplicate, ...]
    remarks: int
    problems: tuple[Problem, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        plain = dict(vars(self))
        plain["duplicates"] = [vars(duplicate) | {"across_people": duplicate.across_people} for duplicate in self.duplicates]
        plain["problems"] = list(map(str, self.problems))
        return plain


def inspect(reader: ImageReader, workers: int = 0, progress: Progress | None = None) -> Inspection:
    """Decode every image once and describe the set; duplicates by perceptual hash are decoded again, to be sure.

    Raises:
        InputError: the set has no images.
    """
    require_images(reader)
    found = _Collected()
    for index, one in enumerate(examine_all(reader, facts, workers, progress)):
        found.add(index, one)
    counts = class_counts(reader)
    occupied = counts[counts > 0]
    return Inspection(
        people=len(occupied),
        images=len(reader),
        fewest=int(occupied.min()),
        median=float(np.median(occupied)),
        mean=float(occupied.mean()),
        most=int(occupied.max()),
        histogram=images_per_person(occupied),
        sizes=dict(found.sizes.most_common()),
        modes=dict(found.modes.most_common()),
        formats=dict(found.formats.most_common()),
        bytes=found.bytes,
        duplicates=find_duplicates(reader, *found.looks()),
        remarks=found.remarks,
        problems=(*reader.problems, *found.problems),
    )


@dataclass
class _Collected:
    """What images are, counted; and of each that decodes its position, digest and hash: 32 bytes."""

    positions: array[int] = field(default_factory=lambda: array("Q"))
    digests: bytearray = field(default_factory=bytearray)
    hashes: array[int] = field(default_factory=lambda: array("Q"))
    sizes: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    remarks: int = 0
    problems: list[Problem] = field(default_factory=list)

    def add(self, index: int, one: ImageFacts | Problem) -> None:
        """The image at a position of the reader."""
        if isinstance(one, Problem):
            self.problems.append(one)
            return
        self.positions.append(index)
        self.digests += one.digest
        self.hashes.append(one.hash)
        self.sizes[f"{one.width}×{one.height}"] += 1
        self.modes[one.mode] += 1
        self.formats[one.format] += 1
        self.bytes += one.size
        self.remarks += bool(one.remarks)

    def looks(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions, digests and hashes, (N,) each."""
        digests = np.frombuffer(self.digests, f"V{DIGEST_BYTES}")
        return np.frombuffer(self.positions, np.int64), digests, np.frombuffer(self.hashes, np.uint64)


def tables(found: Inspection) -> list[Table]:
    """The inspection as tables for a terminal: the set, people by images, what images are, and pictures under two names."""
    size = f"{found.bytes / 2**20:,.1f} MiB"
    spread = f"{found.fewest} to {found.most}, median {found.median:g}, mean {found.mean:.1f}"
    across = [duplicate for duplicate in found.duplicates if duplicate.across_people]
    summary = {
        "people": f"{found.people:,}",
        "images": f"{found.images:,} ({size})",
        "images per person": spread,
        "unusable": f"{len(found.problems):,}",
        "odd": f"{found.remarks:,}",
        "same picture, same person": f"{len(found.duplicates) - len(across):,}",
        "same picture, two people": f"{len(across):,}",
    }
    kinds = {"size " + key: value for key, value in list(found.sizes.items())[:_SHOWN]} | {
        f"{key}": value for key, value in (*found.modes.items(), *found.formats.items())
    }
    made = [
        _table(("set", ""), summary),
        _table(("images of a person", "people"), found.histogram),
        _table(("kind", "images"), kinds),
    ]
    if across:
        rows = {f"{one.first}  ({one.first_person})": f"{one.second}  ({one.second_person})" for one in across[:_SHOWN]}
        made.append(_table(("same picture", "and"), rows))
    return made


def _table(head: tuple[str, str], rows: Mapping[str, object]) -> Table:
    table = Table(*head, box=None)
    for name, value in rows.items():
        table.add_row(escape(name), escape(f"{value:,}" if isinstance(value, int) else str(value)))
    return table


def images_per_person(counts: np.ndarray) -> dict[str, int]:
    """People by their number of images (C,), in classes 1, 2, 3–4, 5–8, 9–16, …"""
    if not len(counts):
        return {}
    bins = np.ceil(np.log2(counts)).astype(int)
    ranges = {k: (2 ** (k - 1) + 1 if k else 1, 2**k) for k in range(bins.max() + 1)}
    return {f"{low}–{high}" if low < high else str(high): int((bins == k).sum()) for k, (low, high) in ranges.items()}


def find_duplicates(reader: ImageReader, positions: np.ndarray, digests: np.ndarray, hashes: np.ndarray) -> tuple[Duplicate, ...]:
    """Equal bytes anywhere, and near pictures of different people; of many that are equal, each is told with the first of them.

    ``digests`` and ``hashes`` are those of the images at ``positions``, (N,) each.
    """
    equal = [(int(positions[a]), int(positions[b]), 0.0) for a, b in equal_pairs(digests.view(f"S{DIGEST_BYTES}"))]
    known = {(a, b) for a, b, _ in equal}
    near = positions[near_pairs(hashes)]
    labels = np.asarray(reader.labels)
    across = near[labels[near[:, 0]] != labels[near[:, 1]]].tolist()
    shrunk = lru_cache(_THUMBNAILS)(lambda index: thumbnail(reader, index))
    compared = [(a, b, difference(shrunk(a), shrunk(b))) for a, b in across if (a, b) not in known]
    return tuple(_duplicate(reader, *pair) for pair in (*equal, *(pair for pair in compared if pair[2] < SAME_LEVELS)))


def mean_faces(reader: ImageReader, people: int = 48, columns: int = 12) -> Image.Image:
    """A grid of the mean images of the people with most images, 64×64 each, of up to 50 images that decode: sharp where the crops are
    aligned alike."""
    order = np.argsort(-class_counts(reader), kind="stable")[:people]
    rows = -(-len(order) // columns)
    grid = np.zeros((rows * _TILE, min(columns, len(order)) * _TILE, 3), np.uint8)
    for place, label in enumerate(order.tolist()):
        images = list(islice(_decoded(reader, np.flatnonzero(reader.labels == label)), _MOST_OF_A_MEAN))
        row, column = divmod(place, columns)
        if images:
            grid[row * _TILE : (row + 1) * _TILE, column * _TILE : (column + 1) * _TILE] = np.mean(images, axis=0)
    return Image.fromarray(grid)


def _decoded(reader: ImageReader, indices: np.ndarray) -> Iterator[np.ndarray]:
    """Those that can be; `inspect` tells which cannot."""
    for index in indices.tolist():
        with suppress(InputError):
            yield reader.image(index, (_TILE, _TILE))


def _duplicate(reader: ImageReader, first: int, second: int, difference: float) -> Duplicate:
    a, b = reader.sample(first), reader.sample(second)
    return Duplicate(a.key, reader.class_names[a.label], b.key, reader.class_names[b.label], round(difference, 2))
