"""Named weights: where they come from, how they are known, and under which licence; kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from orthodrome.data.decode import printable
from orthodrome.files import cache_folder, write_file
from orthodrome.registry import Registry
from orthodrome.types import InputError

_BLOCK = 1 << 20
_TIMEOUT = 30.0

Open = Callable[[str], BinaryIO]
"""An address -> its content, to be read; raises OSError."""


@dataclass(frozen=True)
class Weights:
    """One file of weights: ``file`` is its name in the cache, ``sha256`` what it must hash to, ``source`` whom to thank and cite."""

    file: str
    url: str
    sha256: str
    licence: str
    source: str


WEIGHTS: Registry[Weights] = Registry("weights")
WEIGHTS.add(
    "yunet",
    Weights(
        file="yunet_n_320_320.onnx",
        url="https://raw.githubusercontent.com/ShiqiYu/libfacedetection.train/master/onnx/yunet_n_320_320.onnx",
        sha256="81dbde155e982455488235acb8ec2dec5d647edf7cf7080d33e4abb69b93a0d2",
        licence="Apache-2.0",
        source="libfacedetection.train; Wu, Peng & Yu: YuNet, a tiny millisecond-level face detector, 2023",
    ),
)


def find_weights(name: str, given: Path | None = None, fetch: Open | None = None) -> Path:
    """The file of named weights: ``given`` where the user has one (any content), else the cached one, else downloaded once.

    A cached file that does not have the SHA-256 of its row is downloaded anew. ``fetch`` opens an address; by default over the network.

    Raises:
        InputError: an unknown name, no such file, no network, or a download that is not what the row says; nothing is kept of it.
    """
    row = WEIGHTS.get(name)
    if given is not None:
        if not given.is_file():
            raise InputError(f"{printable(given)}: no such file; expected the weights of {name} ({row.file})")
        return given
    cached = models_folder() / row.file
    if cached.is_file() and file_sha256(cached) == row.sha256:
        return cached
    return write_file(cached, partial(_download, name, row, fetch or _open))


def models_folder() -> Path:
    """``models`` in `orthodrome.files.cache_folder`."""
    return cache_folder() / "models"


def file_sha256(path: Path) -> str:
    """Of the content of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(name: str, row: Weights, fetch: Open, target: BinaryIO) -> None:
    """Copy while hashing; `write_file` keeps nothing of it where this raises."""
    digest = hashlib.sha256()
    try:
        with fetch(row.url) as source:
            while block := source.read(_BLOCK):
                digest.update(block)
                target.write(block)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise InputError(
            f"the weights of {name} cannot be downloaded from {row.url}: {getattr(error, 'reason', None) or error}. "
            f"On a machine without network give a copy with --weights FILE (SHA-256 {row.sha256})"
        ) from None
    if digest.hexdigest() != row.sha256:
        raise InputError(
            f"{row.url} answered with something else than the weights of {name}: SHA-256 {digest.hexdigest()}, expected {row.sha256}; "
            "nothing was kept. Give a copy with --weights FILE"
        )


def _open(url: str) -> BinaryIO:
    answer: BinaryIO = urllib.request.urlopen(url, timeout=_TIMEOUT)
    return answer
