"""Writing files so that each is whole or untouched: beside first, renamed once all are on disk."""

from __future__ import annotations

import io
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from orthodrome.types import InputError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

Content = bytes | Callable[[BinaryIO], object]
"""The bytes of a file, or a function that writes them into an open file."""


def why_unread(error: Exception) -> str:
    """Why numpy could not load a file, without its advice to allow pickles, which may run anything; it gives that for any other file."""
    return "it has another form, or holds pickles" if "pickle" in str(error) else str(error)


def cache_folder() -> Path:
    """``orthodrome`` in ``$XDG_CACHE_HOME``, by default in ``~/.cache``; a relative value does not count, as XDG says."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "orthodrome"


def beside(path: Path, ending: str) -> Path:
    """The file of the name of ``path`` and an ``ending``, in the same folder; ``.`` and ``..`` go by the folders they are."""
    named = path if path.name not in ("", "..") else path.resolve()
    return named.parent / (named.name + ending)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Make ``folder`` if need be and hold it against other processes that ask for it; a killed one holds nothing.

    Systems without flock (Windows) hold nothing.

    Raises InputError where another process holds it, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror or error}") from error
    try:
        _flock(descriptor, hold=True)
    except BlockingIOError:
        os.close(descriptor)
        raise InputError(f"{folder}: another process is writing into it; wait for it, or choose another name") from None
    _HELD.add(descriptor)
    try:
        yield
    finally:
        if descriptor in _HELD:  # not in a forked process
            _HELD.discard(descriptor)
            _flock(descriptor, hold=False)  # also for a worker that is just being forked
            os.close(descriptor)


_HELD: set[int] = set()


def _flock(descriptor: int, *, hold: bool) -> None:
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if hold else fcntl.LOCK_UN)


def _let_go() -> None:
    """A forked worker would hold the folder on, for the seconds until it notices that its parent was killed."""
    while _HELD:
        os.close(_HELD.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def check_writable(folder: Path) -> None:
    """Before hours of work whose result goes there: raises InputError where ``folder`` cannot be written, or made."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        what = "cannot be written to" if there.is_dir() else "is no folder"
        raise InputError(f"cannot write {folder}: {there} {what}; name another")


def write_file(path: Path, content: Content, *, sync: bool = True) -> Path:
    """Write one file; see `write_together`."""
    return write_together(path.parent, {path.name: content}, sync=sync)[0]


def write_together(folder: Path, contents: Mapping[str, Content], *, sync: bool = True) -> tuple[Path, ...]:
    """Write ``contents`` (file name -> content) into ``folder``, made if need be: to files beside first, renamed once all are on disk.

    Where a name is a link, the file it leads to is written, and the link stays. A pipe or device is written into.

    Raises InputError naming the file and the reason (no space left, no permission); then no file is half-written, older files of
    these names are as they were, and none is left over.

    Without ``sync`` the disk is not waited for (milliseconds a file): files are whole after any end of the process, but a loss of
    power may truncate them. For the many files that are cheap to make again, by a reader that knows their sizes.
    """
    waiting: dict[Path, Path] = {}
    current = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for current, content in ((folder / name, content) for name, content in contents.items()):
            if _is_pipe_or_device(current):
                _write_to_disk(str(current), content, sync=False)
                continue
            target = current.resolve() if current.is_symlink() else current
            waiting[target] = _part(target)
            _write_to_disk(str(waiting[target]), content, sync)
        for current in tuple(waiting):
            os.replace(waiting[current], current)
            del waiting[current]
    except OSError as error:
        raise InputError(f"cannot write {current}: {error.strerror or error}; nothing was left half-written") from error
    finally:
        for left in waiting.values():
            with suppress(OSError):
                left.unlink()
    return tuple(folder / name for name in contents)


TORN = re.compile(r"\.[0-9a-f]{8}\.\d+\.part")
"""Names of what a killed process has left beside the files it was writing."""


def _part(path: Path) -> Path:
    """Short, whatever the name of the file, and another one for each file and process."""
    return path.with_name(f".{zlib.crc32(os.fsencode(path.name)):08x}.{os.getpid()}.part")


def _is_pipe_or_device(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


class _RawFile(io.FileIO):
    """Remembers the error of a write: libraries that write into a file, torch.save among them, may raise another one instead."""

    error: OSError | None = None

    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.error = error
            raise


def _write_to_disk(path: str, content: Content, sync: bool) -> None:
    raw = _RawFile(path, "wb")
    try:
        with io.BufferedWriter(raw) as file:
            if callable(content):
                content(file)
            else:
                file.write(content)
            file.flush()
            if sync:
                os.fsync(file.fileno())
    except Exception:
        if raw.error:
            raise raw.error from None
        raise
