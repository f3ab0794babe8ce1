"""How long does LFW verification from embeddings take, with every interval from 1,000 resamples of people, and how long by the
usual tools?

    OMP_NUM_THREADS=1 python benchmarks/lfw_evaluation.py --pairs pairs.txt [--dimension 512] [--rounds 7]

Ours: `verification_from_embeddings` on 13,233 embeddings: scores, 10-fold accuracy, EER and TAR@FAR, each with its bootstrap by
identity. Theirs, on the same pairs and the same drawing of people: normalised rows multiplied in numpy, `sklearn.metrics.roc_curve`
with the resample's weights once for each of the 1,000 resamples, EER and TAR@FAR read off it by numpy; no accuracy, so it does less.
Timed in turn. Embeddings are random around a random centre per person: time does not depend on what they hold. Appends a row
to results/lfw_evaluation.csv; threads are those the environment allows.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_curve

from common import append_row, machine
from orthodrome.evaluation import read_pairs, verification_from_embeddings
from orthodrome.evaluation.intervals import RESAMPLES
from orthodrome.evaluation.pairs import Pairs, match_embeddings
from orthodrome.types import EmbeddingSet

IMAGES = 13_233
FARS = (0.1, 0.01, 0.001)


def random_embeddings(pairs: Pairs, dimension: int) -> EmbeddingSet:
    """Embeddings of the images of the list, and of enough others to make up the whole of LFW."""
    images = pairs.images()
    ids = [*map(str, images), *(f"other/other_{number:05d}" for number in range(IMAGES - len(images)))]
    labels = np.unique([name.split("/")[0] for name in ids], return_inverse=True)[1]
    random = np.random.default_rng(0)
    vectors = random.normal(size=(labels.max() + 1, dimension))[labels] + 2 * random.normal(size=(len(ids), dimension))
    return EmbeddingSet(vectors.astype(np.float32), labels, tuple(ids))


def usual_tools(embeddings: EmbeddingSet, pairs: Pairs) -> dict[str, np.ndarray]:
    """EER and TAR@FAR with 95 % intervals: a loop over resamples of people around `sklearn.metrics.roc_curve`."""
    units = embeddings.vectors / np.linalg.norm(embeddings.vectors, axis=1, keepdims=True)
    first, second = match_embeddings(embeddings, pairs)
    scores = np.sum(units[first] * units[second], axis=1)
    people = np.asarray(pairs.identities())
    count = people.max() + 1
    random = np.random.default_rng(0)
    rows = []
    for _ in range(RESAMPLES):
        drawn = np.bincount(random.integers(0, count, count), minlength=count)
        weights = np.where(pairs.same, drawn[people[:, 0]], drawn[people[:, 0]] * drawn[people[:, 1]])
        far, tar, _ = roc_curve(pairs.same, scores, sample_weight=weights)
        eer = far[np.argmin(np.abs(far - (1 - tar)))]
        rows.append([eer, *(tar[np.searchsorted(far, limit, side="right") - 1] for limit in FARS)])
    return dict(zip(("EER", *map(str, FARS)), np.quantile(rows, [0.025, 0.975], axis=0).T, strict=True))


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    pairs = read_pairs(arguments.pairs)
    embeddings = random_embeddings(pairs, arguments.dimension)
    ours_found, theirs_found = verification_from_embeddings(embeddings, pairs), usual_tools(embeddings, pairs)
    intervals = (ours_found.eer.interval, *(row.interval for row in ours_found.tar_at_far))
    for interval, (name, (low, high)) in zip(intervals, theirs_found.items(), strict=True):
        print(f"{name}: ours {interval.low:.4f} to {interval.high:.4f}, theirs {low:.4f} to {high:.4f}")
    times = [
        (seconds(lambda: verification_from_embeddings(embeddings, pairs)), seconds(lambda: usual_tools(embeddings, pairs)))
        for _ in range(arguments.rounds)
    ]
    ratios = sorted(theirs / ours for ours, theirs in times)
    ours_median, theirs_median = (float(np.median(side)) for side in zip(*times, strict=True))
    print(f"ours {ours_median:.2f} s, theirs {theirs_median:.2f} s (medians of {len(times)})")
    print(f"theirs takes {np.median(ratios):.1f} × ours, from {ratios[0]:.1f} to {ratios[-1]:.1f}; {machine()}")
    append_row(
        "lfw_evaluation",
        {
            "threads": os.environ.get("OMP_NUM_THREADS", "all"),
            "images": str(IMAGES),
            "dimension": str(arguments.dimension),
            "pairs": str(len(pairs)),
            "resamples": str(RESAMPLES),
            "rounds": str(len(times)),
            "our_seconds": f"{ours_median:.3f}",
            "their_seconds": f"{theirs_median:.3f}",
            "ratio": f"{np.median(ratios):.2f}",
            "ratio_min": f"{ratios[0]:.2f}",
            "ratio_max": f"{ratios[-1]:.2f}",
        },
    )


if __name__ == "__main__":
    main()
