"""Headers of many records at once, gathered from the mapped file; only records in parts, about one image in a million, go one by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from orthodrome.data.recordio import (
    FIRST,
    IMAGE_HEADER,
    LENGTH_BITS,
    MAGIC,
    MAX_LENGTH,
    RECORD_HEADER,
    WHOLE,
    read_record,
    unpack_image,
)
from orthodrome.types import InputError

NOT_AN_IMAGE = -1
_HEADER_WORDS = (RECORD_HEADER.size + IMAGE_HEADER.size) // 4 + 2  # and the first two of the labels that may follow


class _Refusals:
    """Which of n records cannot be used, and for which reason: the first that is given."""

    def __init__(self, count: int) -> None:
        self.refused = np.zeros(count, bool)
        self.reasons: dict[int, str] = {}

    def refuse(self, wrong: np.ndarray, reason: Callable[[int], str]) -> None:
        """Those where ``wrong`` (n,)."""
        for i in np.flatnonzero(wrong & ~self.refused).tolist():
            self.reasons[i] = reason(i)
        self.refused |= wrong


class RecordHeaders:
    """The records of a file of ``size`` bytes, whose labels are below ``classes`` where that is known.

    Of several labels of an image the first counts, as in the field's own readers.
    """

    def __init__(self, path: Path, size: int, classes: int | None) -> None:
        self.size, self.classes = size, classes
        self.words = np.memmap(path, "<u4", "r", shape=(size // 4,))
        self.bytes = np.memmap(path, np.uint8, "r", shape=(size,))
        self.has_table = self._begins_with_table()

    def labels(self, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[tuple[int, str]]]:
        """Labels int32 (n,), −1 where there is no image to use; ends u64 (n,), 0 where not known; and (position, reason) of what is wrong.

        A record without an image is none that is wrong where the file begins with the table of key ranges and it holds such a range.
        """
        refusals = _Refusals(len(offsets))
        head, part, length = self._framed(offsets, refusals)
        past = offsets + np.uint64(RECORD_HEADER.size) + (length + -length % 4).astype(np.uint64)
        ends = np.where(refusals.refused | (part != WHOLE), 0, past)
        short = (length < IMAGE_HEADER.size) & (part == WHOLE)
        refusals.refuse(short, lambda i: f"the record holds {length[i]} bytes; an image needs a header of {IMAGE_HEADER.size}")

        flag, label, first, second = head[:, 2].astype(np.int64), _floats(head, 3), _floats(head, 8), _floats(head, 9)
        body = length - IMAGE_HEADER.size - 4 * flag
        value = np.where((flag > 0) & (body >= 0), first, label)
        self._join_parts(offsets, part == FIRST, value, body, ends, refusals)
        refusals.refuse(body < 0, lambda i: f"the header names {flag[i]} labels, but the record holds {length[i]} bytes")
        is_range = (first >= 0) & (first <= second) & (first == np.floor(first)) & (second == np.floor(second))
        refusals.refused |= (body == 0) & (flag == 2) & is_range & self.has_table  # a part of the table
        refusals.refuse(body == 0, lambda i: "the record holds no image")
        return self._checked(value, refusals), ends, sorted(refusals.reasons.items())

    def _framed(self, offsets: np.ndarray, refusals: _Refusals) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Header words (n, 9), part flags and lengths, of records that begin at these offsets and end within the file."""
        refusals.refuse(
            offsets % 4 != 0, lambda i: "no record begins at an offset that is no multiple of 4: the .idx is of another file"
        )
        refusals.refuse(
            offsets + RECORD_HEADER.size > self.size, lambda i: f"the offset is beyond the {self.size} bytes of the file"
        )
        head = self._gather(np.where(refusals.refused, 0, offsets))
        refusals.refuse(
            head[:, 0] != MAGIC, lambda i: f"no record begins here (found {head[i, 0]:#x}); is the .idx of another file?"
        )
        part, length = head[:, 1] >> LENGTH_BITS, (head[:, 1] & MAX_LENGTH).astype(np.int64)
        runs_past = offsets.astype(np.int64) + RECORD_HEADER.size + length > self.size
        refusals.refuse(runs_past, lambda i: f"a record of {length[i]} bytes runs past the end of the file")
        refusals.refuse(part > FIRST, lambda i: "the middle of a record in parts, not its beginning")
        return head, part, length

    def _join_parts(
        self,
        offsets: np.ndarray,
        chosen: np.ndarray,
        value: np.ndarray,
        body: np.ndarray,
        ends: np.ndarray,
        refusals: _Refusals,
    ) -> None:
        """Put label and bytes of the image of records in parts, and where they end, into ``value``, ``body`` and ``ends``."""
        for i in np.flatnonzero(chosen & ~refusals.refused).tolist():
            try:
                payload, ends[i] = read_record(self._read, int(offsets[i]))
                record = unpack_image(payload)
                value[i], body[i] = record.labels[0], len(record.image)
            except InputError as error:
                refusals.reasons[i], refusals.refused[i] = str(error), True

    def _checked(self, value: np.ndarray, refusals: _Refusals) -> np.ndarray:
        """Labels that are whole numbers in range."""
        limit = 2**31 if self.classes is None else self.classes
        expected = "whole numbers ≥ 0" if self.classes is None else f"whole numbers in [0, {self.classes}) by `property`"
        in_range = (value >= 0) & (value < limit) & (value == np.floor(value))  # NaN compares false
        refusals.refuse(~in_range, lambda i: f"label {value[i]:g}; expected {expected}")
        return np.where(refusals.refused, NOT_AN_IMAGE, np.where(in_range, value, 0)).astype(np.int32)

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


def _floats(words: np.ndarray, column: int) -> np.ndarray:
    """A column of u32 (n, words) as float32 (n,)."""
    return words[:, column].copy().view("<f4")
