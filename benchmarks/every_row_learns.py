"""Does every loss learn? Each row of the table trains the network of the quickstart on 30 people of the AT&T/ORL faces, with its
settings for small data, and verifies the 10 others, whom it has never seen; beside them raw pixels and the untrained network.

    python benchmarks/every_row_learns.py [LOSS …] [--epochs N] [--seed 0]

Appends a row for each to results/every_row_learns.csv, of which docs/render_every_row_learns.py makes the page.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.console import Console

from common import append_row
from orthodrome import losses
from orthodrome.data import Subset, orl_faces, split_identities
from orthodrome.evaluation import VerificationReport, all_pairs
from orthodrome.losses.describe import plain
from orthodrome.training import Recipe, train
from orthodrome.training.quickstart import TEST_PEOPLE, raw_pixels, untrained, verify
from orthodrome.training.small_data import SMALL_DATA, small_data_recipe

PIXELS, UNTRAINED = "raw pixels", "untrained network"


def faces(seed: int) -> tuple[Subset, Subset]:
    """The people to learn and the strangers."""
    reader = orl_faces()
    known, strangers = split_identities(reader.labels, TEST_PEOPLE, seed)
    return Subset(reader, known), Subset(reader, strangers)


def learn(recipe: Recipe, known: Subset, strangers: Subset) -> VerificationReport:
    """Train on the known, verify the strangers."""
    with tempfile.TemporaryDirectory() as folder:
        model = train(recipe, known, Path(folder), console=Console(quiet=True)).model
    return verify(model, strangers)


def baselines(recipe: Recipe, known: Subset, strangers: Subset) -> Iterator[tuple[str, VerificationReport]]:
    """What any loss has to beat."""
    yield PIXELS, all_pairs(raw_pixels(strangers, known, recipe))
    yield UNTRAINED, verify(untrained(recipe, known), strangers)


def write_row(system: str, recipe: Recipe, report: VerificationReport, seconds: float) -> None:
    """One line of the results, and one on the terminal."""
    learned = system in SMALL_DATA
    interval = report.eer.interval
    append_row(
        "every_row_learns",
        {
            "system": system,
            "settings": plain(recipe.loss.options) if learned else "",
            "learning_rate": f"{recipe.optimizer.learning_rate:g}" if learned else "",
            "seed": str(recipe.seed),
            "network": f"{recipe.backbone.name} {plain(recipe.backbone.options)}".strip(),
            "size": "×".join(map(str, recipe.data.height_and_width)),
            "epochs": str(recipe.schedule.epochs),
            "batch_size": str(recipe.batch_size),
            "eer": f"{report.eer.rate:.4f}",
            "eer_low": f"{interval.low:.4f}",
            "eer_high": f"{interval.high:.4f}",
            "seconds": f"{seconds:.0f}",
        },
    )
    print(f"{system:<20} EER {report.eer.rate:7.2%}   {seconds:4.0f} s", flush=True)


def run(names: Iterable[str], seed: int, epochs: int | None) -> None:
    """Baselines, then every loss of ``names``."""
    known, strangers = faces(seed)
    first = small_data_recipe("softmax", seed=seed, epochs=epochs)
    for system, report in baselines(first, known, strangers):
        write_row(system, first, report, 0.0)
    for name in names:
        start = time.perf_counter()
        recipe = small_data_recipe(name, seed=seed, epochs=epochs)
        write_row(name, recipe, learn(recipe, known, strangers), time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="LOSS", help="default: all losses")
    parser.add_argument("--epochs", type=int, help="default: as the quickstart")
    parser.add_argument("--seed", type=int, default=0, help="of the split, the weights and the order of the samples")
    arguments = parser.parse_args()
    run(arguments.names or losses.names(), arguments.seed, arguments.epochs)


if __name__ == "__main__":
    main()
