"""The canonical score: exact, the same whatever computes it, and strict about what it is given."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from orthodrome.evaluation.scores import canonical_scores, pair_scores, rounded_once, score_block, unit_vectors
from orthodrome.types import InputError


def embeddings(count: int, dimension: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)


def naive_score(a: np.ndarray, b: np.ndarray) -> np.float32:
    """The definition, one number at a time, with Python's float64."""

    def unit(x: np.ndarray) -> list[float]:
        norm = 0.0
        for value in x.tolist():
            norm += value * value
        return [float(np.float32(value / math.sqrt(norm))) for value in x.tolist()]

    total = 0.0
    for x, y in zip(unit(a), unit(b), strict=True):
        total += x * y
    return np.float32(total)


def test_equals_the_definition_bit_for_bit() -> None:
    a, b = embeddings(40, 33, 1), embeddings(40, 33, 2)
    expected = np.array([naive_score(x, y) for x, y in zip(a, b, strict=True)])
    scores = canonical_scores(a, b)
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, expected)


@pytest.mark.parametrize("dimension", [1, 3, 128, 512])
def test_a_block_equals_its_pairs_bit_for_bit(dimension: int) -> None:
    units_a, units_b = unit_vectors(embeddings(70, dimension, 3)), unit_vectors(embeddings(90, dimension, 4))
    block = score_block(units_a, units_b)
    pairs = [canonical_scores_of_units(units_a, np.broadcast_to(row, units_a.shape)) for row in units_b]
    np.testing.assert_array_equal(block, np.stack(pairs, axis=1))


@pytest.mark.parametrize("dimension", [1, 2, 31, 512, 4096])
def test_unit_vectors_are_those_of_the_ordered_sum_bit_for_bit(dimension: int) -> None:
    """Also where the fast sum could round another way: of 4,096 dimensions some row in twenty-five."""
    generator = np.random.default_rng(dimension)
    given = (embeddings(600, dimension, dimension) * np.exp(generator.normal(0, 20, (600, 1)))).astype(np.float32)
    exact = given.astype(np.float64)
    lengths = np.sqrt(np.add.accumulate(exact * exact, axis=1)[:, -1:])
    np.testing.assert_array_equal(unit_vectors(given).view(np.int32), (exact / lengths).astype(np.float32).view(np.int32))


def canonical_scores_of_units(units_a: np.ndarray, units_b: np.ndarray) -> np.ndarray:
    total = np.zeros(len(units_a))
    for d in range(units_a.shape[1]):
        total = total + units_a[:, d].astype(np.float64) * units_b[:, d].astype(np.float64)
    return total.astype(np.float32)


def test_a_product_off_by_less_than_the_bound_changes_no_score() -> None:
    """Another BLAS sums in another order: planted here as noise, far above what a BLAS does, just inside the bound."""
    units_a, units_b = unit_vectors(embeddings(500, 512, 9)), unit_vectors(embeddings(600, 512, 10))
    product = units_a.astype(np.float64) @ units_b.astype(np.float64).T
    noise = np.random.default_rng(0).uniform(-1, 1, product.shape) * 3.9 * 512 * 2.0**-53
    expected = score_block(units_a, units_b)
    assert ((product + noise).astype(np.float32) != expected).any()
    np.testing.assert_array_equal(rounded_once(product + noise, units_a, units_b), expected)


def test_the_float64_sum_is_within_the_bound_the_block_relies_on() -> None:
    units = unit_vectors(embeddings(12, 512, 5))
    bound = 4 * 512 * 2.0**-53
    for a, b in zip(units[:6], units[6:], strict=True):
        exact = sum(Fraction(float(x)) * Fraction(float(y)) for x, y in zip(a, b, strict=True))
        assert abs(Fraction(float(a.astype(np.float64) @ b.astype(np.float64))) - exact) < bound / 2


def test_scale_changes_nothing_and_extremes_survive() -> None:
    a, b = embeddings(20, 16, 6), embeddings(20, 16, 7)
    np.testing.assert_array_equal(canonical_scores(a * 4, b / 8), canonical_scores(a, b))
    huge, tiny = np.full((1, 4), 3e38, np.float32), np.full((1, 4), 1e-42, np.float32)
    assert canonical_scores(huge, tiny)[0] == pytest.approx(1, abs=1e-6)


def test_errors_name_the_row_and_the_id() -> None:
    good, bad = embeddings(5, 8), embeddings(5, 8)
    bad[3] = 0
    with pytest.raises(InputError, match="row 3 is zero"):
        canonical_scores(good, bad)
    bad[3, 2] = np.nan
    with pytest.raises(InputError, match=r"row 3 \('d.jpg'\) holds NaN"):
        unit_vectors(bad, ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg"])
    with pytest.raises(InputError, match="one shape"):
        canonical_scores(good, good[:4])
    with pytest.raises(InputError, match="row 0 holds NaN or infinity"):
        unit_vectors(np.array([[1e300, 1.0]]))


def test_pair_scores_are_all_pairs_once_in_order() -> None:
    vectors, labels = embeddings(300, 6, 8), np.arange(300) // 3
    found = pair_scores(vectors, labels)
    first, second = np.triu_indices(300, 1)
    np.testing.assert_array_equal(found.scores, canonical_scores(vectors[first], vectors[second]))
    np.testing.assert_array_equal(found.same, labels[first] == labels[second])
    np.testing.assert_array_equal(found.identities, np.stack([labels[first], labels[second]], axis=1))
    assert len(found) == 300 * 299 // 2
    assert found.same.sum() == 300


def test_pair_scores_errors() -> None:
    vectors = embeddings(5, 4)
    with pytest.raises(InputError, match="-1 at position 2"):
        pair_scores(vectors, [0, 0, -1, 1, 1])
    with pytest.raises(InputError, match=r"labels must be integers of shape \(5,\)"):
        pair_scores(vectors, [0, 1])
    with pytest.raises(InputError, match=r"10 comparisons; between 1 and 9 fit.*streaming"):
        pair_scores(vectors, [0, 0, 1, 1, 2], limit=9)
    with pytest.raises(InputError, match="0 comparisons"):
        pair_scores(vectors[:1], [0])
