"""Runs on several processes are the run of one: losses, weights, resuming on any other number."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_runs import RECIPES, STOP, position, run, stop_at
from spawning import spawn

from orthodrome import load_model
from orthodrome.training import run as room
from orthodrome.training.processes import Alone, Several, Team
from orthodrome.training.report import LOG_FILE
from orthodrome.training.run import CHECKPOINT_FILE

WAYS = [
    *(("softmax", f"{before} to {after}") for before in (1, 2, 3) for after in (1, 2, 3)),
    ("softmax", "2"),
    ("softmax", "3"),
    ("sphereface2", "2"),
    ("center", "2"),
    ("cosface", "3"),
    ("cosface", "2 to 3"),
    ("elastic", "2"),
    ("elastic", "2 to 1"),
    ("sampled", "2"),
    ("sampled", "2 to 2"),
    ("triplet", "2"),
    ("triplet", "2 to 3"),
]
"""Recipe, and how: on so many processes, or begun on so many, stopped, and gone on with on others."""


def work(faces: Path, folder: Path, way: str, team: Team) -> None:
    """Every run of `WAYS` that goes ``way``: "2" to its end on two processes, "2 to" until the stop, "to 2" from there."""
    for name, asked in WAYS:
        if asked == way:
            assert run(name, faces, folder / name / way, team)
        elif way.startswith("to") and asked.endswith(way):
            assert run(name, faces, folder / name / asked, team, resume=True)
    if not way.endswith("to"):
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room._RunEvents, "step", room._RunEvents.step)
        if team.rank == team.size - 1:  # the last process alone is asked to stop
            stop_at(STOP)
        for name in {name for name, asked in WAYS if asked.startswith(way)}:
            assert not run(name, faces, folder / name / way, team)


def on_processes(faces: Path, folder: Path, *ways: str) -> Callable[[int, int], None]:
    def every_way(rank: int, world: int) -> None:
        team = Several(rank, world)
        for way in ways:
            work(faces, folder, way.format(world), team)

    return every_way


@pytest.fixture(scope="module")
def runs(small_faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NAME/1 on one process, and NAME/WAY for all `WAYS`."""
    folder = tmp_path_factory.mktemp("runs")

    def each(*ways: str) -> None:
        for way in ways:
            work(small_faces, folder, way.format(1), Alone())
        for world in (2, 3):
            spawn(on_processes(small_faces, folder, *ways), world, tmp_path_factory.mktemp("store"))

    for name in RECIPES:
        run(name, small_faces, folder / name / "1", Alone())
    each("{}", "{} to")
    for name, way in WAYS:
        if "to" in way:
            stopped = folder / name / way.rpartition(" ")[0]
            assert position(stopped)["step"] == STOP
            shutil.copytree(stopped, folder / name / way)
    each("to {}")
    return folder


def curve(folder: Path) -> torch.Tensor:
    lines = [json.loads(line) for line in (folder / LOG_FILE).read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 1 + position(folder)["step"]))
    return torch.tensor([line["loss"] for line in lines])


@pytest.mark.parametrize(("name", "way"), [way for way in WAYS if way[0] != "sampled"])
def test_it_is_the_run_of_one_process(name: str, way: str, runs: Path) -> None:
    """Parts of 4, 4 and 3 images; to float32 rounding, which six steps of training enlarge."""
    one, other = runs / name / "1", runs / name / way
    torch.testing.assert_close(curve(other), curve(one), rtol=1e-4, atol=1e-4)
    assert len(set(curve(one).tolist())) == 6, "2 epochs of 3 steps"
    (weights, more), (expected, _) = ((model.network.state_dict(), model.meta) for model in map(load_model, (other, one)))
    assert weights.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(weights[key], value, rtol=1e-3, atol=1e-4)
    assert more["classes"] == 6


def test_on_the_same_number_it_is_resumed_to_the_bit(runs: Path) -> None:
    """Each process goes on with random numbers of its own, by which it draws classes; sums over three are added in one order."""
    for name, world in (("softmax", 2), ("softmax", 3), ("sampled", 2)):
        straight, resumed = (runs / name / way for way in (f"{world}", f"{world} to {world}"))
        assert torch.equal(curve(straight), curve(resumed))
        weights, expected = (load_model(folder).network.state_dict() for folder in (resumed, straight))
        assert all(torch.equal(weights[key], value) for key, value in expected.items())


def test_each_process_keeps_its_own_classes_only(runs: Path) -> None:
    """6 classes on 3 processes, AdamW: two rows of proxies, of two moments and of biases in each of three files."""
    folder = runs / "softmax" / "1 to 3"
    files = sorted(folder.glob("checkpoint*"))
    assert [file.name for file in files] == ["checkpoint-step6-rank1of3.pt", "checkpoint-step6-rank2of3.pt", CHECKPOINT_FILE]
    first, second, whole = (torch.load(file, weights_only=True) for file in files)
    assert whole["others"] == [files[0].name, files[1].name]
    assert whole["head"]["weight"].shape == first["rows"]["weight"].shape == (2, 16)
    assert second["rows"].keys() == {
        f"{name}{kept}" for name in ("weight", "class_bias") for kept in ("", "/exp_avg", "/exp_avg_sq")
    }
    assert not list((runs / "softmax" / "3 to 1").glob("checkpoint-*"))
