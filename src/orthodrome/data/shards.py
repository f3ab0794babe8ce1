"""Tar shards in the form of WebDataset, and plain tars of a folder of identities: indexed once, then read by position.

Members that share a name up to the first dot of its last part form a sample: ``000017.jpg`` with its label in ``000017.cls`` (a number)
or under ``label`` in ``000017.json``. Images without either belong to the identity their folder names: ``ada/0001.jpg``. Nothing is
unpacked; hidden members (leading dot) are skipped.
"""

from __future__ import annotations

import json
import re
import tarfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from orthodrome.data.decode import printable
from orthodrome.data.encoded import EncodedReader, PositionedFile, contiguous_labels, names_of
from orthodrome.data.folder import EXTENSIONS
from orthodrome.data.problems import BUDGET, Place, Problem, check_budget
from orthodrome.data.sidecar import Sidecar, load_or_make
from orthodrome.data.texts import TextBuilder, Texts
from orthodrome.types import InputError, Progress

GZIP = b"\x1f\x8b"
LABEL_ENDINGS = ("cls", "json")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_LEADS_OUT = re.compile(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)")
_LARGEST_LABEL_FILE = 2**20
_MOST_DIGITS = 19
_BLOCK = 2**20


@dataclass(frozen=True, eq=False)
class ShardStore:
    """Images in tar files: shard number, offset, size and name of each, (N,)."""

    files: tuple[PositionedFile, ...]
    shards: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    names: Texts

    def __len__(self) -> int:
        return len(self.offsets)

    def key(self, index: int) -> str:
        """The member's name; with the shard before it, where there are several."""
        name = self.names[index]
        return f"{printable(self._file(index).path.stem)}/{name}" if len(self.files) > 1 else name

    def place(self, index: int) -> Place:
        """File, and offset of the image in it."""
        return Place(printable(self._file(index).path), int(self.offsets[index]))

    def read(self, index: int) -> bytes:
        """The bytes of the member."""
        return self._file(index).read(int(self.offsets[index]), int(self.sizes[index]))

    def _file(self, index: int) -> PositionedFile:
        return self.files[int(self.shards[index])]


def read_shards(path: str | Path, budget: float = BUDGET, progress: Progress | None = None) -> EncodedReader:
    """Index tar files: one, a folder of them, or a pattern ``set/{000..012}.tar``; images in the order of shards and members.

    Labels that are all numbers are classes by value (with the names in ``classes.txt``, where it is there), others by name.

    Raises:
        InputError: no shard, a shard that is missing, compressed or no tar; more than the share ``budget`` of the samples cannot be used.
    """
    paths = shard_paths(Path(path))
    index = load_or_make(shard_sidecar(paths), paths, lambda: index_shards(paths, progress))
    arrays, problems = index.arrays, tuple(Problem(**problem) for problem in index.meta["problems"])
    check_budget(problems, len(arrays["labels"]) + len(problems), budget, printable(path))
    files = tuple(map(PositionedFile, paths))
    store = ShardStore(files, arrays["shards"], arrays["offsets"], arrays["sizes"], Texts(arrays["names"], arrays["ends"]))
    names = index.meta["class_names"] or names_of(arrays["numbers"], paths[0].parent)
    return EncodedReader(store, arrays["labels"], names, problems)


def shard_paths(path: Path) -> list[Path]:
    """The tar files that a file, a folder or a pattern ``{000..012}`` means, in order."""
    found = _RANGE.search(path.name)
    if found:
        first, last = found.groups()
        numbers = range(int(first), int(last) + 1)
        paths = [path.with_name(path.name.replace(found[0], f"{number:0{len(first)}d}")) for number in numbers]
    else:
        paths = sorted(path.glob("*.tar")) if path.is_dir() else [path]
    missing = [shard for shard in paths if not shard.is_file()]
    if missing or not paths:
        raise InputError(f"{printable(missing[0] if missing else path)}: no such shard; expected tar files")
    return paths


def shard_sidecar(paths: Sequence[Path]) -> Path:
    """Where the index of these shards is kept beside them."""
    name = paths[0].stem if len(paths) == 1 else f"{paths[0].stem}-{paths[-1].stem}"
    return paths[0].with_name(f"{name}.tar.index")


def index_shards(paths: Sequence[Path], progress: Progress | None = None) -> Sidecar:
    """Find the images of shards and their labels; what cannot be used is listed in ``meta["problems"]``."""
    found = _Found()
    for number, path in enumerate(paths):
        found.begin(path)
        for sample in _samples(path, found.problems):
            found.add(number, path, sample)
        if progress:
            progress(number + 1, len(paths))
    return found.sidecar()


@dataclass
class _Sample:
    """Members of one sample: the image, and the texts of ``.cls`` and ``.json``."""

    key: str
    images: list[tarfile.TarInfo] = field(default_factory=list)
    texts: dict[str, bytes] = field(default_factory=dict)


def _samples(path: Path, problems: list[Problem]) -> Iterator[_Sample]:
    """Neighbouring members of the same key, in order."""
    sample: _Sample | None = None
    for member, content in _members(path, problems):
        folder, name = PurePosixPath(member.name).parent, PurePosixPath(member.name).name
        stem, _, ending = name.partition(".")
        key = str(folder / stem)
        if sample is None or sample.key != key:
            if sample:
                yield sample
            sample = _Sample(key)
        if content is not None:
            sample.texts[ending.lower()] = content
        elif PurePosixPath(member.name).suffix.lower() in EXTENSIONS:
            sample.images.append(member)
    if sample:
        yield sample


def _members(path: Path, problems: list[Problem]) -> Iterator[tuple[tarfile.TarInfo, bytes | None]]:
    """Regular files of a tar with harmless names; with their content where it is a label."""
    size = path.stat().st_size
    try:
        with tarfile.open(path, "r:", errors="surrogateescape") as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]  # else all of them are kept
                reason = _refusal(member)
                if reason is None and member.offset_data + member.size > size:
                    problems.append(
                        Problem(printable(path), printable(member.name), member.offset, "the archive ends inside this member")
                    )
                    return
                if reason:
                    problems.append(Problem(printable(path), printable(member.name), member.offset, reason))
                elif member.isfile() and not PurePosixPath(member.name).name.startswith("."):
                    is_label = member.name.rpartition(".")[2].lower() in LABEL_ENDINGS and member.size <= _LARGEST_LABEL_FILE
                    file = archive.extractfile(member) if is_label else None
                    yield member, file.read() if file else None
            if reason := _wrong_end(path, archive.offset, size):
                problems.append(Problem(printable(path), "", min(archive.offset, size), reason))
    except tarfile.ReadError as error:
        problems.append(Problem(printable(path), "", None, _damage(path, error)))
    except OSError as error:
        raise InputError(f"{printable(path)}: cannot be read: {error.strerror or error}") from None


def _wrong_end(path: Path, end: int, size: int) -> str | None:
    """Why members may be missing from ``end`` on, where reading a tar came to its end: tarfile takes a damaged header for the end too."""
    if end + tarfile.BLOCKSIZE > size:
        return "the archive has no end mark; members may be missing"
    with path.open("rb") as file:
        file.seek(end)
        if any(file.read(tarfile.BLOCKSIZE)):
            return "the header of a member is damaged; nothing can be read from here on"
        if any(any(block) for block in iter(lambda: file.read(_BLOCK), b"")):
            return "something follows the end mark: several archives in one file? Give each its own"
    return None


def _damage(path: Path, error: tarfile.ReadError) -> str:
    """What to note of a tar that cannot be read on; what was never one is refused."""
    with path.open("rb") as file:
        begins = file.read(262)
    if begins[257:] == b"ustar":
        return f"the archive ends early or is damaged: {error}"
    hint = "; it is compressed: unpack it first (gunzip), since a compressed tar has no random access"
    raise InputError(f"{printable(path)}: not a tar file{hint if begins[:2] == GZIP else ''}") from None


def _refusal(member: tarfile.TarInfo) -> str | None:
    if member.issym() or member.islnk():
        return f"a link to {printable(member.linkname)}; expected a file"
    if not (member.isfile() or member.isdir()):
        return "a device or a pipe; expected a file"
    if member.issparse():
        return "a sparse file, whose bytes do not lie together; pack the archive without --sparse"
    if _LEADS_OUT.search(member.name):
        return "the name points out of the archive"
    return None


class _Found:
    """Collects images, labels and problems; of an image its name and 28 bytes."""

    def __init__(self) -> None:
        self.shards, self.offsets, self.sizes = array("I"), array("Q"), array("I")
        self.names = TextBuilder()
        self.labels: dict[str | int, int] = {}  # by when they were first met
        self.label_of = array("I")
        self.by_folder = array("B")  # whether the folder's name is the label
        self.paths: list[str] = []
        self.problems: list[Problem] = []
        self.of_shard: set[str] = set()

    def begin(self, path: Path) -> None:
        """The next shard, with names of its own."""
        self.of_shard.clear()
        self.paths.append(printable(path))

    def add(self, number: int, path: Path, sample: _Sample) -> None:
        """One image with the label beside it; or images that are labelled by their folder."""
        label, reason = _label(sample)
        if not sample.images and ("cls" in sample.texts or ("json" in sample.texts and not reason)):
            self.problems.append(
                Problem(printable(path), printable(sample.key), None, "a label without an image that can be read")
            )
        if sample.texts and len(sample.images) > 1:
            reason = f"{len(sample.images)} images of one key; expected one"
        for image in sample.images:
            name = printable(image.name)
            wrong = reason or _unfit(name in self.of_shard, image.size)
            self.of_shard.add(name)
            if wrong:
                self.problems.append(Problem(printable(path), name, image.offset_data, wrong))
            else:
                self.shards.append(number)
                self.offsets.append(image.offset_data)
                self.sizes.append(image.size)
                self.names.append(name)
                self.by_folder.append(not sample.texts)
                self.label_of.append(self.labels.setdefault(label, len(self.labels)))

    def sidecar(self) -> Sidecar:
        """Everything as arrays. Where some images have a label beside them, those that have only a folder have none."""
        by_folder = np.frombuffer(self.by_folder, bool)
        if by_folder.any() and not by_folder.all():
            return self._only(~by_folder).sidecar()
        class_names: list[str] | None = None
        if all(isinstance(label, int) for label in self.labels):
            values = np.array(list(self.labels), np.int64)
        else:
            names, values = np.unique(np.array(list(map(str, self.labels))), return_inverse=True)
            class_names = names.tolist()
        labels, numbers = contiguous_labels(values[np.frombuffer(self.label_of, np.uint32)])
        names_of_images = self.names.texts()
        arrays: dict[str, np.ndarray] = {
            "shards": np.frombuffer(self.shards, np.uint32),
            "offsets": np.frombuffer(self.offsets, np.uint64),
            "sizes": np.frombuffer(self.sizes, np.uint32),
            "labels": labels,
            "numbers": numbers.astype(np.int64),
            "names": names_of_images.buffer,
            "ends": names_of_images.ends,
        }
        return Sidecar(arrays, {"problems": [asdict(problem) for problem in self.problems], "class_names": class_names})

    def _only(self, kept: np.ndarray) -> _Found:
        """The images that are ``kept``, bool (N,); the others are problems."""
        found, names, labels = _Found(), self.names.texts(), list(self.labels)
        found.paths, found.problems = self.paths, self.problems
        for i, keep in enumerate(kept.tolist()):
            if not keep:
                reason = "no .cls or .json beside the image, as others have"
                found.problems.append(Problem(self.paths[self.shards[i]], names[i], self.offsets[i], reason))
                continue
            found.shards.append(self.shards[i])
            found.offsets.append(self.offsets[i])
            found.sizes.append(self.sizes[i])
            found.names.append(names[i])
            found.by_folder.append(False)
            found.label_of.append(found.labels.setdefault(labels[self.label_of[i]], len(found.labels)))
        return found


def _unfit(is_twice: bool, size: int) -> str | None:
    if is_twice:
        return "the archive holds this name twice"
    return f"{size} bytes; an image has less than 2³²" if size >= 2**32 else None


def _label(sample: _Sample) -> tuple[str | int, str | None]:
    """The label of a sample, a number or a name, and why it has none."""
    if "cls" in sample.texts:
        text = sample.texts["cls"].decode("utf-8", "replace").strip()
        if text.isdecimal() and len(text) <= _MOST_DIGITS:
            return _number(int(text), ".cls")
        return "", f"label {text[:40]!r} in the .cls; expected a whole number ≥ 0"
    if "json" in sample.texts:
        return _json_label(sample.texts["json"])
    folder = PurePosixPath(sample.key).parent.name
    return printable(
        folder
    ), None if folder else "no label: expected a .cls or a .json beside the image, or a folder that names the identity"


def _json_label(content: bytes) -> tuple[str | int, str | None]:
    try:
        label = json.loads(content)["label"]
    except (ValueError, KeyError, TypeError):
        return "", 'the .json is no object with a "label"'
    if isinstance(label, int) and not isinstance(label, bool):
        return _number(label, ".json")
    return label, None if isinstance(
        label, str
    ) and label else f"label {label!r} in the .json; expected a whole number ≥ 0 or a name"


def _number(label: int, where: str) -> tuple[int, str | None]:
    return label, None if 0 <= label < 2**63 else f"label {label} in the {where}; expected a whole number ≥ 0"
