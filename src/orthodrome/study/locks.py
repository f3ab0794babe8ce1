"""Exclusive lock files. The lock is the kernel's, so it ends with its process, however that dies; the file itself means nothing."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from orthodrome.types import InputError


@contextmanager
def free_lock(path: Path) -> Iterator[bool]:
    """True where this process holds the lock of ``path`` now, False where another does."""
    file = _open(path)
    try:
        held = _flock(file, wait=False)
        if held:
            file.truncate(0)
            file.write(f"{socket.gethostname()} {os.getpid()}\n")  # for people who wonder; nobody reads it here
            file.flush()
        yield held
    finally:
        file.close()


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Waits until this process holds the lock of ``path``."""
    file = _open(path)
    try:
        _flock(file, wait=True)
        yield
    finally:
        file.close()


def is_held(path: Path) -> bool:
    """Whether some process, this one included, holds the lock of ``path``."""
    if not path.exists():
        return False
    with free_lock(path) as free:
        return not free


def _open(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a", encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot lock {path}: {error.strerror or error}") from None


def _flock(file: IO[str], *, wait: bool) -> bool:
    try:
        import fcntl
    except ImportError:
        raise InputError("studies lock their cells with flock, which this system does not have; use Linux or macOS") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
