"""From any reader to any form of a set. Image bytes are copied as they are, unless re-encoding is asked for."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from orthodrome.data.check import require_images
from orthodrome.data.decode import Size, printable
from orthodrome.data.parallel import map_in_processes
from orthodrome.data.problems import WHAT_TO_DO
from orthodrome.data.protocol import ImageReader
from orthodrome.data.writers import WRITERS, Writer
from orthodrome.files import alone, write_file, write_together
from orthodrome.types import InputError, Progress

JOURNAL = "conversion.json"
PER_FILE = 10_000
_SECONDS = 5.0
_COMPARED = 1000


@dataclass(frozen=True)
class Encoding:
    """Decode each image and write it anew: to ``size`` (height, width; None: its own) as JPEG of ``quality``, or PNG where that is None."""

    size: Size | None = None
    quality: int | None = 95

    def __post_init__(self) -> None:
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise InputError(f"JPEG quality lies in [1, 100]; got {self.quality}")

    def __call__(self, reader: ImageReader, index: int) -> bytes:
        """The new bytes of one image."""
        file = io.BytesIO()
        image = Image.fromarray(reader.image(index, self.size))
        if self.quality is None:
            image.save(file, "PNG")
        else:
            image.save(file, "JPEG", quality=self.quality, subsampling=0 if self.quality >= 90 else 2)
        return file.getvalue()


def convert(
    reader: ImageReader,
    target: str | Path,
    form: str,
    *,
    encoding: Encoding | None = None,
    per_file: int = PER_FILE,
    workers: int = 0,
    beside: Mapping[str, bytes] | None = None,
    progress: Progress | None = None,
) -> int:
    """Write a set into the new folder ``target`` in a ``form`` of `WRITERS`; returns the number of images copied by this call.

    The folder appears when it is whole. Until then everything is in ``.NAME.part`` beside it, with a journal from which the same call
    goes on after an interruption. Images keep their order and labels, and classes their names; in a folder of identities as far as
    sorted file names can say them (`orthodrome.data.naming.folder_changes`). ``per_file`` is the number of images of a shard or table;
    ``workers`` processes re-encode.

    Raises:
        InputError: ``target`` exists, another conversion is under way there, an image cannot be read or is none, or the disk is full.
    """
    target = Path(target)
    _refuse_existing(target)
    if per_file < 1:
        raise InputError(f"a file holds at least one image; got {per_file}")
    require_images(reader)
    make_writer = WRITERS.get(form)
    part = target.with_name(f".{target.name}.part")
    journal = _Journal(part / JOURNAL, _fingerprint(reader, form, encoding, per_file))
    try:
        with alone(part):
            _refuse_existing(target)  # of another process, meanwhile
            start = journal.read()
            journal.write(start)
            writer = make_writer(part, reader, start, per_file)
            contents = _contents(reader, range(start, len(reader)), encoding, workers)
            _copy(writer, contents, start, len(reader), journal, progress)
            writer.finish()
            write_together(part, beside or {})
            part.rename(target)
            (target / JOURNAL).unlink()  # not before: without its journal, a folder might be filled by other settings
    except OSError as error:
        raise InputError(
            f"cannot write {printable(part)}: {error.strerror or error}; the same command goes on from there"
        ) from None
    return len(reader) - start


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise InputError(f"{printable(target)} is there already; remove it or choose another name")


def _copy(
    writer: Writer, contents: Iterator[bytes], start: int, total: int, journal: _Journal, progress: Progress | None
) -> None:
    last = time.monotonic()
    for position, content in enumerate(contents, start=start):
        writer.write(position, content)
        now = time.monotonic()
        if now - last > _SECONDS:
            journal.write(writer.flush())
            last = now
        if progress and ((position + 1) % 100 == 0 or position + 1 == total):
            progress(position + 1, total)


def _contents(reader: ImageReader, positions: range, encoding: Encoding | None, workers: int) -> Iterator[bytes]:
    encode = partial(encoding, reader) if encoding else reader.encoded
    contents = map_in_processes(encode, positions, workers) if encoding and workers else map(encode, positions)
    try:
        yield from contents
    except InputError as error:
        raise InputError(f"{error}; {WHAT_TO_DO}") from None


def digest_of(reader: ImageReader) -> str:
    """By which a set is known again, however its path is spelled: labels, class names, and the keys of many of the images."""
    digest = hashlib.blake2b(np.ascontiguousarray(reader.labels, dtype="<i8").tobytes(), digest_size=16)
    digest.update(repr((list(reader.class_names), [reader.sample(i).key for i in _looked_at(reader)])).encode())
    return digest.hexdigest()


def _fingerprint(reader: ImageReader, form: str, encoding: Encoding | None, per_file: int) -> str:
    """What must be the same for an attempt to go on from another: the set, where its images are, their files, and the settings."""
    places = [reader.place(i) for i in _looked_at(reader)]
    files = [(name, _age(name)) for name in sorted({place.file for place in places})]
    what = repr((form, encoding, per_file, digest_of(reader), places, files))
    return hashlib.blake2b(what.encode(), digest_size=16).hexdigest()


def _age(name: str) -> tuple[int, int] | None:
    """Size of a file in bytes, and when it was written; None where the name is no path."""
    try:
        found = Path(name).stat()
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns


def _looked_at(reader: ImageReader) -> list[int]:
    return np.linspace(0, len(reader) - 1, min(len(reader), _COMPARED)).astype(int).tolist()


@dataclass(frozen=True)
class _Journal:
    """How many images of which conversion are safe on disk."""

    path: Path
    fingerprint: str

    def read(self) -> int:
        """0 where nothing has been written yet."""
        if not self.path.is_file():
            return 0
        found = json.loads(self.path.read_bytes())
        if found["fingerprint"] != self.fingerprint:
            raise InputError(
                f"{printable(self.path.parent)} holds the beginning of another conversion (other source, form or settings); "
                "repeat that one to finish it, or remove the folder"
            )
        return int(found["done"])

    def write(self, done: int) -> None:
        write_file(self.path, json.dumps({"fingerprint": self.fingerprint, "done": done}).encode())
