"""Processes of a run end together: by an error of one of them, a signal, or a kill; and what is on disk is whole."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from small_runs import SETTINGS, position, run, settings, stop_at, wait_for
from spawning import spawn

from orthodrome import files, load_model
from orthodrome.data import open_reader
from orthodrome.training import run as room
from orthodrome.training.processes import Alone, Several, Team
from orthodrome.training.report import LOG_FILE
from orthodrome.training.run import CHECKPOINT_FILE, create_learner, train
from orthodrome.types import InputError

NORMALISED = {"backbone": SETTINGS["backbone"] | {"batch_norm": True}}


@pytest.fixture(autouse=True, scope="module")
def imported(small_faces: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a run imports on its way takes seconds: once, before processes are forked."""
    run("softmax", small_faces, tmp_path_factory.mktemp("imported"), Alone())


def message(name: str, faces: Path, folder: Path, team: Team, **more: Any) -> str:
    """The one of the error that ends the run."""
    try:
        train(
            settings(name, **more.pop("settings", {})), open_reader(faces), folder, console=Console(quiet=True), team=team, **more
        )
    except InputError as error:
        return str(error)
    return "no error"


def no_space(path: str, content: object, sync: bool) -> None:
    Path(path).write_bytes(b"half")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def failing(faces: Path, unreadable: Path, folder: Path) -> Callable[[int, int], list[str]]:
    """What goes wrong on one process of two, in turn."""

    def work(rank: int, world: int) -> list[str]:
        team = Several(rank, world)

        def full_disk(which: int) -> str:
            with pytest.MonkeyPatch.context() as patch:
                if rank == which:
                    patch.setattr(files, "_write_to_disk", no_space)
                return message("softmax", faces, folder / "full", team, resume=True, settings={"schedule": {"epochs": 3}})

        run("softmax", faces, folder / "full", team)
        return [
            message("softmax", faces, folder / "normalised", team, settings=NORMALISED),
            message("softmax", faces, folder / "alone", team, settings={"sync_batch_norm": True}),
            message("softmax", faces, folder / "small", team, settings={"batch_size": 1}),
            message("softmax", faces, folder / "other", team, settings={"seed": rank}),
            message("softmax", unreadable, folder / "unreadable", team, settings={"data": SETTINGS["data"] | {"cache": False}}),
            message("softmax", faces, folder / "diverged", team, settings={"optimizer": {"learning_rate": 1e30}}),
            message("cosface", faces, folder / "full", team, resume=True),
            full_disk(1),
            full_disk(0),
        ]

    return work


def test_what_fails_on_one_process_ends_all_with_one_message(small_faces: Path, tmp_path: Path) -> None:
    unreadable = tmp_path / "unreadable"
    shutil.copytree(small_faces, unreadable)
    image = unreadable / "person_2" / "person_2_0003.png"
    image.write_bytes(image.read_bytes()[:200])
    for runs in spawn(failing(small_faces, unreadable, tmp_path), 2, tmp_path):
        fine, synchronised, small, other, broken, diverged, another, part, whole = runs
        assert fine == "no error"
        assert "sync_batch_norm needs GPUs, torch cannot do it on cpu" in synchronised
        assert small.startswith("a batch of 1 images cannot be shared by 2 processes")
        assert other == "all processes must train the same recipe on the same images; seed is 0 on rank 0, 1 on rank 1"
        assert broken.startswith("rank ")
        assert "person_2_0003.png" in broken
        assert "loss softmax " in diverged
        assert "at step 2 (epoch 1)" in diverged
        assert "holds another head than the recipe describes" in another
        assert part.startswith("rank 1: cannot write")
        assert whole.startswith("rank 0: cannot write")
        assert all("No space left on device" in text for text in (part, whole))
    expected = create_learner(settings("softmax", **NORMALISED), open_reader(small_faces))[0].network.state_dict()
    assert load_model(tmp_path / "normalised").network.state_dict().keys() == expected.keys()
    assert position(tmp_path / "full")["step"] == 6, "the checkpoint from before is whole"
    assert run("softmax", small_faces, tmp_path / "full", Alone(), resume=True)
    assert not list((tmp_path / "full").glob("*.part"))


# ------------------------------------------------------------------------------------------------ as a program


def start(arguments: list[str], world: int, folder: Path) -> list[multiprocessing.Process]:
    """``orthodrome ARGUMENTS`` on ``world`` processes, started as torchrun does it; what rank R prints goes to ``folder/R``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    context = multiprocessing.get_context("fork")
    ranks = [
        context.Process(target=_program, args=(arguments, {**shared, "RANK": r, "LOCAL_RANK": r}, folder)) for r in range(world)
    ]
    for process in ranks:
        process.start()
    return ranks


def _program(arguments: list[str], environment: dict[str, object], folder: Path) -> None:
    os.environ |= {name: str(value) for name, value in environment.items()}
    out = os.open(folder / os.environ["RANK"], os.O_WRONLY | os.O_CREAT)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    sys.argv = ["orthodrome", *arguments]
    torch.set_num_threads(1)
    from orthodrome.cli.main import main

    main()


def ended(ranks: list[multiprocessing.Process]) -> list[int | None]:
    for process in ranks:
        process.join(60)
    return [process.exitcode for process in ranks]


@pytest.fixture
def long_run(small_faces: Path, tmp_path: Path) -> list[str]:
    """A run that is not over before it is ended."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(settings("softmax", schedule={"epochs": 4000}, checkpoint_every=1).to_yaml())
    return ["train", "--recipe", str(recipe), "--data", str(small_faces), "--out", str(tmp_path / "run")]


def test_sigterm_to_one_process_stops_all_and_rank_0_says_how_to_go_on(long_run: list[str], tmp_path: Path) -> None:
    ranks = start(long_run, 2, tmp_path)
    wait_for(tmp_path / "run" / CHECKPOINT_FILE)
    os.kill(ranks[1].pid or 0, signal.SIGTERM)
    assert ended(ranks) == [130, 130]
    assert f"go on with: orthodrome train --resume {tmp_path / 'run'}" in (tmp_path / "0").read_text()
    assert "on each of 2 processes" in (tmp_path / "0").read_text()
    assert (tmp_path / "1").read_text() == ""


def test_a_killed_process_ends_the_others_and_leaves_a_whole_checkpoint(
    long_run: list[str], small_faces: Path, tmp_path: Path
) -> None:
    ranks = start(long_run, 3, tmp_path)
    wait_for(tmp_path / "run" / CHECKPOINT_FILE)
    time.sleep(0.2)
    ranks[1].kill()
    assert all(ended(ranks))
    step = position(tmp_path / "run")["step"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room._RunEvents, "step", room._RunEvents.step)
        stop_at(step + 1)
        more = settings("softmax", schedule={"epochs": 4000})
        train(more, open_reader(small_faces), tmp_path / "run", console=Console(quiet=True), resume=True)
    assert position(tmp_path / "run")["step"] == step + 1


def test_an_error_is_told_once(small_faces: Path, tmp_path: Path) -> None:
    ranks = start(
        ["train", "--data", str(small_faces), "--set", "loss.name=softmaxx", "--out", str(tmp_path / "run")], 2, tmp_path
    )
    assert ended(ranks) == [1, 1]
    assert (tmp_path / "0").read_text().count("error: ") == 1
    assert "'softmax'" in (tmp_path / "0").read_text()
    assert (tmp_path / "1").read_text() == ""


def test_half_an_environment_is_refused(run_cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, printed = run_cli("train")
    assert code == 1
    assert "WORLD_SIZE is 2 but RANK, LOCAL_RANK" in printed


@pytest.mark.slow
def test_torchrun_starts_stops_and_goes_on_with_another_number(small_faces: Path, tmp_path: Path) -> None:
    """Stopped as torchrun does it, by a signal to each group of processes, of which those that decode images are children."""
    out, recipe = tmp_path / "run", tmp_path / "recipe.yaml"
    data = SETTINGS["data"] | {"workers": 2, "cache": False}
    recipe.write_text(settings("softmax", data=data, schedule={"epochs": 40}).to_yaml())

    def torchrun(processes: int, *arguments: object) -> subprocess.Popen[str]:
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        command = [*launch, "-m", "orthodrome", "train", *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    process = torchrun(2, "--recipe", recipe, "--data", small_faces, "--out", out)
    wait_for(out / LOG_FILE)
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=60)
    assert printed.count(f"go on with: orthodrome train --resume {out}") == 1
    assert "error: " not in printed
    resumed = torchrun(3, "--resume", out)
    printed, _ = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, printed
    assert printed.count("model: ") == 1
    assert position(out)["epoch"] == 40
