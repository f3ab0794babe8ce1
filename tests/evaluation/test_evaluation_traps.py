"""Every known trap of published evaluation scripts, by name, and bad input that has to be named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orthodrome.evaluation import PROTOCOLS, roc_curve, tar_at_far, verification, verification_from_embeddings
from orthodrome.evaluation.conventions import CONVENTIONS, nearest_tars
from orthodrome.evaluation.pairs import read_pairs
from orthodrome.evaluation.protocols.verification import verify_in_order
from orthodrome.types import EmbeddingSet, InputError

PAIRS = "2\t2\nAnn\t1\t2\nBob\t1\t2\nAnn\t1\tBob\t1\nAnn\t2\tCleo\t1\nCleo\t1\t2\nDan\t1\t2\nCleo\t1\tDan\t1\nDan\t2\tAnn\t1\n"
IMAGES = [f"{name}/{name}_{number:04d}" for name in ("Ann", "Bob", "Cleo", "Dan") for number in (1, 2)]


@pytest.fixture
def list_file(tmp_path: Path) -> Path:
    (tmp_path / "pairs.txt").write_text(PAIRS)
    return tmp_path / "pairs.txt"


def faces(**changed: list[float]) -> EmbeddingSet:
    vectors = np.eye(4, dtype=np.float32).repeat(2, axis=0) + 0.1
    for name, vector in changed.items():
        vectors[IMAGES.index(f"{name[:-1]}/{name[:-1]}_000{name[-1]}")] = vector
    return EmbeddingSet(vectors, np.full(8, -1), tuple(IMAGES))


def test_trap_interpolating_on_duplicate_fars() -> None:
    """Three genuines share the FAR of 0: interpolation picks any of them; the exact rule takes the laxest threshold that keeps FAR."""
    genuine, impostor = np.float32([0.9, 0.8, 0.7, 0.2]), np.float32([0.6, 0.5, 0.4, 0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    row = tar_at_far(genuine, impostor, [0.1])[0]
    assert (row.tar, row.accepted_impostor) == (0.75, 1)
    assert (roc_curve(genuine, impostor).far == 0).sum() == 4  # the duplicates


def test_trap_fixed_grid_of_thresholds() -> None:
    """Scores closer than the grid's 0.01: a grid sees one threshold and half the pairs wrong, the data separate them fully."""
    same = np.tile([True, False], 20)
    scores = np.where(same, 0.5031, 0.503).astype(np.float32)
    folds = np.arange(40) // 4
    assert verification(scores, same, folds).accuracy == 1.0
    assert CONVENTIONS.get("insightface")(scores, same, 10)["accuracy"] == 0.5


def test_trap_strict_comparison_on_ties() -> None:
    """The accepted score itself is accepted: ≥, not >."""
    row = tar_at_far(np.float32([0.5, 0.5, 0.5]), np.float32([0.5, *[0.1] * 9]), [0.1])[0]
    assert (row.accepted_genuine, row.accepted_impostor) == (3, 1)
    row = tar_at_far(np.float32([0.5, 0.5, 0.5]), np.float32([0.5, 0.5, *[0.1] * 8]), [0.1])[0]
    assert (row.accepted_genuine, row.accepted_impostor) == (0, 0)  # the tie would let two in, so none passes


def test_trap_standard_deviation_called_standard_error() -> None:
    random = np.random.default_rng(0)
    same = np.tile([True, False], 100)
    report = verification(random.normal(same.astype(float), 1), same, np.arange(200) // 20)
    accuracies = [fold.accuracy for fold in report.folds]
    assert report.standard_error == pytest.approx(np.std(accuracies, ddof=1) / np.sqrt(10))
    assert report.standard_error != pytest.approx(np.std(accuracies))


def test_trap_folds_cut_anew_after_a_pair_was_dropped(list_file: Path) -> None:
    """A missing image is an error, not a shorter list: cut by position, the folds after it would change."""
    some = EmbeddingSet(faces().vectors[1:], np.full(7, -1), tuple(IMAGES[1:]))
    with pytest.raises(InputError, match=r"pairs.txt:2: no embedding has the id 'Ann/Ann_0001'"):
        verification_from_embeddings(some, read_pairs(list_file))
    list_file.write_text(PAIRS.replace("Bob\t1\t2\n", ""))
    with pytest.raises(InputError, match="announces 2 folds of 2 \\+ 2 pairs, 8 lines; got 7"):
        read_pairs(list_file)


def test_trap_single_class_folds() -> None:
    with pytest.raises(InputError, match="fold 0 has only genuine pairs"):
        verification(np.arange(8.0), np.arange(8) < 4, np.arange(8) // 4)


def test_trap_tar_at_the_nearest_far() -> None:
    """2 of 9 impostors tie: the FAR nearest to 0.2 is 0.222, above it. The exact rule stays at or below."""
    genuine, impostor = np.float32([0.9, 0.5, 0.4]), np.float32([0.5, 0.5, *[0.1] * 7])
    exact = tar_at_far(genuine, impostor, [0.2])[0]
    assert (exact.achieved, exact.tar) == (0.0, 1 / 3)
    scores, same = np.append(genuine, impostor), np.arange(12) < 3
    assert nearest_tars(scores, same, [0.2])[0.2] > exact.tar


def test_trap_unknown_ids_mapped_to_row_0(list_file: Path) -> None:
    renamed = EmbeddingSet(faces().vectors, np.full(8, -1), ("other/other_0001", *IMAGES[1:]))
    with pytest.raises(InputError, match="no embedding has the id 'Ann/Ann_0001'"):
        verification_from_embeddings(renamed, read_pairs(list_file))


@pytest.mark.parametrize(("vector", "message"), [([0, 0, 0, 0], "is zero"), ([1, np.nan, 0, 0], "holds NaN")])
def test_unusable_embeddings_are_named_by_row_and_id(list_file: Path, vector: list[float], message: str) -> None:
    with pytest.raises(InputError, match=rf"row 3 \('Bob/Bob_0002'\) {message}"):
        verification_from_embeddings(faces(Bob2=vector), read_pairs(list_file))


def test_one_class_and_no_impostors() -> None:
    with pytest.raises(InputError, match="only genuine pairs"):
        verification([0.1, 0.2, 0.3, 0.4], [True] * 4, [1, 1, 2, 2])
    with pytest.raises(InputError, match="impostor scores is empty"):
        tar_at_far([0.5], [], [0.1])


def test_all_equal_scores_are_a_coin_toss(list_file: Path) -> None:
    same = np.tile([True, False], 10)
    report = verification(np.full(20, 0.5, np.float32), same, np.arange(20) // 4)
    assert report.accuracy == 0.5
    assert report.eer.rate == 0.5
    assert report.tar_at_far[0].accepted_impostor == report.tar_at_far[0].accepted_genuine == 0


def test_pairs_listed_twice_count_twice_and_are_told(list_file: Path) -> None:
    list_file.write_text(PAIRS.replace("Dan\t2\tAnn\t1", "Bob\t1\tAnn\t1"))
    protocol = PROTOCOLS.get("pairs")
    result = protocol.run(faces(), protocol.read(list_file))
    report, told = result.to_report(), "1 pairs are listed again and count again, the first of them in lines 4 and 9"
    assert report.metrics["counts"]["impostor"] == 4
    assert any(told in note for note in report.notes)
    assert told in result.summary()


def test_the_terminal_warns_of_accuracy_and_eer_read_off_few_errors(list_file: Path) -> None:
    protocol = PROTOCOLS.get("pairs")
    for options in ({}, {"convention": "insightface"}):
        lines = protocol.run(faces(), protocol.read(list_file), options).summary().splitlines()
        accuracy, eer = (next(line for line in lines if line.startswith(f"  {name} ")) for name in ("accuracy", "EER"))
        assert "! no wrong decisions in 8: the true error rate may be up to 0.38 (rule of 3)" in accuracy
        assert "! no accepted impostors in 4" in eer


def test_labels_of_the_wrong_length() -> None:
    with pytest.raises(InputError, match=r"same must have shape \(2,\)"):
        verification([0.1, 0.2], [True, False, True], [1, 2])
    with pytest.raises(InputError, match=r"labels must have shape \(2,\)"):
        EmbeddingSet(np.ones((2, 3), np.float32), np.zeros(3, np.int64), ("a", "b"))


def test_convention_is_an_option_and_never_the_default(list_file: Path) -> None:
    protocol = PROTOCOLS.get("lfw")
    plain, told = (protocol.run(faces(), protocol.read(list_file), options) for options in ({}, {"convention": "insightface"}))
    assert "compatibility" not in plain.to_report().metrics
    assert told.to_report().metrics["compatibility"]["convention"] == "insightface"
    assert told.to_report().metrics["accuracy"] == plain.to_report().metrics["accuracy"]
    assert "convention insightface" in told.summary()


def test_convention_of_pairs_cut_by_position(list_file: Path) -> None:
    """A fold of one kind takes the k-fold accuracy away, not what another toolkit would print."""
    pairs = replace(read_pairs(list_file), folds=np.int64([1, 1, 2, 2, 3, 3, 4, 4]))
    report = verify_in_order(faces(), pairs, protocol="bin", title="a .bin", convention="insightface").to_report()
    assert "accuracy" not in report.metrics
    assert report.metrics["compatibility"]["convention"] == "insightface"
    assert "compatibility" not in verify_in_order(faces(), pairs, protocol="bin", title="a .bin").to_report().metrics
