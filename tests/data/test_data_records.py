"""Sets in RecordIO: as insightface hands them out, shuffled, without an index; labels from the images; what is said about bad ones."""

from __future__ import annotations

import multiprocessing
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from set_files import jpeg

from orthodrome.data import EncodedReader, load_cache, open_reader, read_records
from orthodrome.data.jobs import index_set
from orthodrome.data.record_idx import ENTRY, read_idx, write_idx
from orthodrome.data.record_index import RecordFiles, index_records
from orthodrome.data.recordio import MAGIC_BYTES, pack_image, pack_labels, record_bytes
from orthodrome.types import InputError, Reader, Sample

Make = Callable[..., Path]
EVERYTHING = 1.0


def images(labels: list[float], start: int = 1) -> list[bytes]:
    """One payload per label."""
    return [struct.pack("<IfQQ", 0, label, start + i, 0) + jpeg(i) for i, label in enumerate(labels)]


def reasons(reader: EncodedReader) -> list[str]:
    return [f"{problem.key}@{problem.offset}: {problem.reason}" for problem in reader.problems]


# -------------------------------------------------------------------------------------------------------- kinds of sets


def test_a_set_with_its_table(make_records: Make) -> None:
    table, identities = pack_labels(0, (4, 6)), [pack_labels(4, (1, 3)), pack_labels(5, (3, 4))]
    reader = open_reader(make_records([table, *images([0, 0, 1]), *identities], classes=2))
    assert isinstance(reader, Reader)
    assert reader.labels.tolist() == [0, 0, 1]
    assert [reader.sample(i) for i in range(3)] == [Sample("1", 0), Sample("2", 0), Sample("3", 1)]
    assert list(reader.class_names) == ["0", "1"]
    assert reader.encoded(2) == jpeg(2)
    assert reader.image(0).shape == (20, 16, 3)
    assert reader.image(0, (8, 8)).shape == (8, 8, 3)
    assert reader.problems == ()


def test_record_0_an_image(make_records: Make) -> None:
    """As `im2rec` and shuffled files: no table, and the first record counts."""
    reader = open_reader(make_records(images([1, 0, 1])))
    assert reader.labels.tolist() == [1, 0, 1]
    assert [reader.sample(i).key for i in range(3)] == ["0", "1", "2"]


def test_header_with_several_labels(make_records: Make) -> None:
    payload = struct.pack("<IfQQ3f", 3, 99.0, 1, 0, 1.0, 0.5, 0.25) + jpeg(0)
    reader = open_reader(make_records([payload, *images([0])]))
    assert reader.labels.tolist() == [1, 0], "the first of the labels, not the header's"
    assert reader.encoded(0) == jpeg(0)


def test_image_in_parts(make_records: Make) -> None:
    """The magic number inside an image, at each alignment, and inside the header."""
    contents = [jpeg(0) + b"\0" * (-len(jpeg(0)) % 4 + shift) + MAGIC_BYTES + b"tail" for shift in range(4)]
    payloads = [struct.pack("<IfQQ", 0, label, 1, 0) + content for label, content in enumerate(contents)]
    payloads.append(struct.pack("<IfQQ", 0, 4, 0xCED7230A, 0) + jpeg(1))
    reader = open_reader(make_records(payloads))
    assert reader.labels.tolist() == [0, 1, 2, 3, 4]
    assert [reader.encoded(i) for i in range(5)] == [*contents, jpeg(1)]


def test_without_an_index(make_records: Make) -> None:
    reader = open_reader(make_records(images([0, 1, 1]), keys=None) / "train.rec")
    assert [reader.sample(i) for i in range(3)] == [Sample("0", 0), Sample("1", 1), Sample("2", 1)]
    assert [reader.encoded(i) for i in range(3)] == [jpeg(i) for i in range(3)]


def test_order_and_choice_of_the_index(make_records: Make) -> None:
    folder = make_records(images([0, 1, 2]))
    lines = (folder / "train.idx").read_text().splitlines()
    (folder / "train.idx").write_text("\n".join([lines[2], lines[0], lines[1]]))
    reader = open_reader(folder)
    assert [reader.sample(i).key for i in range(3)] == ["2", "0", "1"]
    assert reader.labels.tolist() == [2, 0, 1]


def test_labels_are_made_contiguous_and_names_keep_them(make_records: Make) -> None:
    folder = make_records(images([70, 3, 70]), classes=100)
    reader = open_reader(folder)
    assert reader.labels.tolist() == [1, 0, 1]
    assert list(reader.class_names) == ["3", "70"]
    (folder / "classes.txt").write_text("".join(f"person {i}\n" for i in range(100)))
    assert open_reader(folder).class_names == ("person 3", "person 70")
    (folder / "classes.txt").write_bytes(b"\xff\xfe\n")
    with pytest.raises(InputError, match=r"classes\.txt: the class names cannot be read"):
        open_reader(folder)
    (folder / "classes.txt").write_text("only\none\n")
    with pytest.raises(InputError, match=r"classes\.txt: 2 names, but there is a label 70"):
        open_reader(folder)


def test_a_real_set(shared: Callable[[str], Path]) -> None:
    reader = open_reader(shared("fixtures/recordio"))
    assert (len(reader), len(reader.class_names), reader.problems) == (174, 40, ())
    assert (np.diff(reader.labels) >= 0).all()
    assert all(reader.image(i).shape == (112, 112, 3) for i in range(0, 174, 20))


# ----------------------------------------------------------------------------------------------- the float32 range table


def test_no_image_changes_identity_beyond_2_24_keys(make_records: Make) -> None:
    """The end of a set of 17,091,657 images: the table's ranges are rounded to even keys, the images' labels are not."""
    last = 17_091_657
    keys = np.arange(last - 2999, last + 1)
    labels = (keys - keys[0]) // 3  # odd ranges: three images a person
    first_of_person = np.arange(keys[0], last + 1, 3)
    table = [(np.float32(first), np.float32(first + 3)) for first in first_of_person]
    by_table = np.array([next(i for i, (low, high) in enumerate(table) if low <= key < high) for key in keys[:300]])
    assert (by_table != labels[:300]).any(), "the trap is real: reading the table moves images to another person"

    image = jpeg(0, (2, 2))
    payloads = [struct.pack("<IfQQ", 0, label, int(key) % 2**32, 0) + image for key, label in zip(keys, labels, strict=True)]
    people = [pack_labels(0, (float(low), float(high))) for low, high in table]
    all_keys = [0, *keys.tolist(), *range(last + 1, last + 1 + len(people))]
    reader = open_reader(
        make_records([pack_labels(0, (last + 1, last + 1 + len(people))), *payloads, *people], all_keys, classes=1000)
    )
    assert reader.problems == ()
    assert reader.labels.tolist() == labels.tolist()
    assert [reader.sample(i).key for i in (0, 2999)] == [str(keys[0]), str(last)]


def synthetic(folder: Path, count: int, chunk: int = 2**20) -> RecordFiles:
    """A record file of ``count`` images of four bytes, five a person, written straight from arrays."""
    files = RecordFiles(folder / "train.rec")
    words = 9
    with files.records.open("wb") as records, files.index.open("wb") as index:
        for first in range(0, count, chunk):
            numbers = np.arange(first, min(first + chunk, count))
            block = np.zeros((len(numbers), words), "<u4")
            block[:, 0], block[:, 1] = 0xCED7230A, 28
            block[:, 3] = (numbers // 5).astype("<f4").view("<u4")
            block[:, 4] = numbers + 1
            block[:, 8] = 0xFFD8FF
            records.write(block.tobytes())
            index.write("".join([f"{n + 1}\t{n * 36}\n" for n in numbers.tolist()]).encode())
    return files


def test_bytes_of_memory_per_record(tmp_path: Path) -> None:
    found = index_records(synthetic(tmp_path, 100_000))
    held = sum(found.arrays[name].nbytes for name in ("offsets", "keys", "labels"))
    assert held <= 16 * 100_000
    np.testing.assert_array_equal(found.arrays["labels"], np.arange(100_000) // 5)


@pytest.mark.slow
@pytest.mark.parametrize("count", [17_091_657, 40_000_000])
def test_whole_large_sets(tmp_path: Path, count: int) -> None:
    """Every label of a whole synthetic set, and the bytes that its reader maps: ≤ 16 a record."""
    files = synthetic(tmp_path, count)
    reader = read_records(files.records)
    numbers = np.arange(count)
    np.testing.assert_array_equal(reader.labels, numbers // 5)
    np.testing.assert_array_equal(reader.store.keys, numbers + 1)  # type: ignore[attr-defined]
    assert len(pickle.dumps(reader)) < 10_000, "what travels to a worker is the place of the index"
    held = sum(np.asarray(a).nbytes for a in (reader.labels, reader.store.keys, reader.store.offsets))  # type: ignore[attr-defined]
    assert held <= 16 * count
    files.records.unlink()  # gigabytes, which pytest would keep
    files.index.unlink()


# ------------------------------------------------------------------------------------------------------------ processes


def test_readers_work_in_spawned_and_forked_processes(make_records: Make) -> None:
    reader = open_reader(make_records(images([0, 1, 1, 0, 2])))
    expected = [reader.image(i) for i in range(5)]  # opened here before
    assert len(pickle.dumps(reader)) < 3000
    for method, workers in (("fork", 2), ("spawn", 1)):
        kept = load_cache(reader, (20, 16), workers, start_method=method)
        np.testing.assert_array_equal(kept.transpose(0, 2, 3, 1), expected)
    assert multiprocessing.active_children() == []


# ---------------------------------------------------------------------------------------------------- the index, kept


def test_the_index_is_kept_and_made_anew_for_another_file(make_records: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_records(images([0, 1]))
    open_reader(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["train.idx", "train.rec"], "reading writes nothing into the set"

    def refuse(*_: object) -> None:
        raise AssertionError("indexed twice")

    with monkeypatch.context() as patch:
        patch.setattr("orthodrome.data.records.index_records", refuse)
        assert open_reader(folder).labels.tolist() == [0, 1]
    make_records(images([0, 1, 0]))
    assert open_reader(folder).labels.tolist() == [0, 1, 0]


def test_a_damaged_index_is_made_anew(make_records: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = make_records(images([0, 1]))
    open_reader(folder)
    (kept,) = (tmp_path / "cache" / "orthodrome").iterdir()
    for content in (b"", b"x" * 40, b"\1\0\0\0\0\0\0\x005", kept.read_bytes()[:60], (2**40).to_bytes(8, "little") + b"{}"):
        kept.write_bytes(content)
        assert open_reader(folder).labels.tolist() == [0, 1]


def test_no_place_for_the_index(make_records: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert open_reader(make_records(images([0, 1]))).labels.tolist() == [0, 1]


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**50)), max_size=40))
def test_idx_comes_back(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int]]) -> None:
    path = tmp_path_factory.mktemp("idx") / "a.idx"
    entries = np.array([(offset, key) for key, offset in rows], ENTRY)
    write_idx(path, entries)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orthodrome.data.record_idx._IDX_BLOCK", 17)
        np.testing.assert_array_equal(read_idx(path), entries)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\t0\n2\tx\n", r"train\.idx:2: expected 'key<TAB>offset'.*got '2\\tx'"),
        ("1\t0\n2\n3\t4\t5\n", r"train\.idx:2: .*got '2'"),
        ("-1\t0\n", r"train\.idx:1:"),
        ("4294967296\t0\n", r"train\.idx:1: .*below 2³²"),
        ("1\t1.5\n", r"train\.idx:1:"),
        ("1\t0\n" + "9" * 5000 + "\t0\n", r"train\.idx:2:.*got '9{80}'"),
    ],
)
def test_wrong_idx_lines(make_records: Make, text: str, message: str) -> None:
    folder = make_records(images([0]))
    (folder / "train.idx").write_text(text)
    with pytest.raises(InputError, match=message):
        open_reader(folder)


def test_blank_lines_and_windows_line_ends_in_an_idx(make_records: Make) -> None:
    folder = make_records(images([0, 1]))
    text = (folder / "train.idx").read_text()
    (folder / "train.idx").write_bytes(("\n" + text.replace("\n", "\r\n") + "\n\n").encode())
    assert open_reader(folder).labels.tolist() == [0, 1]


# ------------------------------------------------------------------------------------------------------------ bad input


def damage(folder: Path, offset: int, content: bytes) -> None:
    with (folder / "train.rec").open("r+b") as file:
        file.seek(offset)
        file.write(content)


def second(labels: list[float]) -> int:
    """Offset of record 1."""
    return len(record_bytes(images(labels)[0]))


def test_bad_magic(make_records: Make) -> None:
    folder = make_records(images([0, 1, 2]))
    at = second([0])
    damage(folder, at, b"\1\2\3\4")
    reader = read_records(folder, EVERYTHING)
    assert reader.labels.tolist() == [0, 1], "labels that occur"
    assert [reader.sample(i).key for i in range(2)] == ["0", "2"], "nothing takes the place of the bad one"
    assert reasons(reader)[0].startswith(f"1@{at}: no record begins here (found 0x4030201)")
    with pytest.raises(
        InputError, match=rf"1 of 3 items cannot be used.*train\.rec: key 1 at offset {at}: no record begins here"
    ):
        open_reader(folder)


def test_truncated_tail(make_records: Make) -> None:
    folder = make_records(images([0, 1, 2]))
    path = folder / "train.rec"
    path.write_bytes(path.read_bytes()[:-50])
    for keys in ("with", "without"):
        reader = read_records(folder, EVERYTHING)
        assert len(reader) == 2
        assert "runs past the end of the file" in reasons(reader)[0], keys
        (folder / "train.idx").unlink(missing_ok=True)


def test_length_beyond_the_file(make_records: Make) -> None:
    folder = make_records(images([0, 1, 2]))
    damage(folder, 4, struct.pack("<I", 2**28))
    reader = read_records(folder, EVERYTHING)
    assert [reader.sample(i).key for i in range(len(reader))] == ["1", "2"]
    assert reasons(reader) == ["0@0: a record of 268435456 bytes runs past the end of the file"]
    (folder / "train.idx").unlink()
    assert len(read_records(folder, EVERYTHING)) == 2, "the next magic number is found behind it"


def test_idx_out_of_step(make_records: Make) -> None:
    """Of another file; offsets that are no multiples of four, within records, beyond the file."""
    folder = make_records(images([0, 1, 2]))
    size = (folder / "train.rec").stat().st_size
    (folder / "train.idx").write_text(f"0\t0\n1\t{second([0]) + 2}\n2\t40\n3\t{size + 400}\n")
    found = reasons(read_records(folder, EVERYTHING))
    assert any(
        reason.startswith(f"1@{second([0]) + 2}: no record begins at an offset that is no multiple of 4") for reason in found
    )
    assert any(reason.startswith("2@40: no record begins here") for reason in found)
    assert any(reason.startswith(f"3@{size + 400}: the offset is beyond the {size} bytes") for reason in found)
    with pytest.raises(InputError, match="cannot be used"):
        open_reader(folder)


@pytest.mark.parametrize("order", [[1, 4], [4, 1]], ids=["ascending", "shuffled"])
def test_idx_that_leaves_records_out_is_reported(make_records: Make, order: list[int]) -> None:
    """Every image that it leaves out is told, at the beginning, between and at the end; parts of the table are not missed."""
    parts = pack_image(1, 2, b"0123" + MAGIC_BYTES + b"4567" + jpeg(0))
    folder = make_records([pack_labels(0, (6, 7)), parts, *images([1, 2, 3, 4]), pack_labels(6, (1, 6))])
    lines = (folder / "train.idx").read_text().splitlines(keepends=True)
    (folder / "train.idx").write_text("".join(lines[i] for i in order))
    reader = read_records(folder, EVERYTHING)
    offsets = [int(line.split()[1]) for line in lines]
    assert [reader.sample(i).key for i in range(2)] == [str(i) for i in order]
    assert reasons(reader) == [f"@{offsets[i]}: the .idx does not list this image" for i in (2, 3, 5)]
    with pytest.raises(InputError, match="3 of 5 items cannot be used"):
        read_records(folder, 0.59)


def test_damage_in_what_an_idx_leaves_out(make_records: Make) -> None:
    folder = make_records(images([0, -1, 2, 3]))
    lines = (folder / "train.idx").read_text().splitlines(keepends=True)
    offsets = [int(line.split()[1]) for line in lines]
    damage(folder, offsets[2], b"oops")
    (folder / "train.idx").write_text(lines[3] + lines[0])
    assert [(problem.offset, problem.reason[:20]) for problem in read_records(folder, EVERYTHING).problems] == [
        (offsets[1], "label -1; expected w"),
        (offsets[2], "no record begins her"),
    ]


@pytest.mark.parametrize("cut", [0, 50], ids=["in the middle", "at the end too"])
def test_damage_where_there_was_no_idx_is_counted_once(cut: int, make_records: Make) -> None:
    folder = make_records(images([0, 1, 2, 3]), keys=None)
    damage(folder, second([0]), b"oops")
    path = folder / "train.rec"
    path.write_bytes(path.read_bytes()[: path.stat().st_size - cut])
    _, count, problems = index_set(path)
    offsets = [problem.offset for problem in problems]
    assert (count, len(offsets)) == ((2, 2) if cut else (3, 1))
    assert offsets[0] == second([0])
    assert [problem.offset for problem in open_reader(path, EVERYTHING).problems] == offsets


def test_images_without_bytes_are_no_part_of_the_table(make_records: Make) -> None:
    """A record of two labels and nothing else is a key range only where it can be one."""
    ranges = [pack_labels(0, (6, 8)), pack_labels(6, (1, 3)), pack_labels(7, (3, 3))]
    empty = [pack_labels(3, labels) for labels in ((1.0, 0.5), (2.0, 1.0), (float("nan"), 1.0))]
    two = struct.pack("<IfQQ2f", 2, 99.0, 1, 0, 1.0, 0.5) + jpeg(0)
    reader = read_records(make_records([ranges[0], *images([0]), two, *empty, *ranges[1:]]), EVERYTHING)
    assert reader.labels.tolist() == [0, 1], "of two labels the first counts"
    assert [(problem.key, problem.reason) for problem in reader.problems] == [
        (key, "the record holds no image") for key in ("3", "4", "5")
    ]


def test_a_shuffled_idx_of_many_records(tmp_path: Path) -> None:
    """All but every hundredth of 100,000 records, in random order."""
    files = synthetic(tmp_path, 100_000)
    listed = np.random.default_rng(0).permutation(np.flatnonzero(np.arange(100_000) % 100 != 7))
    entries = read_idx(files.index)[listed]
    write_idx(files.index, entries)
    found = index_records(files)
    np.testing.assert_array_equal(found.arrays["keys"], entries["key"])
    assert [problem["offset"] for problem in found.meta["problems"]] == [n * 36 for n in range(7, 100_000, 100)]


def test_an_idx_of_another_file_ends_before_memory_does(make_records: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_records(images([0, 1, 2, 3]))
    (folder / "train.idx").write_text("".join(f"{key}\t{key * 4 + 4}\n" for key in range(20)))
    monkeypatch.setattr("orthodrome.data.record_index.MOST_PROBLEMS", 10)
    with pytest.raises(
        InputError, match=r"train\.rec: more than 10 records cannot be used, the first: .*is the \.idx of another file"
    ):
        read_records(folder, EVERYTHING)


def test_a_key_listed_twice(make_records: Make) -> None:
    reader = read_records(make_records(images([0, 1, 2, 3]), keys=[5, 7, 5, 6]), EVERYTHING)
    assert [reader.sample(i).key for i in range(len(reader))] == ["5", "7", "6"]
    assert [(problem.key, problem.reason) for problem in reader.problems] == [("5", "the .idx lists this key twice")]


def test_middle_of_a_record_in_parts(make_records: Make) -> None:
    content = b"0123" + MAGIC_BYTES + b"4567" + jpeg(0)
    folder = make_records([pack_image(0, 1, content), *images([1])])
    (folder / "train.idx").write_text("0\t0\n1\t36\n")
    assert any("the middle of a record in parts" in reason for reason in reasons(read_records(folder, EVERYTHING)))


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        (-1.0, r"label -1; expected whole numbers in \[0, 3\) by `property`"),
        (3.0, "label 3; expected"),
        (0.5, "label 0.5"),
        (float("nan"), "label nan"),
        (float("inf"), "label inf"),
        (3e38, "label 3e"),
    ],
)
def test_labels_outside_property(make_records: Make, label: float, reason: str) -> None:
    folder = make_records(images([0, label, 2]), classes=3)
    reader = read_records(folder, EVERYTHING)
    assert list(reader.class_names) == ["0", "2"]
    with pytest.raises(InputError, match=rf"key 1 at offset {second([0])}: {reason}"):
        open_reader(folder)


def test_records_without_an_image(make_records: Make) -> None:
    empty = struct.pack("<IfQQ", 0, 0.0, 1, 0)
    two_labels = pack_labels(1, (1.0, 2.0))  # an identity record, but the set has no table
    short = b"short"
    lying = struct.pack("<IfQQ", 50, 0.0, 1, 0) + bytes(8)
    reader = read_records(make_records([*images([0]), empty, two_labels, short, lying]), EVERYTHING)
    assert len(reader) == 1
    assert [reason.split(": ")[1] for reason in reasons(reader)] == [
        "the record holds no image",
        "the record holds no image",
        "the record holds 5 bytes; an image needs a header of 24",
        "the header names 50 labels, but the record holds 32 bytes",
    ]


def test_budget(make_records: Make) -> None:
    folder = make_records(images([0, 1] * 10 + [-1.0]))
    with pytest.raises(InputError, match=r"1 of 21 items cannot be used, more than the 4.00%"):
        open_reader(folder, 0.04)
    reader = open_reader(folder, 0.05)
    assert (len(reader), len(reader.problems)) == (20, 1)
    with pytest.raises(InputError, match=r"share in \[0, 1\]; got 5"):
        open_reader(folder, 5)


def test_an_image_that_does_not_decode_names_file_key_and_offset(make_records: Make) -> None:
    folder = make_records([*images([0]), pack_image(1, 2, b"\xff\xd8\xff no picture")])
    with pytest.raises(InputError, match=rf"train\.rec: key 1 at offset {second([0])}: "):
        open_reader(folder).image(1)


def test_a_file_that_shrinks_while_it_is_open(make_records: Make) -> None:
    folder = make_records(images([0, 1]))
    reader = open_reader(folder)
    reader.image(1)
    with (folder / "train.rec").open("r+b") as file:
        file.truncate(second([0]) + 10)
    with pytest.raises(InputError, match=r"key 1 at offset .* the file ends before"):
        reader.image(1)


def test_wrong_files(make_records: Make, tmp_path: Path) -> None:
    folder = make_records(images([0, 1]))
    (folder / "property").write_text("112x112")
    with pytest.raises(InputError, match=r"property: expected 'num_classes,height,width'"):
        open_reader(folder)
    (folder / "property").unlink()
    (folder / "other.rec").write_bytes(b"")
    with pytest.raises(InputError, match="2 record files here"):
        open_reader(folder)
    with pytest.raises(InputError, match=r"other\.rec: 0 bytes; expected RecordIO"):
        open_reader(folder / "other.rec")
    (tmp_path / "text.rec").write_text("this is a text, not a record file" * 9)
    with pytest.raises(InputError, match="no record begins"):
        open_reader(tmp_path / "text.rec")


def test_an_idx_beyond_the_end_of_its_file(make_records: Make) -> None:
    """It ends; scanning what lies between records must not wait for an end of the file that never comes."""
    folder = make_records(images([0, 1, 2]))
    with (folder / "train.idx").open("a") as file:
        file.write("999\t9999996\n")
    assert [(problem.key, problem.reason.split(";")[0]) for problem in read_records(folder, EVERYTHING).problems] == [
        ("999", f"the offset is beyond the {(folder / 'train.rec').stat().st_size} bytes of the file")
    ]


def test_an_offset_listed_under_two_keys(make_records: Make) -> None:
    folder = make_records(images([0, 1, 2]))
    lines = (folder / "train.idx").read_text().splitlines()
    (folder / "train.idx").write_text("\n".join([*lines, f"50\t{lines[1].split(chr(9))[1]}"]) + "\n")
    reader = read_records(folder, EVERYTHING)
    assert len(reader) == 3
    assert [(problem.key, problem.reason) for problem in reader.problems] == [
        ("50", "the .idx lists this offset under another key, too")
    ]
