"""A folder of photographs to a folder of aligned crops of the same tree: in processes, resumable, with every miss on record.

A photograph is finished when its line is in ``landmarks.jsonl`` of the target; its crops are written before, each whole. Started again, a
run does what is not finished, what has no crop, and what has changed in size or time. Crops of a photograph that is gone stay: no other
photograph gets their names.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from orthodrome.data.decode import printable
from orthodrome.data.parallel import available_processors, map_in_processes
from orthodrome.files import alone, beside, write_file
from orthodrome.pipeline.align import create_aligner
from orthodrome.pipeline.align_photograph import CropSettings, PhotographAligner, Task
from orthodrome.pipeline.align_target import LANDMARK_FILE, check_apart, open_target, remove_other_crops, tasks_of
from orthodrome.pipeline.landmarks import Landmarks, Photograph, append, appending, read_landmarks, write_landmarks
from orthodrome.pipeline.montage import write_montage
from orthodrome.pipeline.opencv import opencv
from orthodrome.pipeline.photographs import crop_stems, find_photographs
from orthodrome.types import Detector, Progress

MISSES_FILE = "misses.csv"
_GROUP = 4  # photographs that travel to a process together: alone, each would cost half a millisecond more


class DescribedDetector(Detector, Protocol):
    """A detector that says, in plain values, what decides its results; picklable, for worker processes."""

    def described(self) -> dict[str, Any]:
        """Goes into the landmark file; a run goes on only with an equal one."""


@dataclass(frozen=True, eq=False)
class _FaceSource:
    """Where faces come from: a detector, or what is ``known`` of each photograph; ``described``: the detector of either."""

    described: Mapping[str, Any]
    detector: Detector | None = None
    known: Mapping[str, Photograph] | None = None


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
    faces = _FaceSource(detector.described(), detector=detector)
    return _align(_Job(source, target, faces, settings or CropSettings(), workers, progress))


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
    faces = _FaceSource(known.settings.get("detector", {}), known=known.photographs)
    return _align(_Job(source, target, faces, settings or CropSettings(), workers, progress))


@dataclass(frozen=True, eq=False)
class _Job:
    """What was asked for."""

    source: Path
    target: Path
    faces: _FaceSource
    settings: CropSettings
    workers: int | None
    progress: Progress | None

    @property
    def described(self) -> dict[str, Any]:
        """What the landmark file says of how it was made."""
        return {"detector": dict(self.faces.described), **self.settings.to_json()}

    @property
    def aligner(self) -> PhotographAligner:
        """Does each of the photographs."""
        aligner = create_aligner(self.settings.template, self.settings.size)
        return PhotographAligner(self.source, self.target, self.faces.detector, aligner, self.settings)


def _align(job: _Job) -> Alignment:
    opencv()
    check_apart(job.source, job.target)
    found = find_photographs(job.source)
    with alone(job.target):
        before = open_target(job.target, job.described)
        with_crops = [name for name, photograph in before.photographs.items() if photograph.crops]  # also of those that are gone
        stems = crop_stems(tuple(dict.fromkeys([*found, *with_crops])))
        tasks, finished = tasks_of(found, stems, before.photographs, job.faces.known, job.target)
        done = {**before.photographs, **finished}
        _do_each(job, tasks, done, len(found))
        return _finish(job, Landmarks(before.settings, done), tuple(done[name] for name in found), len(finished))


def _do_each(job: _Job, tasks: Sequence[Task], done: dict[str, Photograph], total: int) -> None:
    """Do what is to do and put it on record, in the landmark file and in ``done``."""
    with appending(job.target / LANDMARK_FILE) as file:
        for number, photograph in enumerate(_each(job.aligner, tasks, job.workers), start=total - len(tasks) + 1):
            remove_other_crops(job.target, done.get(photograph.name), photograph)  # before its line: a killed run does it again
            append(file, photograph)
            done[photograph.name] = photograph
            if job.progress:
                job.progress(number, total)


def _finish(job: _Job, landmarks: Landmarks, photographs: tuple[Photograph, ...], finished_before: int) -> Alignment:
    """What is written once all are done."""
    write_landmarks(job.target / LANDMARK_FILE, landmarks)
    _write_misses(job.target / MISSES_FILE, photographs)
    crops = [job.target / crop for photograph in photographs for crop in photograph.crops]
    montage = write_montage(beside(job.target, ".montage.png"), crops, job.settings.crop_size) if crops else None
    return Alignment(photographs, finished_before, montage)


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
