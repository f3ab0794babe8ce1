"""Lists of CFP, AgeDB-30, CALFW and CPLFW: each form read from a small list of its own, with folds and counts known by hand."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from orthodrome.evaluation import PROTOCOLS
from orthodrome.evaluation.pair_lists import read_cfp, read_flagged, read_two_lines
from orthodrome.types import EmbeddingSet, InputError


@pytest.mark.parametrize(
    ("folds", "pairs", "title"),
    [
        (10, 300, "LFW verification (View 2, unrestricted, labelled outside data)"),
        (2, 2, "verification of a list in LFW's form (2 folds, 4 + 4 pairs; not View 2)"),
    ],
)
def test_lfw_is_view_2_only_in_its_shape(tmp_path: Path, folds: int, pairs: int, title: str) -> None:
    fold = [f"p{n}\t1\t2" for n in range(pairs)] + [f"p{n}\t1\tp{(n + 1) % pairs}\t2" for n in range(pairs)]
    (tmp_path / "pairs.txt").write_text("\n".join([f"{folds}\t{pairs}", *fold * folds]))
    ids = tuple(f"p{n}/p{n}_{image:04d}" for n in range(pairs) for image in (1, 2))
    vectors = np.random.default_rng(0).normal(size=(len(ids), 4)).astype(np.float32)
    protocol = PROTOCOLS.get("lfw")
    report = protocol.run(EmbeddingSet(vectors, np.full(len(ids), -1), ids), protocol.read(tmp_path / "pairs.txt")).to_report()
    assert report.title == title


@pytest.fixture
def cfp(tmp_path: Path) -> Path:
    """Two people, two frontal and two profile images each; ten folds of one same and one different pair, FP and FF
    alike: two kinds of fold in turn.
    """
    protocol = tmp_path / "cfp" / "Protocol"
    for kind, letter in (("frontal", "F"), ("profile", "P")):
        lines = [
            f"{n} ../Data/Images/{person:03d}/{kind}/{i:02d}.jpg"
            for n, (person, i) in enumerate([(1, 1), (1, 2), (2, 1), (2, 2)], 1)
        ]
        protocol.mkdir(parents=True, exist_ok=True)
        (protocol / f"Pair_list_{letter}.txt").write_text("\n".join(lines) + "\n")
    for kind in ("FP", "FF"):
        for fold, (same, different) in enumerate((("1,2", "1,3"), ("3,4", "4,1")) * 5, start=1):
            folder = protocol / "Split" / kind / f"{fold:02d}"
            folder.mkdir(parents=True)
            (folder / "same.txt").write_text(same + "\n")
            (folder / "diff.txt").write_text(different + "\n")
    return tmp_path / "cfp"


def test_cfp_fp_compares_frontal_with_profile(cfp: Path) -> None:
    pairs = read_cfp(cfp, "FP")
    assert list(map(str, pairs.first[:4])) == ["001/frontal/01", "001/frontal/01", "002/frontal/01", "002/frontal/02"]
    assert list(map(str, pairs.second[:4])) == ["001/profile/02", "002/profile/01", "002/profile/02", "001/profile/01"]
    assert pairs.same.tolist() == [True, False] * 10
    assert pairs.folds.tolist() == [fold for fold in range(1, 11) for _ in range(2)]
    identities = pairs.identities()
    assert identities is not None
    assert identities.tolist() == [[0, 0], [0, 1], [1, 1], [1, 0]] * 5


def test_cfp_ff_takes_both_sides_from_the_frontal_list(cfp: Path) -> None:
    pairs = read_cfp(cfp / "Protocol", "FF")
    assert list(map(str, pairs.second[:4])) == ["001/frontal/02", "002/frontal/01", "002/frontal/02", "001/frontal/01"]


def test_cfp_runs_on_embeddings_whose_ids_end_in_the_listed_path(cfp: Path) -> None:
    pairs = read_cfp(cfp, "FP")
    ids = tuple(f"Data/Images/{image}.jpg" for image in pairs.images())
    vectors = np.array(
        [[1.0, 0.02 * n] if "/001/" in f"/{image}" else [0.02 * n, 1.0] for n, image in enumerate(ids)], dtype=np.float32
    )
    protocol = PROTOCOLS.get("cfp-fp")
    report = protocol.run(EmbeddingSet(vectors, np.full(len(ids), -1), ids), pairs).to_report()
    assert report.metrics["accuracy"]["mean"] == 1.0
    assert report.metrics["counts"] == {"genuine": 10, "impostor": 10}


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("Split/FP/01/same.txt", "1;2\n", r"same.txt:1: expected two numbers"),
        ("Split/FP/01/same.txt", "1,9\n", r"same.txt:1: the list of images has no number 9"),
        ("Split/FP/01/same.txt", "1,3\n", r"same.txt:1: .*contradicts the file's name"),
        ("Split/FP/02/diff.txt", "1,2\n", r"diff.txt:1: .*contradicts the file's name"),
        ("Split/FP/02/diff.txt", "", r"diff.txt is empty"),
        ("Split/FP/10/same.txt", "3,4\n4,3\n", r"FP: same.txt of fold 10 has 2 pairs, most other files have 1"),
        ("Pair_list_P.txt", "1 01.jpg\n", r"Pair_list_P.txt:1: expected 'number path'"),
    ],
)
def test_cfp_malformed(cfp: Path, file: str, text: str, message: str) -> None:
    (cfp / "Protocol" / file).write_text(text)
    with pytest.raises(InputError, match=message):
        read_cfp(cfp, "FP")


def test_cfp_wants_its_ten_folds(cfp: Path) -> None:
    folder = cfp / "Protocol" / "Split" / "FP"
    shutil.copytree(folder / "10", folder / "11")
    with pytest.raises(InputError, match=r"FP: expected the folders 01 … 10, one for each fold; got 01, .*10, 11$"):
        read_cfp(cfp, "FP")
    shutil.rmtree(folder / "10")
    with pytest.raises(InputError, match=r"expected the folders 01 … 10"):
        read_cfp(cfp, "FP")
    shutil.rmtree(folder / "11")
    with pytest.raises(InputError, match=r"expected the folders 01 … 10"):
        read_cfp(cfp, "FP")


def agedb(folder: Path, lines: list[str]) -> Path:
    path = folder / "agedb_30_pair.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_agedb_folds_are_tenths_of_the_list(tmp_path: Path) -> None:
    lines = [
        line
        for n in range(10)
        for line in (f"{n}_MariaCallas_35_f.jpg {n}_MariaCallas_65_f.jpg 1", f"{n}_AnnLee_20_f.jpg b{n}.jpg 0")
    ]
    pairs = read_flagged(agedb(tmp_path, lines))
    assert pairs.folds.tolist() == [fold for fold in range(1, 11) for _ in range(2)]
    assert pairs.same.tolist() == [True, False] * 10
    assert (pairs.first[0].name, pairs.second[1].name) == ("MariaCallas", "")
    assert pairs.identities() is None  # one name is not told, so no bootstrap by identity is possible


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a b 1"] * 9, "9 lines do not divide into 10 folds"),
        (["a b 1"] * 9 + ["a b"], r":10: expected 'left right flag'"),
        (["a b 1"] * 9 + ["a b 2"], r":10: expected 'left right flag' with flag 0 or 1"),
    ],
)
def test_agedb_malformed(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_flagged(agedb(tmp_path, lines))


def two_lines(folder: Path, flags: list[int]) -> Path:
    text = "".join(f"Ann_Lee_{2 * n + 1:04d}.jpg {flag}\nBob_Ray_{2 * n + 2:04d}.jpg {flag}\n" for n, flag in enumerate(flags))
    (folder / "pairs_CALFW.txt").write_text(text)
    return folder / "pairs_CALFW.txt"


def test_calfw_positives_and_negatives_are_interleaved_into_every_fold(tmp_path: Path) -> None:
    """30 positives then 30 negatives: cut by position, six folds would hold one kind only."""
    pairs = read_two_lines(two_lines(tmp_path, [1] * 30 + [0] * 30))
    assert pairs.same.tolist() == [True] * 30 + [False] * 30
    assert pairs.folds.tolist() == [1 + n // 3 for n in range(30)] * 2
    np.testing.assert_array_equal(np.bincount(pairs.folds, weights=pairs.same)[1:], [3] * 10)
    assert (str(pairs.first[1]), pairs.second[1].name, pairs.lines[1]) == ("Ann_Lee_0003", "Bob_Ray", 3)


def test_calfw_folds_named_by_flags_are_kept(tmp_path: Path) -> None:
    flags = [fold for fold in range(10, 0, -1) for _ in range(2)]
    pairs = read_two_lines(two_lines(tmp_path, flags + [0] * 20))
    assert pairs.folds[:20].tolist() == flags
    assert pairs.folds[20:].tolist() == [1 + n // 2 for n in range(20)]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([1] * 10 + [0] * 9, "9 pairs of different people do not divide into 10 folds"),
        ([1] * 9 + [0] * 10, "9 pairs of the same person do not divide into 10 folds"),
        ([0] * 10 + [1] * 10, "expected all pairs of the same person"),
        ([1] * 20, "expected all pairs of the same person"),
        ([1] * 11 + [2] * 9 + [0] * 10, "flags above 0 must be all 1"),
    ],
)
def test_calfw_malformed(tmp_path: Path, flags: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_two_lines(two_lines(tmp_path, flags))


def test_calfw_lines_of_a_pair_must_agree(tmp_path: Path) -> None:
    path = two_lines(tmp_path, [1] * 10 + [0] * 10)
    text = path.read_text()
    path.write_text(text.replace("Bob_Ray_0004.jpg 1", "Bob_Ray_0004.jpg 0"))
    with pytest.raises(InputError, match=r":4: the two lines of a pair must have one flag; got 1 and 0"):
        read_two_lines(path)
    path.write_text(text + "one_more_0001.jpg 0\n")
    with pytest.raises(InputError, match="two lines make a pair; got 41 lines"):
        read_two_lines(path)
