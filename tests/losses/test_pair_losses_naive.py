"""Pair losses against plain Python loops over floats, with and without a memory, and over batches that have nothing
to compare.
"""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch

from orthodrome import PairHead

D = 4

Vector = list[float]


def unit(a: Vector) -> Vector:
    n = math.sqrt(sum(p * p for p in a))
    return [p / n for p in a]


def cosine(a: Vector, b: Vector) -> float:
    return sum(p * q for p, q in zip(unit(a), unit(b), strict=True))


def euclid(a: Vector, b: Vector) -> float:
    return math.sqrt(sum((p - q) ** 2 for p, q in zip(unit(a), unit(b), strict=True)))


def mean(terms: Vector) -> float:
    return sum(terms) / len(terms) if terms else 0.0


def lse(terms: Vector) -> float:
    return max(terms) + math.log(sum(math.exp(z - max(terms)) for z in terms))


def zeta(z: float) -> float:
    return max(z, 0) + math.log1p(math.exp(-abs(z)))


class Compared:
    """A batch and its keys: the batch first, then earlier embeddings."""

    def __init__(self, xs: list[Vector], ys: list[int], past: list[Vector], past_labels: list[int]) -> None:
        self.xs, self.keys, self.labels = xs, xs + past, ys + past_labels

    def positives(self, i: int) -> list[int]:
        return [k for k in range(len(self.keys)) if k != i and self.labels[k] == self.labels[i]]

    def negatives(self, i: int) -> list[int]:
        return [k for k in range(len(self.keys)) if self.labels[k] != self.labels[i]]

    def pairs(self) -> list[tuple[int, int]]:
        return [(i, p) for i in range(len(self.xs)) for p in self.positives(i)]

    def both(self) -> list[int]:
        return [i for i in range(len(self.xs)) if self.positives(i) and self.negatives(i)]

    def cos(self, i: int, k: int) -> float:
        return cosine(self.keys[i], self.keys[k])

    def dist(self, i: int, k: int) -> float:
        return euclid(self.keys[i], self.keys[k])


def contrastive(data: Compared) -> float:
    pull = [data.dist(i, p) for i, p in data.pairs()]
    push = [1 - data.dist(i, n) for i in range(len(data.xs)) for n in data.negatives(i)]
    return mean([v for v in pull if v > 0]) + mean([v for v in push if v > 0])


def contrastive_cosine(data: Compared) -> float:
    pull = [0.9 - data.cos(i, p) for i, p in data.pairs()]
    push = [data.cos(i, n) - 0.2 for i in range(len(data.xs)) for n in data.negatives(i)]
    return mean([v for v in pull if v > 0]) + mean([v for v in push if v > 0])


def gaps(data: Compared, squared: bool = False) -> list[float]:
    power = 2 if squared else 1
    return [data.dist(i, p) ** power - data.dist(i, n) ** power + 0.2 for i, p in data.pairs() for n in data.negatives(i)]


def triplet_all(data: Compared) -> float:
    return mean([v for v in gaps(data) if v > 0])


def triplet_facenet(data: Compared) -> float:
    return mean([v for v in gaps(data, squared=True) if 0 < v < 0.2])


def triplet_hard(data: Compared) -> float:
    return mean(
        [
            max(0, max(data.dist(i, p) for p in data.positives(i)) - min(data.dist(i, n) for n in data.negatives(i)) + 0.2)
            for i in data.both()
        ]
    )


def n_pair(data: Compared, s: float = 16.0) -> float:
    return mean(
        [
            zeta(lse([s * data.cos(i, n) for n in data.negatives(i)]) - s * data.cos(i, p))
            for i in data.both()
            for p in data.positives(i)
        ]
    )


def supcon(data: Compared) -> float:
    terms = []
    for i in range(len(data.xs)):
        everyone = data.positives(i) + data.negatives(i)
        if data.positives(i):
            terms.append(mean([lse([data.cos(i, a) / 0.1 for a in everyone]) - data.cos(i, p) / 0.1 for p in data.positives(i)]))
    return mean(terms)


def circle_terms(data: Compared, m: float, s: float, pairs: list[tuple[int, int]], same: bool) -> list[float]:
    cosines = [data.cos(i, k) for i, k in pairs]
    if same:
        return [-s * max(1 + m - c, 0) * (c - 1 + m) for c in cosines]
    return [s * max(c + m, 0) * (c - m) for c in cosines]


def circle(data: Compared) -> float:
    terms = []
    for i in data.both():
        positives = circle_terms(data, 0.4, 80, [(i, p) for p in data.positives(i)], True)
        negatives = circle_terms(data, 0.4, 80, [(i, n) for n in data.negatives(i)], False)
        terms.append(zeta(lse(positives) + lse(negatives)))
    return mean(terms)


def circle_pooled(data: Compared) -> float:
    once = [(i, k) for i, k in product(range(len(data.xs)), range(len(data.keys))) if k > i]
    positives = circle_terms(data, 0.25, 256, [(i, k) for i, k in once if data.labels[i] == data.labels[k]], True)
    negatives = circle_terms(data, 0.25, 256, [(i, k) for i, k in once if data.labels[i] != data.labels[k]], False)
    return zeta(lse(positives) + lse(negatives)) if positives and negatives else 0.0


def lifted(data: Compared) -> float:
    return mean(
        [
            max(0, lse([data.dist(i, p) for p in data.positives(i)]) + lse([1 - data.dist(i, n) for n in data.negatives(i)]))
            for i in data.both()
        ]
    )


def lifted_original(data: Compared) -> float:
    terms = []
    for i, p in data.pairs():
        of_other = [n for n in range(len(data.xs)) if data.labels[n] != data.labels[p]]
        outside = [1 - data.dist(i, n) for n in data.negatives(i)] + [1 - data.dist(p, n) for n in of_other]
        if outside:
            terms.append(max(0, lse(outside) + data.dist(i, p)) ** 2 / 2)
    return mean(terms)


NAIVE = {
    "contrastive": (contrastive, {}),
    "contrastive cosine": (contrastive_cosine, {"distance": "cosine", "pos_margin": 0.9, "neg_margin": 0.2}),
    "triplet": (triplet_all, {}),
    "triplet@facenet": (triplet_facenet, {}),
    "triplet@batch-hard": (triplet_hard, {}),
    "n_pair": (n_pair, {}),
    "nt_xent": (lambda data: n_pair(data, 10.0), {}),
    "supcon": (supcon, {}),
    "circle_pair": (circle, {}),
    "circle_pair@authors": (circle_pooled, {}),
    "lifted_structure": (lifted, {}),
    "lifted_structure@original": (lifted_original, {}),
}

BATCHES = {
    "mixed": [0, 0, 1, 1, 1, 2, 3, 0],
    "no positives": [0, 1, 2, 3, 4, 5, 6, 7],
    "no negatives": [5] * 8,
    "one of each": [0, 1],
    "alone": [3],
}


def batch(labels: list[int], seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(len(labels), D, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("labels", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("name", NAIVE)
def test_against_loops(name: str, labels: list[int]) -> None:
    reference, hyper = NAIVE[name]
    head = PairHead(name.split()[0], **hyper)
    for seed in range(3):
        x = batch(labels, seed)
        found = float(head(x, torch.tensor(labels)).loss)
        assert found == pytest.approx(reference(Compared(x.tolist(), labels, [], [])), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", NAIVE)
def test_against_loops_with_a_memory(name: str) -> None:
    """A ring of 11 keys under batches of 8: the second batch meets all of the first, the third what is left of both."""
    reference, hyper = NAIVE[name]
    head = PairHead(name.split()[0], memory=11, **hyper)
    labels = BATCHES["mixed"]
    past: list[tuple[Vector, int]] = []
    for seed in range(4):
        x = batch(labels, seed)
        found = float(head(x, torch.tensor(labels)).loss)
        expected = reference(Compared(x.tolist(), labels, [v for v, _ in past], [y for _, y in past]))
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)
        past = [*past, *zip(x.tolist(), labels, strict=True)][-11:]
