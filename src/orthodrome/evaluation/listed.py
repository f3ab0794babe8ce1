"""What lists name: lines of text, images on disk, rows of embeddings. Nothing that a list names may be missing or ambiguous."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

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

Where = Callable[[str], str]
"""An id -> ``file:line`` of the list that names it."""


def text_lines(path: PathLike, what: str) -> list[str]:
    """The lines of a text file, without blank ones at its end; ``what`` it is, for messages.

    Raises InputError where it cannot be read, is not UTF-8 text, or is empty.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the {what} {path}: {getattr(error, 'strerror', None) or error}") from None
    if not lines:
        raise InputError(f"{path} is empty; expected the {what}")
    return lines


def without_suffix(identifier: str) -> str:
    """``a/b.jpg`` -> ``a/b``: an id as lists and embeddings are matched by, with ``/`` between folders."""
    plain = identifier.replace("\\", "/")
    return plain.removesuffix(next((suffix for suffix in SUFFIXES if plain.endswith(suffix)), ""))


def find_images(ids: Iterable[str], root: PathLike, where: Where) -> dict[str, Path]:
    """The file of each id (a path without suffix) under ``root``, with whatever image suffix it has.

    Raises InputError naming the folder that is missing, or the line and the file of the first missing image.
    """
    folder, wanted = Path(root), list(ids)
    if not folder.is_dir():
        example = folder / f"{wanted[0] if wanted else 'name'}{SUFFIXES[0]}"
        raise InputError(f"{folder} is not a folder; expected the images as {example}")
    return {identifier: _image_file(folder / identifier, where, identifier) for identifier in wanted}


def match_rows(embeddings: EmbeddingSet, ids: Sequence[str], where: Where) -> np.ndarray:
    """The row of ``embeddings`` of each listed id: int64 (N,).

    An id matches an embedding whose own id ends in it: the same file name, and the same folders as far as the list names them, whatever
    stands before, and without regard to an image suffix. Raises InputError where a listed id has no embedding (line named), or two.
    """
    wanted = [without_suffix(identifier) for identifier in ids]
    tables = {depth: _rows_by_tail(embeddings, depth, wanted) for depth in {identifier.count("/") for identifier in wanted}}
    rows = np.empty(len(wanted), dtype=np.int64)
    for position, identifier in enumerate(wanted):
        found = tables[identifier.count("/")].get(identifier, ())
        if not found:
            raise InputError(f"{where(ids[position])}: no embedding has the id '{identifier}'; embed every image of the list")
        if len(found) > 1:
            one, other = (embeddings.ids[row] for row in found[:2])
            raise InputError(f"two embeddings are of the image {identifier!r}: {one!r} and {other!r}")
        rows[position] = found[0]
    return rows


def people_in_rows(embeddings: EmbeddingSet, people: Mapping[str, str], where: Where) -> tuple[str | None, ...]:
    """The person of each embedding (N,), by the listed ids of ``people``; None for embeddings of other images. Raises as `match_rows`."""
    found: list[str | None] = [None] * len(embeddings)
    for row, person in zip(match_rows(embeddings, list(people), where).tolist(), people.values(), strict=True):
        found[row] = person
    return tuple(found)


def _rows_by_tail(embeddings: EmbeddingSet, depth: int, wanted: Sequence[str]) -> dict[str, list[int]]:
    """The rows of each wanted id, by the last ``depth`` folders and the file name of the embeddings' ids."""
    rows: dict[str, list[int]] = {identifier: [] for identifier in wanted}
    for row, identifier in enumerate(embeddings.ids):
        tail = "/".join(without_suffix(identifier).rsplit("/", depth + 1)[-depth - 1 :])
        if tail in rows:
            rows[tail].append(row)
    return rows


def _image_file(stem: Path, where: Where, identifier: str) -> Path:
    for suffix in SUFFIXES:
        file = stem.with_name(stem.name + suffix)
        if file.is_file():
            return file
    raise InputError(f"{where(identifier)}: no image {stem}{SUFFIXES[0]} (nor with {', '.join(SUFFIXES[1:3])} or the like)")
