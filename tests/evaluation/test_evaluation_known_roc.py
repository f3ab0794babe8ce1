"""Embeddings whose true ROC is known: von Mises–Fisher people on the sphere, against numerical integration.

Two independent uniform unit vectors in D dimensions have a cosine s with (1 + s)/2 ~ Beta((D − 1)/2, (D − 1)/2). An image of a person with
mean direction μ has the density ∝ exp(κ·μᵀx); its component t along μ has the density ∝ exp(κt)(1 − t²)^((D − 3)/2), and the rest is
uniform on the sphere across. So two images of one person have the cosine t·u + √(1 − t²)·√(1 − u²)·w, with t, u of that density and
(1 + w)/2 ~ Beta((D − 2)/2, (D − 2)/2).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from orthodrome.evaluation.identification import identification
from orthodrome.evaluation.protocols.megaface import measure
from orthodrome.evaluation.streaming import compare_all

special = pytest.importorskip("scipy.special")

DIMENSION, KAPPA = 16, 24.0
NODES, WEIGHTS = np.polynomial.legendre.leggauss(120)


def along_density() -> np.ndarray:
    """Probability of t at the nodes: sums to 1."""
    logarithm = KAPPA * NODES + (DIMENSION - 3) / 2 * np.log1p(-(NODES**2))
    mass = WEIGHTS * np.exp(logarithm - logarithm.max())
    return mass / mass.sum()


def impostor_tail(score: np.ndarray | float) -> np.ndarray:
    """P(cosine of strangers ≥ score)."""
    return 1 - special.betainc((DIMENSION - 1) / 2, (DIMENSION - 1) / 2, (1 + np.asarray(score)) / 2)


def genuine_tail(score: float) -> float:
    """P(cosine of two images of one person ≥ score)."""
    mass = along_density()
    across = np.sqrt(np.outer(1 - NODES**2, 1 - NODES**2))
    w = np.clip((score - np.outer(NODES, NODES)) / across, -1, 1)
    tail = 1 - special.betainc((DIMENSION - 2) / 2, (DIMENSION - 2) / 2, (1 + w) / 2)
    return float(mass @ tail @ mass)


def true_threshold(far: float) -> float:
    return float(2 * special.betaincinv((DIMENSION - 1) / 2, (DIMENSION - 1) / 2, 1 - far) - 1)


def people(count: int, images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``images`` draws of each of ``count`` people with uniform means."""
    random = np.random.default_rng(seed)
    means = np.repeat(strangers(count, seed + 1), images, axis=0)
    fine = np.linspace(-1, 1, 20_001)[1:-1]
    density = np.exp(KAPPA * (fine - 1) + (DIMENSION - 3) / 2 * np.log1p(-(fine**2)))
    t = np.interp(random.random(len(means)), np.cumsum(density) / density.sum(), fine)
    across = random.normal(size=means.shape)
    across -= (across * means).sum(axis=1, keepdims=True) * means
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    return t[:, None] * means + np.sqrt(1 - t**2)[:, None] * across, np.repeat(np.arange(count), images)


def strangers(count: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, DIMENSION))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def within_sampling(measured: float, true: float, trials: int) -> bool:
    return abs(measured - true) < 4 * np.sqrt(max(true * (1 - true), 1 / trials) / trials)


def test_the_reference_integrates_to_what_simple_cases_say() -> None:
    assert genuine_tail(-1.0) == pytest.approx(1)
    assert impostor_tail(0.0) == pytest.approx(0.5)
    assert impostor_tail(true_threshold(1e-3)) == pytest.approx(1e-3)
    images = people(4000, 2, seed=5)[0]
    assert np.mean((images[::2] * images[1::2]).sum(axis=1)) == pytest.approx((along_density() @ NODES) ** 2, abs=0.01)


def test_tar_at_far_of_all_pairs_is_the_true_one() -> None:
    images, labels = people(1500, 2, seed=0)
    for row in compare_all(images, labels, fars=[1e-1, 1e-2, 1e-3, 1e-4], resamples=0).rows:
        assert row.threshold == pytest.approx(true_threshold(row.far), abs=0.01)
        assert row.achieved <= row.far
        assert within_sampling(row.tar, genuine_tail(true_threshold(row.far)), 1500)


@cache
def genuine_mass() -> tuple[np.ndarray, np.ndarray]:
    """Edges of bins of the genuine cosine, and the probability of each bin."""
    edges = np.linspace(-0.3, 1, 120)
    return edges, -np.diff([genuine_tail(edge) for edge in edges])


def true_rank_1(gallery_strangers: int) -> float:
    """P(the mate scores above so many independent strangers) = ∫ F(s)ⁿ dP(genuine ≤ s)."""
    edges, mass = genuine_mass()
    return float(mass @ (1 - impostor_tail((edges[1:] + edges[:-1]) / 2)) ** gallery_strangers)


def test_rank_1_at_growing_distractors_is_the_true_one() -> None:
    images, labels = people(600, 2, seed=1)
    found = measure(images, labels, strangers(3_000, seed=9))
    assert [row["distractors"] for row in found["rank_by_distractors"]] == [10, 100, 1000, 3000]
    for row in found["rank_by_distractors"]:
        assert within_sampling(row["rate"], true_rank_1(row["distractors"]), 600)
    assert found["rank_by_distractors"][0]["rate"] > found["rank_by_distractors"][-1]["rate"]


def test_open_set_rates_are_the_true_ones() -> None:
    """FPIR of a gallery of G at threshold t is 1 − F(t)^G, so the threshold is that of FAR = 1 − (1 − FPIR)^(1/G)."""
    images, labels = people(500, 2, seed=2)
    others = strangers(4000, seed=11)
    probes, probe_labels = np.concatenate([images[::2], others]), np.append(labels[::2], 10_000 + np.arange(4000))
    report = identification(probes, probe_labels, images[1::2], labels[1::2], ranks=(1,), fpirs=(0.1, 0.01))
    for row in report.open_set:
        threshold = true_threshold(1 - (1 - row.fpir) ** (1 / 500))
        assert row.threshold == pytest.approx(threshold, abs=0.03)
        assert within_sampling(row.tpir, genuine_tail(threshold), 500)
    assert within_sampling(report.rank(1).rate, true_rank_1(499), 500)
