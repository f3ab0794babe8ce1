"""Schedules, parameter groups, logs."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import nn

from orthodrome import ProxyHead, create_backbone, files
from orthodrome.training import telemetry
from orthodrome.training.optim import clip_gradients, create_optimizer, parameter_groups, set_learning_rate
from orthodrome.training.precision import bf16_cost, precision_warning
from orthodrome.training.recipe import OptimizerSettings, ScheduleSettings, load_recipe, parse_recipe
from orthodrome.training.schedules import create_schedule
from orthodrome.training.stopping import StopRequest
from orthodrome.training.telemetry import JsonLines
from orthodrome.types import InputError


def test_warm_up_then_cosine_to_the_end() -> None:
    factor = create_schedule(ScheduleSettings(name="cosine", epochs=10, warmup_epochs=1), steps_per_epoch=10)
    warm_up = [factor(step) for step in range(10)]
    assert warm_up == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert factor(10) == 1
    assert factor(55) == pytest.approx(0.5)
    assert factor(99) == pytest.approx((1 + math.cos(math.pi * 89 / 90)) / 2)


@pytest.mark.parametrize("name", ["cosine", "poly"])
def test_decay_is_monotone_and_ends_at_final(name: str) -> None:
    factor = create_schedule(ScheduleSettings(name=name, epochs=4, final=0.1), steps_per_epoch=25)
    values = [factor(step) for step in range(100)]
    assert values == sorted(values, reverse=True)
    assert 0.1 < values[-1] < 0.12


def test_step_schedule_drops_at_its_milestones() -> None:
    factor = create_schedule(ScheduleSettings(name="step", epochs=6, milestones=(2, 4.5), warmup_epochs=1), steps_per_epoch=10)
    assert [factor(step) for step in (10, 19, 20, 44, 45, 59)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_constant_is_constant() -> None:
    factor = create_schedule(ScheduleSettings(name="constant", epochs=2), steps_per_epoch=3)
    assert {factor(step) for step in range(6)} == {1}


def test_weight_decay_spares_biases_norms_slopes_and_scalars() -> None:
    backbone = create_backbone("sfnet4", 8, 32, width=0.125, batch_norm=True)
    head = ProxyHead("sphereface2", 5, 8)
    groups = parameter_groups(backbone, head, OptimizerSettings(weight_decay=0.1, head_rate=3))
    everything = [id(p) for group in groups for p in group["params"]]
    assert sorted(everything) == sorted(id(p) for m in (backbone, head) for p in m.parameters() if p.requires_grad)
    for group in groups:
        assert all((p.ndim >= 2) == (group["weight_decay"] > 0) for p in group["params"])
    assert id(head.bias) in [id(p) for group in groups if group["weight_decay"] == 0 for p in group["params"]]
    optimizer = create_optimizer(groups, OptimizerSettings())
    set_learning_rate(optimizer, 0.5)
    assert {group["rate"]: group["lr"] for group in optimizer.param_groups} == {1.0: 0.5, 3: 1.5}


def test_frozen_parameters_are_left_out() -> None:
    layer = nn.Linear(3, 3)
    layer.weight.requires_grad_(False)
    groups = parameter_groups(layer, nn.Identity(), OptimizerSettings())
    assert [len(group["params"]) for group in groups] == [1]


def test_adamw_is_available() -> None:
    groups = parameter_groups(nn.Linear(3, 3), nn.Identity(), OptimizerSettings(name="adamw"))
    assert isinstance(create_optimizer(groups, OptimizerSettings(name="adamw")), torch.optim.AdamW)


def test_log_cuts_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    """Also the evaluation of epoch 1, whose last step the checkpoint is of: it is to be written again."""
    path = tmp_path / "log.jsonl"
    log = JsonLines(path)
    for step in range(1, 6):
        log.write(step=step, epoch=step // 4, loss=float("nan") if step == 2 else 1.0)
        if step == 3:
            log.write(step=step, epoch=1, evaluation={})
    with path.open("a") as file:
        file.write('{"step": 6, "lo')
    JsonLines(path, after_step=3, after_epoch=0).write(step=4, epoch=1, loss=2.0)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert lines[1]["loss"] is None
    assert lines[3]["loss"] == 2.0


def test_a_full_disk_leaves_the_log_that_was_to_be_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1, "epoch": 0}\n{"step": 2, "epoch": 0}\n')
    before = path.read_text()

    def no_space(path: str, content: object, sync: bool) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "_write_to_disk", no_space)
    with pytest.raises(InputError, match=r"cannot write .*log\.jsonl: No space left"):
        JsonLines(path, after_step=1)
    assert path.read_text() == before


@pytest.mark.parametrize("clip_norm", [0.5, 100.0])
def test_sparse_and_dense_gradients_are_clipped_together(clip_norm: float) -> None:
    table, bias = nn.Parameter(torch.ones(6, 2)), nn.Parameter(torch.ones(3))
    dense_table, dense_bias = nn.Parameter(torch.ones(6, 2)), nn.Parameter(torch.ones(3))
    rows = torch.tensor([1, 4, 4])
    (nn.functional.embedding(rows, table, sparse=True).sum() * 3 + bias.sum()).backward()
    (nn.functional.embedding(rows, dense_table).sum() * 3 + dense_bias.sum()).backward()
    clip_gradients(torch.optim.SGD([table, bias], lr=1), clip_norm)
    nn.utils.clip_grad_norm_([dense_table, dense_bias], clip_norm)
    torch.testing.assert_close(table.grad.to_dense(), dense_table.grad)
    torch.testing.assert_close(bias.grad, dense_bias.grad)


def test_bfloat16_that_is_slower_than_float32_is_warned_of() -> None:
    device = torch.device("cpu")
    assert "8.0 times as long" in precision_warning("bf16", device, cost=lambda device: 8.0)
    assert "precision=fp32" in precision_warning("bf16", device, cost=lambda device: 8.0)
    assert precision_warning("bf16", device, cost=lambda device: 0.6) == ""
    assert precision_warning("fp32", device, cost=lambda device: 8.0) == ""
    assert bf16_cost(device, size=64) > 0


def test_without_a_terminal_progress_is_a_line_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(telemetry.time, "monotonic", lambda: now[0])
    written = io.StringIO()
    with telemetry.counting(Console(file=written), "comparing") as progress:
        for seconds, done in ((1, 0), (59, 100_000), (61, 250_000), (100, 500_000), (125, 750_000), (130, 1_000_000)):
            now[0] = seconds
            progress(done, 1_000_000)
    assert written.getvalue().splitlines() == ["comparing: 250,000 of 1,000,000 (25%)", "comparing: 750,000 of 1,000,000 (75%)"]


def test_a_signal_that_is_ignored_is_no_first_request() -> None:
    """Ctrl-C reaches a worker of a study too, which ignores it; the SIGTERM of its parent asks, and would end it as the second."""
    killed: list[int] = []
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda number, frame: killed.append(number)),
    }
    try:
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGINT)
            assert not stop.requested
            signal.raise_signal(signal.SIGTERM)
            assert stop.requested
            assert not killed
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("epochs", [7, 22, 49])
def test_step_schedule_drops_at_the_first_step_of_every_milestone(epochs: int) -> None:
    for milestone in range(1, epochs):
        for warmup in (0.0, 0.5):
            settings = ScheduleSettings(name="step", epochs=epochs, milestones=(milestone,), warmup_epochs=warmup)
            factor = create_schedule(settings, 7)
            assert factor(7 * milestone) == pytest.approx(0.1)
            assert factor(7 * milestone - 1) == 1.0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"loss": {"name": "cosface", "sample_rate": 0.5}}, "sample_rate is a key of the section head"),
        ({"loss": {"name": "cosface", "num_classes": 5}}, "num_classes is no hyper-parameter of a loss"),
        ({"backbone": {"name": "sfnet4", "image_size": 64}}, "image_size is no option of a network"),
        ({"optimizer": {"betas": [1.5, 0.9]}}, "betas must be at least 0 and below 1"),
        ({"optimizer": {"nesterov": True, "momentum": 0}}, "nesterov needs a momentum"),
    ],
)
def test_values_that_torch_would_refuse_are_refused_first(content: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_recipe(content, "recipe")


def test_numbers_with_an_exponent_need_no_point(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("loss: {name: cosface, center: 3e-3}\noptimizer: {weight_decay: 5E-4}\n")
    recipe = load_recipe(tmp_path / "recipe.yaml", ["backbone.width=1e-1", "loss.margin=.5e0", "name=1e", "log.every=10"])
    assert recipe.loss.options == {"center": 0.003, "margin": 0.5}
    assert (recipe.backbone.options["width"], recipe.optimizer.weight_decay, recipe.name) == (0.1, 0.0005, "1e")
