"""Which records of a RecordIO file are images, where, and with which label: 16 bytes a record, read once and kept in a sidecar.

Labels come from the images' own headers. The table of key ranges at the front and the identity records at the end hold float32 numbers,
which are off by one beyond 2²⁴ = 16,777,216; they are recognised by having no image and are otherwise not looked at.

Headers are gathered for many records at a time from the mapped file; only records in parts, about one image in a million, go one by one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from orthodrome.data.decode import printable
from orthodrome.data.encoded import contiguous_labels
from orthodrome.data.problems import Problem
from orthodrome.data.recordio import (
    FIRST,
    IMAGE_HEADER,
    LENGTH_BITS,
    MAGIC,
    MAX_LENGTH,
    RECORD_HEADER,
    WHOLE,
    read_record,
    scan_offsets,
    unpack_image,
)
from orthodrome.data.sidecar import Sidecar
from orthodrome.files import write_file
from orthodrome.types import InputError

ENTRY = np.dtype([("offset", "<u8"), ("key", "<u4")])
"""A line of the ``.idx``."""

Progress = Callable[[int, int], None]

_CHUNK = 65_536
_IDX_BLOCK = 2**24
_IDX_LINES = re.compile(rb"(?:[ \t]*+(?:\d++[ \t]++\d{1,18}+[ \t]*+)?\r?\n)*+")
_NOT_AN_IMAGE = -1
_HEADER_WORDS = (RECORD_HEADER.size + IMAGE_HEADER.size) // 4 + 1  # and the first of the labels that may follow


@dataclass(frozen=True)
class RecordFiles:
    """A ``.rec`` and what lies beside it: the ``.idx`` of the same name and ``property``, each where it is there."""

    records: Path

    @property
    def index(self) -> Path:
        """Keys and offsets."""
        return self.records.with_suffix(".idx")

    @property
    def properties(self) -> Path:
        """``num_classes,height,width``."""
        return self.records.with_name("property")

    @property
    def sidecar(self) -> Path:
        """What `index_records` found."""
        return self.records.with_name(self.records.name + ".index")

    def present(self) -> list[Path]:
        """Those of the three files that are there."""
        return [path for path in (self.records, self.index, self.properties) if path.is_file()]


def index_records(files: RecordFiles, progress: Progress | None = None) -> Sidecar:
    """Find the images of a record file: ``offsets`` u64, ``keys`` u32, ``labels`` i32 (N,), and ``numbers`` i64 (C,), the labels in the
    file.

    Problems found on the way are listed in ``meta["problems"]``; the items they are about are not among the N.

    Raises:
        InputError: the file is empty or a line of the ``.idx`` cannot be read.
    """
    name, size = printable(files.records), files.records.stat().st_size
    if size < RECORD_HEADER.size:
        raise InputError(f"{name}: {size} bytes; expected RecordIO")
    problems: list[Problem] = []
    entries = read_idx(files.index) if files.index.is_file() else _scanned(files.records, problems)
    listed = _Listed(name)
    labels = np.empty(len(entries), np.int32)
    headers = _Headers(files.records, size, read_classes(files.properties))
    for first in range(0, len(entries), _CHUNK):
        chunk = entries[first : first + _CHUNK]
        labels[first : first + _CHUNK], ends, reasons = headers.labels(chunk)
        problems += [Problem(name, str(chunk["key"][i]), int(chunk["offset"][i]), reason) for i, reason in reasons]
        listed.follow(chunk["offset"], ends)
        if progress:
            progress(first + len(chunk), len(entries))
    if files.index.is_file():
        problems += listed.gaps(size)
    kept = labels != _NOT_AN_IMAGE
    own, numbers = contiguous_labels(labels[kept])
    arrays = {
        "offsets": entries["offset"][kept],
        "keys": entries["key"][kept],
        "labels": own,
        "numbers": numbers.astype(np.int64),
    }
    return Sidecar(arrays, {"problems": [asdict(problem) for problem in problems]})


def read_idx(path: Path) -> np.ndarray:
    """The lines ``key<TAB>offset`` of an ``.idx``: `ENTRY` (N,), read in blocks so that the text is never whole in memory.

    Raises:
        InputError: with the line number: a line is not two whole numbers ≥ 0, or the key has more than 32 bits.
    """
    parts, line = [], 1
    for text in _blocks(path):
        if not _IDX_LINES.fullmatch(text):
            raise InputError(_wrong_line(path, text, line))
        numbers = np.fromstring(text, np.uint64, sep=" ")
        if (numbers[::2] >= 2**32).any():
            raise InputError(_wrong_line(path, text, line))
        part = np.empty(len(numbers) // 2, ENTRY)
        part["key"], part["offset"] = numbers[::2], numbers[1::2]
        parts.append(part)
        line += text.count(b"\n")
    return np.concatenate(parts) if parts else np.empty(0, ENTRY)


def write_idx(path: Path, entries: np.ndarray) -> None:
    """`ENTRY` (N,) as lines ``key<TAB>offset``."""
    chunks = (entries[first : first + _CHUNK].tolist() for first in range(0, len(entries), _CHUNK))
    write_file(
        path, lambda file: file.writelines("".join(f"{key}\t{offset}\n" for offset, key in chunk).encode() for chunk in chunks)
    )


def build_idx(files: RecordFiles) -> tuple[int, list[Problem]]:
    """Write the ``.idx`` of a record file that has none, by following its records; keys count from 0.

    Returns how many, and what was skipped.
    """
    problems: list[Problem] = []
    entries = _scanned(files.records, problems)
    write_idx(files.index, entries)
    return len(entries), problems


def read_classes(path: Path) -> int | None:
    """The number of classes in ``property``; None where there is no such file.

    Raises InputError where it is not ``classes,height,width``.
    """
    if not path.is_file():
        return None
    try:
        classes, _, _ = (int(field) for field in path.read_text(encoding="utf-8").split(","))
    except (ValueError, UnicodeDecodeError):
        raise InputError(f"{printable(path)}: expected 'num_classes,height,width', for example 93431,112,112") from None
    return classes


def _blocks(path: Path) -> Iterator[bytes]:
    """The text of a file in blocks of whole lines, each ended."""
    rest = b""
    with path.open("rb") as file:
        while block := file.read(_IDX_BLOCK):
            end = block.rfind(b"\n") + 1
            if end:
                yield rest + block[:end]
                rest = block[end:]
            else:
                rest += block
    if rest:
        yield rest + b"\n"


def _wrong_line(path: Path, text: bytes, first: int) -> str:
    lines = enumerate(text.split(b"\n"), start=first)
    number, line = next((number, line) for number, line in lines if _is_wrong(line))
    shown = printable(line.decode("utf-8", "surrogateescape"))
    return f"{printable(path)}:{number}: expected 'key<TAB>offset', two whole numbers, the key below 2³²; got {shown!r}"


def _is_wrong(line: bytes) -> bool:
    return not _IDX_LINES.fullmatch(line + b"\n") or (bool(line.strip()) and int(line.split()[0]) >= 2**32)


def _scanned(path: Path, problems: list[Problem]) -> np.ndarray:
    offsets = []
    for position, (offset, reason) in enumerate(scan_offsets(path)):
        if reason is None:
            offsets.append(offset)
        else:
            problems.append(Problem(printable(path), f"#{position}", offset, reason))
    entries = np.empty(len(offsets), ENTRY)
    entries["offset"], entries["key"] = offsets, np.arange(len(offsets))
    return entries


class _Listed:
    """Finds what an ``.idx`` leaves out:

    where one record ends, the next listed one should begin. Of a shuffled list nothing can be said.
    """

    def __init__(self, name: str) -> None:
        self.name, self.expected, self.is_ordered = name, 0, True
        self.found: list[Problem] = []

    def follow(self, offsets: np.ndarray, ends: np.ndarray) -> None:
        """The next records of the list; 0 in ``ends`` where it is not known."""
        expected = np.concatenate([np.array([self.expected], np.uint64), ends[:-1]])
        self.expected = int(ends[-1])
        self.is_ordered &= bool((offsets >= expected).all())
        for i in np.flatnonzero((expected > 0) & (offsets > expected)).tolist():
            missing = int(offsets[i] - expected[i])
            self.found.append(
                Problem(self.name, "", int(expected[i]), f"the .idx lists nothing of the {missing} bytes from here on")
            )

    def gaps(self, size: int) -> list[Problem]:
        """All gaps in a file of this size, the one at its end too."""
        self.follow(np.array([size], np.uint64), np.zeros(1, np.uint64))
        return self.found if self.is_ordered else []


class _Headers:
    """Reads the headers of many records at once."""

    def __init__(self, path: Path, size: int, classes: int | None) -> None:
        self.size, self.classes = size, classes
        self.words = np.memmap(path, "<u4", "r", shape=(size // 4,))
        self.bytes = np.memmap(path, np.uint8, "r", shape=(size,))
        self.has_table = self._begins_with_table()

    def labels(self, entries: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[tuple[int, str]]]:
        """Labels int32 (n,), −1 where there is no image to use; ends u64 (n,), 0 where not known; and (position, reason) of the rest."""
        offsets = entries["offset"]
        reasons: dict[int, str] = {}

        def refuse(wrong: np.ndarray, reason: Callable[[int], str]) -> None:
            for i in np.flatnonzero(wrong & ~refused).tolist():
                reasons[i] = reason(i)
            refused[wrong] = True

        refused = np.zeros(len(entries), bool)
        refuse(offsets % 4 != 0, lambda i: "no record begins at an offset that is no multiple of 4: the .idx is of another file")
        refuse(offsets + RECORD_HEADER.size > self.size, lambda i: f"the offset is beyond the {self.size} bytes of the file")
        head = self._gather(np.where(refused, 0, offsets))
        refuse(
            head[:, 0] != MAGIC,
            lambda i: f"no record begins here (found {head[i, 0]:#x}); is the .idx of another file?",
        )
        part, length = head[:, 1] >> LENGTH_BITS, (head[:, 1] & MAX_LENGTH).astype(np.int64)
        refuse(
            offsets.astype(np.int64) + RECORD_HEADER.size + length > self.size,
            lambda i: f"a record of {length[i]} bytes runs past the end of the file",
        )
        refuse(part > FIRST, lambda i: "the middle of a record in parts, not its beginning")
        ends = np.where(
            refused | (part != WHOLE), 0, offsets + np.uint64(RECORD_HEADER.size) + (length + -length % 4).astype(np.uint64)
        )

        short = (length < IMAGE_HEADER.size) & (part == WHOLE)
        refuse(short, lambda i: f"the record holds {length[i]} bytes; an image needs a header of {IMAGE_HEADER.size}")
        flag, label = head[:, 2].astype(np.int64), head[:, 3:4].copy().view("<f4")[:, 0]
        body = length - IMAGE_HEADER.size - 4 * flag
        value = np.where((flag > 0) & (body >= 0), head[:, 8:9].copy().view("<f4")[:, 0], label)
        for i in np.flatnonzero((part == FIRST) & ~refused).tolist():
            try:
                record = unpack_image(read_record(self._read, int(offsets[i]))[0])
                value[i], body[i], flag[i] = record.labels[0], len(record.image), len(record.labels)
            except InputError as error:
                reasons[i], refused[i] = str(error), True
        refuse(body < 0, lambda i: f"the header names {flag[i]} labels, but the record holds {length[i]} bytes")
        table = ~refused & (body == 0) & (flag == 2) & self.has_table
        refused |= table
        refuse(body == 0, lambda i: "the record holds no image")
        limit = self.classes if self.classes is not None else 2**31
        in_range = (value >= 0) & (value < limit) & (value == np.floor(value))  # NaN compares false
        expected = f"whole numbers in [0, {self.classes}) by `property`" if self.classes is not None else "whole numbers ≥ 0"
        refuse(~in_range, lambda i: f"label {value[i]:g}; expected {expected}")
        labels = np.where(refused, _NOT_AN_IMAGE, np.where(in_range, value, 0)).astype(np.int32)
        return labels, ends, sorted(reasons.items())

    def _gather(self, offsets: np.ndarray) -> np.ndarray:
        """u32 (n, words) from each offset; zeros past the end of the file."""
        at = (offsets >> np.uint64(2)).astype(np.int64)[:, None] + np.arange(_HEADER_WORDS)
        return np.where(at < len(self.words), self.words[np.minimum(at, len(self.words) - 1)], 0).astype(np.uint32)

    def _read(self, offset: int, size: int) -> bytes:
        if offset + size > self.size:
            raise InputError("a record in parts runs past the end of the file")
        return self.bytes[offset : offset + size].tobytes()

    def _begins_with_table(self) -> bool:
        magic, flag_and_length, flag = (int(word) for word in self._gather(np.zeros(1, np.uint64))[0, :3])
        return magic == MAGIC and flag == 2 and flag_and_length == IMAGE_HEADER.size + 8
