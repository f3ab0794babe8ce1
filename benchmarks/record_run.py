"""Writes the verification result of finished runs into results/lfw.csv: accuracy with its intervals, EER, and what the training cost.

    python benchmarks/record_run.py RUN_FOLDER…

Minutes are those of training alone, from the images/s of each line of the run's log; images/s is the median of these lines, so that
"minutes at that speed" can be told from the minutes of a machine that was busy with other work.
Date, commit and machine are those the run wrote down when it was trained.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from common import append_row
from orthodrome.training.recipe import Recipe, load_recipe


def training_cost(folder: Path, recipe: Recipe, images: int) -> tuple[float, float]:
    """Minutes of training, and median images/s."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "images_per_second" in line]
    rates = [line["images_per_second"] for line in steps]
    per_line = recipe.log.every * recipe.batch_size
    logged = sum(per_line / rate for rate in rates) / (len(rates) * per_line)
    return logged * images * recipe.schedule.epochs / 60, statistics.median(rates)


def row(folder: Path) -> dict[str, str]:
    """One row of the table."""
    recipe = load_recipe(folder / "recipe.yaml")
    metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    last = metrics["evaluations"][-1]
    accuracy, eer = last["accuracy"], last["eer"]
    if not accuracy.get("by_identity"):
        sys.exit(f"{folder}: its pairs give no interval by identity (too few people, or ids without names); the table is of such")
    minutes, rate = training_cost(folder, recipe, metrics["images"])
    tar = {f"{entry['far']:g}": entry["tar"] for entry in last["tar_at_far"]}
    return {
        "date": metrics["trained"][:10],
        "commit": metrics["commit"],
        "machine": metrics["machine"],
        "recipe": recipe.name,
        "loss": recipe.loss.name,
        "precision": recipe.precision,
        "epochs": str(recipe.schedule.epochs),
        "seed": str(recipe.seed),
        "minutes": f"{minutes:.1f}",
        "images_per_second": f"{rate:.0f}",
        "accuracy": f"{accuracy['mean']:.5f}",
        "standard_error": f"{accuracy['standard_error']:.5f}",
        "by_identity_low": f"{accuracy['by_identity']['low']:.5f}",
        "by_identity_high": f"{accuracy['by_identity']['high']:.5f}",
        "eer": f"{eer['rate']:.5f}",
        "eer_low": f"{eer['interval']['low']:.5f}",
        "eer_high": f"{eer['interval']['high']:.5f}",
        "tar_at_far_1e-2": f"{tar['0.01']:.5f}",
    }


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for argument in sys.argv[1:]:
        append_row("lfw", row(Path(argument)))
