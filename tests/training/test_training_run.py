"""Whole runs on made-up faces: what they write, that they learn, that they survive being killed."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from rich.console import Console
from torch.utils._pytree import tree_leaves

from orthodrome import files, load_model
from orthodrome.data import Subset, open_reader
from orthodrome.pipeline import ProtocolData, evaluate_model
from orthodrome.training.checkpoint import load_checkpoint, save_checkpoint
from orthodrome.training.command import resume_run
from orthodrome.training.loop import Position, TrainingDiverged
from orthodrome.training.processes import Alone
from orthodrome.training.recipe import parse_recipe
from orthodrome.training.report import LOG_FILE
from orthodrome.training.run import CHECKPOINT_FILE, METRICS_FILE, RECIPE_FILE, create_learner, train
from orthodrome.types import InputError

QUIET = Console(quiet=True)


def run(settings: dict[str, Any], faces: Path, folder: Path, **more: Any) -> Any:
    return train(parse_recipe(settings, "test"), open_reader(faces), folder, console=QUIET, **more)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_model(folder).network.state_dict()


def assert_same_weights(first: Path, second: Path) -> None:
    a, b = weights(first), weights(second)
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_a_run_writes_its_folder_and_learns(tiny_recipe: dict[str, Any], small_faces: Path, tmp_path: Path) -> None:
    tiny_recipe["schedule"]["epochs"] = 12
    result = run(tiny_recipe, small_faces, tmp_path / "run", evaluate=lambda model: {"summary": "fine", "accuracy": 1.0})
    assert result.finished
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {RECIPE_FILE, "inputs.yaml", LOG_FILE, CHECKPOINT_FILE, METRICS_FILE, "model.safetensors"}
    log = [json.loads(line) for line in (tmp_path / "run" / LOG_FILE).read_text().splitlines()]
    losses = [line["loss"] for line in log if "loss" in line]
    assert len(losses) == 36
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])
    assert parse_recipe(yaml.safe_load((tmp_path / "run" / RECIPE_FILE).read_text()), "run") == parse_recipe(tiny_recipe, "test")
    metrics = json.loads((tmp_path / "run" / METRICS_FILE).read_text())
    assert [evaluation["epoch"] for evaluation in metrics["evaluations"]] == list(range(1, 13))


def test_what_is_observed_is_logged_and_changes_nothing(tiny_recipe: dict[str, Any], small_faces: Path, tmp_path: Path) -> None:
    run(tiny_recipe, small_faces, tmp_path / "alone")
    run(tiny_recipe, small_faces, tmp_path / "observed", observe=lambda learner: {"classes": learner.head.num_classes})
    log = [json.loads(line) for line in (tmp_path / "observed" / LOG_FILE).read_text().splitlines()]
    assert [(line["epoch"], line["observed"]) for line in log if "observed" in line] == [(1, {"classes": 6}), (2, {"classes": 6})]
    assert_same_weights(tmp_path / "alone", tmp_path / "observed")


def test_trap_selecting_the_model_on_the_test_set(
    tiny_recipe: dict[str, Any], small_faces: Path, small_pairs: Path, tmp_path: Path
) -> None:
    """The model kept is that of the last step, whatever verification said on the way: best first, best last, measured, or nothing."""
    tiny_recipe["schedule"]["epochs"] = 3
    said = {"best first": iter((0.9, 0.6, 0.5)), "best last": iter((0.5, 0.6, 0.9))}
    evaluations: dict[str, Any] = {name: lambda model, name=name: {"accuracy": next(said[name])} for name in said}
    half = [line for number, line in enumerate(small_pairs.read_text().splitlines()[1:]) if number % 6 < 3]
    (tmp_path / "half.txt").write_text("\n".join(["2\t3", *half]) + "\n")
    for pairs in (small_pairs, tmp_path / "half.txt"):
        where = ProtocolData("pairs", small_faces, pairs)
        evaluations[f"on {pairs.name}"] = lambda model, where=where: dict(evaluate_model(model, where).to_report().metrics)
    run(tiny_recipe, small_faces, tmp_path / "never measured")
    for name, evaluate in evaluations.items():
        run(tiny_recipe, small_faces, tmp_path / name, evaluate=evaluate)
        assert len(json.loads((tmp_path / name / METRICS_FILE).read_text())["evaluations"]) == 3
        assert_same_weights(tmp_path / "never measured", tmp_path / name)


@pytest.mark.parametrize(
    ("loss", "compiled"),
    [("adacos", False), ("a_softmax", False), ("sphereface2", False), pytest.param("cosface", True, marks=pytest.mark.slow)],
)
def test_resuming_repeats_the_uninterrupted_run_bit_for_bit(
    loss: str, compiled: bool, tiny_recipe: dict[str, Any], small_faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle of an epoch; AdaCos' scale, A-Softmax's step and SphereFace2's bias are part of the state."""
    tiny_recipe |= {"loss": {"name": loss}, "compile": compiled}
    tiny_recipe["optimizer"] = {"learning_rate": 0.01}
    run(tiny_recipe, small_faces, tmp_path / "straight")

    from orthodrome.training import run as room

    original = room._RunEvents.step
    monkeypatch.setattr(
        room._RunEvents, "step", lambda self, position, *rest: original(self, position, *rest) and position.step < 4
    )
    stopped = run(tiny_recipe, small_faces, tmp_path / "resumed")
    assert not stopped.finished
    assert not (tmp_path / "resumed" / "model.safetensors").exists()
    monkeypatch.undo()
    torch.manual_seed(12345)
    assert run(tiny_recipe, small_faces, tmp_path / "resumed", resume=True).finished

    assert_same_weights(tmp_path / "straight", tmp_path / "resumed")
    logs = [(tmp_path / name / LOG_FILE).read_text().splitlines() for name in ("straight", "resumed")]
    losses = [[json.loads(line)["loss"] for line in log] for log in logs]
    assert losses[0] == losses[1]
    heads = [torch.load(tmp_path / name / CHECKPOINT_FILE, weights_only=True)["head"] for name in ("straight", "resumed")]
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])


def test_a_run_killed_after_an_epoch_says_nothing_twice(
    tiny_recipe: dict[str, Any], small_faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint is of the last step of the first epoch, whose evaluation is in the log by then."""
    from orthodrome.training import run as room

    tiny_recipe["checkpoint_every"] = 3
    after: dict[str, Any] = {"evaluate": lambda model: {"accuracy": 1.0}, "observe": lambda learner: {"classes": 6}}

    def killed(self: Any, position: Position, *rest: Any) -> bool:
        if position.step == 4:
            raise MemoryError
        return original(self, position, *rest)

    original = room._RunEvents.step
    with monkeypatch.context() as patch:
        patch.setattr(room._RunEvents, "step", killed)
        with pytest.raises(MemoryError):
            run(tiny_recipe, small_faces, tmp_path / "run", **after)
    run(tiny_recipe, small_faces, tmp_path / "run", resume=True, **after)
    log = [json.loads(line) for line in (tmp_path / "run" / LOG_FILE).read_text().splitlines()]
    for kind, steps in {"loss": [1, 2, 3, 4, 5, 6], "evaluation": [3, 6], "observed": [3, 6]}.items():
        assert [line["step"] for line in log if kind in line] == steps


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_is_written_by_one_run_at_a_time(
    resume: bool, tiny_recipe: dict[str, Any], small_faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orthodrome.training import run as room

    original = room._RunEvents.step
    refused: list[str] = []

    def step(self: Any, position: Position, *rest: Any) -> bool:
        if position.step == 1:  # before the first checkpoint
            with pytest.raises(InputError) as error:
                run({**tiny_recipe, "name": "second"}, small_faces, tmp_path / "run", resume=resume)
            refused.append(str(error.value))
        return original(self, position, *rest)

    monkeypatch.setattr(room._RunEvents, "step", step)
    assert run(tiny_recipe, small_faces, tmp_path / "run").finished
    assert ["another process is writing into it" in message for message in refused] == [True]
    assert load_model(tmp_path / "run").meta["recipe"] == "tiny"


@pytest.mark.parametrize(
    ("left", "way_on"), [(CHECKPOINT_FILE, "--resume"), ("model.safetensors", "remove"), (RECIPE_FILE, "remove")]
)
def test_a_folder_with_a_run_or_the_rest_of_one_is_left_alone(
    left: str, way_on: str, tiny_recipe: dict[str, Any], small_faces: Path, tmp_path: Path
) -> None:
    (tmp_path / left).write_text("")
    with pytest.raises(InputError, match=rf"already holds a run \({left}\); choose another folder.*{way_on}"):
        run(tiny_recipe, small_faces, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [left]


def test_what_cannot_begin_leaves_no_run_in_its_way(tiny_recipe: dict[str, Any], small_faces: Path, tmp_path: Path) -> None:
    faces, out = tmp_path / "faces", tmp_path / "run"
    shutil.copytree(small_faces, faces)
    image = faces / "person_2" / "person_2_0003.png"
    whole = image.read_bytes()
    image.write_bytes(whole[:200])
    with pytest.raises(InputError, match=image.name):
        run(tiny_recipe, faces, out)
    image.write_bytes(whole)
    assert run(tiny_recipe, faces, out).finished


def start_process(recipe: Path, faces: Path, out: Path) -> subprocess.Popen[str]:
    arguments = [
        "train",
        "--recipe",
        recipe,
        "--data",
        faces,
        "--out",
        out,
        "--set",
        "schedule.epochs=400",
        "--set",
        "checkpoint_every=1",
    ]
    command = [sys.executable, "-c", "from orthodrome.cli.main import main; main()", *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} was not written"
        time.sleep(0.02)


def test_a_killed_run_leaves_a_whole_checkpoint_to_resume_from(
    tiny_recipe: dict[str, Any], tiny_recipe_file: Path, small_faces: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    process = start_process(tiny_recipe_file, small_faces, out)
    wait_for(out / CHECKPOINT_FILE)
    time.sleep(0.1)
    process.kill()
    process.wait()
    step = torch.load(out / CHECKPOINT_FILE, weights_only=True)["position"]["step"]
    assert step >= 1

    settings = {**tiny_recipe, "schedule": {"epochs": 400}, "checkpoint_every": 1}
    from orthodrome.training import run as room

    with pytest.MonkeyPatch.context() as patch:  # a few more steps are enough to compare
        original = room._RunEvents.step
        patch.setattr(
            room._RunEvents, "step", lambda self, position, *rest: original(self, position, *rest) and position.step < step + 3
        )
        run(settings, small_faces, out, resume=True)
        run(settings, small_faces, tmp_path / "straight")
    states = [torch.load(folder / CHECKPOINT_FILE, weights_only=True) for folder in (out, tmp_path / "straight")]
    assert states[0]["position"] == states[1]["position"]
    assert all(torch.equal(states[0]["backbone"][name], states[1]["backbone"][name]) for name in states[0]["backbone"])


def test_sigterm_stops_after_the_step_with_a_checkpoint_and_says_how_to_go_on(
    tiny_recipe_file: Path, small_faces: Path, tmp_path: Path
) -> None:
    out = tmp_path / "stopped"
    process = start_process(tiny_recipe_file, small_faces, out)
    wait_for(out / CHECKPOINT_FILE)
    process.send_signal(signal.SIGTERM)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"orthodrome train --resume {out}" in printed
    assert "Traceback" not in printed


def test_a_run_that_does_not_know_its_data_is_resumed_from_python_only(
    tiny_recipe: dict[str, Any], small_faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orthodrome.training import run as room

    monkeypatch.setattr(room._RunEvents, "step", lambda *given: False)
    said = Console(file=io.StringIO())
    train(parse_recipe(tiny_recipe, "test"), open_reader(small_faces), tmp_path / "run", console=said)
    printed = said.file.getvalue()  # type: ignore[attr-defined]
    assert "stopped at step 1" in printed
    assert "--resume" not in printed
    with pytest.raises(InputError, match=r"inputs\.yaml does not say where the data is"):
        resume_run(tmp_path / "run", [], Alone())


def test_divergence_is_named_before_it_reaches_the_weights(
    tiny_recipe: dict[str, Any], small_faces: Path, tmp_path: Path
) -> None:
    tiny_recipe["optimizer"] = {"learning_rate": 1e30}
    tiny_recipe["loss"] = {"name": "softmax"}
    with pytest.raises(TrainingDiverged) as error:
        run(tiny_recipe, small_faces, tmp_path / "run")
    message = str(error.value)
    assert "loss softmax" in message
    assert "at step 2" in message
    assert "--set optimizer.learning_rate=" in message


def test_bf16_adamw_and_clipping_run(tiny_recipe: dict[str, Any], small_faces: Path, tmp_path: Path) -> None:
    tiny_recipe |= {"precision": "bf16", "deterministic": True}
    tiny_recipe["optimizer"] = {"name": "adamw", "learning_rate": 1e-3, "clip_norm": 1.0}
    assert run(tiny_recipe, small_faces, tmp_path / "run").finished
    torch.use_deterministic_algorithms(False)


def test_identity_sampler_and_tensorboard(tiny_recipe: dict[str, Any], small_faces: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    tiny_recipe["data"] |= {"sampler": "identities", "people": 3, "images_per_person": 4}
    tiny_recipe["log"]["tensorboard"] = True
    assert run(tiny_recipe, small_faces, tmp_path / "run").finished
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))


def test_a_full_disk_leaves_the_last_checkpoint_whole(
    tiny_recipe: dict[str, Any], small_faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner, _ = create_learner(parse_recipe(tiny_recipe, "test"), open_reader(small_faces))
    path = save_checkpoint(tmp_path / CHECKPOINT_FILE, learner, Position(0, 1, 1), [])
    before = path.read_bytes()

    def no_space(path: str, content: object, sync: bool) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "_write_to_disk", no_space)
    with pytest.raises(InputError, match="No space left on device"):
        save_checkpoint(path, learner, Position(0, 2, 2), [])
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [CHECKPOINT_FILE]


def test_a_checkpoint_of_another_network_or_loss_is_refused(
    tiny_recipe: dict[str, Any], small_faces: Path, tmp_path: Path
) -> None:
    learner, _ = create_learner(parse_recipe(tiny_recipe, "test"), open_reader(small_faces))
    path = save_checkpoint(tmp_path / CHECKPOINT_FILE, learner, Position(), [])
    for change, what in (
        ({"backbone": {"name": "sfnet10", "width": 0.125, "embedding_dim": 16}}, "network"),
        ({"loss": {"name": "softmax"}}, "head"),
    ):
        other, _ = create_learner(parse_recipe({**tiny_recipe, **change}, "test"), open_reader(small_faces))
        before = {name: tensor.clone() for name, tensor in other.head.state_dict().items()}
        with pytest.raises(InputError, match=f"another {what}"):
            load_checkpoint(path, other)
        assert all(torch.equal(tensor, before[name]) for name, tensor in other.head.state_dict().items())


def test_a_run_gone_on_with_from_python_keeps_where_its_data_was(
    tiny_recipe: dict[str, Any], small_faces: Path, tmp_path: Path
) -> None:
    run(tiny_recipe, small_faces, tmp_path, inputs={"data": str(small_faces)})
    run(tiny_recipe, small_faces, tmp_path, resume=True)
    assert yaml.safe_load((tmp_path / "inputs.yaml").read_text()) == {"data": str(small_faces)}


def test_a_checkpoint_of_another_set_is_refused(tiny_recipe: dict[str, Any], small_faces: Path, tmp_path: Path) -> None:
    recipe, whole = parse_recipe(tiny_recipe, "test"), open_reader(small_faces)
    path = save_checkpoint(tmp_path / CHECKPOINT_FILE, create_learner(recipe, whole)[0], Position(), [])
    fewer, _ = create_learner(recipe, Subset(whole, np.arange(1, 36)))
    with pytest.raises(InputError, match=r"trained on 36 images of 6 people .* but the set has 35 images of 6 people"):
        load_checkpoint(path, fewer)
    others = Subset(whole, np.arange(36), relabelled=(whole.labels, [*whole.class_names[:-1], "zoe"]))
    with pytest.raises(InputError, match=r"trained on 36 images of 6 people .* but the set has 36 images of 6 people"):
        load_checkpoint(path, create_learner(recipe, others)[0])
    content = torch.load(path, weights_only=True)
    del content["images"]
    torch.save(content, path)  # as earlier versions did
    assert load_checkpoint(path, fewer) == (Position(), [])


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"\x80\x02."])
def test_files_that_are_no_checkpoints_are_refused(
    content: bytes, tiny_recipe: dict[str, Any], small_faces: Path, tmp_path: Path
) -> None:
    learner, _ = create_learner(parse_recipe(tiny_recipe, "test"), open_reader(small_faces))
    path = tmp_path / CHECKPOINT_FILE
    path.write_bytes(content)
    with pytest.raises(InputError, match=str(path)):
        load_checkpoint(path, learner)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("loss", ["arcface", "softmax"])
def test_a_sampled_head_leaves_other_classes_alone_and_resumes(
    loss: str, optimizer: str, tiny_recipe: dict[str, Any], small_faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of 2 draw at least one class at random, 3 of 6 in all. Stopped while rows lie behind in time."""
    tiny_recipe |= {"loss": {"name": loss}, "batch_size": 2, "schedule": {"epochs": 1}}
    tiny_recipe["head"] = {"sample_rate": 0.5, "impl": "chunked", "chunk_size": 2}
    tiny_recipe["optimizer"] = {"name": optimizer, "learning_rate": 0.01, "clip_norm": 1.0}
    assert run(tiny_recipe, small_faces, tmp_path / "straight").finished

    from orthodrome.training import run as room

    original = room._RunEvents.step
    proxies: list[torch.Tensor] = []

    def step(self: Any, position: Position, *rest: Any) -> bool:
        proxies.append(self.learner.head.weight.detach().clone())
        return original(self, position, *rest) and position.step < 7

    with monkeypatch.context() as patch:
        patch.setattr(room._RunEvents, "step", step)
        assert not run(tiny_recipe, small_faces, tmp_path / "resumed").finished
    changed = [(before != after).any(dim=1).sum() for before, after in pairwise(proxies)]
    assert max(changed) == 3, "those that were not drawn stay as they are"
    torch.manual_seed(12345)
    assert run(tiny_recipe, small_faces, tmp_path / "resumed", resume=True).finished

    assert_same_weights(tmp_path / "straight", tmp_path / "resumed")
    states = [torch.load(tmp_path / name / CHECKPOINT_FILE, weights_only=True) for name in ("straight", "resumed")]
    for part in ("head", "optimizer"):
        for first, second in zip(*(tree_leaves(state[part]) for state in states), strict=True):
            assert torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second, part
    assert any("history" in state for state in states[0]["optimizer"]["state"].values())


def test_head_settings_of_a_pair_loss_are_refused(tiny_recipe: dict[str, Any], small_faces: Path, tmp_path: Path) -> None:
    tiny_recipe["loss"] = {"name": "contrastive"}
    tiny_recipe["head"] = {"impl": "chunked"}
    with pytest.raises(InputError, match="contrastive compares embeddings with each other and has no classes: leave out impl"):
        run(tiny_recipe, small_faces, tmp_path / "run")


def stop_after(step: int, patch: pytest.MonkeyPatch) -> None:
    """End the next run there, with a checkpoint."""
    from orthodrome.training import run as room

    original = room._RunEvents.step
    patch.setattr(room._RunEvents, "step", lambda self, position, *rest: original(self, position, *rest) and position.step < step)


def test_a_pair_loss_with_memory_is_resumed(
    tiny_recipe: dict[str, Any], small_faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_recipe |= {"loss": {"name": "triplet", "memory": 8}, "schedule": {"epochs": 2}}
    assert run(tiny_recipe, small_faces, tmp_path / "straight").finished
    with monkeypatch.context() as patch:
        stop_after(2, patch)
        assert not run(tiny_recipe, small_faces, tmp_path / "resumed").finished
    assert run(tiny_recipe, small_faces, tmp_path / "resumed", resume=True).finished
    assert_same_weights(tmp_path / "straight", tmp_path / "resumed")


def test_the_optimizer_of_a_resumed_run_is_that_of_the_recipe(
    tiny_recipe: dict[str, Any], small_faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_after(1, patch)
        run(tiny_recipe, small_faces, tmp_path / "run")
    settings = {**tiny_recipe.get("optimizer", {}), "momentum": 0.5, "weight_decay": 0.01}
    with monkeypatch.context() as patch:
        stop_after(2, patch)
        run({**tiny_recipe, "optimizer": settings}, small_faces, tmp_path / "run", resume=True)
    groups = torch.load(tmp_path / "run" / CHECKPOINT_FILE, weights_only=True)["optimizer"]["param_groups"]
    assert {group["momentum"] for group in groups} == {0.5}
    assert 0.01 in {group["weight_decay"] for group in groups}
    for key, value in (("seed", 77), ("batch_size", 3)):
        with pytest.raises(InputError, match=f"its run has {key} .*, the recipe now {value}"):
            run({**tiny_recipe, key: value}, small_faces, tmp_path / "run", resume=True)
    with pytest.raises(InputError, match="the optimizer of the checkpoint is another one"):
        run({**tiny_recipe, "optimizer": {"name": "adamw"}}, small_faces, tmp_path / "run", resume=True)


def test_weights_that_are_not_finite_are_never_kept(
    tiny_recipe: dict[str, Any], small_faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orthodrome.training import loop

    tiny_recipe |= {"checkpoint_every": 1, "optimizer": {"clip_norm": 5}}
    original = loop.clip_gradients
    calls: list[int] = []

    def poisoned(optimizer: torch.optim.Optimizer, *rest: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            gradient = optimizer.param_groups[0]["params"][0].grad
            gradient[(0,) * gradient.ndim] = torch.inf
        original(optimizer, *rest)

    monkeypatch.setattr(loop, "clip_gradients", poisoned)
    with pytest.raises(loop.TrainingDiverged, match=r"is not finite after step 2.*change recipe.yaml"):
        run(tiny_recipe, small_faces, tmp_path / "run")
    kept = torch.load(tmp_path / "run" / CHECKPOINT_FILE, weights_only=True)
    assert kept["position"]["step"] == 1
    assert all(torch.isfinite(value).all() for value in kept["backbone"].values())
    assert not (tmp_path / "run" / "model.safetensors").exists()
