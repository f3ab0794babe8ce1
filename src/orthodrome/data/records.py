"""The reader of RecordIO sets: ``train.rec``, ``train.idx``, ``property``, the form of MS1MV3, Glint360K, CASIA-WebFace and WebFace."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orthodrome.data.decode import printable
from orthodrome.data.encoded import EncodedReader, PositionedFile, names_of
from orthodrome.data.problems import BUDGET, Place, Problem, check_budget
from orthodrome.data.record_index import RecordFiles, index_records
from orthodrome.data.recordio import read_record, unpack_image
from orthodrome.data.sidecar import load_or_make
from orthodrome.types import InputError, Progress


@dataclass(frozen=True, eq=False)
class RecordStore:
    """Images of a record file by offset (N,); keys (N,) are those of the ``.idx``, or positions in the file where there is none."""

    file: PositionedFile
    offsets: np.ndarray
    keys: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets)

    def key(self, index: int) -> str:
        """The key of the ``.idx``."""
        return str(int(self.keys[index]))

    def place(self, index: int) -> Place:
        """File and offset of the record."""
        return Place(printable(self.file.path), int(self.offsets[index]))

    def read(self, index: int) -> bytes:
        """The image file in the record, parts joined."""
        return unpack_image(read_record(self.file.read, int(self.offsets[index]))[0]).image


def read_records(path: str | Path, budget: float = BUDGET, progress: Progress | None = None) -> EncodedReader:
    """Index a ``.rec``, or the folder that holds one: images in the order of the ``.idx`` (of the file where there is none).

    Labels are those of the images' headers, made ``0 … C−1``; class names are the numbers in the file, or their lines in
    ``classes.txt``. The first opening reads every header and keeps what it found (`orthodrome.data.sidecar`); later ones take no time.

    Raises:
        InputError: no record file, or several; more than the share ``budget`` of the records cannot be used.
    """
    files = RecordFiles(record_file(Path(path)))
    index = load_or_make(files.sidecar, files.present(), lambda: index_records(files, progress))
    arrays, problems = index.arrays, tuple(Problem(**problem) for problem in index.meta["problems"])
    check_budget(problems, len(arrays["labels"]) + len(problems), budget, printable(files.records))
    store = RecordStore(PositionedFile(files.records), arrays["offsets"], arrays["keys"])
    return EncodedReader(store, arrays["labels"], names_of(arrays["numbers"], files.records.parent), problems)


def record_file(path: Path) -> Path:
    """The ``.rec`` itself, or the only one in a folder; raises InputError where there are none or several."""
    if not path.is_dir():
        return path
    found = sorted(path.glob("*.rec"))
    if len(found) != 1:
        raise InputError(f"{printable(path)}: {len(found)} record files here; expected one, or give the .rec itself")
    return found[0]
