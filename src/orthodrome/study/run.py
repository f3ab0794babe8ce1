"""Running a study: each process takes the next cell that nobody has done or is at, until all are done or the time is up."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orthodrome.study.cell import Done, Site, run_cell
from orthodrome.study.choose import choices
from orthodrome.study.locks import free_lock
from orthodrome.study.pairs import write_pairs
from orthodrome.study.plan import Cell, Plan
from orthodrome.study.rows import Row, Tables, rows_of

Say = Callable[[str], None]
Run = Callable[[Plan, Cell, Site], Done | None]

WAIT = 5.0
"""Seconds between looks at a grid whose free cells depend on others that are at work."""


@dataclass(frozen=True)
class Progress:
    """Where a study stands: ``done`` and ``left`` cells, and those that ``wait`` for tuning groups."""

    done: tuple[Cell, ...]
    left: tuple[Cell, ...]
    waiting: int


def progress(plan: Plan, rows: Mapping[str, Row], only: Sequence[str] = ()) -> Progress:
    """The cells of all groups, or of those in ``only``, each digest once."""
    chosen = choices(plan, rows)
    cells: dict[str, Cell] = {}
    waiting = 0
    for group in plan.groups if not only else [plan.group(name) for name in only]:
        found = plan.cells(group, chosen)
        waiting += plan.count(group) - len(found)
        for cell in found:
            cells.setdefault(cell.digest, cell)
    done = tuple(cell for cell in cells.values() if cell.digest in rows)
    return Progress(done, tuple(cell for cell in cells.values() if cell.digest not in rows), waiting)


def work(
    plan: Plan, site: Site, tables: Tables, *, only: Sequence[str], budget: float | None, say: Say, run: Run = run_cell
) -> bool:
    """Take cells until none is left, or the ``budget`` in minutes does not suffice for the next one; False where a stop was asked for."""
    started = time.monotonic()
    while True:
        rows = rows_of(plan.name, tables)
        state = progress(plan, rows, only)
        if not state.left:
            say(_last_words(state))
            return True
        with _free_cell(plan, site, tables, state) as cell:
            left = math.inf if budget is None else budget - (time.monotonic() - started) / 60
            minutes = expected_minutes(rows.values(), state.left[0].judge if cell is None else cell.judge)
            if minutes > left:
                say(f"out of time: the next cell takes about {minutes:.1f} minutes, {max(left, 0):.1f} are left")
                return True
            if cell is None:
                time.sleep(WAIT)
                continue
            say(f"[{len(state.done) + 1}/{len(state.done) + len(state.left)}{eta(state, rows, site.workers)}] {cell.title}")
            done = run(plan, cell, site)
            if done is None:
                say(f"stopped in {cell.title}; the same command goes on from its checkpoint")
                return False
            record(plan, site, tables, done)
            say(f"    {outcome(done.row)}")


@contextmanager
def _free_cell(plan: Plan, site: Site, tables: Tables, state: Progress) -> Iterator[Cell | None]:
    """The first cell that nobody is at, with its lock; None where all are taken."""
    for cell in state.left:
        with free_lock(lock_of(site, cell)) as free:
            if free and cell.digest not in rows_of(plan.name, tables):  # another may have finished it just now
                yield cell
                return
    yield None


def _last_words(state: Progress) -> str:
    if not state.waiting:
        return f"all {len(state.done)} cells are done"
    return f"{state.waiting} cells wait for a tuning group without a result: run it too, or see why all its cells diverged"


def lock_of(site: Site, cell: Cell) -> Path:
    """The lock file of a cell."""
    return site.folder / "locks" / f"{cell.digest}.lock"


def record(plan: Plan, site: Site, tables: Tables, done: Done) -> None:
    """The curves of a cell, then its row, so that where there is a row, all of it is there; then the pairs it is one of."""
    tables.curves.add(
        [
            {"study": plan.name, "digest": done.row["digest"], "curve": name, "values": json.dumps(values, separators=(",", ":"))}
            for name, values in done.curves.items()
        ]
    )
    tables.cells.add([done.row])
    write_pairs(plan, tables)


def expected_minutes(rows: Iterable[Row], judge: str) -> float:
    """The median of the cells done that are judged alike; of all where there are none, 0 where nothing is known."""
    known = [row for row in rows if row["minutes"] and not row["failed"]]
    alike = [float(row["minutes"]) for row in known if row["judge"] == judge]
    return statistics.median(alike or [float(row["minutes"]) for row in known] or [0.0])


def eta(state: Progress, rows: Mapping[str, Row], workers: int) -> str:
    """The time left by the medians of the cells done; empty where nothing is known."""
    minutes = sum(expected_minutes(rows.values(), cell.judge) for cell in state.left) / workers
    waiting = f" + {state.waiting} waiting" if state.waiting else ""
    return f"{waiting}, about {minutes:.0f} min left" if minutes else waiting


def outcome(row: Row) -> str:
    """One line about a finished cell."""
    if row.get("failed"):
        return f"diverged: {row['failed']}"
    names = {"accuracy": "accuracy", "eer": "EER", "tar_1e-2": "TAR@FAR=1e-2", "tar_1e-3": "TAR@FAR=1e-3"}
    shown = [f"{label} {100 * float(row[name]):.2f} %" for name, label in names.items() if row.get(name)]
    return f"{', '.join(shown)}; {row['minutes']} min ({row.get('images_per_second', '')} images/s)"
