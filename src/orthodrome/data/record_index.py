"""Which records of a RecordIO file are images, where, and with which label: 16 bytes a record, read once and kept in a sidecar.

Labels come from the images' own headers. The table of key ranges at the front and the identity records at the end hold float32 numbers,
which are off by one beyond 2²⁴ = 16,777,216; they are recognised by having no image and are otherwise not looked at.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from orthodrome.data.decode import printable
from orthodrome.data.encoded import contiguous_labels
from orthodrome.data.problems import Problem
from orthodrome.data.record_headers import NOT_AN_IMAGE, RecordHeaders
from orthodrome.data.record_idx import ENTRY, read_idx, write_idx
from orthodrome.data.recordio import RECORD_HEADER, scan_offsets
from orthodrome.data.sidecar import Sidecar
from orthodrome.types import InputError, Progress

MOST_PROBLEMS = 1_000_000
"""With more, the ``.idx`` is of another file; a list of them would take gigabytes."""

_CHUNK = 65_536


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
    """Find the images of a record file: ``offsets`` u64, ``keys`` u32 and ``labels`` i32 (N,); ``numbers`` i64 (C,): labels as found.

    Problems found on the way are listed in ``meta["problems"]``; the items they are about are not among the N.

    Raises:
        InputError: the file is empty, a line of the ``.idx`` cannot be read, or more than `MOST_PROBLEMS` records cannot be used.
    """
    name, size = printable(files.records), files.records.stat().st_size
    if size < RECORD_HEADER.size:
        raise InputError(f"{name}: {size} bytes; expected RecordIO")
    problems: list[Problem] = []
    entries = read_idx(files.index) if files.index.is_file() else _scanned(files.records, problems)
    labels, ends = np.empty(len(entries), np.int32), np.empty(len(entries), np.uint64)
    headers = RecordHeaders(files.records, size, read_classes(files.properties))
    for first in range(0, len(entries), _CHUNK):
        chunk = entries[first : first + _CHUNK]
        labels[first : first + _CHUNK], ends[first : first + _CHUNK], reasons = headers.labels(chunk["offset"])
        problems += [Problem(name, str(chunk["key"][i]), int(chunk["offset"][i]), reason) for i, reason in reasons]
        _refuse_too_many(problems, name)
        if progress:
            progress(first + len(chunk), len(entries))
    if files.index.is_file():
        problems += _unlisted(files.records, headers, _gaps(entries["offset"], ends, size))
        _refuse_too_many(problems, name)
    problems += _listed_twice(entries, labels, name)
    kept = labels != NOT_AN_IMAGE
    own, numbers = contiguous_labels(labels[kept])
    arrays = {
        "offsets": entries["offset"][kept],
        "keys": entries["key"][kept],
        "labels": own,
        "numbers": numbers.astype(np.int64),
    }
    return Sidecar(arrays, {"problems": [asdict(problem) for problem in problems]})


def build_idx(files: RecordFiles) -> None:
    """Write the ``.idx`` of a record file that has none, following its records; keys count from 0. `index_records` tells what it skips."""
    write_idx(files.index, _scanned(files.records, []))


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


def _scanned(path: Path, problems: list[Problem]) -> np.ndarray:
    offsets = array("Q")
    for position, (offset, reason) in enumerate(scan_offsets(path)):
        if reason is None:
            offsets.append(offset)
        else:
            problems.append(Problem(printable(path), f"#{position}", offset, reason))
    entries = np.empty(len(offsets), ENTRY)
    entries["offset"], entries["key"] = np.frombuffer(offsets, np.uint64), np.arange(len(offsets))
    return entries


def _gaps(offsets: np.ndarray, ends: np.ndarray, size: int) -> Iterator[tuple[int, int]]:
    """Begin and end of what lies between records (N,), listed in any order, of a file of ``size`` bytes; behind one whose end is not
    known, 0, nothing can be said."""
    if not (offsets[1:] >= offsets[:-1]).all():
        order = np.argsort(offsets, kind="stable")
        offsets, ends = offsets[order], ends[order]
    begins = np.concatenate([np.zeros(1, np.uint64), ends])
    lasts = np.minimum(np.concatenate([offsets, np.array([size], np.uint64)]), np.uint64(size))
    is_known = np.concatenate([[True], ends > 0])
    for i in np.flatnonzero(is_known & (lasts > begins)).tolist():
        yield int(begins[i]), int(lasts[i])


def _unlisted(path: Path, headers: RecordHeaders, gaps: Iterator[tuple[int, int]]) -> list[Problem]:
    """Images in what an ``.idx`` leaves out, and damage there; one more than `MOST_PROBLEMS` at most."""
    problems: list[Problem] = []
    found = scan_offsets(path, gaps)
    while len(problems) <= MOST_PROBLEMS and (chunk := list(islice(found, _CHUNK))):
        offsets = np.array([offset for offset, reason in chunk if reason is None], np.uint64)
        labels, _, reasons = headers.labels(offsets)
        told = {int(offsets[i]): reason for i, reason in reasons} | {offset: reason for offset, reason in chunk if reason}
        told |= dict.fromkeys(offsets[labels != NOT_AN_IMAGE].tolist(), "the .idx does not list this image")
        problems += [Problem(printable(path), "", offset, reason) for offset, reason in sorted(told.items())]
    return problems


def _refuse_too_many(problems: list[Problem], name: str) -> None:
    if len(problems) > MOST_PROBLEMS:
        raise InputError(f"{name}: more than {MOST_PROBLEMS:,} records cannot be used, the first: {problems[0]}")


def _listed_twice(entries: np.ndarray, labels: np.ndarray, name: str) -> list[Problem]:
    """Images whose key, or whose offset, another one before them has; their labels are taken away."""
    problems = []
    for field, reason in (
        ("key", "the .idx lists this key twice"),
        ("offset", "the .idx lists this offset under another key, too"),
    ):
        again = _repeated(entries[field])
        again = again[labels[again] != NOT_AN_IMAGE]
        labels[again] = NOT_AN_IMAGE
        problems += [Problem(name, str(entries["key"][i]), int(entries["offset"][i]), reason) for i in again.tolist()]
    return problems


def _repeated(values: np.ndarray) -> np.ndarray:
    """Where (n,), ascending, a value stands that stood before."""
    if (values[1:] > values[:-1]).all():
        return np.empty(0, dtype=np.int64)
    order = np.argsort(values, kind="stable")
    return np.sort(order[1:][values[order][1:] == values[order][:-1]])
