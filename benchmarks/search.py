"""How near is exact search to the speed of the matrix product, and to faiss's flat index? `python benchmarks/search.py`

The 1 and the 10 best of a gallery for each probe, and how many of a gallery score as high as the probe's own image (the rank at a growing
number of distractors). In turn, on the same made-up embeddings (people as von Mises–Fisher-like clusters, 512-d): the bare float32
products of all tiles, nothing looked at; `top_k` and `count_at_or_above` from embeddings that are not normalised; and, for the best,
`faiss.IndexFlatIP.search`, the usual way, on unit vectors that are in its index already. Speeds are comparisons a second. Needs the extra
"bench". Memory is the growth of the process over the first search, beside embeddings and index. Appends rows to results/search.csv.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import faiss
import numpy as np
import torch

from common import append_row, machine
from compare_all import beside_product, growth, people, product
from orthodrome.evaluation.scores import score_block, unit_vectors
from orthodrome.evaluation.streaming import count_at_or_above, top_k
from orthodrome.evaluation.streaming.screens import FLOAT32

Step = Callable[[], object]


def check(dimension: int) -> None:
    """What is found is what brute force finds, before anything is timed."""
    gallery, probes = people(3000, dimension, 0)[0], people(200, dimension, 1)[0]
    scores = score_block(unit_vectors(probes), unit_vectors(gallery))
    order = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    assert np.array_equal(top_k(probes, gallery, 10).rows, order)
    levels = scores[:, 0]
    assert np.array_equal(count_at_or_above(probes, levels, gallery, [3000])[:, 0], (scores >= levels[:, None]).sum(axis=1))


def flat_index(gallery: np.ndarray) -> faiss.IndexFlatIP:
    """faiss's exact index of unit vectors."""
    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexFlatIP(gallery.shape[1])
    index.add(unit_vectors(gallery))
    return index


def report(what: str, bare: Step, step: Step, comparisons: int, dimension: int, rounds: int) -> None:
    """Print and keep one row."""
    bare()
    _, grown = growth(step)
    row = beside_product(bare, step, comparisons, rounds)
    row = {"what": what, "dimension": str(dimension), **row, "mib": f"{grown:.0f}"}
    print(row, flush=True)
    append_row("search", row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--probes", type=int, default=8_192)
    parser.add_argument("--gallery", type=int, default=262_144)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    check(given.dimension)
    gallery, _ = people(given.gallery, given.dimension, 0)
    probes, _ = people(given.probes, given.dimension, 0)  # the same people
    probes += 0.5 * np.random.default_rng(1).standard_normal(probes.shape, dtype=np.float32)
    own = top_k(probes, gallery[: given.probes], 1).scores[:, 0]
    units, index = unit_vectors(probes), flat_index(gallery)
    sizes = [10**power for power in range(1, len(str(given.gallery)))]
    print(machine())
    steps: dict[str, Step] = {f"top {k}": partial(top_k, probes, gallery, k) for k in (1, 10)}
    steps |= {f"faiss {faiss.__version__} IndexFlatIP, top {k}": partial(index.search, units, k) for k in (1, 10)}
    steps["rank at growing distractors"] = partial(count_at_or_above, probes, own, gallery, sizes)
    for what, step in steps.items():
        report(what, product(FLOAT32, probes, gallery), step, given.probes * given.gallery, given.dimension, given.rounds)


if __name__ == "__main__":
    main()
