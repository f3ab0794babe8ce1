"""Does the training loop keep up with the bare step? Images/s of the whole loop (reading, augmentation, logs) over those of
forward, loss, backward, step of the same network and head on random tensors already in memory.

    python benchmarks/training_throughput.py [--data FOLDER] [--recipe recipes/small-cosface.yaml]

Both are timed in turn, several times, so that a drifting machine speed hits both; the ratio of each pair is what counts. Without
--data a folder of random JPEGs is made, so that decoding and the cache are real. Appends a row to results/training_throughput.csv.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from common import append_row, machine
from orthodrome.data import ImageReader, open_reader, to_network_input
from orthodrome.training.loop import Learner, Position, autocast, fit
from orthodrome.training.recipe import Recipe, load_recipe
from orthodrome.training.run import create_learner, open_loader
from orthodrome.training.telemetry import JsonLines, Speed
from orthodrome.types import LossOutput

RECIPE = Path(__file__).parents[1] / "recipes" / "small-cosface.yaml"


class LogOnly:
    """Stops after ``steps`` steps; logs as a run does."""

    def __init__(self, steps: int, log: JsonLines) -> None:
        self.last, self.log, self.speed = steps, log, Speed()

    def step(self, position: Position, output: LossOutput, images: int) -> bool:
        """Count and log each 10th step."""
        self.speed.count(images)
        if position.step % 10 == 0:
            self.log.write(step=position.step, loss=float(output.loss.detach()), speed=self.speed.read())
        return position.step < self.last

    def epoch(self, position: Position) -> None:
        """Nothing to do at the end of an epoch."""


def bare(learner: Learner, recipe: Recipe, classes: int, steps: int) -> float:
    """Images/s of forward, loss, backward, step on one random batch."""
    images = torch.randint(0, 256, (recipe.batch_size, 3, *recipe.data.height_and_width), dtype=torch.uint8)
    labels = torch.randint(0, classes, (recipe.batch_size,))
    pixels = to_network_input(images, learner.preprocessing, channels_last=recipe.channels_last)
    start = time.perf_counter()
    for _ in range(steps):
        with autocast(learner.device, recipe.precision):
            embeddings = learner.backbone(pixels)
        loss = learner.head(embeddings.float(), labels).loss
        learner.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        learner.optimizer.step()
    return steps * recipe.batch_size / (time.perf_counter() - start)


def loop(learner: Learner, recipe: Recipe, reader: ImageReader, steps: int) -> float:
    """Images/s of the loop over an open loader; the cache is filled before the clock starts, as in a run."""
    from rich.console import Console

    loader = open_loader(recipe, reader, Console(quiet=True))
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        fit(learner, loader, Position(), LogOnly(steps, JsonLines(Path(folder) / "log.jsonl")))
        return steps * recipe.batch_size / (time.perf_counter() - start)


def random_faces(root: Path, people: int = 100, each: int = 40) -> Path:
    """A folder of random 112×112 JPEGs."""
    generator = np.random.default_rng(0)
    for person in range(people):
        (root / f"{person:04d}").mkdir(parents=True)
        for number in range(each):
            pixels = generator.integers(0, 256, (28, 28, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((112, 112)).save(root / f"{person:04d}" / f"{number}.jpg", quality=90)
    return root


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.recipe, arguments.overrides)
    with tempfile.TemporaryDirectory() as folder:
        reader = open_reader(arguments.data or random_faces(Path(folder)))
        learner, _ = create_learner(recipe, reader)
        classes = len(reader.class_names)
        bare(learner, recipe, classes, 3)
        rates = [
            (loop(learner, recipe, reader, arguments.steps), bare(learner, recipe, classes, arguments.steps))
            for _ in range(arguments.rounds)
        ]
    ratios = sorted(looped / plain for looped, plain in rates)
    loops, bares = (sorted(side) for side in zip(*rates, strict=True))
    middle = len(ratios) // 2
    print(f"loop {loops[middle]:.0f} images/s, bare step {bares[middle]:.0f} images/s (medians of {len(ratios)})")
    print(f"ratio {ratios[middle]:.3f}, from {ratios[0]:.3f} to {ratios[-1]:.3f}; {machine()}")
    append_row(
        "training_throughput",
        {
            "recipe": recipe.name,
            "precision": recipe.precision,
            "loop_images_per_second": f"{loops[middle]:.1f}",
            "bare_images_per_second": f"{bares[middle]:.1f}",
            "ratio": f"{ratios[middle]:.3f}",
            "ratio_min": f"{ratios[0]:.3f}",
            "ratio_max": f"{ratios[-1]:.3f}",
        },
    )


if __name__ == "__main__":
    main()
