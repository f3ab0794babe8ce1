"""Writers of sets: a folder of identities, RecordIO, tar shards, Parquet. Each can begin again where what is on disk is whole.

A writer gets ``(folder, reader, start, per_file)``: the reader says what is to come, ``start`` how many images an earlier attempt left, of
which `Writer.flush` had answered for. Image bytes are written as they are given.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from orthodrome.data.decode import decode_image
from orthodrome.data.encoded import class_names_file
from orthodrome.data.naming import ItemNames, endings_of
from orthodrome.data.protocol import ImageReader
from orthodrome.data.record_idx import read_idx
from orthodrome.data.record_index import RecordFiles
from orthodrome.data.recordio import pack_image, pack_labels, read_record, record_bytes
from orthodrome.data.tables import require_pyarrow
from orthodrome.files import write_file
from orthodrome.registry import Registry
from orthodrome.types import InputError

ROWS_OF_A_GROUP = 100


class Writer(Protocol):
    """Takes the images of a set in order."""

    def write(self, position: int, content: bytes) -> None:
        """The next image."""

    def flush(self) -> int:
        """Put on disk what can be; the number of images from which a later attempt may start."""

    def finish(self) -> None:
        """After the last image."""


WRITERS: Registry[Callable[[Path, ImageReader, int, int], Writer]] = Registry("form of a set")


def write_class_names(folder: Path, reader: ImageReader) -> None:
    """``classes.txt``, where names are more than the numbers from 0. Raises InputError for a name of several lines."""
    names = list(reader.class_names)
    broken = next((name for name in names if "\n" in name or "\r" in name), None)
    if broken is not None:
        raise InputError(f"class name {broken!r} has a line break; rename the class")
    if names != list(map(str, range(len(names)))):
        write_file(class_names_file(folder), "".join(f"{name}\n" for name in names).encode())


class FolderWriter:
    """``<identity>/<image>``."""

    def __init__(self, folder: Path, reader: ImageReader, start: int, per_file: int) -> None:
        self.folder, self.names, self.written = folder, ItemNames(reader), start
        for label in np.unique(np.asarray(reader.labels)).tolist():  # a folder without images is no identity to a reader
            (folder / self.names.folders[label]).mkdir(parents=True, exist_ok=True)

    def write(self, position: int, content: bytes) -> None:
        """One file."""
        (self.folder / self.names.name(position, content)).write_bytes(content)
        self.written = position + 1

    def flush(self) -> int:
        """Every file so far; one call for all, since asking for each would take longer than writing them."""
        os.sync()
        return self.written

    def finish(self) -> None:
        """Nothing is left to do."""
        os.sync()


class RecordWriter:
    """``train.rec``, ``train.idx``, ``property``, as insightface hands sets out.

    Where images are grouped by person and float32 can count them, the key ranges are written too: record 0 and one record per identity.
    Else keys begin at 0 and there is no table, as in shuffled files.
    """

    def __init__(self, folder: Path, reader: ImageReader, start: int, per_file: int) -> None:
        self.folder, self.reader, self.labels, self.classes = folder, reader, np.asarray(reader.labels), len(reader.class_names)
        grouped = bool((np.diff(self.labels) >= 0).all())
        self.has_table = grouped and len(reader) + self.classes + 1 < 2**24
        self.files = RecordFiles(folder / "train.rec")
        write_class_names(folder, reader)
        self.records, self.index = self._open(start)
        self.written = start
        if start == 0 and self.has_table:
            first = float(len(reader) + 1)
            self._append(0, pack_labels(0, (first, first + self.classes)))

    def _open(self, start: int) -> tuple[BinaryIO, BinaryIO]:
        """The two files, cut behind the last record to keep."""
        records, index = (path.open("r+b" if start else "wb") for path in (self.files.records, self.files.index))
        if start:
            _cut(index, _end_of_line(index, start + self.has_table))
            last = int(read_idx(self.files.index)["offset"][-1])
            _cut(records, read_record(lambda offset, size: _read(records, offset, size), last)[1])
        return records, index

    def write(self, position: int, content: bytes) -> None:
        """One record and one line."""
        own = self.reader.sample(position).key
        endings_of(own, content)
        if position == 0:
            height, width = decode_image(content, name=own).shape[:2]
            write_file(self.files.properties, f"{self.classes},{height},{width}\n".encode())
        key = position + self.has_table
        self._append(key, pack_image(int(self.labels[position]), key, content))
        self.written = position + 1

    def _append(self, key: int, payload: bytes) -> None:
        self.index.write(f"{key}\t{self.records.tell()}\n".encode())
        self.records.write(record_bytes(payload))

    def flush(self) -> int:
        """All of it."""
        for file in (self.records, self.index):
            _to_disk(file)
        return self.written

    def finish(self) -> None:
        """The identity records."""
        if self.has_table:
            ends = np.searchsorted(self.labels, np.arange(self.classes + 1)) + 1
            for label in range(self.classes):
                key = len(self.labels) + 1 + label
                self._append(key, pack_labels(key, (float(ends[label]), float(ends[label + 1]))))
        self.flush()
        self.records.close()
        self.index.close()


class ShardWriter:
    """``000000.tar``, … of ``per_file`` images each: ``<identity>/<image>`` and beside it a ``.cls`` with the label."""

    def __init__(self, folder: Path, reader: ImageReader, start: int, per_file: int) -> None:
        self.folder, self.reader, self.names, self.per_file = folder, reader, ItemNames(reader), per_file
        self.finished, self.file = start, None
        self.digits = max(6, len(str(len(reader) // per_file)))
        write_class_names(folder, reader)

    file: BinaryIO | None

    def write(self, position: int, content: bytes) -> None:
        """Two members."""
        if self.file is None:
            self.file = (self.folder / f"{position // self.per_file:0{self.digits}d}.tar").open("wb")
        name = self.names.name(position, content)
        self._append(name, content)
        self._append(name.rpartition(".")[0] + ".cls", str(self.reader.sample(position).label).encode())
        if (position + 1) % self.per_file == 0:
            self._close(position + 1)

    def _append(self, name: str, content: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        assert self.file is not None
        self.file.write(member.tobuf(tarfile.PAX_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE))

    def _close(self, position: int) -> None:
        if self.file is not None:
            self.file.write(bytes(2 * tarfile.BLOCKSIZE))
            _to_disk(self.file)
            self.file.close()
        self.file, self.finished = None, position

    def flush(self) -> int:
        """The shards that are closed."""
        return self.finished

    def finish(self) -> None:
        """Close the last shard."""
        self._close(len(self.reader))


class TableWriter:
    """``data/train-00000-of-00005.parquet``, … of ``per_file`` rows each, as Hugging Face writes image sets; class names in the schema."""

    def __init__(self, folder: Path, reader: ImageReader, start: int, per_file: int) -> None:
        self.folder, self.reader, self.names, self.per_file = folder / "data", reader, ItemNames(reader), per_file
        self.folder.mkdir(exist_ok=True)
        self.finished = start
        self.rows: list[dict[str, Any]] = []
        self.open: Any = None
        self.schema = self._schema()

    def _schema(self) -> Any:
        arrow = require_pyarrow()
        features = {
            "image": {"_type": "Image"},
            "label": {"names": list(self.reader.class_names), "_type": "ClassLabel"},
        }
        image = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
        plain = json.dumps({"info": {"features": features}})
        return arrow.schema([("image", image), ("label", arrow.int64())], metadata={"huggingface": plain})

    def write(self, position: int, content: bytes) -> None:
        """One row."""
        label = self.reader.sample(position).label
        self.rows.append({"image": {"bytes": content, "path": self.names.name(position, content)}, "label": label})
        if len(self.rows) == ROWS_OF_A_GROUP:
            self._write_group()
        if (position + 1) % self.per_file == 0:
            self._close(position + 1)

    def _write_group(self) -> None:
        from pyarrow import parquet

        if self.open is None:
            count = -(-len(self.reader) // self.per_file)
            name = f"train-{self.finished // self.per_file:05d}-of-{count:05d}.parquet"
            self.open = parquet.ParquetWriter(self.folder / name, self.schema, compression="none")
        self.open.write_table(require_pyarrow().Table.from_pylist(self.rows, self.schema))
        self.rows = []

    def _close(self, position: int) -> None:
        if self.rows:
            self._write_group()
        if self.open is not None:
            self.open.close()
            os.sync()
        self.open, self.finished = None, position

    def flush(self) -> int:
        """The files that are closed."""
        return self.finished

    def finish(self) -> None:
        """Close the last file."""
        self._close(len(self.reader))


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _end_of_line(file: BinaryIO, count: int) -> int:
    """Where the line of this number (from 1) ends; what a killed process left behind it may be anything."""
    file.seek(0)
    return sum(len(file.readline()) for _ in range(count))


def _cut(file: BinaryIO, end: int) -> None:
    file.truncate(end)
    file.seek(end)


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


WRITERS.add("folder", FolderWriter)
WRITERS.add("rec", RecordWriter)
WRITERS.add("webdataset", ShardWriter)
WRITERS.add("parquet", TableWriter)
