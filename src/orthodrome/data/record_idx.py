"""The ``.idx`` of a record file: a line ``key<TAB>offset`` per record, 12 bytes each in memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from orthodrome.data.decode import printable
from orthodrome.files import write_file
from orthodrome.types import InputError

ENTRY = np.dtype([("offset", "<u8"), ("key", "<u4")])
"""A line of the ``.idx``."""

_ROWS = 65_536
_IDX_BLOCK = 2**24
_IDX_LINES = re.compile(rb"(?:[ \t]*+(?:\d++[ \t]++\d{1,18}+[ \t]*+)?\r?\n)*+")


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
    chunks = (entries[first : first + _ROWS].tolist() for first in range(0, len(entries), _ROWS))
    write_file(
        path, lambda file: file.writelines("".join(f"{key}\t{offset}\n" for offset, key in chunk).encode() for chunk in chunks)
    )


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
    return f"{printable(path)}:{number}: expected 'key<TAB>offset', two whole numbers, the key below 2³²; got '{shown[:80]}'"


def _is_wrong(line: bytes) -> bool:
    if not _IDX_LINES.fullmatch(line + b"\n"):
        return True
    key = line.split()[0].lstrip(b"0") if line.strip() else b""
    return len(key) > len(str(2**32)) or int(key or b"0") >= 2**32
