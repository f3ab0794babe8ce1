"""The reader of encoded images that lie somewhere as bytes: in records, in tar shards, in tables. A store knows where."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, overload

import numpy as np

from orthodrome.data.decode import Size, decode_image, printable
from orthodrome.data.open_files import NO_FAULT_OF_THE_FILE, with_more_files
from orthodrome.data.problems import Place, Problem
from orthodrome.types import InputError, Sample

_UNNAMED = "image"


class Store(Protocol):
    """Encoded images with random access; picklable, files are opened by each process when it first reads."""

    def __len__(self) -> int: ...

    def key(self, index: int) -> str:
        """The name of an image within the set, unique and printable."""

    def place(self, index: int) -> Place:
        """File and offset."""

    def read(self, index: int) -> bytes:
        """The encoded bytes. Raises InputError with the reason only."""


@dataclass(frozen=True, eq=False)
class EncodedReader:
    """The images of a store with their labels: any integer type (N,), in ``[0, C)``, and one class name per label.

    ``problems`` are the items of the set that were left out, each with its reason.
    """

    store: Store
    labels: np.ndarray
    class_names: Sequence[str]
    problems: Sequence[Problem] = ()

    def __len__(self) -> int:
        return len(self.store)

    def sample(self, index: int) -> Sample:
        """Key and label of one image, without decoding it."""
        return Sample(self.store.key(index), int(self.labels[index]))

    def encoded(self, index: int) -> bytes:
        """The bytes of the image file, as they are."""
        try:
            return self.store.read(index)
        except InputError as error:
            raise InputError(f"{self._named(index)}: {error}") from None

    def place(self, index: int) -> Place:
        """File and offset of one image."""
        return self.store.place(index)

    def image(self, index: int, size: Size | None = None) -> np.ndarray:
        """The decoded image, uint8 (H, W, 3); ``size`` and errors as `orthodrome.data.decode_image`."""
        content = self.encoded(index)
        try:
            return decode_image(content, size, _UNNAMED)
        except InputError as error:  # the name takes a while to make, so it is made for errors only
            raise InputError(f"{self._named(index)}: {str(error).removeprefix(f'{_UNNAMED}: ')}") from None

    def _named(self, index: int) -> str:
        return self.store.place(index).of(self.store.key(index))


class PositionedFile:
    """Bytes of a file by position (``pread``): no shared position, so threads and forked processes do not meet.

    Opened when first read; pickled as its path, so that a spawned process opens its own.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._descriptor: int | None = None

    def __reduce__(self) -> tuple[type[PositionedFile], tuple[Path]]:
        return PositionedFile, (self.path,)

    def __del__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def read(self, offset: int, size: int) -> bytes:
        """Exactly ``size`` bytes from ``offset``. Raises InputError where the file ends before or cannot be read."""
        try:
            if self._descriptor is None:
                self._descriptor = with_more_files(lambda: os.open(self.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)))
            data = os.pread(self._descriptor, size, offset)
        except OSError as error:
            if error.errno in NO_FAULT_OF_THE_FILE:
                raise
            raise InputError(f"the file cannot be read: {error.strerror or error}") from None
        if len(data) < size:
            raise InputError(f"the file ends before offset {offset + size}; has it been cut or replaced?")
        return data


@dataclass(frozen=True, eq=False)
class NumberNames(Sequence[str]):
    """Class names that are numbers, (C,), made into text when asked for: millions of them cost 8 bytes each."""

    numbers: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> NumberNames: ...
    def __getitem__(self, index: int | slice) -> str | NumberNames:
        return NumberNames(self.numbers[index]) if isinstance(index, slice) else str(int(self.numbers[index]))


def contiguous_labels(given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels as found, (N,) ≥ 0 -> labels int32 (N,) in ``[0, C)`` by rank, and the C values that occur, ascending."""
    values = np.unique(given)
    if len(values) and int(values[-1]) == len(values) - 1:
        return given.astype(np.int32, copy=False), values
    return np.searchsorted(values, given).astype(np.int32), values


def class_names_file(folder: Path) -> Path:
    """``classes.txt``: the name of class i in line i, kept beside forms of data that hold numbers only."""
    return folder / "classes.txt"


def names_of(numbers: np.ndarray, folder: Path) -> Sequence[str]:
    """Names of the classes with these ``numbers`` in the files of ``folder``: from its ``classes.txt``, else the numbers.

    Raises:
        InputError: the file cannot be read as text, or has fewer lines than there are classes.
    """
    path = class_names_file(folder)
    if not path.is_file():
        return NumberNames(numbers)
    try:
        names = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{printable(path)}: the class names cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from None
    names = names[:-1] if names[-1] == "" else names
    if len(numbers) and int(numbers[-1]) >= len(names):
        raise InputError(
            f"{printable(path)}: {len(names)} names, but there is a label {int(numbers[-1])}; it belongs to another set"
        )
    return tuple(names[number] for number in numbers.tolist())
