"""Decode a whole set and say what cannot be used, with one checksum for the whole that does not depend on its form."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orthodrome.data.decode import printable
from orthodrome.data.examine import DIGEST_BYTES, digest_and_remarks, examine_all
from orthodrome.data.problems import Problem
from orthodrome.data.protocol import ImageReader
from orthodrome.data.texts import TextBuilder, Texts
from orthodrome.files import write_file
from orthodrome.types import InputError, Progress

_DIGEST = re.compile(f"[0-9a-f]{{{2 * DIGEST_BYTES}}}")


@dataclass(frozen=True, eq=False)
class Checksums:
    """``digests`` u8 (N, 16): BLAKE2b-128 of the bytes of each image, and its key. 24 bytes an image and the key."""

    keys: Texts
    digests: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Key and digest, in hexadecimal, of each."""
        return ((key, digest.tobytes().hex()) for key, digest in zip(self.keys, self.digests, strict=True))


@dataclass(frozen=True)
class Verification:
    """``total`` counts all items, good and bad; ``problems`` cannot be used; ``remarks`` can, but are odd.

    ``checksums`` are those of the good images, in order. ``checksum`` is that of all their digests and labels: equal for two sets of the
    same bytes with the same labels in the same order, whatever their form.
    """

    total: int
    problems: tuple[Problem, ...]
    remarks: tuple[Problem, ...]
    checksums: Checksums
    checksum: str

    def within(self, budget: float) -> bool:
        """Whether no more than this share is bad."""
        return len(self.problems) <= budget * self.total


def verify(reader: ImageReader, workers: int = 0, progress: Progress | None = None) -> Verification:
    """Decode every image of a reader (best opened by `open_whole`); its own problems are among the result's."""
    problems, remarks = list(reader.problems), [*_not_read(reader), *_name_remarks(reader)]
    keys, digests = TextBuilder(), bytearray()
    whole = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for index, found in enumerate(examine_all(reader, digest_and_remarks, workers, progress)):
        if isinstance(found, Problem):
            problems.append(found)
            continue
        sample, (digest, odd) = reader.sample(index), found
        if odd:
            place = reader.place(index)
            remarks += [Problem(place.file, sample.key, place.offset, remark) for remark in odd]
        keys.append(sample.key)
        digests += digest
        whole.update(digest + sample.label.to_bytes(8, "little"))
    total = len(reader) + len(reader.problems)
    return Verification(total, tuple(problems), tuple(remarks), _checksums(keys, digests), whole.hexdigest())


def _checksums(keys: TextBuilder, digests: bytearray) -> Checksums:
    return Checksums(keys.texts(), np.frombuffer(digests, np.uint8).reshape(-1, DIGEST_BYTES))


def write_checksums(path: Path, checksums: Checksums) -> None:
    """Lines ``digest  key``."""
    write_file(path, lambda file: file.writelines(f"{digest}  {key}\n".encode() for key, digest in checksums))


def changed_since(before: Checksums, now: Checksums) -> list[str]:
    """Keys whose bytes differ from what `read_checksums` read, or that are only here or only there."""
    then_hashes, now_hashes = _line_hashes(before), _line_hashes(now)
    gone = np.flatnonzero(np.isin(then_hashes, now_hashes, invert=True)).tolist()
    new = np.flatnonzero(np.isin(now_hashes, then_hashes, invert=True)).tolist()
    return sorted({before.keys[i] for i in gone} | {now.keys[i] for i in new})


def _line_hashes(checksums: Checksums) -> np.ndarray:
    """64 bits of each key and digest: u64 (N,)."""
    hashes = (hashlib.blake2b(f"{digest}  {key}".encode(), digest_size=8).digest() for key, digest in checksums)
    return np.fromiter((int.from_bytes(each, "little") for each in hashes), np.uint64, len(checksums))


def read_checksums(path: Path) -> Checksums:
    """What `write_checksums` wrote.

    Raises:
        InputError: the file cannot be read or a line is not ``digest  key``.
    """
    keys, digests = TextBuilder(), bytearray()
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                digest, separator, key = line.removesuffix("\n").partition("  ")
                if not separator or not _DIGEST.fullmatch(digest):
                    raise InputError(
                        f"{printable(path)}:{number}: expected 'digest  key' as `orthodrome data verify --checksums` writes them"
                    )
                keys.append(key)
                digests += bytes.fromhex(digest)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{printable(path)}: the checksums cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from None
    return _checksums(keys, digests)


def _not_read(reader: ImageReader) -> Iterator[Problem]:
    """Files of a folder that a reader passes over."""
    for name in getattr(reader, "ignored", ()):
        yield Problem(name, "", None, "not read: no image by its ending, or a folder inside that of a person")


def _name_remarks(reader: ImageReader) -> Iterator[Problem]:
    """Keys that differ in case only: on some systems they are one file. Of most keys only a hash is kept."""
    folded = ((index, reader.sample(index).key.casefold()) for index in range(len(reader)))
    hashes = np.fromiter((hash(key) for _, key in folded), np.int64, len(reader))
    values, counts = np.unique(hashes, return_counts=True)
    seen: dict[str, str] = {}
    for index in np.flatnonzero(np.isin(hashes, values[counts > 1])).tolist():
        key = reader.sample(index).key
        first = seen.setdefault(key.casefold(), key)
        if first != key:
            place = reader.place(index)
            yield Problem(place.file, key, place.offset, f"differs from {first} in case only")
