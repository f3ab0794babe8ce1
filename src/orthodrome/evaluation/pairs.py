"""Lists of pairs as LFW publishes them (``pairs.txt``), their images on disk and their embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from orthodrome.types import EmbeddingSet, InputError, PathLike

SUFFIXES = (
    ".jpg",
    ".png",
    ".jpeg",
    ".JPG",
    ".PNG",
    ".JPEG",
    ".bmp",
    ".BMP",
    ".webp",
    ".WEBP",
    ".pgm",
    ".ppm",
    ".tif",
    ".tiff",
)


class ImageId(NamedTuple):
    """One image of a list: a person's name and a number, counted from 1. As text: ``name/name_0001``."""

    name: str
    number: int

    def __str__(self) -> str:
        return f"{self.name}/{self.name}_{self.number:04d}"


@dataclass(frozen=True)
class Pairs:
    """Pairs in the order of their file: the images of both sides, ``same`` bool (N,), ``folds`` int64 (N,)
    counted from 1.

    ``lines`` int64 (N,) are the line numbers in ``source``, for messages.
    """

    first: tuple[ImageId, ...]
    second: tuple[ImageId, ...]
    same: np.ndarray
    folds: np.ndarray
    lines: np.ndarray
    source: str

    def __len__(self) -> int:
        return len(self.first)

    def images(self) -> tuple[ImageId, ...]:
        """The distinct images, in the order of their first appearance: what has to be embedded."""
        return tuple(dict.fromkeys(chain.from_iterable(zip(self.first, self.second, strict=True))))

    def identities(self) -> np.ndarray:
        """Codes int64 (N, 2) of the two people of each pair, numbered in the sorted order of their names."""
        names = np.array([[a.name, b.name] for a, b in zip(self.first, self.second, strict=True)])
        return np.unique(names, return_inverse=True)[1].reshape(names.shape)

    def where(self, image: ImageId) -> str:
        """``file:line`` of the first pair that names ``image``."""
        index = next(i for i, sides in enumerate(zip(self.first, self.second, strict=True)) if image in sides)
        return f"{self.source}:{self.lines[index]}"


def read_pairs(path: PathLike) -> Pairs:
    """Read a list in the form of LFW's ``pairs.txt`` (View 2).

    The first line holds ``folds`` and ``pairs``. Then each fold has ``pairs`` lines ``name number number``
    (same person) and ``pairs`` lines ``name number name number`` (different people), fields apart by tabs
    or blanks. Folds are as published: by place in the file. Raises InputError with ``file:line`` where a
    line is malformed, or where the counts do not agree with the first line.
    """
    lines = _lines(Path(path))
    folds, count = _header(str(path), lines[0])
    if len(lines) - 1 != 2 * folds * count:
        raise InputError(
            f"{path}: the first line announces {folds} folds of {count} + {count} pairs, {2 * folds * count} lines; "
            f"got {len(lines) - 1} lines of pairs"
        )
    parsed = [_pair(f"{path}:{number}", line) for number, line in enumerate(lines[1:], start=2)]
    same = np.array([is_same for _, _, is_same in parsed])
    fold_numbers = 1 + np.arange(len(parsed)) // (2 * count)
    _check_balance(str(path), same, fold_numbers, count)
    first, second = tuple(a for a, _, _ in parsed), tuple(b for _, b, _ in parsed)
    return Pairs(first, second, same, fold_numbers, np.arange(2, len(lines) + 1), str(path))


def resolve_pairs(pairs: Pairs, root: PathLike) -> dict[str, Path]:
    """The file of each distinct image, by its id ``name/name_0001``, under ``root``, with whatever image
    suffix it has.

    Raises InputError naming the folder that is missing, or the line and the file of the first missing
    image.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; expected the images as {folder / 'name' / 'name_0001.jpg'}")
    return {str(image): _image_file(image, pairs, folder) for image in pairs.images()}


def match_embeddings(embeddings: EmbeddingSet, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ``embeddings`` of the first and of the second image of each pair: two int64 (N,).

    An id matches by its last folder and file name, without suffix. Raises InputError where an image of the
    list has no embedding (line named), or two embeddings have the same name.
    """
    rows: dict[str, int] = {}
    for row, identifier in enumerate(embeddings.ids):
        key = _key(identifier)
        if key in rows:
            raise InputError(f"two embeddings are of the image {key!r}: {embeddings.ids[rows[key]]!r} and {identifier!r}")
        rows[key] = row
    for image in pairs.images():
        if str(image) not in rows:
            raise InputError(f"{pairs.where(image)}: no embedding has the id '{image}'; embed every image of the list")
    first, second = ([rows[str(image)] for image in side] for side in (pairs.first, pairs.second))
    return np.array(first, dtype=np.int64), np.array(second, dtype=np.int64)


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the list of pairs {path}: {getattr(error, 'strerror', None) or error}") from None
    if not lines:
        raise InputError(f"{path} is empty; its first line must hold the number of folds and of pairs, as in '10 300'")
    return lines


def _header(path: str, line: str) -> tuple[int, int]:
    fields = line.split()
    if len(fields) != 2 or not all(_is_number(field) for field in fields):
        raise InputError(f"{path}:1: expected the number of folds and of pairs, as in '10 300'; got {line!r}")
    return int(fields[0]), int(fields[1])


def _pair(where: str, line: str) -> tuple[ImageId, ImageId, bool]:
    match line.split():
        case [name, a, b] if _is_number(a) and _is_number(b):
            first, second, same = ImageId(name, int(a)), ImageId(name, int(b)), True
        case [name, a, other, b] if _is_number(a) and _is_number(b):
            first, second, same = ImageId(name, int(a)), ImageId(other, int(b)), False
        case _:
            raise InputError(f"{where}: expected 'name number number' or 'name number name number'; got {line!r}")
    if first == second:
        raise InputError(f"{where}: the pair compares the image '{first}' with itself")
    if not same and first.name == second.name:
        raise InputError(f"{where}: the pair is of the form for different people but names {first.name!r} twice")
    return first, second, same


def _is_number(field: str) -> bool:
    return field.isascii() and field.isdecimal() and int(field) > 0


def _check_balance(path: str, same: np.ndarray, folds: np.ndarray, count: int) -> None:
    for fold, found in enumerate(np.bincount(folds, weights=same)[1:].astype(int), start=1):
        if found != count:
            raise InputError(
                f"{path}: fold {fold} must have {count} same and {count} different pairs; got {found} and {2 * count - found}"
            )


def _image_file(image: ImageId, pairs: Pairs, root: Path) -> Path:
    stem = root / str(image)
    for suffix in SUFFIXES:
        file = stem.with_name(stem.name + suffix)
        if file.is_file():
            return file
    raise InputError(f"{pairs.where(image)}: no image {stem}{SUFFIXES[0]} (nor with {', '.join(SUFFIXES[1:3])} or the like)")


def _key(identifier: str) -> str:
    """The last folder and the file name of an id, without an image suffix."""
    parts = identifier.replace("\\", "/").split("/")[-2:]
    suffix = next((s for s in SUFFIXES if parts[-1].endswith(s)), "")
    return "/".join(parts).removesuffix(suffix)
