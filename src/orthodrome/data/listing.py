"""A list file: one ``path label`` per line, the form many training scripts of the field use."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from orthodrome.data.decode import printable
from orthodrome.data.encoded import contiguous_labels
from orthodrome.data.files import FileReader
from orthodrome.data.problems import BUDGET, Problem, check_budget
from orthodrome.types import InputError

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")  # longer ones are names


def read_list(path: str | Path, budget: float = BUDGET) -> FileReader:
    """Index a text file of ``path label`` or ``path<TAB>label`` lines.

    The label is the last field, so the path may hold blanks; with a tab the label may hold blanks too.
    Relative paths start at the folder of the list file. Blank lines and lines that begin with ``#`` are
    skipped. If every label is an integer of up to 18 digits, classes are ordered by value (007 is 7), otherwise by name; either
    way labels become ``0 … C−1`` and ``class_names`` keeps what the file says. Lines whose image does not exist are left out and named in
    ``problems``.

    Raises:
        InputError: with file and line: no label, a negative label, or an image that has two labels; a file that cannot be read, is no
            text, or lists nothing; or more than the share ``budget`` of the lines name images that do not exist.
    """
    path = Path(path)
    rows = [_fields(path, number, line) for number, line in _lines(path)]
    if not rows:
        raise InputError(f"{printable(path)}: the list has no images; expected lines of 'path label'")
    _check_labels(path, rows)
    labels, class_names = _contiguous(path, rows)
    exists = {image: os.path.isfile(path.parent / image) for _, image, _ in rows}
    problems = tuple(_missing(path, number, image) for number, image, _ in rows if not exists[image])
    check_budget(problems, len(rows), budget, printable(path))
    kept = [position for position, (_, image, _) in enumerate(rows) if exists[image]]
    labels, classes = contiguous_labels(labels[kept])
    names = tuple(class_names[label] for label in classes.tolist())
    return FileReader(path.parent, tuple(rows[i][1] for i in kept), labels.astype(np.int64), names, problems=problems)


Row = tuple[int, str, str]  # line number, image path, label


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise InputError(f"{printable(path)}: the list cannot be read: {error.strerror or error}") from None
    if "\0" in text:
        raise InputError(f"{printable(path)}: not a text file; expected a folder of identities or lines of 'path label'")
    lines = ((number, line.strip()) for number, line in enumerate(text.split("\n"), start=1))
    return [(number, line) for number, line in lines if line and not line.startswith("#")]


def _fields(path: Path, number: int, line: str) -> Row:
    fields = [field.strip() for field in line.rsplit("\t" if "\t" in line else None, maxsplit=1)]
    if len(fields) != 2 or not all(fields):
        raise InputError(
            f"{printable(path)}:{number}: expected 'path label' with a blank or a tab between; got '{printable(line)}'"
        )
    return number, fields[0], fields[1]


def _check_labels(path: Path, rows: list[Row]) -> None:
    seen: dict[str, tuple[int, str]] = {}
    for number, image, label in rows:
        first, label_before = seen.setdefault(image, (number, label))
        if label != label_before:
            raise InputError(
                f"{printable(path)}:{number}: {printable(image)} has label {printable(label)} here "
                f"and {printable(label_before)} in line {first}; give it one"
            )


def _missing(path: Path, number: int, image: str) -> Problem:
    reason = f"no such image ({printable(path)}:{number}; relative paths start at the folder of the list)"
    return Problem(printable(path.parent / image), printable(image), None, reason)


def _contiguous(path: Path, rows: list[Row]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels (N,) int64 in ``[0, C)`` and the C names."""
    if all(_INTEGER.fullmatch(label) for _, _, label in rows):
        names, labels = np.unique([_class_number(path, row) for row in rows], return_inverse=True)
    else:
        names, labels = np.unique([printable(label) for _, _, label in rows], return_inverse=True)
    return labels.astype(np.int64), tuple(str(name) for name in names)


def _class_number(path: Path, row: Row) -> int:
    number, _, label = row
    if int(label) < 0:
        raise InputError(f"{printable(path)}:{number}: labels must be ≥ 0 or names; got {label}")
    return int(label)
