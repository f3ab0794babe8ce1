"""A folder of identities, ``root/<identity>/<image>``: the form of most face sets."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

from orthodrome.data.decode import printable
from orthodrome.data.files import FileReader
from orthodrome.data.problems import BUDGET, Problem, check_budget
from orthodrome.types import InputError

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".pgm", ".ppm", ".tif", ".tiff"})


def read_folder(root: str | Path, extensions: frozenset[str] = EXTENSIONS, budget: float = BUDGET) -> FileReader:
    """Index ``root/<identity>/<image>``: identities sorted by name, label = rank, images sorted by name.

    Extensions are compared without regard to case. Hidden files and folders (leading dot) are skipped. Other
    files, and folders inside an identity, are not read and are named in ``ignored`` of the result. Identities without images, or
    whose folder cannot be read, are no classes and are named in ``problems``.

    Raises:
        InputError: no such folder, an empty folder, images that lie directly in it, no identity with images, or more than the share
            ``budget`` of the items (images, and identities without any) cannot be used.
    """
    root = Path(root)
    identities, loose = _entries(root)
    if not identities:
        _refuse_without_identities(root, loose, extensions)
    paths: list[str] = []
    counts: dict[str, int] = {}
    problems: list[Problem] = []
    ignored = loose
    for identity in identities:
        place = printable(root / identity)
        try:
            images, others = _images(root, identity, extensions)
        except InputError as error:
            problems.append(Problem(place, printable(identity), None, str(error).removeprefix(f"{place}: ")))
            continue
        paths += images
        ignored += others
        counts[identity] = len(images)
    if not paths:
        raise InputError(f"{problems[0].file}: {problems[0].reason}")
    check_budget(problems, len(paths) + len(problems), budget, printable(root))
    labels = np.repeat(np.arange(len(counts), dtype=np.int64), list(counts.values()))
    names = tuple(map(printable, counts))
    return FileReader(root, tuple(paths), labels, names, tuple(map(printable, ignored)), tuple(problems))


def first_of_identities(root: Path) -> Path | None:
    """Some image in a folder inside ``root``; None where there is none."""
    for identity in _entries(root)[0]:
        with suppress(InputError):  # a folder that cannot be read
            for image in _with_extension(_entries(root / identity)[1], EXTENSIONS):
                return root / identity / image
    return None


def _entries(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the folders and of the files in ``folder``, each sorted; hidden ones left out."""
    folders: list[str] = []
    files: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    (folders if entry.is_dir() else files).append(entry.name)
    except OSError as error:
        raise InputError(f"{printable(folder)}: the folder cannot be read: {error.strerror or error}") from None
    return sorted(folders), sorted(files)


def _images(root: Path, identity: str, extensions: frozenset[str]) -> tuple[list[str], list[str]]:
    """Paths of the images of one identity and of what else lies there, relative to the root. Raises InputError where there are none."""
    folders, files = _entries(root / identity)
    images = _with_extension(files, extensions)
    if not images:
        hint = f"; if the identities are one level deeper, give {printable(root / identity)}" if folders else ""
        raise InputError(
            f"{printable(root / identity)}: the identity has no images ({_listed(extensions)}); "
            f"add some or remove the folder{hint}"
        )
    kept = set(images)
    others = [name for name in files if name not in kept] + [f"{name}/" for name in folders]
    return [f"{identity}/{name}" for name in images], [f"{identity}/{name}" for name in others]


def _with_extension(files: Iterable[str], extensions: frozenset[str]) -> list[str]:
    return [name for name in files if os.path.splitext(name)[1].lower() in extensions]


def _refuse_without_identities(root: Path, files: list[str], extensions: frozenset[str]) -> None:
    expected = "expected one sub-folder per identity, <folder>/<identity>/<image>"
    loose = len(_with_extension(files, extensions))
    if loose:
        raise InputError(f"{printable(root)}: {loose} images lie directly in the folder; {expected}")
    raise InputError(f"{printable(root)}: the folder is empty; {expected}")


def _listed(extensions: frozenset[str]) -> str:
    return " ".join(sorted(extensions))
