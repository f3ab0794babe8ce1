"""How near are exact counts over all comparisons to the speed of the matrix product? `python benchmarks/compare_all.py`

In turn, on the same made-up embeddings (people as von Mises–Fisher-like clusters, 512-d): the bare products of all tiles, nothing looked
at; `compare_all` for FARs down to 1e-8, in float32 and under the screen that is fastest here; and with the full ROC and EER. The peer, in
the same run and on the largest set it can hold in `--peer-memory` GiB: scores by numpy, `sklearn.metrics.roc_curve`. Speeds are
comparisons a second.

Memory is the growth of the process over the first count, beside the embeddings. Appends rows to results/compare_all.csv.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

from common import append_row, machine
from orthodrome.evaluation import compare_all, pair_scores, tar_at_far
from orthodrome.evaluation.scores import unit_vectors
from orthodrome.evaluation.streaming.choice import SCREENS
from orthodrome.evaluation.streaming.screens import FLOAT32, Screen
from orthodrome.evaluation.streaming.tiles import TILE_COLUMNS, TILE_ROWS

FARS = (1e-8, 1e-6, 1e-4)
PEER_BYTES = 100
"""Memory the peer needs for one comparison."""


def people(count: int, dimension: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Four images a person, at a cosine of about 0.5 to each other."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) // 4
    centres = generator.standard_normal((labels[-1] + 1, dimension), dtype=np.float32)
    return centres[labels] + generator.standard_normal((count, dimension), dtype=np.float32), labels


def seconds(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def product(screen: Screen, probes: np.ndarray, gallery: np.ndarray) -> Callable[[], None]:
    """The products of all tiles, each overwriting the last."""
    above = screen.panel(unit_vectors(probes))
    beside = [screen.panel(unit_vectors(gallery[at : at + TILE_COLUMNS])) for at in range(0, len(gallery), TILE_COLUMNS)]
    room = torch.empty(TILE_ROWS * TILE_COLUMNS, dtype=screen.dtype)

    def step() -> None:
        for columns in beside:
            for at in range(0, len(above), TILE_ROWS):
                screen.products(above, columns, slice(at, at + TILE_ROWS), room)

    return step


def _product_seconds(screen: Screen, probes: np.ndarray, gallery: np.ndarray) -> float:
    if not screen.works(probes.shape[1]):
        return math.inf
    step = product(screen, probes, gallery)
    return min(seconds(step) for _ in range(3))


def growth(step: Callable[[], object]) -> tuple[float, float]:
    """Seconds of a step, and by how many MiB the process grew at its peak (Linux: the peak is reset before)."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    took = seconds(step)
    return took, (_status("VmHWM") - before) / 2**10


def _status(field: str) -> int:
    """KiB of a line of this process' status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{field}:")).split()[1])


def peer(vectors: np.ndarray, labels: np.ndarray) -> None:
    """The usual way."""
    from sklearn.metrics import roc_curve

    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    first, second = np.triu_indices(len(units), 1)
    scores = (units @ units.T)[first, second]
    far, tar, _ = roc_curve(labels[first] == labels[second], scores)
    for wanted in (1e-6, 1e-4):
        np.interp(wanted, far, tar)


def check(dimension: int) -> None:
    """The counts are those of brute force, before anything is timed."""
    vectors, labels = people(3000, dimension, 5)
    every = pair_scores(vectors, labels)
    expected = tar_at_far(every.scores[every.same], every.scores[~every.same], (1e-6, 1e-4, 1e-2))
    for screen in SCREENS:
        if not SCREENS.get(screen).works(dimension):
            continue
        found = compare_all(vectors, labels, fars=(1e-6, 1e-4, 1e-2), screen=screen, resamples=0).rows
        assert [(row.threshold, row.accepted_impostor, row.accepted_genuine) for row in found] == [
            (row.threshold, row.accepted_impostor, row.accepted_genuine) for row in expected
        ]


def beside_product(bare: Callable[[], object], count: Callable[[], object], comparisons: int, rounds: int) -> dict[str, str]:
    """Both in turn: the share of the bare product's speed, and speeds."""
    pairs = [(seconds(bare), seconds(count)) for _ in range(rounds)]
    ratios = sorted(a / b for a, b in pairs)
    return {
        "comparisons": str(comparisons), "rounds": str(rounds),
        "share_of_product": f"{median(ratios):.3f}", "share_min": f"{ratios[0]:.3f}", "share_max": f"{ratios[-1]:.3f}",
        "million_per_second": f"{comparisons / median(b for _, b in pairs) / 1e6:.1f}",
        "product_million_per_second": f"{comparisons / median(a for a, _ in pairs) / 1e6:.1f}",
    }  # fmt: skip


def against_products(searched: int, in_gallery: int, dimension: int, rounds: int) -> None:
    """Beside the bare products."""
    gallery, others = people(in_gallery, dimension, 0)
    probes, labels = people(searched, dimension, 0)
    probes += 0.5 * np.random.default_rng(1).standard_normal(probes.shape, dtype=np.float32)
    comparisons = searched * in_gallery

    def counting(screen: str, roc: bool) -> Callable[[], object]:
        return lambda: compare_all(probes, labels, gallery, others, FARS, screen=screen, roc=roc, resamples=0)

    first, grown = growth(counting("fp32", False))
    print(f"{machine()}; {comparisons:,} comparisons; first count {first:.0f} s, {grown:.0f} MiB beside the embeddings")
    fastest = min(SCREENS, key=lambda name: _product_seconds(SCREENS.get(name), probes[:TILE_ROWS], gallery[:TILE_COLUMNS]))
    ways = {"fp32, FARs ≤ 1e-4": (FLOAT32, "fp32", False), "fp32, full ROC": (FLOAT32, "fp32", True)}
    if fastest != "fp32":
        ways[f"{fastest}, FARs ≤ 1e-4"] = (SCREENS.get(fastest), fastest, False)
    for name, (screen, screen_name, roc) in ways.items():
        row = beside_product(product(screen, probes, gallery), counting(screen_name, roc), comparisons, rounds)
        row = {"what": name, "dimension": str(dimension), **row, "mib": f"{grown:.0f}"}
        print(row, flush=True)
        append_row("compare_all", row)


def against_peer(gibibytes: float, dimension: int, rounds: int) -> None:
    """Beside the usual way, on the largest set it can hold."""
    size = int((2 * gibibytes * 2**30 / PEER_BYTES) ** 0.5)
    vectors, names = people(size, dimension, 3)
    pairs = [
        (
            seconds(lambda: peer(vectors, names)),
            seconds(lambda: compare_all(vectors, names, fars=(1e-6, 1e-4), resamples=0)),
        )
        for _ in range(rounds)
    ]
    ratios = sorted(a / b for a, b in pairs)
    row = {
        "what": "numpy and sklearn.metrics.roc_curve", "dimension": str(dimension), "comparisons": str(size * (size - 1) // 2),
        "rounds": str(rounds), "share_of_product": "", "share_min": "", "share_max": "",
        "million_per_second": f"{size * (size - 1) / 2 / median(a for a, _ in pairs) / 1e6:.2f}",
        "product_million_per_second": "", "mib": f"{gibibytes * 1024:.0f}",
    }  # fmt: skip
    print(row, f"compare_all on the same set: {median(ratios):.0f} × as fast ({ratios[0]:.0f}–{ratios[-1]:.0f})", flush=True)
    append_row("compare_all", row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--probes", type=int, default=8_192)
    parser.add_argument("--gallery", type=int, default=131_072)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-memory", type=float, default=4.0, help="GiB")
    parser.add_argument("--peer-only", action="store_true", help="leave out what is measured beside the bare products")
    given = parser.parse_args()
    check(given.dimension)
    if not given.peer_only:
        against_products(given.probes, given.gallery, given.dimension, given.rounds)
    against_peer(given.peer_memory, given.dimension, given.rounds)


if __name__ == "__main__":
    main()
