"""Millions of short texts, such as keys, in one buffer: their length and 8 bytes each, where Python's own take some 60 bytes more."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np


@dataclass(frozen=True, eq=False)
class Texts(Sequence[str]):
    """N texts: UTF-8 in ``buffer`` u8, and where each begins and the last one ends, ``ends`` u64 (N + 1,)."""

    buffer: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(f"text {index} of {len(self)}")
        return self.buffer[int(self.ends[index]) : int(self.ends[index + 1])].tobytes().decode()


@dataclass
class TextBuilder:
    """Collects `Texts`."""

    buffer: bytearray = field(default_factory=bytearray)
    ends: array[int] = field(default_factory=lambda: array("Q", [0]))

    def append(self, text: str) -> None:
        """One more."""
        self.buffer += text.encode()
        self.ends.append(len(self.buffer))

    def texts(self) -> Texts:
        """All of them; this is the last thing to ask for, since they are not copied."""
        return Texts(np.frombuffer(self.buffer, np.uint8), np.frombuffer(self.ends, np.uint64))


def texts_of(texts: Iterable[str]) -> Texts:
    """Texts put into one buffer."""
    builder = TextBuilder()
    for text in texts:
        builder.append(text)
    return builder.texts()
