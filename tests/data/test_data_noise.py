"""Noise put in on purpose with its truth, and what embeddings say about labels."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthodrome.data import MemoryReader, convert, open_reader
from orthodrome.data.centres import angles_to_centre, shared_people
from orthodrome.data.jobs import Copying, clean_set, noise_set, split_set
from orthodrome.data.noise import add_noise
from orthodrome.types import EmbeddingSet, InputError


def people_of(counts: list[int]) -> MemoryReader:
    """Images whose first pixel is their position."""
    labels = np.repeat(np.arange(len(counts)), counts)
    pixels = np.zeros((len(labels), 2, 2, 3), np.uint8)
    pixels[:, 0, 0, 0] = np.arange(len(labels))
    return MemoryReader(pixels, labels, tuple(f"p{i}" for i in range(len(counts))))


@given(
    st.lists(st.integers(1, 4), min_size=12, max_size=20),
    st.floats(0, 0.6),
    st.floats(0, 0.4),
    st.integers(0, 5),
)
def test_shares_and_truth(counts: list[int], flips: float, outliers: float, seed: int) -> None:
    source = people_of(counts)
    noisy = add_noise(source, flips, outliers, seed)
    reader = noisy.reader
    kinds = np.array(noisy.kind)
    total = len(reader)
    assert abs((kinds == "outlier").sum() - outliers * total) <= 1
    assert abs((kinds == "flipped").sum() - flips * total) <= 1
    names = set(reader.class_names)
    for i, (person, kind) in enumerate(zip(noisy.person, noisy.kind, strict=True)):
        position = int(reader.image(i)[0, 0, 0])
        assert person == f"p{source.labels[position]}", "the truth is the person in the picture"
        label = reader.class_names[reader.sample(i).label]
        assert {"clean": label == person, "flipped": label != person and person in names, "outlier": person not in names}[kind]
    assert (np.diff(reader.labels) >= 0).all()
    shown = [int(reader.image(i)[0, 0, 0]) for i in range(total)]
    assert len(set(shown)) == total, "no image twice"
    again = add_noise(source, flips, outliers, seed)
    assert (again.reader.labels.tolist(), again.kind) == (reader.labels.tolist(), noisy.kind)


def test_flips_are_symmetric() -> None:
    noisy = add_noise(people_of([50] * 5), 1.0, 0.0, seed=1)
    pairs = np.zeros((5, 5), int)
    for i, person in enumerate(noisy.person):
        pairs[int(person[1:]), noisy.reader.labels[i]] += 1
    assert (np.diag(pairs) == 0).all()
    assert (pairs[~np.eye(5, dtype=bool)] > 3).all()


def test_noise_of_nothing_and_of_too_much() -> None:
    clean = add_noise(people_of([3, 2]), 0, 0)
    assert set(clean.kind) == {"clean"}
    with pytest.raises(InputError, match=r"shares of the images, together at most 1; got 0\.8 and 0.5"):
        add_noise(people_of([3, 2]), 0.8, 0.5)
    with pytest.raises(InputError, match="leaves 1 people"):
        add_noise(people_of([3, 2]), 0, 0.4)


def test_noisy_set_on_disk(identities: Path, tmp_path: Path) -> None:
    noise_set(Copying(identities, tmp_path / "noisy", "rec"), 0.3, 0.0, 0)
    reader = open_reader(tmp_path / "noisy")
    lines = [line.split("\t") for line in (tmp_path / "noisy" / "truth.tsv").read_text().splitlines()]
    assert lines[0] == ["key", "given", "person", "kind"]
    assert len(lines) == len(reader) + 1
    for i, (key, label, person, kind) in enumerate(lines[1:]):
        assert reader.class_names[reader.sample(i).label] == label
        assert reader.encoded(i) == (identities / key).read_bytes()
        assert key.startswith(person)
        assert (kind == "clean") == (label == person)
    assert [line[3] for line in lines].count("flipped") == 3


def test_a_person_whose_images_all_got_other_labels_is_no_folder(tmp_path: Path) -> None:
    """Of twelve people with one image each, some are left with none; an empty folder would make the set unreadable."""
    noisy = add_noise(people_of([1] * 12), 0.5, 0.0).reader
    assert len(set(noisy.labels.tolist())) < 12
    convert(noisy, tmp_path / "noisy", "folder")
    reader = open_reader(tmp_path / "noisy")
    shown = [reader.class_names[label].partition("-")[2] for label in reader.labels]
    assert shown == [noisy.class_names[label] for label in noisy.labels]


def test_split_on_disk(identities: Path, tmp_path: Path) -> None:
    assert sum(map(len, split_set(Copying(identities, tmp_path / "parts", "folder"), 1, 0))) == 10
    train, test = (open_reader(tmp_path / "parts" / name) for name in ("train", "test"))
    assert set(train.class_names) | set(test.class_names) == {"ada", "bob", "cleo"}
    assert not set(train.class_names) & set(test.class_names)
    assert (len(train) + len(test), len(test.class_names)) == (10, 1)


def test_parts_that_were_drawn_otherwise_are_not_taken_over(identities: Path, tmp_path: Path) -> None:
    """Else people of one draw's training would be in the test of another."""
    split_set(Copying(identities, tmp_path / "parts", "rec"), 1, 0)
    before = (tmp_path / "parts" / "test" / "train.rec").read_bytes()
    for seed in (0, 1):
        with pytest.raises(InputError, match="holds both parts already"):
            split_set(Copying(identities, tmp_path / "parts", "rec"), 1, seed)
    shutil.rmtree(tmp_path / "parts" / "test")
    with pytest.raises(InputError, match="a part that was drawn otherwise"):
        split_set(Copying(identities, tmp_path / "parts", "rec"), 1, 1)
    split_set(Copying(identities, tmp_path / "parts", "rec"), 1, 0)
    assert (tmp_path / "parts" / "test" / "train.rec").read_bytes() == before


def test_parts_of_a_set_that_has_changed_meanwhile_are_not_taken_over(tmp_path: Path) -> None:
    """One person more changes who is drawn: people of the finished train would be in the new test."""
    convert(people_of([1] * 6), tmp_path / "faces", "folder")
    split_set(Copying(tmp_path / "faces", tmp_path / "parts", "folder"), 2, 0)
    held_out = json.loads((tmp_path / "parts" / "split.json").read_text())["held_out"]
    assert held_out == sorted(path.name for path in (tmp_path / "parts" / "test").iterdir())
    shutil.rmtree(tmp_path / "parts" / "test")
    shutil.copytree(tmp_path / "faces" / "p5", tmp_path / "faces" / "p6")
    with pytest.raises(InputError, match="a part that was drawn otherwise, or from the set before it changed"):
        split_set(Copying(tmp_path / "faces", tmp_path / "parts", "folder"), 2, 0)
    shutil.rmtree(tmp_path / "faces" / "p6")
    split_set(Copying(tmp_path / "faces" / ".." / "faces", tmp_path / "parts", "folder"), 2, 0)
    assert held_out == sorted(path.name for path in (tmp_path / "parts" / "test").iterdir())


# ----------------------------------------------------------------------------------------------------------- embeddings


def embeddings(vectors: list[list[float]], labels: list[int], ids: tuple[str, ...] | None = None) -> EmbeddingSet:
    return EmbeddingSet(np.array(vectors, np.float32), np.array(labels), ids or tuple(map(str, range(len(labels)))))


def test_angles_by_hand() -> None:
    """Three along x and one along y: the first centre leans over, the trimmed one does not."""
    one = embeddings([[2, 0], [1, 0], [3, 0], [0, 5]], [0, 0, 0, 0])
    lean = np.rad2deg(np.arctan2(1, 3))
    np.testing.assert_allclose(angles_to_centre(one, rounds=1), [lean, lean, lean, 90 - lean], atol=1e-3)
    np.testing.assert_allclose(angles_to_centre(one, rounds=2, trim=60), [0, 0, 0, 90], atol=0.05)


def test_trimming_everything_keeps_the_mean() -> None:
    opposite = embeddings([[1, 0], [0, 1]], [0, 0])
    np.testing.assert_allclose(angles_to_centre(opposite, trim=10), [45, 45], atol=1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_embeddings_that_are_not_finite_are_refused(value: float) -> None:
    """NaN is not beyond any angle and not above any cosine: bad images would stay, and people in both sets be missed."""
    broken = embeddings([[1, 0], [0, value], [0, 1]], [0, 0, 1])
    for look in (angles_to_centre, lambda one: shared_people(one, one, 0.5)):
        with pytest.raises(InputError, match="1 embeddings are not finite, the first of them 1;"):
            look(broken)


def test_clean_on_disk(identities: Path, tmp_path: Path) -> None:
    reader = open_reader(identities)
    keys = tuple(reader.sample(i).key for i in range(10))
    vectors = np.eye(3)[reader.labels] + 0.01
    vectors[7] = [-1, 1, 0]  # cleo/2.jpg is somebody else
    one = EmbeddingSet(vectors.astype(np.float32), reader.labels, keys)
    kept, dropped = clean_set(Copying(identities, tmp_path / "clean", "rec"), one, 75)
    assert (len(kept), dropped) == (9, 1)
    dropped = (tmp_path / "clean" / "dropped.tsv").read_text().splitlines()
    assert dropped[1].startswith("cleo/2.jpg\tcleo\t")
    assert len(open_reader(tmp_path / "clean")) == 9
    with pytest.raises(InputError, match="embeddings are of another set"):
        clean_set(
            Copying(identities, tmp_path / "x", "rec"), EmbeddingSet(vectors.astype(np.float32), reader.labels, keys[::-1]), 75
        )


def test_shared_people_by_hand() -> None:
    first = embeddings([[1, 0, 0], [1, 0.1, 0], [0, 1, 0]], [0, 0, 1], ("a1", "a2", "b1"))
    second = embeddings([[0, 0, 1], [0, 2, 0.2], [1, 0, 0]], [5, 7, 9], ("x", "y", "z"))
    assert [(pair.first, pair.second) for pair in shared_people(first, second, 0.9)] == [("a1", "z"), ("b1", "y")]
    assert shared_people(first, second, 0.9999) == []


def test_embeddings_that_cannot_be_used() -> None:
    good, unlabelled = embeddings([[1, 0]], [0]), embeddings([[1, 0]], [-1])
    with pytest.raises(InputError, match="no labels"):
        angles_to_centre(unlabelled)
    with pytest.raises(InputError, match="no labels"):
        shared_people(good, unlabelled, 0.5)
    with pytest.raises(InputError, match="got dimensions 2 and 3"):
        shared_people(good, embeddings([[1, 0, 0]], [0]), 0.5)
    with pytest.raises(InputError, match="a cosine in"):
        shared_people(good, good, 2)
