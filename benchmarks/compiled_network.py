"""How much does ``compile: true`` save? Images/s of the bare training step with the network compiled over those without.

    python benchmarks/compiled_network.py RECIPE… [--threads 2] [--set precision=fp32]

The two are timed in turn, several times; the ratio of each pair is what counts. The time torch.compile takes is that of the first step,
printed and left out. Appends a row for each recipe to results/compiled_network.csv.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from common import append_row, machine
from orthodrome.data import ImageReader, open_reader
from orthodrome.training.recipe import load_recipe
from orthodrome.training.run import create_learner
from training_throughput import bare, random_faces


def measure(path: Path, overrides: list[str], reader: ImageReader, steps: int, rounds: int) -> dict[str, str]:
    """One row."""
    recipe = load_recipe(path, overrides)
    classes = len(reader.class_names)
    plain, fused = (create_learner(recipe.model_copy(update={"compile": compiled}), reader)[0] for compiled in (False, True))
    bare(plain, recipe, classes, 2)
    start = time.perf_counter()
    bare(fused, recipe, classes, 2)
    print(f"{recipe.name}: the first two compiled steps took {time.perf_counter() - start:.0f} s")
    rates = [tuple(bare(learner, recipe, classes, steps) for learner in (fused, plain)) for _ in range(rounds)]
    ratios = sorted(compiled / uncompiled for compiled, uncompiled in rates)
    compiled, uncompiled = (sorted(side)[len(ratios) // 2] for side in zip(*rates, strict=True))
    print(
        f"  compiled {compiled:.0f} images/s, plain {uncompiled:.0f}: {ratios[len(ratios) // 2]:.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})"
    )
    return {
        "recipe": recipe.name,
        "precision": recipe.precision,
        "compiled_images_per_second": f"{compiled:.1f}",
        "plain_images_per_second": f"{uncompiled:.1f}",
        "ratio": f"{ratios[len(ratios) // 2]:.3f}",
        "ratio_min": f"{ratios[0]:.3f}",
        "ratio_max": f"{ratios[-1]:.3f}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", type=Path, nargs="+")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        reader = open_reader(random_faces(Path(folder), each=4))
        for path in arguments.recipes:
            append_row("compiled_network", measure(path, arguments.overrides, reader, arguments.steps, arguments.rounds))
    print(machine())


if __name__ == "__main__":
    main()
