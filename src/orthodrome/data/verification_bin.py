"""Verification sets with their images, as insightface hands them out (``lfw.bin``, ``cfp_fp.bin``, ``agedb_30.bin``, …).

The file is a pickle of ``(bins, issame)``: pair i is the items 2i and 2i + 1 of ``bins``, each the bytes of a JPEG file (or an array of
them, or uint8 pixels), and ``issame[i]`` says whether they show one person. It is read without running it
(`orthodrome.data.safe_pickle`) and can be kept as an ``.npz`` without pickles, which numpy alone reads.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from orthodrome.data.decode import printable
from orthodrome.data.safe_pickle import load_plain
from orthodrome.files import write_file
from orthodrome.types import ImageSource, InputError


@dataclass(frozen=True, eq=False)
class VerificationSet:
    """``images`` (2N,): encoded bytes or pixels uint8 (H, W, 3); pair i is items 2i and 2i + 1. ``same`` bool (N,)."""

    images: tuple[ImageSource, ...]
    same: np.ndarray
    source: str

    def __len__(self) -> int:
        return len(self.same)

    def keys(self) -> tuple[str, ...]:
        """A name for each image: ``lfw.bin/000000``, …"""
        return tuple(f"{Path(self.source).name}/{number:06d}" for number in range(len(self.images)))


def read_verification_set(path: str | Path) -> VerificationSet:
    """The set in a ``.bin`` of insightface, or in an ``.npz`` that `save_verification_set` wrote.

    Raises InputError where the file is something else, asks for anything but bytes, lists and arrays (named; nothing is run), does not
    hold two images a pair, or an item is neither encoded bytes nor uint8 pixels (its position named).
    """
    if zipfile.is_zipfile(path):
        return _read_npz(Path(path))
    content = load_plain(path)
    if not isinstance(content, list) or len(content) != 2 or not isinstance(content[0], list | np.ndarray):
        raise InputError(f"{printable(path)}: expected a pickle of two lists, images and whether pairs are the same")
    images = tuple(_image(item, f"{printable(path)}: image {number}") for number, item in enumerate(content[0]))
    return _checked(images, content[1], str(path))


def save_verification_set(found: VerificationSet, path: str | Path) -> Path:
    """Write the set as ``.npz`` without pickles: ``data`` uint8, the encoded images end to end, ``offsets`` int64 (2N + 1,), ``same``.

    Pixels are stored as PNG, which loses nothing. The file is whole or not there.
    """
    if Path(path).suffix != ".npz":
        raise InputError(f"verification sets are written to .npz files; got {path}")
    encoded = [_encoded(image) for image in found.images]
    arrays: dict[str, Any] = {
        "data": np.frombuffer(b"".join(encoded), dtype=np.uint8),
        "offsets": np.append(0, np.cumsum([len(one) for one in encoded])).astype(np.int64),
        "same": found.same,
    }
    return write_file(Path(path), lambda file: np.savez(file, **arrays))


def _read_npz(path: Path) -> VerificationSet:
    try:
        with np.load(path, allow_pickle=False) as stored:
            data, offsets, same = (stored[name] for name in ("data", "offsets", "same"))
    except Exception as error:  # a damaged archive meets any error: BadZipFile, zlib.error, NotImplementedError, …
        raise InputError(f"{path}: cannot be read as a verification set (data, offsets, same): {error}") from None
    shaped = data.dtype == np.uint8 and data.ndim == 1 and offsets.dtype.kind in "iu" and offsets.ndim == 1 and len(offsets) > 0
    whole = shaped and offsets[0] == 0 and offsets[-1] == data.size and (offsets[1:] > offsets[:-1]).all()
    if not whole:
        raise InputError(f"{path}: its offsets do not divide its data into images")
    images = tuple(data[start:end].tobytes() for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True))
    return _checked(images, same, str(path))


def _checked(images: tuple[ImageSource, ...], same: Any, source: str) -> VerificationSet:
    try:
        flags = np.asarray(same)
    except (ValueError, OverflowError):  # lists in it
        raise InputError(f"{source}: expected one true or false for each pair") from None
    if not images:
        raise InputError(f"{source}: no images in it")
    if flags.ndim != 1 or flags.dtype.kind not in "bui" or not np.isin(flags, (0, 1)).all():
        raise InputError(f"{source}: expected one true or false for each pair; got {flags.dtype} {flags.shape}")
    if len(images) != 2 * len(flags):
        raise InputError(f"{source}: {len(flags)} pairs need {2 * len(flags)} images; got {len(images)}")
    return VerificationSet(images, flags.astype(bool), source)


def _image(item: Any, where: str) -> ImageSource:
    if isinstance(item, bytes | bytearray) and item:
        return bytes(item)
    if isinstance(item, np.ndarray) and item.dtype == np.uint8 and item.size:
        if item.ndim == 1:
            return item.tobytes()
        if item.ndim == 3 and item.shape[2] == 3:
            return item
    kind = (
        "nothing"
        if isinstance(item, bytes | bytearray)
        else f"{item.dtype} {item.shape}"
        if isinstance(item, np.ndarray)
        else type(item).__name__
    )
    raise InputError(f"{where}: expected the bytes of an image file or uint8 pixels (H, W, 3); got {kind}")


def _encoded(image: ImageSource) -> bytes:
    if isinstance(image, bytes):
        return image
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(image)).save(buffer, format="PNG")
    return buffer.getvalue()
