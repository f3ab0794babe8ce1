"""An index that took long to make, kept in a file and mapped into memory by every process that uses it.

The file is safetensors. It holds a fingerprint of what was indexed (sizes and times of the files), so that a set that has changed is
indexed anew. Reading a set writes nothing into its folder: the index goes to ``$XDG_CACHE_HOME/orthodrome`` (``~/.cache/orthodrome``),
unless one was put beside the data on demand (``orthodrome data index``).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orthodrome.data.decode import printable
from orthodrome.files import cache_folder, write_file
from orthodrome.types import InputError

_VERSION = 2
_DTYPES = {"U8": "<u1", "U32": "<u4", "I32": "<i4", "U64": "<u8", "I64": "<i8"}


@dataclass(frozen=True, eq=False)
class Sidecar:
    """Arrays by name and plain JSON beside them."""

    arrays: Mapping[str, np.ndarray]
    meta: Mapping[str, Any]


class MappedArray(np.memmap):
    """An array in a file, read only. Pickling it stores the place, not the values, where it is a whole array of the file."""

    place: tuple[str, str, int, tuple[int, ...]] | None = None

    def __array_finalize__(self, obj: Any) -> None:
        super().__array_finalize__(obj)
        self.place = None

    def __getitem__(self, index: Any) -> Any:
        return np.asarray(self)[index]  # plain arrays: faster than those of memmap, which are made in Python

    def __reduce__(self) -> Any:
        return (map_array, self.place) if self.place else np.asarray(self).__reduce__()


def map_array(path: str, dtype: str, offset: int, shape: tuple[int, ...]) -> np.ndarray:
    """Values (shape) of ``dtype`` from ``offset`` of a file, without reading them."""
    if 0 in shape:
        return np.empty(shape, dtype)
    array = MappedArray(path, dtype, "r", offset, shape)
    array.place = (path, dtype, offset, shape)
    return array


def load_or_make(beside: Path, files: Sequence[Path], make: Callable[[], Sidecar]) -> Sidecar:
    """The index of ``files``: from ``beside`` or the cache folder where one of these very files is there, else made and cached."""
    fingerprint = _fingerprint(files)
    cached = _cached(beside)
    for place in (beside, cached):
        if place.is_file() and (found := _load(place, fingerprint)):
            return found
    made = make()
    try:
        return _keep(made, cached, fingerprint)
    except InputError:  # no place to cache it; it works from memory too
        return made


def keep_beside(beside: Path, files: Sequence[Path], made: Sidecar) -> Sidecar:
    """Put an index of ``files`` beside them, for every user and machine that reads the folder.

    Raises InputError where it cannot be written.
    """
    return _keep(made, beside, _fingerprint(files))


def _keep(made: Sidecar, place: Path, fingerprint: list[Any]) -> Sidecar:
    write_file(place, lambda file: file.write(_serialize(made, fingerprint)))
    return _load(place, fingerprint) or made


def _fingerprint(files: Sequence[Path]) -> list[Any]:
    """Names, sizes and times; not the folder, which may be mounted elsewhere on another machine."""
    states = [(path, path.stat()) for path in files]
    return [_VERSION, *([os.fsencode(path.name).hex(), state.st_size, state.st_mtime_ns] for path, state in states)]


def _cached(beside: Path) -> Path:
    name = hashlib.sha256(os.fsencode(beside.resolve())).hexdigest()[:16]
    return cache_folder() / f"{name}-{printable(beside.name)}"


def _serialize(sidecar: Sidecar, fingerprint: list[Any]) -> bytes:
    from safetensors.numpy import save

    plain = {"fingerprint": json.dumps(fingerprint), "meta": json.dumps(sidecar.meta)}
    return save({name: np.ascontiguousarray(array) for name, array in sidecar.arrays.items()}, plain)


def _load(path: Path, fingerprint: list[Any]) -> Sidecar | None:
    """None where the file is of other files, or damaged: then it is made anew."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, path.stat().st_size)))
        plain = header.pop("__metadata__")
        if plain["fingerprint"] != json.dumps(fingerprint):
            return None
        arrays = {
            name: map_array(str(path), _DTYPES[entry["dtype"]], 8 + length + entry["data_offsets"][0], tuple(entry["shape"]))
            for name, entry in header.items()
        }
        return Sidecar(arrays, json.loads(plain["meta"]))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
