"""The quickstart: train on 30 people of the AT&T/ORL faces, verify 10 others, and say honestly how much was learned."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from orthodrome.data import ImageReader, Subset, load_cache, orl_faces, split_identities
from orthodrome.data.orl import CREDIT
from orthodrome.evaluation import VerificationReport, all_pairs, summary_rows, write_comparison
from orthodrome.files import write_file
from orthodrome.pipeline import Model, embed_reader
from orthodrome.training.recipe import Recipe, parse_recipe
from orthodrome.training.run import METRICS_FILE, check_unused, create_learner, train
from orthodrome.training.telemetry import say
from orthodrome.types import EmbeddingSet

TEST_PEOPLE = 10
MARGIN_LOSS = "cosface"

RECIPE = {
    "name": "quickstart",
    "seed": 0,
    "batch_size": 30,
    "checkpoint_every": 100,
    "backbone": {"name": "sfnet10", "width": 0.5, "batch_norm": True, "embedding_dim": 128},
    "loss": {"name": MARGIN_LOSS, "scale": 16.0, "margin": 0.2},
    "data": {"size": [64, 48], "flip": 0.5, "shift": 8, "workers": 0, "cache": True},
    "optimizer": {"name": "adamw", "learning_rate": 0.002, "weight_decay": 0.05},
    "schedule": {"name": "cosine", "epochs": 40, "warmup_epochs": 2},
    "log": {"every": 10},
}


@dataclass(frozen=True)
class QuickstartResult:
    """The run folder of the margin loss, and the report of each system, in the order of the table."""

    folder: Path
    reports: dict[str, VerificationReport]


def quickstart(folder: Path, seed: int = 0, console: Console | None = None) -> QuickstartResult:
    """Train softmax and the margin loss on 30 people and compare four systems on the other 10, whom none has seen.

    Writes the run folder of the margin loss (``folder``) with the comparison in it, and softmax's in ``folder/softmax``. Raises
    InputError when the faces are not installed, or where there is a run in one of these folders already, and KeyboardInterrupt where
    a stop was asked for (Ctrl-C, SIGTERM).
    """
    console = console or Console(stderr=True)
    softmax_folder = folder / "softmax"
    for place in (folder, softmax_folder):
        check_unused(place)
    faces = orl_faces()
    train_indices, test_indices = split_identities(faces.labels, TEST_PEOPLE, seed)
    known, strangers = Subset(faces, train_indices), Subset(faces, test_indices)
    say(console, f"faces: {CREDIT}")
    margin_recipe = parse_recipe({**RECIPE, "seed": seed}, "quickstart")
    softmax_recipe = parse_recipe({**RECIPE, "seed": seed, "loss": {"name": "softmax"}}, "quickstart")

    reports = {
        "raw pixels": all_pairs(raw_pixels(strangers, known, margin_recipe)),
        "untrained network": verify(untrained(margin_recipe, known), strangers),
        "softmax": verify(trained(softmax_recipe, known, softmax_folder, console), strangers),
        MARGIN_LOSS: verify(trained(margin_recipe, known, folder, console), strangers),
    }
    _write(folder, reports)
    return QuickstartResult(folder, reports)


def raw_pixels(strangers: ImageReader, known: ImageReader, recipe: Recipe) -> EmbeddingSet:
    """Grey values minus the mean face of the training people, as embeddings: what any learned embedding has to beat."""
    pixels, mean_face = (_grey_rows(reader, recipe) for reader in (strangers, known))
    ids = tuple(strangers.sample(i).key for i in range(len(strangers)))
    return EmbeddingSet(pixels - mean_face.mean(axis=0), strangers.labels, ids)


def _grey_rows(reader: ImageReader, recipe: Recipe) -> np.ndarray:
    images = load_cache(reader, recipe.data.height_and_width, workers=0)
    return images[:, 0].reshape(len(reader), -1).astype(np.float32)


def untrained(recipe: Recipe, reader: ImageReader) -> Model:
    """The network of a recipe as it is before its first step."""
    torch.manual_seed(recipe.seed)
    return create_learner(recipe, reader)[1]


def trained(recipe: Recipe, reader: ImageReader, folder: Path, console: Console) -> Model:
    """The network of a recipe after its last step. Raises KeyboardInterrupt where it was stopped before."""
    result = train(recipe, reader, folder, console=console)
    if not result.finished:
        raise KeyboardInterrupt
    return result.model


def verify(model: Model, strangers: ImageReader) -> VerificationReport:
    """Every image of the strangers against every other."""
    return all_pairs(embed_reader(model, strangers, workers=0))


def comparison_table(reports: dict[str, VerificationReport]) -> Table:
    """EER, TAR@FAR = 1 % and accuracy of each system, with 95 % intervals by identity."""
    header, rows = summary_rows({name: report.to_report() for name, report in reports.items()})
    genuine, impostor = (len(getattr(next(iter(reports.values())), kind)) for kind in ("genuine", "impostor"))
    table = Table(
        title=f"{TEST_PEOPLE} people never seen in training: {genuine:,} genuine, {impostor:,} impostor comparisons",
        caption="in brackets: 95 % bootstrap intervals by identity",
    )
    for column in header:
        table.add_column(column)
    for row in rows:
        table.add_row(*row)
    return table


def _write(folder: Path, reports: dict[str, VerificationReport]) -> None:
    plain = {name: report.to_report() for name, report in reports.items()}
    write_comparison(plain, folder, "Quickstart: AT&T/ORL faces, 10 people never seen in training")
    metrics = json.dumps({name: dict(report.metrics) for name, report in plain.items()}, indent=2, default=_plain)
    write_file(folder / METRICS_FILE, metrics.encode())


def _plain(value: object) -> object:
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)
