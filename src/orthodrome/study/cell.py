"""One cell from its recipe to its row: trained, or gone on with from its checkpoint, then judged."""

from __future__ import annotations

import datetime
import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from orthodrome.data import ImageReader
from orthodrome.heads import ProxyHead
from orthodrome.pipeline.evaluate import ProtocolData
from orthodrome.pipeline.model import Model, load_model
from orthodrome.study.faces import Decoded, Faces, mark_of, vary
from orthodrome.study.heads import support_vectors
from orthodrome.study.judging import Judgement, Values, judge_head, judge_strangers, judge_test
from orthodrome.study.plan import Cell, Plan
from orthodrome.study.rows import Row
from orthodrome.study.settings import HELD_OUT
from orthodrome.training.checkpoint import load_checkpoint
from orthodrome.training.loop import Learner, TrainingDiverged
from orthodrome.training.provenance import commit, machine
from orthodrome.training.recipe import Recipe
from orthodrome.training.report import LOG_FILE
from orthodrome.training.run import CHECKPOINT_FILE, RECIPE_FILE, create_learner, train
from orthodrome.types import InputError

OBSERVED = 256
"""Training images on which support vectors are counted after each epoch."""


@dataclass(frozen=True)
class Site:
    """Where cells run: training set and test faces, decoded, the list of pairs, the folder of the runs, and how the machine is shared.

    ``test`` and ``pairs`` are None where nothing is judged on them.
    """

    train: Callable[[tuple[int, int]], Decoded]
    test: Callable[[tuple[int, int]], Decoded] | None
    pairs: ProtocolData | None
    folder: Path
    workers: int
    threads: int


@dataclass(frozen=True)
class Done:
    """The row of a cell and its curves by name."""

    row: Row
    curves: Mapping[str, list[Any]]


def run_cell(plan: Plan, cell: Cell, site: Site) -> Done | None:
    """Train and judge; None where a stop was asked for, with a checkpoint to go on from. A loss that diverges is a result too."""
    started = time.perf_counter()
    folder = site.folder / cell.digest
    recipe = cell.recipe.model_copy(update={"data": cell.recipe.data.model_copy(update={"cache": False, "workers": 0})})
    decoded = site.train(recipe.data.height_and_width)
    faces = vary(decoded, cell.variation)
    described = {**_described(plan, cell, site), **_data(decoded, faces), "run": str(folder)}
    resume, training = (folder / CHECKPOINT_FILE).exists(), time.perf_counter()
    if not resume:  # killed before its first checkpoint, it begins anew
        (folder / RECIPE_FILE).unlink(missing_ok=True)
    try:
        observe, quiet = _observer(faces.train), Console(quiet=True)
        result = train(recipe, faces.train, folder, resume=resume, observe=observe, console=quiet)
    except TrainingDiverged as error:
        return Done({**described, "minutes": _minutes(time.perf_counter() - started), "failed": str(error)}, {})
    if not result.finished:
        return None
    trained = time.perf_counter() - training
    model = load_model(folder)
    found = _judge(plan, cell, site, faces, model, folder)
    head = judge_head(model, _head(recipe, faces.train, folder), faces.unseen)
    log, curves, logged = _log(folder, recipe)
    seconds = time.perf_counter() - started + max(logged - trained, 0)  # a resumed cell was trained for longer than just now
    return Done({**described, **found.values, **head, **log, "minutes": _minutes(seconds)}, {**curves, **found.curves})


def _judge(plan: Plan, cell: Cell, site: Site, faces: Faces, model: Model, folder: Path) -> Judgement:
    flip = cell.recipe.evaluation.flip
    if cell.judge == HELD_OUT:
        assert faces.strangers is not None
        return Judgement(judge_strangers(model, faces.strangers, flip), {})
    if site.test is None or site.pairs is None:
        raise InputError(f"{cell.title}: is judged on test faces; give --eval and --pairs")
    reader = site.test(cell.recipe.data.height_and_width)
    found = judge_test(model, reader, site.pairs, folder, flip, plan.settings.resamples)
    return Judgement({**found.values, "test_set": f"{len(reader)} images {mark_of(reader)}"}, found.curves)


def _head(recipe: Recipe, reader: ImageReader, folder: Path) -> torch.nn.Module:
    """The head as trained: it is not part of the model, but the last checkpoint holds it."""
    learner, _ = create_learner(recipe, reader)
    load_checkpoint(folder / CHECKPOINT_FILE, learner)
    return learner.head


def _observer(reader: ImageReader) -> Callable[[Learner], dict[str, Any]]:
    """Support vectors among `OBSERVED` training images spread evenly over the set, with the network as it is used."""
    count = min(OBSERVED, len(reader))
    rows = [position * len(reader) // count for position in range(count)]
    images = torch.stack([torch.from_numpy(reader.image(row).copy()).permute(2, 0, 1) for row in rows])
    labels = torch.tensor([int(reader.labels[row]) for row in rows])

    def observe(learner: Learner) -> dict[str, Any]:
        if not isinstance(learner.head, ProxyHead) or learner.head.spec.link.additive:
            return {}  # no other class stands beside the own one
        model = Model(learner.network, learner.preprocessing, learner.recipe.backbone.name, learner.recipe.backbone.embedding_dim)
        pairs, samples = support_vectors(learner.head, model.vectors(images), labels)
        return {"support_pairs": pairs, "support_samples": samples}

    return observe


def _described(plan: Plan, cell: Cell, site: Site) -> Values:
    recipe = cell.recipe
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "study": plan.name,
        "digest": cell.digest,
        "group": cell.group,
        "cell": cell.name,
        "judge": cell.judge,
        "loss": recipe.loss.name,
        "hyper": json.dumps(recipe.loss.options),
        "learning_rate": f"{recipe.optimizer.learning_rate:g}",
        "settings": json.dumps(dict(cell.settings)),
        "chosen_from": cell.chosen_from,
        "seed": str(recipe.seed),
        "noise": f"{cell.variation.noise:g}",
        "network": f"{recipe.backbone.name} {json.dumps(recipe.backbone.options)} {recipe.backbone.embedding_dim}-d",
        "size": "x".join(map(str, recipe.data.height_and_width)),
        "epochs": str(recipe.schedule.epochs),
        "batch_size": str(recipe.batch_size),
        "workers": str(site.workers),
        "threads": str(site.threads),
    }


def _data(decoded: Decoded, faces: Faces) -> Values:
    return {
        "people": str(len(faces.train.class_names)),
        "images": str(len(faces.train)),
        "training_set": f"{len(decoded)} images {mark_of(decoded)}",
    }


def _log(folder: Path, recipe: Recipe) -> tuple[Values, dict[str, list[Any]], float]:
    """Columns out of a log; its curves: loss and learning rate at each logged step, what was observed; and seconds of training."""
    lines = [json.loads(line) for line in (folder / LOG_FILE).read_text(encoding="utf-8").splitlines()]
    steps = [line for line in lines if "loss" in line]
    observed = [line["observed"] for line in lines if line.get("observed")]
    curves: dict[str, list[Any]] = {
        name: [_rounded(line[name]) for line in steps] for name in ("step", "loss", "learning_rate")
    } | {name: [_rounded(values[name]) for values in observed] for name in ("support_pairs", "support_samples") if observed}
    if not steps:
        return {}, curves, 0.0
    last = steps[-1]
    rate = statistics.median(line["images_per_second"] for line in steps)
    values = {"steps": str(lines[-1]["step"]), "images_per_second": f"{rate:.0f}", "final_loss": f"{last['loss']:.5g}"}
    if "target_similarity" in last:
        values["final_target_cosine"] = f"{last['target_similarity']:.4f}"
    seconds = _training_seconds(steps, recipe)
    return {**values, "training_minutes": _minutes(seconds)}, curves, seconds


def _training_seconds(steps: list[dict[str, Any]], recipe: Recipe) -> float:
    """From the images/s of each logged stretch of steps: time the run did not spend between being killed and gone on with."""
    before = [0, *(line["step"] for line in steps[:-1])]
    stretches = zip(before, steps, strict=True)
    return sum((line["step"] - first) * recipe.batch_size / line["images_per_second"] for first, line in stretches)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.2f}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
