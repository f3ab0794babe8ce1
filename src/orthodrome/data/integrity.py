"""Decode a whole set and say what cannot be used, with one checksum for the whole that does not depend on its form."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orthodrome.data.decode import printable
from orthodrome.data.examine import Progress, digest_and_remarks, examine_all
from orthodrome.data.problems import Problem
from orthodrome.data.protocol import ImageReader
from orthodrome.files import write_file
from orthodrome.types import InputError


@dataclass(frozen=True)
class Verification:
    """``total`` counts all items, good and bad; ``problems`` cannot be used; ``remarks`` can, but are odd.

    ``digests`` are BLAKE2b-128 of the bytes of each good image by key, in order. ``checksum`` is that of all digests and labels: equal
    for two sets of the same bytes with the same labels in the same order, whatever their form.
    """

    total: int
    problems: tuple[Problem, ...]
    remarks: tuple[Problem, ...]
    digests: dict[str, str]
    checksum: str

    def within(self, budget: float) -> bool:
        """Whether no more than this share is bad."""
        return len(self.problems) <= budget * self.total


def verify(reader: ImageReader, workers: int = 0, progress: Progress | None = None) -> Verification:
    """Decode every image of a reader (best opened by `open_whole`); its own problems are among the result's."""
    problems, remarks = list(reader.problems), list(_name_remarks(reader))
    digests: dict[str, str] = {}
    whole = hashlib.blake2b(digest_size=16)
    for index, found in enumerate(examine_all(reader, digest_and_remarks, workers, progress)):
        if isinstance(found, Problem):
            problems.append(found)
            continue
        sample, place = reader.sample(index), reader.place(index)
        digest, odd = found
        remarks += [Problem(place.file, sample.key, place.offset, remark) for remark in odd]
        digests[sample.key] = digest.hex()
        whole.update(digest + sample.label.to_bytes(8, "little"))
    total = len(reader) + len(reader.problems)
    return Verification(total, tuple(problems), tuple(remarks), digests, whole.hexdigest())


def write_checksums(path: Path, verification: Verification) -> None:
    """Lines ``digest  key``."""
    write_file(path, "".join(f"{digest}  {key}\n" for key, digest in verification.digests.items()).encode())


def changed_since(before: Mapping[str, str], verification: Verification) -> list[str]:
    """Keys whose bytes differ from what `read_checksums` read, or that are only here or only there."""
    now = verification.digests
    return sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))


def read_checksums(path: Path) -> dict[str, str]:
    """Digest by key, of the file of `write_checksums`.

    Raises:
        InputError: the file cannot be read or a line is not ``digest  key``.
    """
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{printable(path)}: the checksums cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from None
    before: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        digest, separator, key = line.partition("  ")
        if not separator or len(digest) != 32:
            raise InputError(
                f"{printable(path)}:{number}: expected 'digest  key' as `orthodrome data verify --checksums` writes them"
            )
        before[key] = digest
    return before


def _name_remarks(reader: ImageReader) -> list[Problem]:
    """Keys, and people, that differ in case only: on some systems they are one file."""
    found: list[Problem] = []
    seen: dict[str, str] = {}
    for index in range(len(reader)):
        key = reader.sample(index).key
        first = seen.setdefault(key.casefold(), key) if not key.isdecimal() else key
        if first != key:
            place = reader.place(index)
            found.append(Problem(place.file, key, place.offset, f"differs from {first} in case only"))
    return found
