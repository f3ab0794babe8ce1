"""MXNet RecordIO: how a record is written in a file, and an image in a record. Little endian.

A record is ``u32 magic``, ``u32`` with three bits of part flag and 29 bits of length, the payload, zeros up to four bytes. A payload that
holds the magic number at a multiple of four bytes is cut there into parts (first 1, middle 2, last 3; a whole one is 0) and the magic
left out, so that the number marks the beginning of a record wherever it stands in the file; a reader puts it back.

The payload of an image is a header ``<IfQQ`` (flag, label, id, id2), then ``flag`` float32 labels where flag > 0, then the image file.
Sets of insightface begin with a record of two labels and no image, the key ranges, and end with one such record per identity. Their numbers
are float32, exact only to 2²⁴, so nothing here relies on them: each image has its own label.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orthodrome.data.decode import printable
from orthodrome.types import InputError

MAGIC = 0xCED7230A
MAGIC_BYTES = struct.pack("<I", MAGIC)
WHOLE, FIRST, MIDDLE, LAST = range(4)
LENGTH_BITS = 29
MAX_LENGTH = 2**LENGTH_BITS - 1

RECORD_HEADER = struct.Struct("<II")
IMAGE_HEADER = struct.Struct("<IfQQ")

_BLOCK = 2**20  # stays in the processor's cache

ReadAt = Callable[[int, int], bytes]
"""(offset, size) -> exactly that many bytes."""


@dataclass(frozen=True)
class ImageRecord:
    """An image of a record: its labels (one, or as many as the header names), its id, and the bytes of the image file."""

    labels: tuple[float, ...]
    identifier: int
    image: bytes


# ------------------------------------------------------------------------------------------------------------- payloads


def pack_image(label: int, identifier: int, image: bytes) -> bytes:
    """The payload of one image with one label. Raises InputError for a label that float32 does not hold exactly."""
    if not 0 <= label <= 2**24:
        raise InputError(f"a record holds labels in [0, 2²⁴] exactly; got {label}")
    return IMAGE_HEADER.pack(0, label, identifier, 0) + image


def pack_labels(identifier: int, labels: tuple[float, ...]) -> bytes:
    """The payload of a record without an image: the key ranges of a set, or of an identity."""
    return IMAGE_HEADER.pack(len(labels), 0.0, identifier, 0) + struct.pack(f"<{len(labels)}f", *labels)


def unpack_image(payload: bytes) -> ImageRecord:
    """The image of a payload. Raises InputError where it is shorter than its header says."""
    if len(payload) < IMAGE_HEADER.size:
        raise InputError(f"the record holds {len(payload)} bytes; an image needs a header of {IMAGE_HEADER.size}")
    flag, label, identifier, _ = IMAGE_HEADER.unpack_from(payload)
    start = IMAGE_HEADER.size + 4 * flag
    if len(payload) < start:
        raise InputError(f"the header names {flag} labels but the record holds {len(payload)} bytes")
    labels = struct.unpack_from(f"<{flag}f", payload, IMAGE_HEADER.size) if flag else (label,)
    return ImageRecord(labels, identifier, payload[start:])


# -------------------------------------------------------------------------------------------------------------- records


def record_bytes(payload: bytes) -> bytes:
    """A record of any payload, in parts where it holds the magic number. Raises InputError at 2²⁹ bytes and above."""
    parts = _parts(payload)
    if max(map(len, parts)) > MAX_LENGTH:
        raise InputError(f"a record holds less than 2²⁹ bytes; got {len(payload)}")
    flags = [WHOLE] if len(parts) == 1 else [FIRST, *[MIDDLE] * (len(parts) - 2), LAST]
    return b"".join(
        RECORD_HEADER.pack(MAGIC, flag << LENGTH_BITS | len(part)) + part + bytes(-len(part) % 4)
        for flag, part in zip(flags, parts, strict=True)
    )


def _parts(payload: bytes) -> list[bytes]:
    """The payload cut at each magic number that stands at a multiple of four bytes."""
    parts, begin, at = [], 0, payload.find(MAGIC_BYTES)
    while at >= 0:
        if at % 4 == 0:
            parts.append(payload[begin:at])
            begin = at + 4
        at = payload.find(MAGIC_BYTES, begin if at % 4 == 0 else at + 1)
    return [*parts, payload[begin:]]


def read_record(read_at: ReadAt, offset: int) -> tuple[bytes, int]:
    """The payload of the record at ``offset``, and where the next one begins.

    Raises:
        InputError: no record begins there, or it is not whole; the message does not name the file.
    """
    flag, part, offset = _read_part(read_at, offset)
    if flag == WHOLE:
        return part, offset
    if flag != FIRST:
        raise InputError("the middle of a record in parts, not its beginning")
    parts = [part]
    while flag != LAST:
        flag, part, offset = _read_part(read_at, offset)
        if flag not in (MIDDLE, LAST):
            raise InputError("a record in parts has no last part")
        parts.append(part)
    return MAGIC_BYTES.join(parts), offset


def _read_part(read_at: ReadAt, offset: int) -> tuple[int, bytes, int]:
    magic, flag_and_length = RECORD_HEADER.unpack(read_at(offset, RECORD_HEADER.size))
    if magic != MAGIC:
        raise InputError(f"no record begins here: expected the magic number {MAGIC:#x}, found {magic:#x}")
    length = flag_and_length & MAX_LENGTH
    begin = offset + RECORD_HEADER.size
    return flag_and_length >> LENGTH_BITS, read_at(begin, length), begin + length + -length % 4


# ------------------------------------------------------------------------------------------------------------ streaming


def stream_records(path: str | Path) -> Iterator[memoryview]:
    """The payload of every record of a file, in order, read once from front to back, without an ``.idx``.

    Raises:
        InputError: with file and offset, at the first record that is not whole. `scan_offsets` goes on behind it.
    """
    path = Path(path)
    magic_number, longest, size, start = MAGIC, MAX_LENGTH, _BLOCK, 0
    unpack, header = RECORD_HEADER.unpack_from, RECORD_HEADER.size
    with _opened(path) as descriptor:
        # Each block begins where the first record does that the last block did not hold whole: nothing needs to be joined.
        while block := os.pread(descriptor, size, start):
            view, available, at = memoryview(block), len(block), 0
            last = available - header
            while at <= last:
                magic, length = unpack(block, at)
                if length <= longest and magic == magic_number:
                    begin = at + header
                    end = begin + length
                    if end > available:
                        break
                    yield view[begin:end]
                    at = end + 3 & -4
                else:
                    parts = _parts_joined(block, at, f"{printable(path)}: record at offset {start + at}")
                    if parts is None:
                        break
                    yield memoryview(parts[0])
                    at = parts[1]
            if at == 0 and available < size:
                raise InputError(f"{printable(path)}: the file ends inside the record at offset {start}")
            size = size if at else 2 * size  # not one record fits
            start += at


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        with path.open("rb") as file:
            yield file.fileno()
    except OSError as error:
        raise InputError(f"{printable(path)}: cannot be read: {error.strerror or error}") from None


def _parts_joined(block: bytes, at: int, called: str) -> tuple[bytes, int] | None:
    """The record in parts at ``at``, and where it ends; None where the block ends before it does."""

    def read_at(begin: int, size: int) -> bytes:
        if begin + size > len(block):
            raise EOFError
        return block[begin : begin + size]

    try:
        return read_record(read_at, at)
    except EOFError:
        return None
    except InputError as error:
        raise InputError(f"{called}: {error}") from None


def scan_offsets(path: Path, stretches: Iterable[tuple[int, int]] | None = None) -> Iterator[tuple[int, str | None]]:
    """Where each record begins, by following lengths from record to record; with a reason where something else stands.

    Behind damage the next magic number at a multiple of four bytes is taken for the next record; the format makes sure it is one.
    ``stretches`` are the parts of the file to look at, (begin, end) each; None: all of it.
    """
    size = path.stat().st_size
    if size == 0:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        for offset, last in [(0, size)] if stretches is None else stretches:
            while offset < min(last, size):
                end, reason = _record_end(mapped, offset, size)
                yield offset, reason
                offset = end if reason is None else _next_magic(mapped, offset + 4, size)


def _record_end(mapped: mmap.mmap, offset: int, size: int) -> tuple[int, str | None]:
    """Where the record at ``offset`` ends, parts and all, or why it cannot be told."""
    inside = False
    while True:
        if offset + RECORD_HEADER.size > size:
            return size, "the file ends inside this record"
        magic, flag_and_length = RECORD_HEADER.unpack_from(mapped, offset)
        if magic != MAGIC:
            return offset, f"no record begins here: expected the magic number {MAGIC:#x}, found {magic:#x}"
        flag, length = flag_and_length >> LENGTH_BITS, flag_and_length & MAX_LENGTH
        if (flag in (MIDDLE, LAST)) != inside or flag > LAST:
            return offset, "parts of a record are out of order"
        offset += RECORD_HEADER.size + length
        if offset > size:
            return size, f"a record of {length} bytes runs past the end of the file"
        offset += -length % 4
        if flag in (WHOLE, LAST):
            return offset, None
        inside = True


def _next_magic(mapped: mmap.mmap, offset: int, size: int) -> int:
    at = mapped.find(MAGIC_BYTES, offset)
    while at >= 0 and at % 4:
        at = mapped.find(MAGIC_BYTES, at + 1)
    return at if at >= 0 else size
