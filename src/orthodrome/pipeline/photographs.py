"""The photographs under a folder, at any depth, and the names of their crops."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from orthodrome.data.decode import printable
from orthodrome.data.folder import EXTENSIONS
from orthodrome.types import InputError


@dataclass(frozen=True)
class FileState:
    """Size in bytes and time of the last change in nanoseconds: by these a file that was replaced is known. None: not on record."""

    bytes: int
    modified: int | None = None

    def may_be(self, now: FileState) -> bool:
        """Whether a file of this state then and of that state ``now`` may be the same."""
        return self.bytes == now.bytes and self.modified in (None, now.modified)


def find_photographs(root: Path) -> dict[str, FileState]:
    """`FileState` of each image file under ``root`` by its path there, with ``/`` between, sorted.

    Hidden files and folders (leading dot) and files that are no images by their extension are not looked at. Folders behind
    links are entered, each folder once.

    Raises:
        InputError: no such folder, one that cannot be read, or no image in it.
    """
    if not root.is_dir():
        raise InputError(f"{printable(root)}: no such folder; expected photographs, in one sub-folder per person or as they are")
    found = dict(sorted(_walk(root)))
    if not found:
        raise InputError(f"{printable(root)}: no photographs in it ({' '.join(sorted(EXTENSIONS))})")
    return found


def _walk(root: Path) -> Iterator[tuple[str, FileState]]:
    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(root, onerror=_refuse, followlinks=True):
        state = os.stat(folder)
        if (state.st_dev, state.st_ino) in seen:  # a link back, or a second one to the same folder
            folders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS:
                path = Path(folder, name)
                yield path.relative_to(root).as_posix(), _state(path)


def _state(path: Path) -> FileState:
    """Of no bytes where a link leads nowhere."""
    try:
        found = path.stat()
    except OSError:
        return FileState(0)
    return FileState(found.st_size, found.st_mtime_ns)


def _refuse(error: OSError) -> None:
    raise InputError(f"{printable(error.filename)}: the folder cannot be read: {error.strerror or error}")


def crop_stems(names: Sequence[str]) -> dict[str, str]:
    """The path of each photograph's crop without its ending: that of the photograph.

    Where photographs differ in their ending only (or in case, which some systems ignore), they keep it: ``a.png`` and ``a.jpg`` become
    ``a.png.jpg`` and ``a.jpg.jpg``.

    Raises:
        InputError: two photographs would still have one crop.
    """
    stems = {name: str(PurePosixPath(name).with_suffix("")) for name in names}
    count = Counter(stem.casefold() for stem in stems.values())
    chosen = {name: stem if count[stem.casefold()] == 1 else name for name, stem in stems.items()}
    owners: dict[str, str] = {}
    for name, stem in chosen.items():
        if owners.setdefault(stem, name) != name:
            raise InputError(f"{printable(owners[stem])} and {printable(name)} would have the same crop; rename one of them")
    return chosen
