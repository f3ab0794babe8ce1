"""Parquet files and Hugging Face `datasets` folders: a column of image bytes and one of labels. Needs pyarrow (extra ``data``).

Parquet is compressed by groups of rows, so an image costs its group; the groups read last are kept by each process, up to 256 MiB. A
set larger than that, trained in random order without the cache of decoded images, should be converted first (``orthodrome data
convert``). The Arrow files of ``save_to_disk`` are mapped and have no such cost.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orthodrome.data.decode import printable
from orthodrome.data.encoded import EncodedReader, contiguous_labels, names_of
from orthodrome.data.open_files import NO_FAULT_OF_THE_FILE, with_more_files
from orthodrome.data.problems import BUDGET, Place, Problem, check_budget
from orthodrome.types import InputError, Progress

TABLE_ENDINGS = (".parquet", ".arrow")
TABLE_FOLDERS = ("", "data/", "train/", "test/", "validation/", "*/train/")
"""Where in a Hugging Face folder tables lie: by splits (``DatasetDict.save_to_disk``), by configurations and splits (exports of the Hub).

Not every folder is looked into, since a folder of identities has hundreds of thousands.
"""
LABEL_COLUMNS = ("label", "labels", "identity", "person", "person_id", "subject", "class")
KEPT_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Columns:
    """Names of the columns of images and labels, and the class names that the table brings."""

    image: str
    label: str
    class_names: tuple[str, ...] | None


class TableFile:
    """The row groups of one file, opened when first read; pickled as its path. The image column of a group is a binary array."""

    def __init__(self, path: Path, image: str) -> None:
        self.path, self.image = path, image
        self._groups: Any = None

    def __reduce__(self) -> Any:
        return TableFile, (self.path, self.image)

    def group(self, number: int) -> Any:
        """The encoded images of a group of rows."""
        if self._groups is None:
            self._groups = _open(self.path)
        return image_bytes(self._groups.read(number, [self.image]).column(self.image).combine_chunks())


class TableStore:
    """Images in table files. Row groups begin at ``starts`` (G + 1,) of all rows; ``rows`` (N,) are those that are used."""

    def __init__(
        self, files: Sequence[TableFile], groups: Sequence[tuple[int, int]], starts: np.ndarray, rows: np.ndarray
    ) -> None:
        self.files, self.groups, self.starts, self.rows = files, groups, starts, rows
        self._kept: OrderedDict[int, Any] = OrderedDict()

    def __reduce__(self) -> Any:
        return TableStore, (self.files, self.groups, self.starts, self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def key(self, index: int) -> str:
        """The number of the row in all files."""
        return str(int(self.rows[index]))

    def place(self, index: int) -> Place:
        """The file; the key is the row."""
        return Place(printable(self.files[self.groups[self._row(index)[0]][0]].path))

    def read(self, index: int) -> bytes:
        """The bytes in the row."""
        group, row = self._row(index)
        content = self._group(group)[row].as_py()
        if content is None:
            raise InputError("the row has no image bytes")
        return bytes(content)

    def _row(self, index: int) -> tuple[int, int]:
        row = int(self.rows[index])
        group = int(np.searchsorted(self.starts, row, side="right")) - 1
        return group, row - int(self.starts[group])

    def _group(self, group: int) -> Any:
        if group not in self._kept:
            file, number = self.groups[group]
            self._kept[group] = self.files[file].group(number)
            while len(self._kept) > 1 and sum(array.nbytes for array in self._kept.values()) > KEPT_BYTES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(group)
        return self._kept[group]


def read_tables(path: str | Path, budget: float = BUDGET, progress: Progress | None = None) -> EncodedReader:
    """Index Parquet or Arrow files: one, or those of a folder (in it or below, ``train`` files only where a split is named), in name order.

    Images are a column of bytes or of ``{bytes, path}``, as Hugging Face writes them; labels a column named like one of
    `LABEL_COLUMNS`, numbers or names. Class names come from the table's own ``ClassLabel``, else from ``classes.txt``, else they are
    the labels themselves.

    Raises:
        InputError: pyarrow is not installed, there is no such column, or more than the share ``budget`` of the rows cannot be used.
    """
    paths = table_paths(Path(path))
    columns = find_columns(paths[0])
    groups, counts, labels = [], [], []
    for number, file in enumerate(paths):
        opened = _open(file)
        if _columns(opened.schema, file) != columns:
            raise InputError(
                f"{printable(file)}: its columns or class names are not those of {printable(paths[0])}; give one set"
            )
        for group in range(opened.groups):
            column = _label_column(opened.read(group, [columns.label]), columns, file)
            groups.append((number, group))
            counts.append(len(column))
            labels.append(column)
        if progress:
            progress(number + 1, len(paths))
    given = _joined(labels, paths[0])
    rows, problems = _usable(given, columns, paths[0])
    check_budget(problems, len(given), budget, printable(path))
    files = [TableFile(file, columns.image) for file in paths]
    store = TableStore(files, groups, np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]), rows)
    own, names = _classes(given[rows], columns, paths[0].parent)
    return EncodedReader(store, own, names, problems)


def table_paths(path: Path) -> list[Path]:
    """The files of a table: the file itself; of a folder those named ``train…`` where there are any, else all, below it too.

    What Hugging Face ``datasets`` keeps beside them of its own work, ``cache-….arrow``, is left out.
    """
    if not path.is_dir():
        return [path]
    every = (file for ending in TABLE_ENDINGS for file in path.rglob(f"*{ending}"))
    found = sorted(file for file in every if not (file.name.startswith("cache-") and file.suffix == ".arrow"))
    named = [file for file in found if file.name.startswith("train") or "train" in file.relative_to(path).parts[:-1]]
    if not found:
        raise InputError(f"{printable(path)}: no {' or '.join(TABLE_ENDINGS)} files here")
    return named or found


def find_columns(path: Path) -> Columns:
    """Which columns hold images and labels. Raises InputError naming the columns there are."""
    return _columns(_open(path).schema, path)


def _columns(schema: Any, path: Path) -> Columns:
    arrow = require_pyarrow()
    images = [field.name for field in schema if _is_image(arrow, field.type)]
    labels = [name for name in LABEL_COLUMNS if schema.names.count(name) == 1 and name not in images]
    if len(images) != 1 or not labels:
        wanted = f"one column of image bytes and one of labels, named {', '.join(LABEL_COLUMNS[:3])}, …"
        raise InputError(f"{printable(path)}: expected {wanted}; it has {', '.join(f'{f.name} ({f.type})' for f in schema)}")
    return Columns(images[0], labels[0], _class_names(schema, labels[0], path))


def _class_names(schema: Any, label: str, path: Path) -> tuple[str, ...] | None:
    """Those of a Hugging Face ``ClassLabel``; None where the column is none."""
    plain = (schema.metadata or {}).get(b"huggingface")
    if plain is None:
        return None
    try:
        names = json.loads(plain)["info"]["features"][label].get("names")
        return tuple(map(str, names)) if names else None
    except KeyError:
        return None
    except (ValueError, TypeError, AttributeError):
        raise InputError(
            f"{printable(path)}: its Hugging Face metadata cannot be read; remove it, or write the file anew"
        ) from None


def image_bytes(column: Any) -> Any:
    """The bytes in a column of bytes or of ``{bytes, path}``."""
    arrow = require_pyarrow()
    return column.field("bytes") if arrow.types.is_struct(column.type) else column


def require_pyarrow() -> Any:
    """The module pyarrow. Raises InputError naming the extra where it is missing."""
    try:
        import pyarrow
    except ImportError:
        raise InputError('Parquet and Arrow tables need the package pyarrow: pip install "orthodrome[data]"') from None
    return pyarrow


def _is_image(arrow: Any, kind: Any) -> bool:
    if arrow.types.is_struct(kind):
        return any(kind.field(i).name == "bytes" and _is_image(arrow, kind.field(i).type) for i in range(kind.num_fields))
    return arrow.types.is_binary(kind) or arrow.types.is_large_binary(kind)


@dataclass(frozen=True)
class _Opened:
    """A table file: its schema, and its rows by groups."""

    schema: Any
    groups: int
    read: Callable[[int, list[str]], Any]


def _open(path: Path) -> _Opened:
    with _readable(path):
        return _open_arrow(path) if path.suffix == ".arrow" else _open_parquet(path)


def _open_parquet(path: Path) -> _Opened:
    from pyarrow import parquet

    file = with_more_files(lambda: parquet.ParquetFile(path))
    return _Opened(
        file.schema_arrow, file.num_row_groups, _checked(path, lambda group, names: file.read_row_group(group, columns=names))
    )


def _open_arrow(path: Path) -> _Opened:
    """The record batches of an Arrow file, stream or not, left where they are on disk."""
    arrow = require_pyarrow()
    with with_more_files(lambda: path.open("rb")) as file:
        open_file = arrow.ipc.open_file if file.read(6) == b"ARROW1" else arrow.ipc.open_stream
    table = open_file(arrow.memory_map(str(path))).read_all()
    batches = table.to_batches()
    return _Opened(table.schema, len(batches), lambda group, names: arrow.Table.from_batches([batches[group]]).select(names))


def _checked(path: Path, read: Callable[[int, list[str]], Any]) -> Callable[[int, list[str]], Any]:
    def checked(group: int, names: list[str]) -> Any:
        with _readable(path):
            return read(group, names)

    return checked


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    arrow = require_pyarrow()
    try:
        yield
    except (arrow.ArrowException, OSError) as error:
        if getattr(error, "errno", None) in NO_FAULT_OF_THE_FILE:
            raise
        raise InputError(f"{printable(path)}: not a whole {path.suffix[1:]} file: {str(error).splitlines()[0]}") from None


def _label_column(table: Any, columns: Columns, path: Path) -> np.ndarray:
    """Labels as int64, −1 where there is none, or as text, empty where there is none."""
    arrow = require_pyarrow()
    column = table.column(columns.label)
    if arrow.types.is_integer(column.type):
        with _readable(path):
            return column.cast(arrow.int64()).fill_null(-1).to_numpy().astype(np.int64)
    if arrow.types.is_string(column.type) or arrow.types.is_large_string(column.type) or arrow.types.is_dictionary(column.type):
        return np.array([value or "" for value in column.cast(arrow.string()).to_pylist()], dtype=np.str_)
    raise InputError(f"{printable(path)}: column {columns.label!r} has type {column.type}; labels are whole numbers or text")


def _joined(labels: list[np.ndarray], path: Path) -> np.ndarray:
    """The labels of all groups, numbers or text."""
    if len({column.dtype.kind for column in labels}) > 1:
        raise InputError(f"{printable(path.parent)}: labels are numbers in some files and text in others; give one set")
    return np.concatenate(labels) if labels else np.empty(0, np.int64)


def _usable(given: np.ndarray, columns: Columns, path: Path) -> tuple[np.ndarray, tuple[Problem, ...]]:
    """Rows with a label, and what is wrong with the others."""
    if given.dtype.kind == "U":
        good, expected = given != "", "a name"
    else:
        limit = len(columns.class_names) if columns.class_names else np.iinfo(np.int64).max
        good, expected = (
            (given >= 0) & (given < limit),
            f"a whole number in [0, {limit})" if columns.class_names else "a whole number ≥ 0",
        )
    bad = np.flatnonzero(~good).tolist()
    problems = tuple(
        Problem(printable(path.parent), str(row), None, f"label {given[row].item()!r}; expected {expected}") for row in bad
    )
    return np.flatnonzero(good), problems


def _classes(given: np.ndarray, columns: Columns, folder: Path) -> tuple[np.ndarray, Sequence[str]]:
    if given.dtype.kind == "U":
        names, labels = np.unique(given, return_inverse=True)
        return labels.astype(np.int32), tuple(names.tolist())
    labels, numbers = contiguous_labels(given)
    if columns.class_names:
        return labels, tuple(columns.class_names[number] for number in numbers.tolist())
    return labels, names_of(numbers, folder)
