"""What of a training set a cell sees, and the one decoding of it that all share."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from orthodrome.data import MemoryReader, open_reader
from orthodrome.study import faces
from orthodrome.study.faces import decoded, mark_of, vary
from orthodrome.study.identity import Variation
from orthodrome.types import InputError

PEOPLE, IMAGES = 12, 5


@pytest.fixture
def reader() -> MemoryReader:
    """Twelve people with five images each, but the last, who has two; the pixels of an image are its number."""
    labels = np.repeat(np.arange(PEOPLE), IMAGES)[: PEOPLE * IMAGES - 3]
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    return MemoryReader(images, labels, tuple(f"person {number}" for number in range(PEOPLE)))


def people(part: object) -> set[str]:
    return set(part.class_names)  # type: ignore[attr-defined]


def keys(part: object) -> set[str]:
    return {part.sample(i).key for i in range(len(part))}  # type: ignore[attr-defined, arg-type]


def test_all_of_it(reader: MemoryReader) -> None:
    found = vary(reader, Variation())
    assert len(found.train) == len(reader)
    assert (found.unseen, found.strangers) == (None, None)


def test_held_out_people_are_not_trained_on(reader: MemoryReader) -> None:
    found = vary(reader, Variation(held_out=4, unseen_images=1))
    assert found.strangers is not None
    assert len(people(found.strangers)) == 4
    assert not people(found.strangers) & people(found.train)


def test_fewer_people_are_among_those_of_more(reader: MemoryReader) -> None:
    few, more = (people(vary(reader, Variation(identities=count)).train) for count in (3, 7))
    assert (len(few), len(more)) == (3, 7)
    assert few < more
    assert people(vary(reader, Variation(identities=3, seed=1)).train) != few
    with pytest.raises(InputError, match="at most the 12 people"):
        vary(reader, Variation(identities=13))


def test_unseen_images_are_of_the_same_people_under_the_same_labels(reader: MemoryReader) -> None:
    found = vary(reader, Variation(unseen_images=2, identities=9))
    assert found.unseen is not None
    assert not keys(found.unseen) & keys(found.train)
    for index in range(len(found.unseen)):
        name = found.train.class_names[found.unseen.sample(index).label]
        assert reader.labels[int(found.unseen.sample(index).key)] == int(name.removeprefix("person "))
    counts = np.bincount(found.unseen.labels, minlength=9)
    assert set(counts.tolist()) <= {0, 2}


def test_who_has_too_few_images_keeps_all(reader: MemoryReader) -> None:
    found = vary(reader, Variation(unseen_images=1))
    assert found.unseen is not None
    assert np.bincount(found.train.labels).tolist() == [4] * 11 + [2]
    assert len(found.unseen) == 11


def test_noise_changes_labels_of_training_images_alone(reader: MemoryReader) -> None:
    clean, noisy = (vary(reader, Variation(unseen_images=1, noise=share)) for share in (0.0, 0.4))
    assert keys(clean.train) == keys(noisy.train)
    truth = {clean.train.sample(i).key: clean.train.sample(i).label for i in range(len(clean.train))}
    wrong = sum(truth[noisy.train.sample(i).key] != noisy.train.sample(i).label for i in range(len(noisy.train)))
    assert wrong == round(0.4 * len(truth))
    assert clean.unseen is not None
    assert noisy.unseen is not None
    assert clean.unseen.labels.tolist() == noisy.unseen.labels.tolist()
    assert list(clean.train.class_names) == list(noisy.train.class_names)


def test_a_set_is_decoded_once_and_anew_where_it_changed(
    small_faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    original = faces.load_cache
    monkeypatch.setattr(faces, "load_cache", lambda *given: calls.append(1) or original(*given))
    reader = open_reader(small_faces)
    first, second = (decoded(reader, (16, 16), tmp_path, 0) for _ in range(2))
    assert len(calls) == 1
    np.testing.assert_array_equal(first.image(3, (16, 16)), reader.image(3, (16, 16)))
    assert second.images.shape == (len(reader), 3, 16, 16)
    decoded(reader, (32, 32), tmp_path, 0)
    assert len(calls) == 2, "another size"
    with pytest.raises(InputError, match="decoded at"):
        first.image(0, (32, 32))


def test_a_file_written_again_under_its_name_is_another_set(small_faces: Path, tmp_path: Path) -> None:
    shutil.copytree(small_faces, tmp_path / "faces")
    reader = open_reader(tmp_path / "faces")
    before = mark_of(reader), mark_of(reader, files=True)
    os.utime(reader.place(0).file, ns=(0, 0))
    assert mark_of(reader) == before[0]
    assert mark_of(reader, files=True) != before[1]
