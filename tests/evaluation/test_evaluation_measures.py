"""Templates, fairness, overlap, FNMR@FMR and other toolkits' conventions, against values worked out by hand or by their own libraries."""

from __future__ import annotations

import numpy as np
import pytest

from orthodrome.evaluation import roc_curve, tar_at_far
from orthodrome.evaluation.conventions import CONVENTIONS, cut_by_position, interpolated_tars, nearest_tars
from orthodrome.evaluation.det import det_curve, fnmr_at_fmr
from orthodrome.evaluation.fairness import fairness
from orthodrome.evaluation.overlap import overlap_by_embedding, overlap_by_name, people_of
from orthodrome.evaluation.templates import WEIGHTINGS, pool
from orthodrome.types import EmbeddingSet, InputError

VECTORS = np.array([[2, 0], [4, 0], [0, 3], [0, 1], [5, 5]], dtype=np.float32)


def test_template_is_the_sum_over_media_of_the_mean_within_a_media() -> None:
    """Template 7: media 1 holds rows 0 and 1 (mean (3, 0)), media 2 row 2: sum (3, 3). Template 9: rows 3 and 4, one media."""
    names, vectors = pool(VECTORS, np.array([7, 7, 7, 9, 9]), np.array([1, 1, 2, 1, 1]))
    assert names.tolist() == [7, 9]
    assert vectors.tolist() == [[3, 3], [2.5, 3]]
    assert pool(VECTORS, np.array([7, 7, 7, 9, 9]))[1].tolist() == [[6, 3], [5, 6]]  # without media every image is its own


def test_order_of_rows_does_not_change_a_template() -> None:
    random = np.random.default_rng(0)
    vectors, templates, media = random.normal(size=(50, 8)), random.integers(0, 6, 50), random.integers(0, 3, 50)
    order = random.permutation(50)
    np.testing.assert_allclose(
        pool(vectors, templates, media)[1], pool(vectors[order], templates[order], media[order])[1], rtol=1e-6
    )


def test_weightings() -> None:
    scores = np.array([1, 0.5, 1, 1, 1])
    assert WEIGHTINGS.get("equal")(VECTORS, None)[1].tolist() == [1, 0]
    assert WEIGHTINGS.get("norm")(VECTORS, None)[1].tolist() == [4, 0]
    assert WEIGHTINGS.get("detector")(VECTORS, scores)[1].tolist() == [0.5, 0]
    assert WEIGHTINGS.get("norm+detector")(VECTORS, scores)[1].tolist() == [2, 0]
    with pytest.raises(InputError, match="needs the detector's scores"):
        WEIGHTINGS.get("detector")(VECTORS, None)


def grouped() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Group a: 4 genuine (one low), 10 impostor (two high); b: 4 genuine, 10 impostor (one high); 20 impostors across, all low."""
    scores = [0.9, 0.9, 0.9, 0.1, *[0.8, 0.8], *[0.0] * 8, 0.9, 0.9, 0.9, 0.9, 0.8, *[0.0] * 9, *[0.0] * 20]
    same = [True] * 4 + [False] * 10 + [True] * 4 + [False] * 10 + [False] * 20
    groups = [["a", "a"]] * 14 + [["b", "b"]] * 14 + [["a", "b"]] * 20
    return np.array(scores), np.array(same), np.array(groups)


def test_fairness_by_hand() -> None:
    found = fairness(*grouped(), far=0.1)  # 40 impostors: four may pass, three do
    a, b = found.groups
    assert (a.accepted_impostor, a.impostor, a.rejected_genuine, a.genuine) == (2, 10, 0, 4)
    assert (b.accepted_impostor, b.impostor, b.rejected_genuine, b.genuine) == (1, 10, 0, 4)
    assert found.overall.accepted_impostor == 3
    assert found.ratios["FMR max/min"] == pytest.approx(2)
    assert found.ratios["FMR max/geometric mean"] == pytest.approx(0.2 / np.sqrt(0.02))
    assert found.ratios["FNMR max/min"] is None  # both are 0 at this threshold
    strict = fairness(*grouped(), far=0.025)  # one of 40 may pass, three tie: none does
    assert [row.rejected_genuine for row in strict.groups] == [1, 0]
    assert strict.ratios["FDR"] == pytest.approx(1 - 0.5 * 0 - 0.5 * 0.25)


def test_fairness_uses_one_global_threshold() -> None:
    """A threshold for each group would reject b's one impostor and accept a's two at equal FMR."""
    found = fairness(*grouped(), far=0.1)
    scores, same, groups = grouped()
    accepted = scores >= found.threshold
    for row in found.groups:
        members = (groups == row.group).all(axis=1)
        assert row.accepted_impostor == (accepted & members & ~same).sum()


def test_fairness_refuses() -> None:
    scores, same, groups = grouped()
    with pytest.raises(InputError, match=r"groups must have shape \(48, 2\)"):
        fairness(scores, same, groups[:, 0], far=0.1)
    groups[0, 1] = "b"
    with pytest.raises(InputError, match="pair 0 is of one person, whose group is both 'a' and 'b'"):
        fairness(scores, same, groups, far=0.1)
    with pytest.raises(InputError, match="fairness compares groups; got one"):
        fairness(scores, same, np.full((48, 2), "a"), far=0.1)


def test_overlap_by_name_forgives_writing() -> None:
    found = overlap_by_name(["José_Núñez", "ann lee", "Bob"], ["Jose Nunez", "Ann_Lee", "Ann_Lee", "Cleo"])
    assert found["pairs"] == [{"train": "José_Núñez", "test": "Jose Nunez"}, {"train": "ann lee", "test": "Ann_Lee"}]
    assert found["text"].startswith("2 of 3 test people")


def people(names: list[str], vectors: list[list[float]]) -> EmbeddingSet:
    ids = tuple(f"{name}/{name}_{number:04d}" for number, name in enumerate(names))
    return EmbeddingSet(np.array(vectors, dtype=np.float32), np.full(len(names), -1), ids)


def test_overlap_by_embedding_finds_the_planted_person() -> None:
    train = people(["a", "a", "b"], [[1, 0, 0], [1, 0.1, 0], [0, 0, 1]])
    test = people(["x", "y"], [[1, 0.05, 0], [0, 1, 0]])
    found = overlap_by_embedding(train, test, threshold=0.9)
    assert (found["pairs"][0]["train"], found["pairs"][0]["test"]) == ("a", "x")
    assert "1 test people score at or above 0.9" in found["text"]
    assert [pair["test"] for pair in found["pairs"]] == ["x", "y"]


def test_people_are_read_off_ids() -> None:
    ids = ("faces/Ann_Lee/1.jpg", "Bob_Ray_0002.jpg", "plain")
    assert people_of(EmbeddingSet(np.ones((3, 2), np.float32), np.zeros(3, np.int64), ids)) == ("Ann_Lee", "Bob_Ray", "plain")


def test_failures_to_enrol_are_non_matches() -> None:
    genuine, impostor = np.float32([0.9, 0.8, 0.1]), np.float32([0.0] * 9 + [0.5])
    clean, failed = fnmr_at_fmr(genuine, impostor, [0.1])[0], fnmr_at_fmr(genuine, impostor, [0.1], failures=2)[0]
    assert (clean.rejected_genuine, clean.genuine, clean.fnmr) == (0, 3, 0.0)
    assert (failed.rejected_genuine, failed.genuine, failed.failures) == (2, 5, 2)
    everything = fnmr_at_fmr(genuine, impostor, [1], failures=2)[0]
    assert (everything.threshold, everything.rejected_genuine, everything.genuine) == (0.0, 2, 5)
    fmr, fnmr = det_curve(genuine, impostor, failures=2)
    assert (fmr[0], fnmr[0]) == (0, 1)
    assert fnmr[-1] == 2 / 5  # no threshold accepts a face that was not enrolled
    with pytest.raises(InputError, match="failures is a number ≥ 0"):
        fnmr_at_fmr(genuine, impostor, [0.1], failures=-1)


def test_fnmr_is_one_minus_tar() -> None:
    random = np.random.default_rng(0)
    genuine, impostor = random.normal(1, 1, 200), random.normal(-1, 1, 500)
    for row, mirrored in zip(
        tar_at_far(genuine, impostor, [0.1, 0.01]), fnmr_at_fmr(genuine, impostor, [0.1, 0.01]), strict=True
    ):
        assert (mirrored.threshold, mirrored.accepted_impostor) == (row.threshold, row.accepted_impostor)
        assert mirrored.fnmr == pytest.approx(1 - row.tar)
    fmr, fnmr = det_curve(genuine, impostor)
    curve = roc_curve(genuine, impostor)
    np.testing.assert_array_equal(fmr, curve.far)
    np.testing.assert_array_equal(fnmr, 1 - curve.tar)


def test_conventions_are_what_the_others_code_gives() -> None:
    """scikit-learn's ROC, read at the nearest FPR from the lax end (insightface) and by scipy's interp1d (opensphere)."""
    metrics = pytest.importorskip("sklearn.metrics")
    interp1d = pytest.importorskip("scipy.interpolate").interp1d
    random = np.random.default_rng(0)
    for _ in range(20):
        scores, same = random.normal(size=300).round(1).astype(np.float32), random.random(300) < 0.4
        fpr, tpr, _ = metrics.roc_curve(same, scores)
        near, between = nearest_tars(scores, same), interpolated_tars(scores, same)
        for asked in near:
            flipped = np.flipud(fpr)
            position = min(zip(abs(flipped - asked), range(len(flipped)), strict=True))[1]
            assert near[asked] == pytest.approx(np.flipud(tpr)[position])
            assert between[asked] == pytest.approx(float(interp1d(fpr, tpr)(asked)))


def test_convention_insightface_is_a_grid_a_strict_comparison_and_ddof_0() -> None:
    """Distances 2 − 2·0.5 = 1 meet the grid exactly: with a strict < the pair is rejected at threshold 1.00, accepted from 1.01."""
    same = np.tile([True, False], 10)
    scores = np.where(same, np.float32(0.5), np.float32(0.25)).astype(np.float32)
    scores[1] = 0.75  # one impostor above
    found = CONVENTIONS.get("insightface")(scores, same, 10)
    assert found["accuracy"] == pytest.approx(0.95)
    assert found["plus_minus"] == pytest.approx(np.std([0.5] + [1.0] * 9))
    assert "ddof = 0" in found["text"]


def test_convention_opensphere_chooses_on_the_test_pairs() -> None:
    same = np.tile([True, False], 4)
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.65, 0.1, 0.3, 0.2])
    found = CONVENTIONS.get("opensphere")(scores, same, 2)
    assert found["accuracy"] == 6 / 8
    assert found["plus_minus"] is None


def test_cutting_by_position_makes_the_first_folds_longer() -> None:
    assert [int(mask.sum()) for mask in cut_by_position(23, 10)] == [3, 3, 3, 2, 2, 2, 2, 2, 2, 2]
