"""Many files open at once: sets come in thousands of shards, and systems allow a thousand open files unless asked for more."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


NO_FAULT_OF_THE_FILE = (errno.EMFILE, errno.ENFILE, errno.EIO, getattr(errno, "ESTALE", errno.EIO))
"""Errors of the system that say nothing about what a file holds: too many are open, the disk or the network fails."""


def with_more_files(opening: Callable[[], T]) -> T:
    """What ``opening`` returns; where too many files are open, once more under the highest limit there is.

    Raises the OSError where that does not help.
    """
    try:
        return opening()
    except OSError as error:
        if error.errno != errno.EMFILE or not _raise_limit():
            raise
    return opening()


def _raise_limit() -> bool:
    try:
        import resource  # not on Windows
    except ImportError:
        return False
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return False
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS names no limit, and takes none
        return False
    return True
