"""Every form to every form: same bytes, labels, order and names; interrupted anywhere; and what is refused."""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
import signal
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from set_files import encoded, jpeg, picture

from orthodrome.data import ImageReader, MemoryReader, Subset, convert, open_reader
from orthodrome.data.conversion import Encoding
from orthodrome.data.naming import ItemNames, extensions_of, folder_names, safe_name
from orthodrome.data.writers import WRITERS
from orthodrome.types import InputError

FORMS = tuple(form for form in WRITERS if form != "parquet" or importlib.util.find_spec("pyarrow"))


def contents(reader: ImageReader) -> list[bytes]:
    return [reader.encoded(i) for i in range(len(reader))]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("first", FORMS)
@pytest.mark.parametrize("second", FORMS)
def test_any_form_to_any_form(identities: Path, tmp_path: Path, first: str, second: str) -> None:
    source = open_reader(identities)
    assert convert(source, tmp_path / "one", first, per_file=3) == 10
    assert convert(open_reader(tmp_path / "one"), tmp_path / "two", second, per_file=4) == 10
    for name in ("one", "two"):
        reader = open_reader(tmp_path / name)
        assert contents(reader) == contents(source)
        assert np.asarray(reader.labels).tolist() == source.labels.tolist()
        assert list(reader.class_names) == ["ada", "bob", "cleo"], "the label map is kept"
    assert not list(tmp_path.glob(".*")), "nothing is left beside"


def test_names_of_files_are_kept(identities: Path, tmp_path: Path) -> None:
    convert(open_reader(identities), tmp_path / "tar", "webdataset")
    with tarfile.open(tmp_path / "tar" / "000000.tar") as archive:
        assert archive.getnames()[:4] == ["ada/0.jpg", "ada/0.cls", "ada/1.jpg", "ada/1.cls"]
    convert(open_reader(tmp_path / "tar"), tmp_path / "back", "folder")
    assert [path.name for path in sorted((tmp_path / "back" / "ada").iterdir())] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]


def test_record_files_are_those_of_insightface_to_the_byte(shared: Callable[[str], Path], tmp_path: Path) -> None:
    given = shared("fixtures/recordio")
    convert(open_reader(given), tmp_path / "rec", "rec")
    for name in ("train.rec", "train.idx"):
        assert (tmp_path / "rec" / name).read_bytes() == (given / name).read_bytes()
    assert (tmp_path / "rec" / "property").read_text().strip() == (given / "property").read_text().strip()


def test_shuffled_sets_get_no_table(identities: Path, tmp_path: Path) -> None:
    source = open_reader(identities)
    shuffled = Subset(source, np.random.default_rng(0).permutation(10))
    convert(shuffled, tmp_path / "rec", "rec")
    assert (tmp_path / "rec" / "train.idx").read_text().startswith("0\t0\n1\t")
    reader = open_reader(tmp_path / "rec")
    assert contents(reader) == contents(shuffled)
    assert reader.labels.tolist() == shuffled.labels.tolist()


def test_our_tars_and_tables_are_read_by_other_libraries(identities: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    convert(open_reader(identities), tmp_path / "p", "parquet", per_file=4)
    names = sorted(path.name for path in (tmp_path / "p" / "data").iterdir())
    assert names == [f"train-0000{i}-of-00003.parquet" for i in range(3)]
    table = parquet.read_table(tmp_path / "p" / "data" / names[0])
    assert table["label"].to_pylist() == [0, 0, 0, 0]
    assert table["image"][0].as_py() == {"bytes": (identities / "ada" / "0.jpg").read_bytes(), "path": "ada/0.jpg"}
    assert b'"names": ["ada", "bob", "cleo"]' in table.schema.metadata[b"huggingface"]


# -------------------------------------------------------------------------------------------------------- interruptions


@dataclass(frozen=True, eq=False)
class Failing(Subset):
    """A reader that breaks down at an image."""

    at: int = 0

    def encoded(self, index: int) -> bytes:
        if index == self.at:
            raise KeyboardInterrupt
        return super().encoded(index)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("flush", [0.0, 1e9])
def test_interrupted_and_repeated(
    identities: Path, tmp_path: Path, form: str, flush: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted at images 1, 4, 7 and 9, with a journal after every image or none: in the end as if nothing had happened."""
    monkeypatch.setattr("orthodrome.data.conversion._SECONDS", flush)
    source = open_reader(identities)
    convert(source, tmp_path / "straight", form, per_file=3)
    for at in (1, 4, 7, 9):
        with pytest.raises(KeyboardInterrupt):
            convert(Failing(source, np.arange(10), at=at), tmp_path / "again", form, per_file=3)
        assert not (tmp_path / "again").exists(), "the folder appears when it is whole"
    left = convert(source, tmp_path / "again", form, per_file=3)
    assert left == (10 if flush else {"folder": 1, "rec": 1, "webdataset": 1, "parquet": 1}[form])
    assert files_of(tmp_path / "again") == files_of(tmp_path / "straight")


def test_another_conversion_is_not_continued(identities: Path, tmp_path: Path) -> None:
    source = open_reader(identities)
    with pytest.raises(KeyboardInterrupt):
        convert(Failing(source, np.arange(10), at=5), tmp_path / "x", "rec")
    with pytest.raises(InputError, match=r"\.x\.part holds the beginning of another conversion"):
        convert(source, tmp_path / "x", "folder")
    with pytest.raises(InputError, match="another conversion"):
        convert(Subset(source, np.arange(9)), tmp_path / "x", "rec")


@pytest.mark.parametrize("form", FORMS)
def test_a_source_that_was_made_anew_is_not_continued(identities: Path, tmp_path: Path, form: str) -> None:
    """The same path, names and labels, but other pixels: what was copied before is of the old set."""
    source = tmp_path / "source"
    convert(open_reader(identities), source, form)
    with pytest.raises(KeyboardInterrupt):
        convert(Failing(open_reader(source), np.arange(10), at=5), tmp_path / "x", "rec")
    shutil.rmtree(source)
    convert(open_reader(identities), source, form, encoding=Encoding())
    with pytest.raises(InputError, match="another conversion"):
        convert(open_reader(source), tmp_path / "x", "rec")


def test_another_source_of_the_same_names_is_not_continued(identities: Path, tmp_path: Path) -> None:
    """Two alignments of the same photographs have the same names and labels; a set half of each would be silent nonsense."""
    again = shutil.copytree(identities, tmp_path / "realigned")
    with pytest.raises(KeyboardInterrupt):
        convert(Failing(open_reader(identities), np.arange(10), at=5), tmp_path / "x", "rec")
    with pytest.raises(InputError, match="another conversion"):
        convert(open_reader(again), tmp_path / "x", "rec")


def test_two_at_once_do_not_write_into_each_other(identities: Path, tmp_path: Path) -> None:
    source = open_reader(identities)

    @dataclass(frozen=True, eq=False)
    class Nosy(Subset):
        def encoded(self, index: int) -> bytes:
            if index == 5:
                with pytest.raises(InputError, match=r"\.x\.part: another process is writing into it"):
                    convert(source, tmp_path / "x", "rec")
            return super().encoded(index)

    assert convert(Nosy(source, np.arange(10)), tmp_path / "x", "rec") == 10
    assert contents(open_reader(tmp_path / "x")) == contents(source)


def killed_at(source: ImageReader, target: Path, form: str, at: int, junk: bytes) -> int:
    """Convert in a process that is killed before image ``at``, as ``junk`` of the next records has come to the disk; its exit code."""

    class Killed(WRITERS.get(form)):  # type: ignore[misc]
        def write(self, position: int, content: bytes) -> None:
            if position == at:
                for file in filter(None, (vars(self).get(name) for name in ("index", "records", "file"))):
                    file.write(junk)
                    file.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            super().write(position, content)

    if (child := os.fork()) == 0:
        WRITERS._rows[form] = Killed
        convert(source, target, form, per_file=3)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("junk", [b"7", b"8\t", b"\0\0\0"], ids=["key", "tab", "zeros"])
def test_killed_with_a_torn_line_behind_what_is_safe(
    identities: Path, tmp_path: Path, form: str, junk: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL leaves whatever the system had taken of the files; the same command goes on all the same."""
    monkeypatch.setattr("orthodrome.data.conversion._SECONDS", 0.0)
    source = open_reader(identities)
    assert killed_at(source, tmp_path / "x", form, 6, junk) == -signal.SIGKILL
    assert convert(source, tmp_path / "x", form, per_file=3) == 4
    convert(source, tmp_path / "straight", form, per_file=3)
    assert files_of(tmp_path / "x") == files_of(tmp_path / "straight")


def test_a_full_disk(identities: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    source = open_reader(identities)
    with monkeypatch.context() as patch:
        patch.setattr(WRITERS.get("rec"), "_append", full)
        with pytest.raises(InputError, match=r"cannot write .*\.x\.part: No space left on device; the same command goes on"):
            convert(source, tmp_path / "x", "rec")
    assert convert(source, tmp_path / "x", "rec") == 10
    assert contents(open_reader(tmp_path / "x")) == contents(source)


# --------------------------------------------------------------------------------------------------------------- refusals


def test_refusals(identities: Path, tmp_path: Path) -> None:
    source = open_reader(identities)
    with pytest.raises(InputError, match="is there already"):
        convert(source, identities, "rec")
    with pytest.raises(InputError, match=r"unknown form of a set 'recs'\. Did you mean 'rec'"):
        convert(source, tmp_path / "x", "recs")
    with pytest.raises(InputError, match="at least one image; got 0"):
        convert(source, tmp_path / "x", "rec", per_file=0)
    with pytest.raises(InputError, match="quality lies in"):
        Encoding(quality=0)
    with pytest.raises(InputError, match="is there already"):
        convert(source, ".", "rec")
    with pytest.raises(InputError, match="no images"):
        convert(MemoryReader(np.zeros((0, 4, 4, 3), np.uint8), np.zeros(0, int)), tmp_path / "x", "rec")
    for name in ("bob/0.jpg", "ada/0.jpg"):
        (identities / name).write_text("no picture")
        for form in FORMS:
            with pytest.raises(InputError, match=rf"^{name}: not an image; list what cannot be used"):
                convert(open_reader(identities), tmp_path / name / form, form)
    (identities / "ada" / "0.jpg").write_bytes(jpeg(0)[:100])
    with pytest.raises(InputError, match=r"^ada/0\.jpg: the image is damaged"):
        convert(open_reader(identities), tmp_path / "x", "rec")
    broken = MemoryReader(np.zeros((2, 4, 4, 3), np.uint8), [0, 1], ("a\nb", "c"))
    with pytest.raises(InputError, match="has a line break"):
        convert(broken, tmp_path / "y", "rec")


@pytest.mark.parametrize("encoding", [None, Encoding()])
def test_an_image_that_cannot_be_read_stops_it_and_says_what_to_do(
    identities: Path, tmp_path: Path, encoding: Encoding | None
) -> None:
    source = open_reader(identities)
    (identities / "cleo" / "2.jpg").unlink()
    with pytest.raises(InputError, match=r"cleo/2\.jpg: no such file; list what cannot be used with `orthodrome data verify`"):
        convert(source, tmp_path / "x", "folder", encoding=encoding)
    assert not (tmp_path / "x").exists()


# ---------------------------------------------------------------------------------------------------------- re-encoding


@pytest.mark.parametrize("workers", [0, 2])
def test_reencoding(identities: Path, tmp_path: Path, workers: int) -> None:
    source = open_reader(identities)
    convert(source, tmp_path / "small", "rec", encoding=Encoding((10, 8), 90), workers=workers)
    convert(source, tmp_path / "lossless", "folder", encoding=Encoding(None, None), workers=workers)
    small, lossless = open_reader(tmp_path / "small"), open_reader(tmp_path / "lossless")
    for i in range(10):
        assert small.image(i).shape == (10, 8, 3)
        assert np.abs(small.image(i).astype(int) - source.image(i, (10, 8))).mean() < 8
        np.testing.assert_array_equal(lossless.image(i), source.image(i))


def test_images_in_memory_are_written_without_loss(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3), dtype=np.uint8)
    convert(MemoryReader(pixels, [0, 1, 0], ("x", "y")), tmp_path / "rec", "rec")
    reader = open_reader(tmp_path / "rec")
    np.testing.assert_array_equal([reader.image(i) for i in range(3)], pixels)


# ---------------------------------------------------------------------------------------------------------------- names


@given(st.lists(st.text(max_size=6), unique=True, max_size=12))
def test_folders_are_safe_unique_and_in_order(names: list[str]) -> None:
    folders = folder_names(names)
    assert len({folder.casefold() for folder in folders}) == len(names)
    assert sorted(folders) == list(folders)
    for folder in folders:
        assert folder
        assert not set(folder) & set('/\\:*?"<>|\0\n')
        assert not folder.startswith(".")
        assert folder == folder.rstrip(" .")


def test_folder_names_by_hand() -> None:
    assert folder_names(["2", "10"]) == ("02", "10")
    assert folder_names(["ada", "Ada"]) == ("0-ada", "1-Ada")
    assert folder_names(["a/b", "c"]) == ("a_b", "c")
    assert folder_names([".", ".."]) == ("0-_", "1-_")
    assert safe_name("../x") == "_._x"


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        (("a/1.png", "a/2.png", "b/1.png"), ("x/1.jpg", "x/2.jpg", "y/1.jpg")),
        (("8", "9", "10"), ("x/8.jpg", "x/9.jpg", "y/10.jpg")),
        (("9", "10", "11"), ("x/09.jpg", "x/10.jpg", "y/11.jpg")),
        (("a/10.png", "a/2.png", "b/1.png"), ("x/10.jpg", "x/2.jpg", "y/1.jpg")),  # as a folder sorts them
        (("a/b.png", "a/a.png", "b/1.png"), ("x/0.jpg", "x/1.jpg", "y/2.jpg")),
        (("a/A.png", "a/a.png", "b/1.png"), ("x/0.jpg", "x/1.jpg", "y/2.jpg")),  # would be one file in some systems
        (("a/1.x.png", "a/1-x.png", "b/1"), ("x/0.jpg", "x/1.jpg", "y/2.jpg")),
    ],
)
def test_names_keep_the_order_and_do_not_meet(keys: tuple[str, ...], names: tuple[str, ...]) -> None:
    given = ItemNames(MemoryReader(np.zeros((3, 4, 4, 3), np.uint8), [0, 0, 1], ("x", "y"), keys))
    assert tuple(given.name(i, jpeg(0)) for i in range(3)) == names


@pytest.mark.parametrize(
    ("kind", "ending"), [("JPEG", ".jpg"), ("PNG", ".png"), ("BMP", ".bmp"), ("WEBP", ".webp"), ("TIFF", ".tif"), ("PPM", ".ppm")]
)
def test_endings_follow_the_content(kind: str, ending: str) -> None:
    assert ending in extensions_of(encoded(picture(0), kind))
    assert extensions_of(encoded(Image.new("L", (2, 2)), "PPM")) == (".pgm", ".ppm")
    assert extensions_of(b"text") == ()


def test_progress(identities: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    convert(open_reader(identities), tmp_path / "x", "rec", progress=lambda done, total: calls.append((done, total)))
    assert calls == [(10, 10)]
