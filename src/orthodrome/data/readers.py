"""From a path to a reader: the one place that knows which form of data is where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from orthodrome.data.decode import printable
from orthodrome.data.folder import EXTENSIONS, first_of_identities, read_folder
from orthodrome.data.listing import read_list
from orthodrome.data.problems import BUDGET, check_budget, quarantine_file, read_quarantine
from orthodrome.data.protocol import ImageReader
from orthodrome.data.records import read_records
from orthodrome.data.shards import read_shards
from orthodrome.data.split import Subset
from orthodrome.data.tables import TABLE_ENDINGS, TABLE_FOLDERS, read_tables
from orthodrome.types import InputError, Progress

FORMS = (
    "a folder of identities, a list file, a .rec, tar shards (also {000..012}.tar), a .parquet or .arrow, or a folder of these"
)

Open = Callable[[Path, float, Progress | None], ImageReader]


def open_reader(path: str | Path, budget: float = BUDGET, progress: Progress | None = None) -> ImageReader:
    """The reader of whatever is at ``path``, without what its quarantine list names.

    By ending a ``.rec`` (`read_records`), ``.tar`` shards (`read_shards`), a ``.parquet`` or ``.arrow`` table (`read_tables`) or a list
    file (`read_list`); a folder is that of which it holds files, else a folder of identities (`read_folder`).

    ``budget`` is the share of a set that may be left out: what cannot be used as the set is indexed, and what `orthodrome data verify` has
    written into its quarantine list. ``progress`` is called as a large set is indexed for the first time.

    Raises:
        InputError: there is nothing at ``path``, or what is there is none of these; more than ``budget`` of it cannot be used.
    """
    path = Path(path)
    return without_quarantined(open_whole(path, budget, progress), path, budget)


def open_whole(path: Path, budget: float = 1.0, progress: Progress | None = None) -> ImageReader:
    """`open_reader` without regard to the quarantine list."""
    return _opener(path)(path, budget, progress)


def is_set(path: Path) -> bool:
    """Whether `open_reader` is to read ``path``: anything that is no image by its name."""
    return path.is_dir() or path.suffix.lower() not in EXTENSIONS


def without_quarantined(reader: ImageReader, path: Path, budget: float) -> ImageReader:
    """What the quarantine list beside ``path`` leaves of its reader; see `open_reader`.

    Raises:
        InputError: the list names an image that the set does not have, or not where the list says, or too many.
    """
    listed = read_quarantine(quarantine_file(path))
    if not listed:
        return reader
    known = {(problem.key, problem.offset) for problem in reader.problems}
    left_out = tuple(problem for problem in listed if (problem.key, problem.offset) not in known)
    wanted = {(problem.key, problem.offset) for problem in left_out}
    keys = {key for key, _ in wanted}
    named = np.flatnonzero(np.fromiter((reader.sample(i).key in keys for i in range(len(reader))), bool, len(reader)))
    places = [
        (reader.sample(i).key, reader.place(i).offset) for i in named.tolist()
    ]  # a list file may name an image several times
    if missing := wanted.difference(places):
        raise InputError(
            f"{printable(quarantine_file(path))}: {len(missing)} of its images are not in the set, or not there: it is of another set; "
            "write the list anew with `orthodrome data verify`"
        )
    is_bad = np.zeros(len(reader), dtype=bool)
    is_bad[[i for i, place in zip(named.tolist(), places, strict=True) if place in wanted]] = True
    check_budget((*reader.problems, *left_out), len(reader) + len(reader.problems), budget, printable(path))
    return Subset(reader, np.flatnonzero(~is_bad), left_out)


def _opener(path: Path) -> Open:
    kind = _ending(path)
    if kind == ".tar":
        return read_shards
    if not path.exists():
        raise InputError(f"{printable(path)}: no such file or folder; expected {FORMS}")
    if kind == ".rec":
        return read_records
    if kind in TABLE_ENDINGS:
        return read_tables
    if path.is_dir():
        return lambda path, budget, progress: read_folder(path, budget=budget)
    return lambda path, budget, progress: read_list(path, budget)


def _ending(path: Path) -> str:
    """The ending of a file, or that of what a folder holds: Hugging Face folders keep their tables further down.

    Raises InputError for a folder that holds sets of two forms: which one is meant is not ours to guess.
    """
    if not path.is_dir():
        return path.suffix.lower()
    places = [("", ".rec"), ("", ".tar"), *((folder, ending) for ending in TABLE_ENDINGS for folder in TABLE_FOLDERS)]
    found = {ending: file for folder, ending in reversed(places) if (file := next(path.glob(f"{folder}*{ending}"), None))}
    if found and (image := first_of_identities(path)):
        found[""] = image
    if len(found) > 1:
        listed = ", ".join(printable(file.relative_to(path)) for file in found.values())
        raise InputError(
            f"{printable(path)} holds sets of several forms ({listed}): name the file that is meant, or move the others"
        )
    return next(iter(found), "")
