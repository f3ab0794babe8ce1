"""A folder of photographs to a folder of aligned crops of the same tree: in processes, resumable, with every miss on record.

A photograph is finished when its line is in ``landmarks.jsonl`` of the target; its crops are written before, each whole. Started again, a
run does what is not finished, what has no crop, and what has changed.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from orthodrome.data.decode import decode_image, printable
from orthodrome.data.parallel import available_processors, map_in_processes
from orthodrome.files import write_file
from orthodrome.pipeline.align import TEMPLATES, create_aligner
from orthodrome.pipeline.detect import FACE_RULES
from orthodrome.pipeline.landmarks import NO_FACE, Landmarks, Photograph, append, appending, read_landmarks, write_landmarks
from orthodrome.pipeline.montage import write_montage
from orthodrome.pipeline.opencv import opencv
from orthodrome.pipeline.photographs import crop_stems, find_photographs
from orthodrome.types import Aligner, Detector, InputError

LANDMARK_FILE = "landmarks.jsonl"
MISSES_FILE = "misses.csv"
_GROUP = 4  # photographs that travel to a process together: alone, each would cost half a millisecond more

Progress = Callable[[int, int], None]


class DescribedDetector(Detector, Protocol):
    """A detector that says, in plain values, what decides its results; picklable, for worker processes."""

    def described(self) -> dict[str, Any]:
        """Goes into the landmark file; a run goes on only with an equal one."""


@dataclass(frozen=True)
class CropSettings:
    """How crops are made: a template, its size (height, width; None: its own), which faces count, and the quality of the JPEG."""

    template: str = "arcface112"
    size: tuple[int, int] | None = None
    faces: str = "largest"
    quality: int = 95

    def __post_init__(self) -> None:
        FACE_RULES.get(self.faces)
        create_aligner(self.template, self.size)
        if not 1 <= self.quality <= 100:
            raise InputError(f"the quality of a JPEG is in [1, 100]; got {self.quality}")

    @property
    def crop_size(self) -> tuple[int, int]:
        """(height, width) of the crops."""
        return self.size or TEMPLATES.get(self.template).size

    def to_json(self) -> dict[str, Any]:
        """As the landmark file keeps it."""
        return {"template": self.template, "size": list(self.crop_size), "faces": self.faces, "quality": self.quality}


@dataclass(frozen=True, eq=False)
class Alignment:
    """What came of it: one `Photograph` for each of the source, in order, and how many of them were finished before."""

    photographs: tuple[Photograph, ...]
    finished_before: int
    montage: Path | None

    @property
    def misses(self) -> tuple[Photograph, ...]:
        """Those without a crop."""
        return tuple(photograph for photograph in self.photographs if not photograph.crops)

    @property
    def crops(self) -> int:
        """How many crops there are."""
        return sum(len(photograph.crops) for photograph in self.photographs)

    @property
    def crowded(self) -> int:
        """Photographs with more faces than one."""
        return sum(len(photograph.faces) > 1 for photograph in self.photographs)

    def summary(self) -> str:
        """A few words for the terminal."""
        total = len(self.photographs)
        before = f" ({self.finished_before:,} of them before)" if self.finished_before else ""
        return (
            f"{total - len(self.misses):,} of {total:,} photographs aligned{before}, {self.crops:,} crops; "
            f"{self.crowded:,} photographs have more than one face; {len(self.misses):,} have no crop"
        )

    def within(self, budget: float) -> bool:
        """Whether no more than this share of the photographs has no crop."""
        return len(self.misses) <= budget * len(self.photographs)


def align_folder(
    source: Path,
    target: Path,
    detector: DescribedDetector,
    settings: CropSettings | None = None,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Alignment:
    """Find faces, align them, write the crops, the landmark file, ``misses.csv``, and beside the target a montage.

    ``workers`` processes, 0: this one; None: one per processor.

    Raises:
        InputError: source or target cannot be used, the target was begun with other settings or holds something else, or a crop cannot
            be written. A photograph that cannot be read or has no face raises nothing: it is a miss.
    """
    return _run(source, target, detector, detector.described(), None, settings or CropSettings(), workers, progress)


def realign_folder(
    source: Path,
    target: Path,
    landmarks: Path,
    settings: CropSettings | None = None,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Alignment:
    """As `align_folder`, with the faces of a landmark file instead of a detector.

    A photograph that is not in the file, or has another size in pixels than it says, is a miss.
    """
    known = read_landmarks(landmarks)
    detector = known.settings.get("detector", {})
    return _run(source, target, None, detector, known.photographs, settings or CropSettings(), workers, progress)


# ------------------------------------------------------------------------------------------------------ one photograph


@dataclass(frozen=True, eq=False)
class Task:
    """A photograph to do: its name and size in bytes, the path of its crop without ending, and what is known of it."""

    name: str
    bytes: int
    stem: str
    known: Photograph | None = None


@dataclass(frozen=True, eq=False)
class PhotographAligner:
    """Does one photograph: read, find (or look up), choose, cut, write. Picklable, for worker processes."""

    source: Path
    target: Path
    detector: Detector | None
    aligner: Aligner
    settings: CropSettings

    def __call__(self, task: Task) -> Photograph:
        """What came of it; raises InputError only where a crop cannot be written."""
        try:
            found, crops = self._cut(task)
        except InputError as error:
            reason = str(error).removeprefix(f"{printable(self.source / task.name)}: ")
            return Photograph(task.name, task.bytes, problem=reason)
        for name, crop in crops.items():
            write_file(self.target / name, crop, sync=False)  # its size is on record, and checked when a run goes on
        return found

    def _cut(self, task: Task) -> tuple[Photograph, dict[str, bytes]]:
        image = decode_image(self.source / task.name)
        size = (image.shape[0], image.shape[1])
        faces = self._faces(image, task.known).astype(np.float64).round(3)  # as the landmark file keeps them
        if not len(faces):
            return Photograph(task.name, task.bytes, size, problem=NO_FACE), {}
        chosen = faces[FACE_RULES.get(self.settings.faces)(faces, size)]
        numbers = [f"-{number}" for number in range(1, len(chosen) + 1)] if self.settings.faces == "all" else [""]
        crops = {
            f"{task.stem}{number}.jpg": encode_jpeg(self.aligner(image, face[4:14].reshape(5, 2)), self.settings.quality)
            for number, face in zip(numbers, chosen, strict=True)
        }
        return Photograph(task.name, task.bytes, size, faces, {name: len(crop) for name, crop in crops.items()}), crops

    def _faces(self, image: np.ndarray, known: Photograph | None) -> np.ndarray:
        if known is None:
            if self.detector is None:
                raise InputError("not in the landmark file")
            return self.detector(image)
        if known.size is None:
            raise InputError(f"{known.problem} (as the landmark file says)")
        if known.size != image.shape[:2]:
            height, width = image.shape[:2]
            raise InputError(f"{width}×{height} pixels now, but {known.size[1]}×{known.size[0]} in the landmark file")
        return known.faces


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """A JPEG of uint8 (H, W, 3)."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality)
    return buffer.getvalue()


# ------------------------------------------------------------------------------------------------------- all of them


def _run(
    source: Path,
    target: Path,
    detector: Detector | None,
    described: Mapping[str, Any],
    known: Mapping[str, Photograph] | None,
    settings: CropSettings,
    workers: int | None,
    progress: Progress | None,
) -> Alignment:
    opencv()
    _check_apart(source, target)
    found = find_photographs(source)
    stems = crop_stems(tuple(found))
    before = _open_target(target, {"detector": dict(described), **settings.to_json()})
    tasks, finished = _tasks(found, stems, before.photographs, known, target)
    do = PhotographAligner(source, target, detector, create_aligner(settings.template, settings.size), settings)
    done = dict(before.photographs)
    with appending(target / LANDMARK_FILE) as file:
        for number, photograph in enumerate(_each(do, tasks, workers), start=len(finished) + 1):
            append(file, photograph)
            done[photograph.name] = photograph
            if progress:
                progress(number, len(found))
    photographs = tuple(done[name] for name in found)
    write_landmarks(target / LANDMARK_FILE, Landmarks(before.settings, done))
    _write_misses(target / MISSES_FILE, photographs)
    crops = [target / crop for photograph in photographs for crop in photograph.crops]
    montage = write_montage(target.with_name(f"{target.name}.montage.png"), crops, settings.crop_size) if crops else None
    return Alignment(photographs, len(finished), montage)


def _check_apart(source: Path, target: Path) -> None:
    one, other = source.resolve(), target.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise InputError(
            f"{printable(target)}: crops must not be written among the photographs ({printable(source)}); choose a folder apart"
        )


def _open_target(target: Path, settings: Mapping[str, Any]) -> Landmarks:
    """What an earlier run left, with its landmark file ready to be appended to; a new one where there is nothing."""
    path = target / LANDMARK_FILE
    if path.exists() and path.stat().st_size:
        before = read_landmarks(path)
        _check_settings(target, before.settings, settings)
        _remove_torn_crops(target)
    elif target.exists() and (not target.is_dir() or any(entry != path for entry in target.iterdir())):
        raise InputError(f"{printable(target)}: holds something else than the crops of an earlier run; choose a new folder")
    else:
        before = Landmarks(settings, {})
    write_landmarks(path, before)  # without a torn last line
    return before


def _check_settings(target: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    old, new = dict(_flat(before)), dict(_flat(now))
    differing = [f"{key}: {old.get(key)}, now {new.get(key)}" for key in old | new if old.get(key) != new.get(key)]
    if differing:
        raise InputError(
            f"{printable(target)}: begun with other settings ({'; '.join(differing)}); choose another folder. With "
            f"--landmarks {printable(target / LANDMARK_FILE)} its faces need not be found again"
        )


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from ((f"{key} {inner}", content) for inner, content in value.items())
        else:
            yield key, value


_TORN = re.compile(r"\..*\.jpg\.\d+\.part")


def _remove_torn_crops(target: Path) -> None:
    """What `write_file` had beside the crops when the run before was killed."""
    for path in target.rglob(".*.part"):
        if _TORN.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _tasks(
    found: Mapping[str, int],
    stems: Mapping[str, str],
    before: Mapping[str, Photograph],
    known: Mapping[str, Photograph] | None,
    target: Path,
) -> tuple[list[Task], list[str]]:
    """What is to do, and the names of what is finished."""
    tasks, finished = [], []
    for name, size in found.items():
        earlier = before.get(name)
        if earlier is not None and (earlier.bytes != size or not earlier.crops):
            earlier = None
        if earlier is not None and all(_file_size(target / crop) == length for crop, length in earlier.crops.items()):
            finished.append(name)
        else:
            tasks.append(Task(name, size, stems[name], known.get(name) if known is not None else earlier))
    return tasks, finished


def _file_size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _each(do: PhotographAligner, tasks: Sequence[Task], workers: int | None) -> Iterator[Photograph]:
    processes = available_processors() if workers is None else workers
    if not processes:
        yield from map(do, tasks)
        return
    groups = (tasks[first : first + _GROUP] for first in range(0, len(tasks), _GROUP))
    with _one_thread():
        for group in map_in_processes(partial(_do_all, do), groups, processes):
            yield from group


def _do_all(do: PhotographAligner, tasks: Sequence[Task]) -> list[Photograph]:
    return [do(task) for task in tasks]


@contextmanager
def _one_thread() -> Iterator[None]:
    """OpenCV without threads of its own while processes share the work: its pool does not survive a fork."""
    cv2 = opencv()
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _write_misses(path: Path, photographs: Iterable[Photograph]) -> None:
    rows = [(printable(each.name), each.problem) for each in photographs if not each.crops]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("photograph", "reason"), *rows])
    write_file(path, text.getvalue().encode())
