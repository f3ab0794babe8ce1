"""Locks, rows, and how processes share a grid: each cell once, whoever dies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orthodrome.study import run as study_run
from orthodrome.study.cell import Done, Site
from orthodrome.study.locks import free_lock, waiting_lock
from orthodrome.study.plan import Cell, Plan, load_plan
from orthodrome.study.rows import CELLS, Tables, rows_of, tables
from orthodrome.study.run import Progress, expected_minutes, lock_of, progress, work
from orthodrome.types import InputError

Write = Callable[[dict[str, Any]], Path]

# ---------------------------------------------------------------------------------------------------------------- locks


def _hold(path: Path, held: Any) -> None:
    with free_lock(path) as free:
        held.put(free)
        time.sleep(60)


def test_a_lock_is_held_by_one_and_free_again(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "cell.lock"
    with free_lock(path) as first, free_lock(path) as second:
        assert (first, second) == (True, False)
    with free_lock(path) as again:
        assert again


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    path = tmp_path / "cell.lock"
    context = multiprocessing.get_context("fork")
    held = context.Queue()
    other = context.Process(target=_hold, args=(path, held))
    other.start()
    assert held.get(timeout=30)
    with free_lock(path) as free:
        assert not free
    assert str(other.pid) in path.read_text(), "who holds it can be read"
    other.kill()
    other.join()
    with free_lock(path) as free:
        assert free


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot lock"), waiting_lock(tmp_path / "file" / "cell.lock"):
        pass


# ----------------------------------------------------------------------------------------------------------------- rows


def row(**values: str) -> dict[str, str]:
    return {**dict.fromkeys(CELLS, ""), "study": "s", **values}


def test_rows_are_read_as_written_and_the_newest_of_a_key_counts(tmp_path: Path) -> None:
    table = tables(tmp_path / "study.csv").cells
    assert table.read() == []
    table.add([row(digest="a", cell='with "quotes", commas\nand lines'), row(digest="b")])
    table.add([row(digest="a", minutes="2")])
    assert [(r["digest"], r["minutes"]) for r in table.read()] == [("b", ""), ("a", "2")]


def _append(path: Path, name: str) -> None:
    for number in range(20):
        tables(path).cells.add([row(digest=f"{name}{number}")])


def test_no_row_is_lost_when_processes_append_at_once(tmp_path: Path) -> None:
    path = tmp_path / "study.csv"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append, args=(path, name)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(tables(path).cells.read()) == 40


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", ",".join(reversed(CELLS)) + "\n", ",".join(CELLS) + "\n1,2\n"])
def test_a_file_of_something_else_is_refused_and_untouched(tmp_path: Path, text: str) -> None:
    path = tmp_path / "study.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=r"study\.csv"):
        tables(path).cells.add([row(digest="a")])
    assert path.read_text() == text


# ------------------------------------------------------------------------------------------------------ sharing a grid


@pytest.fixture
def plan(small_study: dict[str, Any], study_file: Write) -> Plan:
    small_study["groups"][0]["seeds"] = [1, 2]
    return load_plan(study_file(small_study))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(lambda size: pytest.fail("nothing is decoded here"), None, None, tmp_path / "runs", 1, 1)


@pytest.fixture
def results(tmp_path: Path) -> Tables:
    return tables(tmp_path / "study.csv")


def finished(plan: Plan, cell: Cell, **values: str) -> Done:
    return Done(
        row(**{"study": plan.name, "digest": cell.digest, "minutes": "2", "judge": cell.judge, **values}), {"loss": [1.0, 0.5]}
    )


def test_a_finished_cell_is_never_run_twice(plan: Plan, site: Site, results: Tables) -> None:
    ran: list[str] = []

    def run(plan: Plan, cell: Cell, site: Site) -> Done:
        ran.append(cell.digest)
        return finished(plan, cell)

    said: list[str] = []
    for _ in range(2):
        assert work(plan, site, results, only=(), budget=None, say=said.append, run=run)
    assert len(ran) == len(set(ran)) == 4
    assert said[-1] == "all 4 cells are done"
    assert "about 6 min left" in said[2], "three cells are left after the first, two minutes each"
    assert len(results.curves.read()) == 4


def test_what_another_is_at_is_left_to_it(plan: Plan, site: Site, results: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *rest = plan.cells(plan.groups[0], {})
    ran: list[str] = []

    def run(plan: Plan, cell: Cell, site: Site) -> Done:
        ran.append(cell.digest)
        return finished(plan, cell)

    with free_lock(lock_of(site, first)) as free:
        assert free

        def gives_up(seconds: float) -> None:
            raise TimeoutError

        monkeypatch.setattr(study_run.time, "sleep", gives_up)
        with pytest.raises(TimeoutError):
            work(plan, site, results, only=(), budget=None, say=lambda text: None, run=run)
    assert ran == [cell.digest for cell in rest]


def test_no_cell_begins_that_would_not_end_in_time(
    plan: Plan, site: Site, results: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(study_run.time, "monotonic", lambda: clock[0])

    def run(plan: Plan, cell: Cell, site: Site) -> Done:
        clock[0] += 120
        return finished(plan, cell)

    said: list[str] = []
    assert work(plan, site, results, only=(), budget=5.0, say=said.append, run=run)
    assert len(rows_of(plan.name, results)) == 2, "two of two minutes each; a third would end after six"
    assert said[-1] == "out of time: the next cell takes about 2.0 minutes, 1.0 are left"
    assert work(plan, site, results, only=(), budget=5.0, say=said.append, run=run)
    assert len(rows_of(plan.name, results)) == 4, "the rest, in another run"


def test_a_stop_leaves_the_cell_for_the_next_run(plan: Plan, site: Site, results: Tables) -> None:
    said: list[str] = []
    assert not work(plan, site, results, only=(), budget=None, say=said.append, run=lambda *given: None)
    assert "goes on from its checkpoint" in said[-1]
    assert rows_of(plan.name, results) == {}
    with free_lock(lock_of(site, plan.cells(plan.groups[0], {})[0])) as free:
        assert free


def test_a_group_alone(small_study: dict[str, Any], study_file: Write, site: Site, results: Tables) -> None:
    other = {"name": "other", "cells": [{"loss": "arcface"}, {"loss": "softmax"}]}
    plan = load_plan(study_file({**small_study, "groups": [*small_study["groups"], other]}))
    assert work(plan, site, results, only=("other",), budget=None, say=lambda text: None, run=lambda p, c, s: finished(p, c))
    state = progress(plan, rows_of(plan.name, results))
    assert [cell.name for cell in state.left] == ["cosface"], "softmax of both groups is one cell"


def test_cells_that_wait_for_nothing_are_told(
    small_study: dict[str, Any], study_file: Write, site: Site, results: Tables
) -> None:
    tuned = {"name": "tune", "judge": "held_out", "cells": [{"loss": "cosface"}], "grid": {"loss.scale": [8]}}
    small_study["groups"][0]["cells"][1] = {"loss": "cosface", "best_of": "tune"}
    plan = load_plan(study_file({**small_study, "groups": [tuned, *small_study["groups"]]}))

    def run(plan: Plan, cell: Cell, site: Site) -> Done:
        return finished(plan, cell, failed="diverged at step 3")

    said: list[str] = []
    assert work(plan, site, results, only=(), budget=None, say=said.append, run=run)
    assert said[-1].startswith("1 cells wait for a tuning group without a result")
    assert "diverged: diverged at step 3" in said[1]


def test_expected_minutes_are_the_median_of_cells_judged_alike() -> None:
    known = [row(judge="test", minutes=minutes) for minutes in ("1", "3", "8")] + [row(judge="held_out", minutes="0.5")]
    assert expected_minutes(known, "test") == 3
    assert expected_minutes(known[:3], "held_out") == 3
    assert expected_minutes([], "test") == 0
    assert Progress((), (), 0).left == ()


# --------------------------------------------------------------------------------------------------- killed and resumed


def arguments(study: Path, faces: Path, pairs: Path, folder: Path) -> list[str]:
    given = [study, "--data", faces, "--eval", faces, "--pairs", pairs, "--out", folder / "runs", "--rows", folder / "study.csv"]
    return ["study", *map(str, given), "--threads", "1"]


def command(asked: list[str]) -> list[str]:
    return [sys.executable, "-c", "from orthodrome.cli.main import main; main()", *asked]


def test_a_killed_study_goes_on_from_the_checkpoint(
    small_study: dict[str, Any],
    study_file: Write,
    small_faces: Path,
    small_pairs: Path,
    tmp_path: Path,
    run_cli: Callable[..., Any],
) -> None:
    import torch

    from orthodrome import load_model

    small_study["recipe"]["schedule"]["epochs"] = 40
    small_study["recipe"]["optimizer"] = {"learning_rate": 0.01}
    del small_study["groups"][0]["cells"][1], small_study["groups"][0]["compare"]
    study = study_file(small_study)
    cell = load_plan(study).cells(load_plan(study).groups[0], {})[0]
    killed, straight = (tmp_path / name for name in ("killed", "straight"))
    checkpoint = killed / "runs" / cell.digest / "checkpoint.pt"

    process = subprocess.Popen(command(arguments(study, small_faces, small_pairs, killed)), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert checkpoint.exists()
    assert not (killed / "study.csv").exists(), "killed before its row"
    step = torch.load(checkpoint, weights_only=True)["position"]["step"]
    assert 0 < step < 80
    begun = straight / "runs" / cell.digest
    begun.mkdir(parents=True)
    (begun / "recipe.yaml").write_text("")  # as after a kill before the first checkpoint: the cell begins anew

    for folder in (killed, straight):
        code, _, errors = run_cli(*arguments(study, small_faces, small_pairs, folder))
        assert code == 0, errors
    rows = [tables(folder / "study.csv").cells.read()[0] for folder in (killed, straight)]
    for figure in ("eer", "accuracy", "tar_1e-2", "confidence", "final_loss"):
        assert rows[0][figure] == rows[1][figure] != "", figure
    states = [load_model(folder / "runs" / cell.digest).network.state_dict() for folder in (killed, straight)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_two_workers_share_the_cells(
    small_study: dict[str, Any], study_file: Write, small_faces: Path, small_pairs: Path, tmp_path: Path
) -> None:
    study = study_file(small_study)
    asked = command([*arguments(study, small_faces, small_pairs, tmp_path), "--workers", "2"])
    said = subprocess.run(asked, check=True, stderr=subprocess.PIPE, text=True).stderr
    rows = tables(tmp_path / "study.csv").cells.read()
    assert sorted(row["loss"] for row in rows) == ["cosface", "softmax"]
    assert {(row["workers"], row["threads"]) for row in rows} == {("2", "1")}
    assert said.count("all 2 cells are done") == 2
    pairs = tables(tmp_path / "study.csv").pairs.read()
    assert {row["figure"] for row in pairs} >= {"eer", "tar_1e-2"}
