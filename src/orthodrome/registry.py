"""One small registry for everything that is called by a name: losses, backbones, protocols, schedules."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from orthodrome.types import InputError

T = TypeVar("T")


def near_matches(given: str, known: Iterable[str]) -> str:
    """The end of an error message: `` Did you mean 'arcface'?``, or the whole list where nothing is near."""
    names = sorted(known)
    near = difflib.get_close_matches(given, names, n=3, cutoff=0.5)
    if near:
        return f" Did you mean {' or '.join(repr(name) for name in near)}?"
    return f" Known: {', '.join(names)}." if names else ""


class Registry(Generic[T]):
    """Names to values. A duplicate is an error; an unknown name answers with near matches.

    >>> shapes = Registry[int]("shape")
    >>> shapes.add("triangle", 3)
    3
    >>> shapes.get("triangel")
    Traceback (most recent call last):
    ...
    orthodrome.types.InputError: unknown shape 'triangel'. Did you mean 'triangle'?
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._rows: dict[str, T] = {}

    def add(self, name: str, value: T) -> T:
        """Register ``value``; raises ValueError when the name is taken."""
        if name in self._rows:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._rows[name] = value
        return value

    def get(self, name: str) -> T:
        """The value of ``name``; raises InputError (a ValueError) with near matches when there is none."""
        if name not in self._rows:
            raise InputError(f"unknown {self.kind} {name!r}.{near_matches(str(name), self._rows)}")
        return self._rows[name]

    def names(self) -> tuple[str, ...]:
        """All names, in the order they were added."""
        return tuple(self._rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, name: object) -> bool:
        return name in self._rows
