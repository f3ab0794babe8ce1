"""A run: from a recipe and a folder of faces to a run folder. Assembles what the loop needs and writes down what it does."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console
from rich.progress import Progress

from orthodrome import __version__
from orthodrome.data import (
    Augmentation,
    BatchSampler,
    EpochSampler,
    ImageReader,
    Loader,
    PKSampler,
    PowerSampler,
    check_trainable,
    create_loader,
)
from orthodrome.files import write_file, write_together
from orthodrome.heads import create_head
from orthodrome.pipeline.model import MODEL_FILE, Model, create_model, parameter_count, save_model
from orthodrome.training.checkpoint import load_checkpoint, save_checkpoint
from orthodrome.training.loop import Learner, Position, fit
from orthodrome.training.optim import create_optimizer, parameter_groups
from orthodrome.training.precision import precision_warning
from orthodrome.training.provenance import commit, machine
from orthodrome.training.recipe import Recipe
from orthodrome.training.schedules import create_schedule
from orthodrome.training.stopping import StopRequest
from orthodrome.training.telemetry import Board, JsonLines, Speed, counting, say, training_progress
from orthodrome.types import InputError, LossOutput, Preprocessing

RECIPE_FILE, INPUTS_FILE, LOG_FILE = "recipe.yaml", "inputs.yaml", "log.jsonl"
CHECKPOINT_FILE, METRICS_FILE = "checkpoint.pt", "metrics.json"

Evaluate = Callable[[Model], dict[str, Any]]
"""A model -> metrics in plain JSON, with the headline under ``"summary"``."""

Observe = Callable[[Learner], dict[str, Any]]
"""A learner after an epoch -> what to log of it; leaves it as it is."""


@dataclass(frozen=True)
class RunResult:
    """Where a run ended: its folder, its trained model, the metrics of its evaluations, and whether it reached its last epoch."""

    folder: Path
    model: Model
    history: list[dict[str, Any]]
    finished: bool


def train(
    recipe: Recipe,
    reader: ImageReader,
    folder: Path,
    *,
    evaluate: Evaluate | None = None,
    observe: Observe | None = None,
    resume: bool = False,
    inputs: Mapping[str, Any] | None = None,
    console: Console | None = None,
) -> RunResult:
    """Train ``recipe`` on ``reader`` into ``folder``; ``inputs`` (paths of the data) are kept there for a later ``--resume``.

    Writes the recipe as run, ``log.jsonl``, ``checkpoint.pt`` each ``checkpoint_every`` steps, and at the end ``model.safetensors`` and
    ``metrics.json``. ``resume`` goes on from the checkpoint of the folder: the same samples in the same order, with network, optimizer,
    schedule, state of the loss and random state as they were. Ctrl-C or SIGTERM stop after the step under way, with a checkpoint.
    What ``observe`` says of the learner after each epoch stands in the log under ``"observed"``.

    Raises InputError for data or settings that cannot be trained on, and for a loss that is not finite.
    """
    console = console or Console(stderr=True)
    summary = check_trainable(reader)
    seed_everything(recipe)
    learner, model = create_learner(recipe, reader)
    folder.mkdir(parents=True, exist_ok=True)
    position, history = load_checkpoint(folder / CHECKPOINT_FILE, learner) if resume else (Position(), [])
    _write_description(folder, recipe, inputs or {})
    say(console, f"training on {summary}")
    say(
        console,
        f"{recipe.backbone.name}: {parameter_count(model.network) / 1e6:.2f} M parameters, {recipe.loss.name}, "
        f"{learner.device}, {recipe.precision}; run folder {folder}",
    )
    if warning := precision_warning(recipe.precision, learner.device):
        say(console, f"warning: {warning}")
    loader = open_loader(recipe, reader, console)
    learner = replace(learner, schedule=create_schedule(recipe.schedule, len(loader)))
    with StopRequest() as stop, training_progress(console) as bar:
        events = _RunEvents(learner, model, folder, evaluate, observe, history, console, bar, stop, len(loader), position)
        end = fit(learner, loader, position, events)
        events.close()
    finished = end.epoch >= recipe.schedule.epochs
    save_checkpoint(folder / CHECKPOINT_FILE, learner, end, history)
    model.network.eval()
    if finished:
        _write_results(model, recipe, folder, history, reader)
    else:
        say(console, f"stopped at step {end.step}; go on with: orthodrome train --resume {folder}")
    return RunResult(folder, model, history, finished)


def seed_everything(recipe: Recipe) -> None:
    """Seed torch; with ``deterministic``, refuse operations whose result may differ from run to run."""
    torch.manual_seed(recipe.seed)
    if recipe.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(recipe.deterministic)


def create_learner(recipe: Recipe, reader: ImageReader) -> tuple[Learner, Model]:
    """Network, head and optimizer of a recipe, on its device."""
    device = choose_device(recipe.device)
    settings = recipe.data
    preprocessing = Preprocessing(settings.height_and_width, "RGB", settings.mean, settings.std, settings.template)
    model = create_model(recipe.backbone.name, recipe.backbone.embedding_dim, preprocessing, recipe.backbone.options)
    size = len(reader.class_names), recipe.backbone.embedding_dim
    head = create_head(recipe.loss.name, *size, options=recipe.head.options, **recipe.loss.options)
    layout: Any = {"memory_format": torch.channels_last if recipe.channels_last else torch.contiguous_format}
    model.network.to(device, **layout)
    head.to(device)
    groups = parameter_groups(model.network, head, recipe.optimizer)
    optimizer = create_optimizer(groups, recipe.optimizer, sampled=recipe.head.sample_rate < 1)
    model.network.train()
    head.train()
    return Learner(model.network, head, optimizer, lambda step: 1.0, preprocessing, recipe, device), model


def choose_device(name: str) -> torch.device:
    """``"auto"`` takes a GPU where there is one. Raises InputError for a device that torch does not know or cannot use."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from None
    return device


def open_loader(recipe: Recipe, reader: ImageReader, console: Console) -> Loader:
    """The loader of a recipe; the cache, where there is one, is filled here, under a progress bar."""
    settings = recipe.data
    sampler = SAMPLERS[settings.sampler](reader, recipe)
    with counting(console, "decoding") as progress:
        return create_loader(
            reader,
            sampler,
            settings.height_and_width,
            augmentation=Augmentation(**settings.augmentation),
            seed=recipe.seed,
            workers=settings.workers,
            cache=settings.cache,
            progress=progress,
        )


SAMPLERS: Mapping[str, Callable[[ImageReader, Recipe], BatchSampler]] = {
    "uniform": lambda reader, recipe: EpochSampler(len(reader), recipe.batch_size, recipe.seed),
    "identities": lambda reader, recipe: PKSampler(reader.labels, recipe.data.people, recipe.data.images_per_person, recipe.seed),
    "balanced": lambda reader, recipe: PowerSampler(reader.labels, recipe.batch_size, 0.0, recipe.seed),
    "square_root": lambda reader, recipe: PowerSampler(reader.labels, recipe.batch_size, 0.5, recipe.seed),
}
"""The samplers of ``data.sampler``."""


class _RunEvents:
    """Logs, checkpoints and evaluations of one run."""

    def __init__(
        self,
        learner: Learner,
        model: Model,
        folder: Path,
        evaluate: Evaluate | None,
        observe: Observe | None,
        history: list[dict[str, Any]],
        console: Console,
        bar: Progress,
        stop: StopRequest,
        steps_per_epoch: int,
        start: Position,
    ) -> None:
        self.learner, self.model, self.folder, self.evaluate = learner, model, folder, evaluate
        self.observe = observe
        self.history, self.console, self.bar, self.stop = history, console, bar, stop
        self.log = JsonLines(folder / LOG_FILE, start.step)
        self.board = Board(folder / "tensorboard") if learner.recipe.log.tensorboard else None
        self.speed, self.epoch_speed = Speed(), Speed()
        total = learner.recipe.schedule.epochs * steps_per_epoch
        self.task = bar.add_task("training", total=total, completed=start.step, loss=float("nan"), speed=0.0)

    def step(self, position: Position, output: LossOutput, images: int) -> bool:
        """After each step: count, log now and then, checkpoint now and then; False where a stop was asked for."""
        recipe = self.learner.recipe
        self.speed.count(images)
        self.epoch_speed.count(images)
        if position.step % recipe.log.every == 0:
            self._log_step(position, output)
        self.bar.update(self.task, completed=position.step)
        if position.step % recipe.checkpoint_every == 0:
            save_checkpoint(self.folder / CHECKPOINT_FILE, self.learner, position, self.history)
        return not self.stop.requested

    def _log_step(self, position: Position, output: LossOutput) -> None:
        speed = self.speed.read()
        loss = float(output.loss.detach())
        scalars = {name: float(value) for name, value in output.stats.items()}
        scalars |= {"loss": loss, "learning_rate": self.learner.optimizer.param_groups[0]["lr"], "images_per_second": speed}
        self.log.write(step=position.step, epoch=position.epoch, **scalars)
        if self.board:
            self.board.write(position.step, scalars)
        self.bar.update(self.task, loss=loss, speed=speed)

    def epoch(self, position: Position) -> None:
        """After each epoch: one line, and the evaluation where it is due."""
        recipe = self.learner.recipe
        line = f"epoch {position.epoch}/{recipe.schedule.epochs}  {self.epoch_speed.read():.0f} images/s"
        due = position.epoch % recipe.evaluation.every == 0 or position.epoch == recipe.schedule.epochs
        if self.evaluate and due:
            metrics = self.evaluate(self.model)
            self.history.append({"step": position.step, "epoch": position.epoch, **metrics})
            self.log.write(step=position.step, epoch=position.epoch, evaluation=metrics)
            line += f"  {metrics.get('summary', '')}"
        if self.observe:
            self.log.write(step=position.step, epoch=position.epoch, observed=self.observe(self.learner))
        say(self.console, line)
        self.speed, self.epoch_speed = Speed(), Speed()

    def close(self) -> None:
        """Flush TensorBoard."""
        if self.board:
            self.board.close()


def _write_results(model: Model, recipe: Recipe, folder: Path, history: list[dict[str, Any]], reader: ImageReader) -> None:
    meta = {
        "orthodrome": __version__,
        "torch": torch.__version__,
        "recipe": recipe.name,
        "loss": recipe.loss.name,
        "classes": len(reader.class_names),
        "images": len(reader),
        "commit": commit(),
        "machine": machine(),
        "trained": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    save_model(model, folder / MODEL_FILE, meta)
    write_file(folder / METRICS_FILE, json.dumps({**meta, "evaluations": history}, indent=2).encode())


def _write_description(folder: Path, recipe: Recipe, inputs: Mapping[str, Any]) -> None:
    described = yaml.safe_dump(dict(inputs), sort_keys=False, allow_unicode=True)
    write_together(folder, {RECIPE_FILE: recipe.to_yaml().encode(), INPUTS_FILE: described.encode()})
