"""Parquet, and Arrow files as Hugging Face's `datasets` writes them."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
from set_files import jpeg

from orthodrome.data import open_reader, read_tables, tables
from orthodrome.types import InputError, Reader, Sample

arrow = pytest.importorskip("pyarrow", reason="needs pyarrow (extra data)")
parquet = pytest.importorskip("pyarrow.parquet")
EVERYTHING = 1.0
IMAGE = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])


def table(labels: list[Any], names: list[str] | None = None, column: str = "label", kind: Any = None, start: int = 0) -> Any:
    images = [{"bytes": jpeg(start + i), "path": f"{i}.jpg"} for i in range(len(labels))]
    made = arrow.table(
        {"image": arrow.array(images, IMAGE), column: arrow.array(labels, kind), "age": arrow.array([30.0] * len(labels))}
    )
    if names is None:
        return made
    features = {"image": {"_type": "Image"}, column: {"names": names, "_type": "ClassLabel"}}
    return made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def test_hugging_face_parquet(tmp_path: Path) -> None:
    parquet.write_table(table([2, 0, 2], ["ada", "bob", "cleo"]), tmp_path / "a.parquet", row_group_size=2)
    reader = open_reader(tmp_path / "a.parquet")
    assert isinstance(reader, Reader)
    assert (list(reader.class_names), reader.labels.tolist()) == (["ada", "cleo"], [1, 0, 1])
    assert reader.sample(2) == Sample("2", 1)
    assert [reader.encoded(i) for i in (2, 0, 1)] == [jpeg(2), jpeg(0), jpeg(1)]
    assert reader.image(0, (8, 8)).shape == (8, 8, 3)
    copy = pickle.loads(pickle.dumps(reader))
    assert copy.encoded(2) == jpeg(2)


def test_several_files_of_a_folder_train_first(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    parquet.write_table(table([0, 1]), data / "train-00000-of-00002.parquet", row_group_size=1)
    parquet.write_table(table([1, 2], start=2), data / "train-00001-of-00002.parquet")
    parquet.write_table(table([9]), data / "test-00000-of-00001.parquet")
    reader = open_reader(tmp_path)
    assert reader.labels.tolist() == [0, 1, 1, 2]
    assert [reader.encoded(i) for i in range(4)] == [jpeg(i) for i in range(4)]


@pytest.mark.parametrize(
    ("above", "labels"), [("train", [0, 1]), ("test", [5, 6]), ("validation", [5, 6]), ("default/train", [0, 1])]
)
def test_a_folder_of_splits(tmp_path: Path, above: str, labels: list[int]) -> None:
    """As ``DatasetDict.save_to_disk`` and the exports of the Hub; those named train where there are any."""
    for split in (Path(above), Path(above).with_name("other")):
        (tmp_path / split).mkdir(parents=True)
    parquet.write_table(table(labels), tmp_path / above / "0000.parquet")
    if "train" in above:
        parquet.write_table(table([7]), tmp_path / Path(above).with_name("other") / "0000.parquet")
    reader = open_reader(tmp_path)
    assert list(reader.class_names) == [str(label) for label in labels]


@pytest.mark.parametrize("writer", ["new_stream", "new_file"])
def test_arrow_files(tmp_path: Path, writer: str) -> None:
    content = table([1, 0, 1], ["x", "y"])
    with getattr(arrow.ipc, writer)(str(tmp_path / "data-00000-of-00001.arrow"), content.schema) as file:
        file.write_table(content, max_chunksize=2)
    reader = open_reader(tmp_path)
    assert reader.labels.tolist() == [1, 0, 1]
    assert [reader.encoded(i) for i in range(3)] == [jpeg(i) for i in range(3)]


def test_plain_bytes_and_names(tmp_path: Path) -> None:
    plain = arrow.table({"jpg": [jpeg(0), jpeg(1)], "identity": ["grace", "ada"]})
    parquet.write_table(plain, tmp_path / "a.parquet")
    reader = open_reader(tmp_path)
    assert (list(reader.class_names), reader.labels.tolist()) == (["ada", "grace"], [1, 0])
    assert reader.encoded(0) == jpeg(0)


def test_groups_are_kept_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet.write_table(table([0, 1, 0, 1]), tmp_path / "a.parquet", row_group_size=1)
    read: list[int] = []
    original = tables.TableFile.group
    monkeypatch.setattr(tables.TableFile, "group", lambda self, number: read.append(number) or original(self, number))
    monkeypatch.setattr(tables, "KEPT_BYTES", 3 * len(jpeg(0)))
    reader = open_reader(tmp_path / "a.parquet")
    for index in (0, 1, 0, 2, 3, 3, 0):
        assert reader.encoded(index) == jpeg(index)
    assert read[:2] == [0, 1]
    assert len(read) < 7
    assert sum(array.nbytes for array in reader.store._kept.values()) <= 3 * len(jpeg(0)) + 200  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("labels", "names", "reason"),
    [
        ([0, -1], None, "label -1; expected a whole number ≥ 0"),
        ([0, 2], ["a", "b"], r"label 2; expected a whole number in \[0, 2\)"),
        ([0, None], None, "label -1"),
        (["a", ""], None, "label ''; expected a name"),
    ],
)
def test_rows_without_a_usable_label(tmp_path: Path, labels: list[Any], names: list[str] | None, reason: str) -> None:
    parquet.write_table(table([*labels, labels[0]], names), tmp_path / "a.parquet")
    reader = read_tables(tmp_path / "a.parquet", EVERYTHING)
    assert [reader.sample(i).key for i in range(len(reader))] == ["0", "2"]
    with pytest.raises(InputError, match=f"key 1: {reason}"):
        open_reader(tmp_path / "a.parquet")


def test_row_without_bytes_and_damaged_image(tmp_path: Path) -> None:
    rows = [{"bytes": None, "path": "elsewhere.jpg"}, {"bytes": b"no picture", "path": None}]
    parquet.write_table(arrow.table({"image": arrow.array(rows, IMAGE), "label": [0, 1]}), tmp_path / "a.parquet")
    reader = open_reader(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet: key 0: the row has no image bytes"):
        reader.image(0)
    with pytest.raises(InputError, match=r"a\.parquet: key 1: not an image"):
        reader.image(1)


def test_wrong_tables(tmp_path: Path) -> None:
    parquet.write_table(arrow.table({"label": [1], "text": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(
        InputError, match=r"expected one column of image bytes and one of labels.*it has label \(int64\), text \(string\)"
    ):
        open_reader(tmp_path / "a.parquet")
    parquet.write_table(table([0, 1], column="id"), tmp_path / "id.parquet")  # numbers rows, not people
    with pytest.raises(InputError, match=r"expected one column .* of labels.*it has .*id \(int64\)"):
        open_reader(tmp_path / "id.parquet")
    parquet.write_table(table([0.5]), tmp_path / "b.parquet")
    with pytest.raises(InputError, match="column 'label' has type double"):
        open_reader(tmp_path / "b.parquet")
    whole = tmp_path / "c.parquet"
    parquet.write_table(table([0, 1]), whole)
    whole.write_bytes(whole.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"c\.parquet: not a whole parquet file"):
        open_reader(whole)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (table([1, 0], ["grace", "ada"]), r"b\.parquet: its columns or class names are not those of .*a\.parquet"),
        (table([1, 0], column="identity"), r"b\.parquet: its columns or class names are not those"),
        (table([1, 0]), r"b\.parquet: its columns or class names are not those"),
    ],
    ids=["other order of names", "other column", "no names"],
)
def test_files_of_different_sets_are_not_joined(tmp_path: Path, second: Any, message: str) -> None:
    """Label 0 of one is not label 0 of the other: people would be mixed."""
    parquet.write_table(table([0, 1], ["ada", "grace"]), tmp_path / "a.parquet")
    parquet.write_table(second, tmp_path / "b.parquet")
    with pytest.raises(InputError, match=message):
        read_tables(tmp_path)


def test_numbers_and_text_are_not_joined(tmp_path: Path) -> None:
    """NumPy would make text of both, and a name of −1."""
    parquet.write_table(table([0, -1]), tmp_path / "a.parquet")
    parquet.write_table(table(["ada", "bob"]), tmp_path / "b.parquet")
    with pytest.raises(InputError, match="labels are numbers in some files and text in others"):
        read_tables(tmp_path)


@pytest.mark.parametrize("kind", [arrow.string(), arrow.int64()])
def test_a_field_named_bytes_that_holds_none(tmp_path: Path, kind: Any) -> None:
    """``bytes(10**12)`` would be a terabyte of zeros."""
    value = "text" if kind == arrow.string() else 10**12
    images = arrow.array([{"bytes": value}], arrow.struct([("bytes", kind)]))
    parquet.write_table(arrow.table({"image": images, "label": [0]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="expected one column of image bytes"):
        read_tables(tmp_path / "a.parquet")


@pytest.mark.parametrize("plain", ["[]", "{", '{"info": null}', '{"info": {"features": {"label": {"names": 5}}}}'])
def test_hostile_metadata(tmp_path: Path, plain: str) -> None:
    parquet.write_table(table([0, 1]).replace_schema_metadata({"huggingface": plain}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet: its Hugging Face metadata cannot be read"):
        read_tables(tmp_path / "a.parquet")


def test_columns_twice_and_numbers_beyond_64_bits(tmp_path: Path) -> None:
    twice = table([0, 1])
    parquet.write_table(twice.append_column("label", twice["label"]), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="expected one column of image bytes and one of labels"):
        read_tables(tmp_path / "a.parquet")
    parquet.write_table(table([2**63 + 5, 1], kind=arrow.uint64()), tmp_path / "b.parquet")
    with pytest.raises(InputError, match=r"b\.parquet: .*not in range"):
        read_tables(tmp_path / "b.parquet")


def test_missing_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r'pip install "orthodrome\[data\]"'):
        open_reader(tmp_path / "a.parquet")


def test_what_the_datasets_library_keeps_for_itself_is_no_part_of_a_set(tmp_path: Path) -> None:
    content = arrow.table({"jpg": [jpeg(0), jpeg(1)], "identity": ["grace", "ada"]})
    for name in ("data-00000-of-00001.arrow", "cache-0123456789abcdef.arrow"):
        with arrow.ipc.new_stream(str(tmp_path / name), content.schema) as file:
            file.write_table(content)
    assert len(open_reader(tmp_path)) == 2
