"""One pass over all comparisons: jobs of some seconds, on one process or several, merged, saved, and taken up again after a kill."""

from __future__ import annotations

import hashlib
import os
import signal
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import groupby
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from orthodrome.evaluation.streaming.counting import Work, count_tile
from orthodrome.evaluation.streaming.screens import Panel
from orthodrome.evaluation.streaming.sharing import in_threads, tile_threads
from orthodrome.evaluation.streaming.sides import Comparison, Side
from orthodrome.evaluation.streaming.tallies import Band, Tally
from orthodrome.evaluation.streaming.tiles import (
    TILE_COLUMNS,
    Cut,
    Plan,
    Unit,
    comparisons,
    cuts_of,
    probe_panels,
    room_for,
    told,
)
from orthodrome.files import why_unread, write_file
from orthodrome.types import InputError, Progress

JOB = 2**30
"""Comparisons of a job, the least that is saved or handed to a process: some ten seconds of one."""

SAVE_SECONDS = 30.0

Tell = Callable[[Iterator[Cut]], Iterator[Cut]]
"""Hands on tiles, and tells of them."""


@dataclass(frozen=True, eq=False)
class Counted:
    """What a pass has found so far: both tallies, and which units are done, bool (units,)."""

    genuine: Tally
    impostor: Tally
    done: np.ndarray

    def and_also(self, genuine: Tally, impostor: Tally, units: Sequence[int]) -> Counted:
        """With the tallies of ``units``, which were not done: a new value, so that none is ever half merged."""
        done = self.done.copy()
        done[list(units)] = True
        return Counted(self.genuine + genuine, self.impostor + impostor, done)


@dataclass(frozen=True)
class State:
    """Where a pass is kept between runs, also when it is finished, and the ``mark`` of what it counts (`mark_of`)."""

    path: Path
    mark: str

    def read(self) -> dict[str, np.ndarray] | None:
        """What is kept; None where there is nothing. Raises InputError for the state of another count, or a damaged one."""
        if not self.path.exists():
            return None
        try:
            with np.load(self.path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
        except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
            raise InputError(
                f"{self.path}: cannot be read as the state of a comparison: {why_unread(error)}; name another, or delete it"
            ) from None
        if "mark" not in arrays:
            raise InputError(f"{self.path}: no state of a comparison, but another file; name another")
        if str(arrays["mark"]) != self.mark:
            raise InputError(
                f"{self.path}: the state of another comparison (embeddings, labels, groups or FARs differ); delete it or name another"
            )
        return arrays

    def bands(self) -> tuple[Band, ...] | None:
        """The bands that the count was begun with: on another machine the pilot may draw them a rounding apart."""
        arrays = self.read()
        return tuple(Band(low, high) for low, high in arrays["bands"].tolist()) if arrays else None


def run_pass(work: Work, cut: Plan, workers: int = 1, state: State | None = None, progress: Progress | None = None) -> Counted:
    """Count every unit of ``cut`` that ``state`` does not hold already. Interrupted or killed, it loses the jobs under way.

    ``progress`` is told of every tile that this process counts, and of every job of others.
    Raises InputError where ``state`` is of another comparison or cannot be read or written.
    """
    found = Counted(Tally(work.bands), Tally(work.bands), np.zeros(len(cut.units), dtype=bool))
    if state and (kept := state.read()):
        _resume(kept, found)
    sizes = np.array([comparisons(work.problem, unit) for unit in cut.units], dtype=np.int64)
    saved = time.monotonic()
    report = progress or (lambda done, total: None)

    def tell(cuts: Iterator[Cut]) -> Iterator[Cut]:
        return told(cuts, report, int(sizes[found.done].sum()), int(sizes.sum()))

    report(int(sizes[found.done].sum()), int(sizes.sum()))
    try:
        for job, genuine, impostor in _results(work, cut, _jobs(cut, found.done, sizes, workers), workers, tell):
            found = found.and_also(genuine, impostor, job)
            report(int(sizes[found.done].sum()), int(sizes.sum()))
            if state and time.monotonic() - saved > SAVE_SECONDS:
                _save(state, found)
                saved = time.monotonic()
    except BaseException:
        if state:
            _save(state, found)
        raise
    if state:
        _save(state, found)
    return found


def _jobs(cut: Plan, done: np.ndarray, sizes: np.ndarray, workers: int) -> list[list[int]]:
    """What is left to do: runs of units that share their probes, of up to :data:`JOB` comparisons, and enough for every worker."""
    left = np.flatnonzero(~done)
    target = min(JOB, int(sizes[left].sum()) // (4 * workers) if workers > 1 else JOB)
    jobs: list[list[int]] = []
    for _, run in groupby(left.tolist(), key=lambda number: cut.units[number][0].start):
        job: list[int] = []
        for number in run:
            if job and sizes[[*job, number]].sum() > target:
                jobs.append(job)
                job = []
            job.append(number)
        jobs.append(job)
    return jobs


def _results(work: Work, cut: Plan, jobs: list[list[int]], workers: int, tell: Tell) -> Iterator[tuple[list[int], Tally, Tally]]:
    """Each job with its tallies, in any order. ``tell`` hands on the tiles of this process."""
    if min(workers, len(jobs)) <= 1:
        panel = probe_panels(work.problem, work.screen, torch.get_num_threads())
        for job in jobs:
            yield job, *_count(work, [cut.units[number] for number in job], panel, tell)
        return
    threads, spawn = max(1, torch.get_num_threads() // workers), get_context("spawn")
    theirs, ours = spawn.Pipe(duplex=False)
    with (
        ours,
        _portable(work) as portable,
        ProcessPoolExecutor(workers, spawn, initializer=_start, initargs=(portable, threads, theirs)) as processes,
    ):
        try:
            waiting = {processes.submit(_count_there, [cut.units[number] for number in job]): job for job in jobs}
            while waiting:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield waiting.pop(future), *future.result()
        except BaseException:  # an interruption, also where the results go
            ours.close()  # ends the processes, whatever they are at
            raise


def _count(work: Work, units: Sequence[Unit], panel: Callable[[slice], Panel], tell: Tell) -> tuple[Tally, Tally]:
    def count(cuts: Iterator[Cut]) -> tuple[Tally, Tally]:
        genuine, impostor, room = Tally(work.bands), Tally(work.bands), room_for(work.screen)
        for cut in cuts:
            count_tile(work, cut.scored(room), genuine, impostor)
        return genuine, impostor

    cuts = tell(cuts_of(work.problem, work.screen, units, torch.get_num_threads(), panel))
    (genuine, impostor), *others = in_threads(cuts, count, tile_threads(work.problem.dimension))
    for other in others:
        genuine, impostor = genuine + other[0], impostor + other[1]
    return genuine, impostor


# ------------------------------------------------------------------------------------------------------ other processes


@dataclass(frozen=True)
class _File:
    """An array that other processes map into their memory."""

    path: str
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int

    def open(self) -> np.ndarray:
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)


@contextmanager
def _portable(work: Work) -> Iterator[Work]:
    """``work`` with its embeddings as files, written where they are not mapped from one already."""
    with tempfile.TemporaryDirectory() as folder:
        probes = _as_file(work.problem.probes, Path(folder, "probes"))
        gallery = probes if work.problem.within else _as_file(work.problem.gallery, Path(folder, "gallery"))
        yield replace(work, problem=replace(work.problem, probes=probes, gallery=gallery))


def _as_file(side: Side, path: Path) -> Side:
    vectors = side.vectors
    if isinstance(vectors, np.memmap) and _is_its_file(vectors):
        file = _File(str(vectors.filename), vectors.dtype, vectors.shape, vectors.offset)
    else:
        with path.open("wb") as copy:
            for start in range(0, len(vectors), TILE_COLUMNS):
                np.ascontiguousarray(vectors[start : start + TILE_COLUMNS]).tofile(copy)
        file = _File(str(path), vectors.dtype, vectors.shape, 0)
    return replace(side, vectors=file)  # type: ignore[arg-type]  # opened by `_start`


def _is_its_file(vectors: np.memmap) -> bool:
    """Whether the file holds these rows one after the other: not where they are a view, in Fortran's order, or edited in memory."""
    whole = bool(vectors.filename) and not isinstance(vectors.base, np.ndarray)
    return whole and vectors.mode == "r" and vectors.flags.c_contiguous


_work: Work
_panel: Callable[[slice], Panel]


def _start(work: Work, threads: int, caller: Connection) -> None:
    """In a worker process, once."""
    global _work, _panel
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the caller heeds it
    threading.Thread(target=_end_with, args=(caller,), daemon=True).start()
    torch.set_num_threads(threads)
    problem = work.problem
    probes = replace(problem.probes, vectors=problem.probes.vectors.open())  # type: ignore[attr-defined]
    gallery = probes if problem.within else replace(problem.gallery, vectors=problem.gallery.vectors.open())  # type: ignore[attr-defined]
    _work = replace(work, problem=replace(problem, probes=probes, gallery=gallery))
    _panel = probe_panels(_work.problem, _work.screen, threads)


def _end_with(caller: Connection) -> None:
    """End this process as soon as the caller wants no more of it, or is gone."""
    with suppress(EOFError, OSError):
        caller.recv()
    os._exit(1)


def _count_there(units: Sequence[Unit]) -> tuple[Tally, Tally]:
    return _count(_work, units, _panel, iter)


# ------------------------------------------------------------------------------------------------------- state on disk


def _save(state: State, found: Counted) -> None:
    arrays: dict[str, Any] = {f"genuine_{name}": array for name, array in found.genuine.arrays().items()}
    arrays |= {f"impostor_{name}": array for name, array in found.impostor.arrays().items()}
    arrays |= {"mark": np.array(state.mark), "done": found.done}
    arrays |= {"bands": np.array([[band.low, band.high] for band in found.genuine.bands])}
    write_file(state.path, lambda file: np.savez(file, **arrays))


def _resume(arrays: Mapping[str, np.ndarray], found: Counted) -> None:
    found.done[:] = arrays["done"]
    for name, tally in (("genuine_", found.genuine), ("impostor_", found.impostor)):
        tally.take({key.removeprefix(name): array for key, array in arrays.items() if key.startswith(name)})


def mark_of(problem: Comparison, cut: Plan, wanted: str) -> str:
    """A digest of what is compared, cut and ``wanted``: every label, group and embedding."""
    digest = hashlib.sha256(f"{problem.within} {problem.dimension} {len(cut.units)} {wanted}".encode())
    for side in (problem.probes,) if problem.within else (problem.probes, problem.gallery):
        for array in (side.labels, side.groups, side.vectors):
            digest.update(f"{array.dtype} {array.shape}".encode())
            for start in range(0, len(array), TILE_COLUMNS):
                digest.update(np.ascontiguousarray(array[start : start + TILE_COLUMNS]).data)
    return digest.hexdigest()
