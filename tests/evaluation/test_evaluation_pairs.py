"""The list of pairs: every malformed line is named, nothing is dropped, every image is found or reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orthodrome.evaluation import read_pairs, resolve_pairs, verification_from_embeddings
from orthodrome.types import EmbeddingSet, InputError

GOOD = "2\t1\nAnn\t1\t2\nAnn\t1\tBob\t3\nCleo 1 4\nDan 2 Bob 3\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "pairs.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_reads_tabs_and_blanks(tmp_path: Path) -> None:
    pairs = read_pairs(write(tmp_path, GOOD))
    assert [str(image) for image in pairs.first] == ["Ann/Ann_0001", "Ann/Ann_0001", "Cleo/Cleo_0001", "Dan/Dan_0002"]
    assert [str(image) for image in pairs.second] == ["Ann/Ann_0002", "Bob/Bob_0003", "Cleo/Cleo_0004", "Bob/Bob_0003"]
    assert pairs.same.tolist() == [True, False, True, False]
    assert pairs.folds.tolist() == [1, 1, 2, 2]
    assert pairs.identities().tolist() == [[0, 0], [0, 1], [2, 2], [3, 1]]
    assert len(pairs.images()) == len(set(pairs.images())) == 6


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Cleo 1 4", "Cleo 1", r"pairs.txt:4: expected 'name number number'.*got 'Cleo 1'"),
        ("Cleo 1 4", "Cleo 1 4 Dan 5", r"pairs.txt:4: expected"),
        ("Cleo 1 4", "Cleo one 4", r"pairs.txt:4: expected"),
        ("Cleo 1 4", "Cleo 0 4", r"pairs.txt:4: expected"),
        ("Cleo 1 4", "Cleo -1 4", r"pairs.txt:4: expected"),
        ("Cleo 1 4", "", r"pairs.txt:4: expected"),
        ("Cleo 1 4", "Cleo 4 4", r"pairs.txt:4: the pair compares the image 'Cleo/Cleo_0004' with itself"),
        ("Dan 2 Bob 3", "Dan 2 Dan 3", r"pairs.txt:5: .*different people but names 'Dan' twice"),
        ("Cleo 1 4", "Cleo 1 Bob 4", r"fold 2 must have 1 same and 1 different pairs; got 0 and 2"),
        ("2\t1", "3 1", r"announces 3 folds of 1 \+ 1 pairs, 6 lines; got 4"),
        ("2\t1", "2", r"pairs.txt:1: expected the number of folds"),
        ("2\t1", "ten 300", r"pairs.txt:1: expected the number of folds"),
    ],
)
def test_malformed_lists(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_pairs(write(tmp_path, GOOD.replace(old, new)))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read the list of pairs .*nothing\.txt: No such file"):
        read_pairs(tmp_path / "nothing.txt")
    with pytest.raises(InputError, match="is empty"):
        read_pairs(write(tmp_path, "\n"))
    (tmp_path / "picture.txt").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(InputError, match="cannot read the list of pairs"):
        read_pairs(tmp_path / "picture.txt")


def test_resolves_any_image_suffix_and_names_what_is_missing(tmp_path: Path) -> None:
    pairs = read_pairs(write(tmp_path, GOOD))
    suffixes = dict(zip(map(str, pairs.images()), [".jpg", ".png", ".JPG", ".jpeg", ".jpg", ".bmp"], strict=True))
    for key, suffix in suffixes.items():
        file = tmp_path / f"{key}{suffix}"
        file.parent.mkdir(exist_ok=True)
        file.touch()
    found = resolve_pairs(pairs, tmp_path)
    assert {key: path.suffix for key, path in found.items()} == suffixes
    found["Dan/Dan_0002"].unlink()
    with pytest.raises(InputError, match=r"pairs.txt:5: no image .*Dan_0002.jpg"):
        resolve_pairs(pairs, tmp_path)
    with pytest.raises(InputError, match="nowhere is not a folder"):
        resolve_pairs(pairs, tmp_path / "nowhere")


def embedded(ids: list[str]) -> EmbeddingSet:
    vectors = np.random.default_rng(0).normal(size=(len(ids), 8)).astype(np.float32)
    return EmbeddingSet(vectors, np.full(len(ids), -1), tuple(ids))


def test_embeddings_match_by_folder_and_name(tmp_path: Path) -> None:
    pairs = read_pairs(write(tmp_path, GOOD))
    keys = [str(image) for image in pairs.images()]
    plain = verification_from_embeddings(embedded(keys), pairs)
    pathed = verification_from_embeddings(embedded([f"/faces/lfw/{key}.jpg" for key in keys]), pairs)
    windows = verification_from_embeddings(embedded([f"C:\\lfw\\{key}.PNG".replace("/", "\\") for key in keys]), pairs)
    assert plain == pathed == windows
    with pytest.raises(InputError, match=r"pairs.txt:4: no embedding has the id 'Cleo/Cleo_0001'"):
        verification_from_embeddings(embedded([key for key in keys if key != "Cleo/Cleo_0001"]), pairs)
    with pytest.raises(InputError, match="two embeddings are of the image 'Ann/Ann_0001'"):
        verification_from_embeddings(embedded([*keys, "copy/Ann/Ann_0001.jpg"]), pairs)
