"""A whole set decoded once and kept as uint8, in memory or in a file that is mapped into it."""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from orthodrome.data.decode import Size
from orthodrome.data.parallel import map_in_processes
from orthodrome.data.protocol import Images
from orthodrome.types import InputError, Progress

CacheChoice = Literal["auto", "disk"] | bool

AUTO_SHARE = 0.25
_CHUNK = 64

_CONTAINERS = (
    ("/sys/fs/cgroup", "memory.max", "memory.current"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
"""Where cgroup 2 and 1 keep the limit of a container and what it uses; both have a ``memory.stat`` beside."""


def decode_many(reader: Images, size: Size, indices: np.ndarray) -> np.ndarray:
    """Decode images of a reader into one array: uint8 (B, 3, H, W)."""
    images = np.empty((len(indices), 3, *size), dtype=np.uint8)
    for row, index in enumerate(indices):
        images[row] = reader.image(int(index), size).transpose(2, 0, 1)
    return images


def load_cache(
    reader: Images,
    size: Size,
    workers: int,
    progress: Progress | None = None,
    start_method: str | None = None,
    on_disk: bool = False,
) -> np.ndarray:
    """Decode all images once, by ``workers`` processes (0: in this one): uint8 (N, 3, H, W).

    ``on_disk`` keeps them in a file without a name in the folder for temporary files (``TMPDIR``), which goes when the process does; the
    system keeps in memory what it has room for.

    Raises:
        InputError: an image cannot be decoded; the message names the file and the reason.
    """
    total = len(reader)
    chunks = [np.arange(first, min(first + _CHUNK, total)) for first in range(0, total, _CHUNK)]
    decode = partial(decode_many, reader, size)
    mapped = partial(map_in_processes, workers=workers, start_method=start_method) if workers else map
    decoded = mapped(decode, chunks)
    images = _on_disk((total, 3, *size)) if on_disk else np.empty((total, 3, *size), dtype=np.uint8)
    for indices, chunk in zip(chunks, decoded, strict=True):
        images[indices[0] : indices[-1] + 1] = chunk
        if progress is not None:
            progress(int(indices[-1]) + 1, total)
    return images


def _on_disk(shape: tuple[int, ...]) -> np.ndarray:
    """A mapped file whose blocks are reserved: a write through a map for which the disk has none left would kill the process."""
    folder = tempfile.gettempdir()
    needed, free = int(np.prod(shape)), shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(_no_room(needed, free, folder))
    with tempfile.TemporaryFile(prefix="orthodrome-") as file:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, needed)
        except OSError as error:  # another process, maybe one of this run, took the room meanwhile
            raise InputError(f"{_no_room(needed, free, folder)} ({error.strerror or error})") from None
        return np.memmap(file, np.uint8, "w+", shape=shape)


def _no_room(needed: int, free: int, folder: str) -> str:
    return (
        f"a cache of {_gib(needed)}, one for each process, does not fit in the {_gib(free)} free in {folder}; "
        "set TMPDIR to another folder"
    )


def cache_bytes(num_images: int, size: Size) -> int:
    """Bytes of the cache: ``N · 3 · H · W``."""
    return num_images * 3 * size[0] * size[1]


def wants_cache(choice: CacheChoice, num_images: int, size: Size, processes: int = 1) -> bool:
    """Whether to cache: ``"auto"`` means where the set fits in a quarter of the memory that is free now, ``"disk"`` in a file. Each of
    ``processes`` on this machine is about to make the same choice.

    Raises:
        InputError: a cache is demanded that does not fit at all, or the choice is none.
    """
    if choice not in ("auto", "disk", True, False):
        raise InputError(f"cache must be 'auto', 'disk', True or False; got {choice!r}")
    if choice == "disk":
        return True
    needed, free = processes * cache_bytes(num_images, size), available_memory()
    if choice == "auto":
        return free is not None and needed <= AUTO_SHARE * free
    if choice and free is not None and needed > free:
        raise InputError(f"a cache of {_gib(needed)} does not fit in the {_gib(free)} that are free; use cache='auto'")
    return bool(choice)


def available_memory() -> int | None:
    """Bytes this process may take, within what its container has left; None where the system does not say."""
    known = [value for value in (_meminfo(), *(_left_in_container(*files) for files in _CONTAINERS)) if value is not None]
    return min(known) if known else _sysconf_free()


def _meminfo(path: str = "/proc/meminfo") -> int | None:
    for line in _text(path).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _left_in_container(folder: str, limit: str, usage: str) -> int | None:
    """The limit less what is used, of which the system gives back the pages of files that were not read lately."""
    most, used = (_text(f"{folder}/{name}").strip() for name in (limit, usage))
    if not most.isdigit() or not used.isdigit():
        return None
    kept = dict(line.split() for line in _text(f"{folder}/memory.stat").splitlines())
    reclaimable = kept.get("total_inactive_file", kept.get("inactive_file", 0))  # cgroup 1 has both, of which the total counts
    return max(0, int(most) - int(used) + int(reclaimable))


def _sysconf_free() -> int | None:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _gib(amount: int) -> str:
    return f"{amount / 2**30:.1f} GiB"
