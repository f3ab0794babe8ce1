"""A run: from a recipe and a folder of faces to a run folder. Assembles what the loop needs and writes down what it does."""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from rich.console import Console

from orthodrome import __version__
from orthodrome.data import (
    Augmentation,
    BatchSampler,
    EpochSampler,
    ImageReader,
    Loader,
    PKSampler,
    PowerSampler,
    SetSummary,
    check_trainable,
    create_loader,
)
from orthodrome.files import alone, write_file, write_together
from orthodrome.heads import create_head
from orthodrome.pipeline.model import MODEL_FILE, Model, create_model, parameter_count, save_model
from orthodrome.training.checkpoint import load_checkpoint, save_checkpoint
from orthodrome.training.compiling import compiled
from orthodrome.training.loop import Learner, Position, fit
from orthodrome.training.optim import create_optimizer, parameter_groups
from orthodrome.training.precision import precision_warning
from orthodrome.training.processes import Alone, Team, by_first
from orthodrome.training.provenance import commit, machine
from orthodrome.training.random_state import seed_apart
from orthodrome.training.recipe import Recipe
from orthodrome.training.report import AfterEpoch, Evaluate, FullReport, Observe, Report, Silence
from orthodrome.training.schedules import create_schedule
from orthodrome.training.stopping import StopRequest
from orthodrome.training.telemetry import counting, say, training_progress
from orthodrome.types import InputError, LossOutput

RECIPE_FILE, INPUTS_FILE = "recipe.yaml", "inputs.yaml"
CHECKPOINT_FILE, METRICS_FILE = "checkpoint.pt", "metrics.json"


@dataclass(frozen=True)
class RunResult:
    """Where a run ended: its folder, its trained model, the metrics of its evaluations (rank 0's), whether it reached its last epoch."""

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
    team: Team | None = None,
) -> RunResult:
    """Train ``recipe`` on ``reader`` into ``folder``; ``inputs`` (paths of the data) are kept there for ``--resume``, which needs them.

    Writes the recipe as run, ``log.jsonl``, ``checkpoint.pt`` each ``checkpoint_every`` steps, and at the end ``model.safetensors`` and
    ``metrics.json``. ``resume`` goes on from the checkpoint of the folder: the same samples in the same order, with network, optimizer,
    schedule, state of the loss and random state as they were. Ctrl-C or SIGTERM stop after the step under way, with a checkpoint.
    What ``observe`` says of rank 0's learner after each epoch stands in the log under ``"observed"``. The folder is held against other
    runs; without ``resume`` there must be no run in it.

    ``team``: the processes that do it together (None: this one alone); each calls with the same arguments, on a folder all of them
    see. Rank 0 alone prints, logs, evaluates and writes the results.

    Raises InputError for data or settings that cannot be trained on, a folder that another process holds or that holds another run,
    and a loss that is not finite; on all processes.
    """
    team = team or Alone()
    console = console or Console(stderr=True, quiet=team.rank > 0)
    with _held(folder, team, resume):
        return _train(recipe, reader, folder, AfterEpoch(evaluate, observe), resume, inputs or {}, console, team)


@contextmanager
def _held(folder: Path, team: Team, resume: bool) -> Iterator[None]:
    """The folder of a run, which rank 0 holds against other runs."""
    with ExitStack() as held:

        def hold() -> None:
            held.enter_context(alone(folder))
            if not resume:
                check_unused(folder)

        by_first(team, hold)
        yield


def check_unused(folder: Path) -> None:
    """Raises InputError where ``folder`` holds a run, or what is left of one."""
    found = [name for name in (CHECKPOINT_FILE, MODEL_FILE, RECIPE_FILE) if (folder / name).exists()]
    if found:
        way_on = f"go on with it: --resume {folder}" if CHECKPOINT_FILE in found else "remove what is left of it"
        raise InputError(f"{folder} already holds a run ({', '.join(found)}); choose another folder (--out), or {way_on}")


def _train(
    recipe: Recipe,
    reader: ImageReader,
    folder: Path,
    after: AfterEpoch,
    resume: bool,
    inputs: Mapping[str, Any],
    console: Console,
    team: Team,
) -> RunResult:
    summary = team.everywhere(lambda: check_trainable(reader))
    team.same("all processes must train the same recipe on the same images", _fingerprint(recipe, reader))
    seed_everything(recipe)
    learner, model = create_learner(recipe, reader, team)
    seed_apart(recipe.seed, team.rank)
    position, history = (
        team.everywhere(lambda: load_checkpoint(folder / CHECKPOINT_FILE, learner)) if resume else (Position(), [])
    )
    by_first(team, lambda: _announce(console, learner, folder, summary))
    loader = team.everywhere(lambda: open_loader(recipe, reader, console, team))
    by_first(team, lambda: _write_description(folder, recipe, inputs))
    team.everywhere(lambda: _check_seen(folder))
    learner = replace(learner, schedule=create_schedule(recipe.schedule, len(loader)))
    with StopRequest() as stop, training_progress(console) as bar:

        def report() -> Report:
            if team.rank:
                return Silence()
            return FullReport(learner, model, folder, after, history, console, bar, len(loader), position)

        events = _RunEvents(learner, folder, team.everywhere(report), stop)
        end = fit(learner, loader, position, events)
        team.everywhere(events.report.close)
    finished = end.epoch >= recipe.schedule.epochs
    save_checkpoint(folder / CHECKPOINT_FILE, learner, end, history)
    model.network.eval()
    if finished:
        by_first(team, lambda: _write_results(model, recipe, folder, history, reader))
    else:
        way_on = f"; go on with: orthodrome train --resume {folder}" if "data" in inputs else ""
        say(console, f"stopped at step {end.step}{way_on}")
    return RunResult(folder, model, history, finished)


def _fingerprint(recipe: Recipe, reader: ImageReader) -> Mapping[str, object]:
    """Every key of the recipe, and the set."""
    found: dict[str, object] = {"the set": _images_of(reader)}
    for name, value in recipe.model_dump(mode="json").items():
        found |= {f"{name}.{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
    return found


def _images_of(reader: ImageReader) -> str:
    """By which a set is known again, whatever its form: who is on each image."""
    labels = zlib.crc32(np.ascontiguousarray(reader.labels, dtype="<i8").data)
    people = zlib.crc32("\n".join(reader.class_names).encode("utf-8", "surrogateescape"), labels)
    return f"{len(reader)} images of {len(reader.class_names)} people (checksum {people:08x})"


def _announce(console: Console, learner: Learner, folder: Path, summary: SetSummary) -> None:
    recipe, team = learner.recipe, learner.team
    shared = f" on each of {team.size} processes" if team.size > 1 else ""
    say(console, f"training on {summary}")
    say(
        console,
        f"{recipe.backbone.name}: {parameter_count(learner.network) / 1e6:.2f} M parameters, {recipe.loss.name}, "
        f"{learner.device}{shared}, {recipe.precision}; run folder {folder}",
    )
    if warning := precision_warning(recipe.precision, learner.device):
        say(console, f"warning: {warning}")


def seed_everything(recipe: Recipe) -> None:
    """Seed torch; with ``deterministic``, refuse operations whose result may differ from run to run."""
    torch.manual_seed(recipe.seed)
    if recipe.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(recipe.deterministic)


def create_learner(recipe: Recipe, reader: ImageReader, team: Team | None = None) -> tuple[Learner, Model]:
    """Network, head and optimizer of a recipe, on its device."""
    team = team or Alone()
    device, model = team.everywhere(lambda: _create_network(recipe, team))
    size = len(reader.class_names), recipe.backbone.embedding_dim
    head = team.everywhere(
        lambda: create_head(recipe.loss.name, *size, options=recipe.head.options, process_group=team.group, **recipe.loss.options)
    )
    head.to(device)
    groups = parameter_groups(model.network, head, recipe.optimizer)
    optimizer = create_optimizer(groups, recipe.optimizer, sampled=recipe.head.sample_rate < 1)
    model.network.train()
    head.train()
    trained = team.everywhere(lambda: compiled(model.network, device)) if recipe.compile else model.network
    learner = Learner(
        network=model.network,
        backbone=team.backbone(trained, device),
        head=head,
        optimizer=optimizer,
        schedule=lambda step: 1.0,
        preprocessing=model.preprocessing,
        recipe=recipe,
        device=device,
        images=_images_of(reader),
        team=team,
    )
    return learner, model


def _create_network(recipe: Recipe, team: Team) -> tuple[torch.device, Model]:
    device = team.device(choose_device(recipe.device))
    model = create_model(recipe.backbone.name, recipe.backbone.embedding_dim, recipe.data.preprocessing, recipe.backbone.options)
    layout: Any = {"memory_format": torch.channels_last if recipe.channels_last else torch.contiguous_format}
    model.network.to(device, **layout)
    return device, replace(model, network=team.synchronised(model.network, device)) if recipe.sync_batch_norm else model


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


def open_loader(recipe: Recipe, reader: ImageReader, console: Console, team: Team | None = None) -> Loader:
    """The loader of a recipe; the cache, where there is one, is filled here, under a progress bar."""
    team, settings = team or Alone(), recipe.data
    sampler = team.part(SAMPLERS[settings.sampler](reader, recipe))
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
            processes=team.local_size,
        )


SAMPLERS: Mapping[str, Callable[[ImageReader, Recipe], BatchSampler]] = {
    "uniform": lambda reader, recipe: EpochSampler(len(reader), recipe.batch_size, recipe.seed),
    "identities": lambda reader, recipe: PKSampler(reader.labels, recipe.data.people, recipe.data.images_per_person, recipe.seed),
    "balanced": lambda reader, recipe: PowerSampler(reader.labels, recipe.batch_size, 0.0, recipe.seed),
    "square_root": lambda reader, recipe: PowerSampler(reader.labels, recipe.batch_size, 0.5, recipe.seed),
}
"""The samplers of ``data.sampler``."""


class _RunEvents:
    """Reports, checkpoints and the stop of one run."""

    def __init__(self, learner: Learner, folder: Path, report: Report, stop: StopRequest) -> None:
        self.learner, self.folder, self.report, self.stop = learner, folder, report, stop

    def step(self, position: Position, output: LossOutput, images: int) -> bool:
        """After each step: report, checkpoint now and then; False where any process was asked to stop."""

        def told() -> bool:
            self.report.step(position, output, images)
            return self.stop.requested

        stop = self.learner.team.anywhere(told)
        if position.step % self.learner.recipe.checkpoint_every == 0:
            save_checkpoint(self.folder / CHECKPOINT_FILE, self.learner, position, self.report.history)
        return not stop

    def epoch(self, position: Position) -> None:
        """After each epoch: the others wait while rank 0 evaluates."""
        self.learner.team.everywhere(lambda: self.report.epoch(position))


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


def _check_seen(folder: Path) -> None:
    if not (folder / RECIPE_FILE).is_file():
        raise InputError(f"{folder}, made by rank 0, is not seen from here: set --out to a folder that all processes share")


def _write_description(folder: Path, recipe: Recipe, inputs: Mapping[str, Any]) -> None:
    """A run that is gone on with without ``inputs`` keeps those it was begun with."""
    described = {RECIPE_FILE: recipe.to_yaml().encode()}
    if inputs or not (folder / INPUTS_FILE).exists():
        described[INPUTS_FILE] = yaml.safe_dump(dict(inputs), sort_keys=False, allow_unicode=True).encode()
    write_together(folder, described)
