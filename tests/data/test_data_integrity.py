"""Verifying, quarantine, and what an inspection sees."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from set_files import encoded, jpeg, picture

from orthodrome.data import MemoryReader, check_trainable, convert, jobs, open_reader
from orthodrome.data.duplicates import equal_pairs, near_pairs
from orthodrome.data.examine import difference_hash, jpeg_end
from orthodrome.data.inspection import images_per_person, inspect, mean_faces, tables
from orthodrome.data.integrity import Verification, changed_since, read_checksums, verify, write_checksums
from orthodrome.data.problems import Problem, quarantine_file, read_quarantine, write_quarantine
from orthodrome.data.readers import open_whole
from orthodrome.types import InputError

# --------------------------------------------------------------------------------------------------------------- verify


@pytest.mark.parametrize("workers", [0, 2])
def test_a_whole_set(identities: Path, workers: int) -> None:
    calls: list[tuple[int, int]] = []
    result = verify(open_reader(identities), workers, lambda done, total: calls.append((done, total)))
    assert (result.total, result.problems, result.remarks) == (10, (), ())
    assert result.checksums.keys[0] == "ada/0.jpg"
    assert calls[-1] == (10, 10)
    assert result.within(0)


@pytest.mark.parametrize("form", ["folder", "rec", "webdataset"])
def test_the_checksum_does_not_depend_on_the_form(identities: Path, tmp_path: Path, form: str) -> None:
    source = open_reader(identities)
    convert(source, tmp_path / "x", form)
    assert verify(open_reader(tmp_path / "x")).checksum == verify(source).checksum


def test_the_checksum_sees_bytes_labels_and_order() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
    sets = [
        MemoryReader(pixels, [0, 0, 1]),
        MemoryReader(pixels, [0, 1, 1]),
        MemoryReader(pixels[[1, 0, 2]], [0, 0, 1]),
        MemoryReader(pixels + 1, [0, 0, 1]),
    ]
    assert len({verify(one).checksum for one in sets}) == 4


def spoil(identities: Path) -> None:
    """A truncated image, one that is none, an empty one, and a bomb."""
    path = identities / "cleo" / "1.jpg"
    path.write_bytes(path.read_bytes()[:-100])
    (identities / "cleo" / "2.jpg").write_text("no picture")
    (identities / "ada" / "3.jpg").write_bytes(b"")
    bomb = encoded(Image.new("1", (20_000, 20_000)), "PNG")
    (identities / "ada" / "0.jpg").write_bytes(bomb)


def test_what_cannot_be_used(identities: Path) -> None:
    spoil(identities)
    result = verify(open_reader(identities), 2)
    assert [(problem.file, problem.key) for problem in result.problems] == [
        (str(identities / key), key) for key in ("ada/0.jpg", "ada/3.jpg", "cleo/1.jpg", "cleo/2.jpg")
    ]
    bomb, empty, truncated, text = (problem.reason for problem in result.problems)
    assert "20000×20000 pixels are over the limit" in bomb
    assert empty.startswith("the file is empty")
    assert truncated.startswith("the image is damaged")
    assert text.startswith("not an image")
    assert (result.within(0.39), result.within(0.4)) == (False, True)
    assert len(result.checksums) == 6


def test_odd_images_are_kept_and_told(tmp_path: Path) -> None:
    contents = {
        "a/1.jpg": jpeg(0) + b"trailing garbage",
        "a/2.jpg": encoded(picture(1), "PNG"),
        "a/3.jpg": jpeg(2),
        "a/3.JPG": jpeg(3),
        "b/1.png": jpeg(4) + jpeg(5),
    }
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    result = verify(open_reader(tmp_path))
    assert result.problems == ()
    assert sorted((remark.key, remark.reason) for remark in result.remarks) == [
        ("a/1.jpg", "16 bytes behind the end of the JPEG"),
        ("a/2.jpg", "named .jpg, but it is a .png"),
        ("a/3.jpg", "differs from a/3.JPG in case only"),
        ("b/1.png", f"{len(jpeg(5))} bytes behind the end of the JPEG"),
        ("b/1.png", "named .png, but it is a .jpg"),
    ]


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}, {"exif": b"Exif\0\0" + b"\xff\xd9" * 9}])
def test_where_a_jpeg_ends(options: dict[str, object]) -> None:
    for seed in range(5):
        content = encoded(picture(seed, (40, 30)), "JPEG", **options)  # type: ignore[arg-type]
        assert jpeg_end(content) == len(content)
        assert jpeg_end(content + b"\xff\xd9 more") == len(content)
    assert jpeg_end(content[:-2]) == len(content) - 2


def test_checksums_of_images(identities: Path, tmp_path: Path) -> None:
    sums = tmp_path / "sums"
    write_checksums(sums, verify(open_reader(identities)).checksums)
    assert changed_since(read_checksums(sums), verify(open_reader(identities)).checksums) == []
    (identities / "bob" / "0.jpg").write_bytes(jpeg(77))
    (identities / "ada" / "1.jpg").unlink()
    (identities / "ada" / "9.jpg").write_bytes(jpeg(78))
    assert changed_since(read_checksums(sums), verify(open_reader(identities)).checksums) == [
        "ada/1.jpg",
        "ada/9.jpg",
        "bob/0.jpg",
    ]
    for wrong in ("x", f"{'0' * 32} a", f"{'g' * 32}  a", f"{'0' * 31}  a", ""):
        sums.write_text(f"{'0' * 32}  two  blanks\n{wrong}\n")
        with pytest.raises(InputError, match=r"sums:2: expected 'digest  key'"):
            read_checksums(sums)
    with pytest.raises(InputError, match="cannot be read"):
        read_checksums(tmp_path / "none")


# ----------------------------------------------------------------------------------------------------------- quarantine


def verify_set(path: Path) -> Verification:
    """Verify and keep the list, as the command does."""
    result = jobs.verify_set(path, 0)
    jobs.quarantine(path, result)
    return result


@pytest.mark.parametrize("given", [".", "..", "cleo/.."])
def test_a_set_that_is_the_working_folder(identities: Path, given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (identities / "cleo" / "2.jpg").write_text("no picture")
    monkeypatch.chdir(identities / "ada" if given == ".." else identities)
    verify_set(Path(given))
    assert [path.name for path in identities.parent.rglob("*.jsonl")] == ["faces.quarantine.jsonl"]
    assert quarantine_file(given) == quarantine_file(identities)
    assert len(open_reader(given, 0.1)) == 9


def test_a_set_behind_a_link_has_the_list_of_the_set(identities: Path, tmp_path: Path) -> None:
    (identities / "cleo" / "2.jpg").write_text("no picture")
    (tmp_path / "link").symlink_to(identities)
    verify_set(tmp_path / "link")
    assert [len(open_reader(path, 0.1)) for path in (tmp_path / "link", identities)] == [9, 9]


@pytest.mark.parametrize("name", ["a\nb", "a\u2028b", "a\x85b", "a\rb", "a\tb"])
def test_names_with_line_breaks_stay_in_their_line(identities: Path, tmp_path: Path, name: str) -> None:
    (identities / "cleo" / f"{name}.jpg").write_bytes(jpeg(9))
    (identities / "bob" / f"{name}.jpg").write_text("no picture")
    result = verify_set(identities)
    write_checksums(tmp_path / "sums", result.checksums)
    assert changed_since(read_checksums(tmp_path / "sums"), result.checksums) == []
    assert len((tmp_path / "sums").read_text().splitlines()) == 11
    assert len(str(result.problems[0]).splitlines()) == 1
    assert read_quarantine(quarantine_file(identities)) == result.problems
    assert len(open_reader(identities, 0.1)) == 11


def test_training_leaves_out_what_verify_listed(identities: Path) -> None:
    (identities / "cleo" / "2.jpg").write_text("no picture")
    result = verify_set(identities)
    assert [problem.key for problem in result.problems] == ["cleo/2.jpg"]
    assert read_quarantine(quarantine_file(identities)) == result.problems
    with pytest.raises(InputError, match=r"1 of 10 items cannot be used, more than the 0\.10% .*cleo/2\.jpg: not an image"):
        open_reader(identities)
    reader = open_reader(identities, 0.1)
    assert [reader.sample(i).key for i in range(5, 9)] == ["cleo/0.jpg", "cleo/1.jpg", "cleo/3.jpg", "cleo/4.jpg"]
    assert reader.labels.tolist() == [0] * 4 + [1] + [2] * 4
    assert "1 left out, first: " in str(check_trainable(reader))
    (identities / "cleo" / "2.jpg").write_bytes(jpeg(0))
    verify_set(identities)
    assert not quarantine_file(identities).exists(), "a list that is out of date is removed"
    assert len(open_reader(identities)) == 10


def test_verify_lists_every_missing_image_and_convert_goes_on_without_them(identities: Path, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    rows = [f"faces/cleo/{number}.jpg cleo" for number in range(5)] + [f"faces/ada/{number}.jpg ada" for number in range(4)]
    path.write_text("\n".join([*rows, "faces/cleo/4.jpg cleo"]))
    for gone in ("cleo/1.jpg", "ada/3.jpg"):
        (identities / gone).unlink()
    (identities / "cleo" / "4.jpg").write_text("no picture, twice")
    result = verify_set(path)
    assert result.total == 10
    assert [(problem.key, problem.reason[:12]) for problem in result.problems] == [
        ("faces/cleo/1.jpg", "no such imag"),
        ("faces/ada/3.jpg", "no such imag"),
        ("faces/cleo/4.jpg", "not an image"),
        ("faces/cleo/4.jpg", "not an image"),
    ]
    with pytest.raises(InputError, match="4 of 10 items cannot be used"):
        open_reader(path, 0.3)
    assert convert(open_reader(path, 0.4), tmp_path / "rec", "rec") == 6
    copy = open_reader(tmp_path / "rec")
    assert (list(copy.class_names), np.bincount(copy.labels).tolist()) == (["ada", "cleo"], [3, 3])


def test_verify_lists_what_a_folder_cannot_give(identities: Path) -> None:
    (identities / "nobody").mkdir()
    (identities / "ada" / "9.jpg").symlink_to("gone.jpg")
    result = verify_set(identities)
    assert [(problem.key, problem.reason[:12]) for problem in result.problems] == [
        ("nobody", "the identity"),
        ("ada/9.jpg", "no such file"),
    ]
    reader = open_reader(identities, 0.2)
    assert (len(reader), list(reader.class_names), len(reader.problems)) == (10, ["ada", "bob", "cleo"], 2)


def test_a_person_without_any_good_image_is_no_class(identities: Path) -> None:
    (identities / "bob" / "0.jpg").write_text("no picture")
    verify_set(identities)
    reader = open_reader(identities, 0.1)
    assert list(reader.class_names) == ["ada", "cleo"]
    assert check_trainable(reader).people == 2


def test_quarantine_of_records_counts_what_the_index_found_once(identities: Path, tmp_path: Path) -> None:
    folder = tmp_path / "rec"
    convert(open_reader(identities), folder, "rec")
    offsets = [int(line.split()[1]) for line in (folder / "train.idx").read_text().splitlines()]
    data = bytearray((folder / "train.rec").read_bytes())
    data[offsets[2] : offsets[2] + 4] = b"oops"  # the index sees it
    data[offsets[5] + 32 : offsets[5] + 40] = b"oops" * 2  # only decoding does
    (folder / "train.rec").write_bytes(data)
    result = verify_set(folder)
    assert [problem.key for problem in result.problems] == ["2", "5"]
    assert result.problems[1].offset == offsets[5]
    reader = open_reader(folder, 0.2)
    assert (len(reader), [problem.key for problem in reader.problems]) == (8, ["2", "5"])


def test_a_quarantine_list_of_another_set(identities: Path) -> None:
    place = quarantine_file(identities)
    write_quarantine(place, [Problem("x", "nobody/1.jpg", None, "why")])
    with pytest.raises(InputError, match="1 of its images are not in the set"):
        open_reader(identities)
    assert len(open_whole(identities)) == 10
    place.write_text('{"key": "ada/0.jpg"}\n')
    with pytest.raises(InputError, match=r"quarantine\.jsonl:1: not a line of a quarantine list"):
        open_reader(identities)


# -------------------------------------------------------------------------------------------------------------- inspect


def test_inspection(identities: Path) -> None:
    (identities / "cleo" / "4.jpg").write_bytes((identities / "ada" / "1.jpg").read_bytes())
    source = Image.open(identities / "ada" / "2.jpg")
    source.convert("L").save(identities / "bob" / "1.png")
    (identities / "cleo" / "9.jpg").write_text("no picture")
    found = inspect(open_reader(identities), 0)
    assert (found.people, found.images, found.fewest, found.median, found.most) == (3, 12, 2, 4.0, 6)
    assert found.histogram == {"1": 0, "2": 1, "3–4": 1, "5–8": 1}
    assert found.sizes == {"16×20": 11}
    assert found.modes == {"RGB": 10, "L": 1}
    assert found.formats == {"JPEG": 10, "PNG": 1}
    assert [problem.key for problem in found.problems] == ["cleo/9.jpg"]
    pairs = {(one.first, one.second): (one.first_person, one.second_person, one.difference == 0) for one in found.duplicates}
    assert pairs == {
        ("ada/1.jpg", "cleo/4.jpg"): ("ada", "cleo", True),
        ("ada/2.jpg", "bob/1.png"): ("ada", "bob", False),
    }
    plain = json.loads(json.dumps(found.to_json()))
    assert plain["duplicates"][0]["across_people"] is True
    assert [len(table.rows) for table in tables(found)] == [7, 4, 5, 2]


def test_images_per_person_by_hand() -> None:
    assert images_per_person(np.array([1, 1, 2, 3, 4, 5, 8, 9, 17])) == {
        "1": 2,
        "2": 1,
        "3–4": 2,
        "5–8": 2,
        "9–16": 1,
        "17–32": 1,
    }


def test_an_empty_set_is_not_inspected() -> None:
    with pytest.raises(InputError, match="no images"):
        inspect(MemoryReader(np.zeros((0, 2, 2, 3), np.uint8), np.zeros(0, int)))


def test_a_list_of_which_no_image_exists(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("x.jpg ada\ny.jpg bob\n")
    assert [problem.key for problem in verify_set(path).problems] == ["x.jpg", "y.jpg"]
    for use in (inspect, lambda reader: convert(reader, tmp_path / "rec", "rec")):
        with pytest.raises(InputError, match=r"no images; 2 items cannot be used, first: .*x\.jpg: no such image"):
            use(open_whole(path))


def test_mean_faces() -> None:
    pixels = np.stack([np.full((8, 8, 3), value, np.uint8) for value in (10, 30, 200)])
    grid = np.asarray(mean_faces(MemoryReader(pixels, [1, 1, 0]), people=2, columns=1))
    assert grid.shape == (128, 64, 3)
    assert (np.unique(grid[:64]), np.unique(grid[64:])) == (20, 200), "largest class first"


def test_mean_faces_of_what_can_be_decoded(identities: Path) -> None:
    whole = np.asarray(mean_faces(open_reader(identities)))
    (identities / "cleo" / "9.jpg").write_text("no picture")
    (identities / "bob" / "0.jpg").write_text("no picture")
    spoilt = np.asarray(mean_faces(open_reader(identities)))
    assert (spoilt[:, :128] == whole[:, :128]).all(), "cleo and ada"
    assert not spoilt[:, 128:].any(), "nothing of bob"


# ----------------------------------------------------------------------------------------------------------- duplicates


@given(st.lists(st.integers(0, 40), max_size=30), st.lists(st.integers(0, 2**64 - 1), max_size=3), st.integers(0, 5))
def test_near_pairs_are_all_near_pairs(flips: list[int], bases: list[int], bits: int) -> None:
    """Against every pair compared with every other: each near pair is joined, directly or through an equal hash."""
    values = [base ^ (1 << (flip * 7 % 64)) ^ (1 << (flip % 11)) for base in bases for flip in flips]
    hashes = np.array(values, np.uint64)
    found = {tuple(pair) for pair in near_pairs(hashes, bits).tolist()}
    first = {value: values.index(value) for value in values}
    expected = {
        tuple(sorted((first[a], first[b])))
        for a, b in itertools.combinations(dict.fromkeys(values), 2)
        if (a ^ b).bit_count() <= bits
    } | {(first[value], i) for i, value in enumerate(values) if first[value] != i}
    assert found == expected


def near_by_brute_force(hashes: np.ndarray, bits: int) -> set[tuple[int, int]]:
    different = hashes[:, None] ^ hashes
    count = sum((different >> np.uint64(bit)) & np.uint64(1) for bit in range(64))
    return {(a, b) for a, b in np.argwhere(count <= bits).tolist() if a < b}


@pytest.mark.parametrize("bits", [1, 3])
def test_near_pairs_of_a_crowd(bits: int) -> None:
    """Hashes of few ones, as of nearly blank images: all share bands with hundreds, which are split again and again."""
    generator = np.random.default_rng(0)
    hashes = np.unique((np.uint64(1) << generator.integers(0, 64, (2_000, 3)).astype(np.uint64)).sum(1, dtype=np.uint64))
    hashes = generator.permutation(hashes)
    expected = near_by_brute_force(hashes, bits)
    assert len(expected) > 200
    assert sorted(map(tuple, near_pairs(hashes, bits).tolist())) == sorted(expected)


def test_near_pairs_among_many() -> None:
    """Copies with one to three bits changed, planted among more random hashes than could be compared one by one."""
    generator = np.random.default_rng(0)
    hashes = generator.integers(0, 2**64, 200_000, dtype=np.uint64)
    copies = np.arange(0, 3_000)
    hashes[-len(copies) :] = hashes[copies]
    for _ in range(3):
        hashes[-len(copies) :] ^= np.uint64(1) << generator.integers(0, 64, len(copies)).astype(np.uint64)
    assert near_pairs(hashes).tolist() == np.stack([copies, copies + 200_000 - len(copies)], axis=1).tolist()


def test_thousands_of_blank_images_are_each_told_once() -> None:
    hashes = np.zeros(50_000, np.uint64)
    hashes[[7, 30_000]] = 1, 2**63
    others = np.setdiff1d(np.arange(1, 50_000), [7, 30_000])
    assert near_pairs(hashes).tolist() == [*([0, i] for i in others.tolist()), [0, 7], [0, 30_000], [7, 30_000]]


def test_equal_pairs_by_hand() -> None:
    assert equal_pairs(np.array([5, 3, 5, 5, 3])).tolist() == [[0, 2], [0, 3], [1, 4]]
    assert equal_pairs(np.array([])).shape == (0, 2)


def test_difference_hash_survives_what_copies_go_through() -> None:
    for seed in range(20):
        coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8))
        original = np.asarray(coarse.resize((112, 112), Image.Resampling.BICUBIC))
        small = np.asarray(Image.fromarray(original).resize((64, 64)))
        assert (difference_hash(original) ^ difference_hash(small)).bit_count() <= 3
        assert (difference_hash(original) ^ difference_hash(np.asarray(picture(seed + 100, (112, 112))))).bit_count() > 10


def test_pictures_under_two_names_in_real_data(shared: Callable[[str], Path], tmp_path: Path) -> None:
    """Two photographs of the training set stand under two people each."""
    root = shared("data/celeba")
    people = [name for name in ("4427", "5212", "7392", "7393", "1", "2") if (root / name).is_dir()]
    listing = [f"{root}/{name}/{path.name} {name}" for name in people for path in sorted((root / name).iterdir())]
    (tmp_path / "list.txt").write_text("\n".join(listing))
    found = inspect(open_reader(tmp_path / "list.txt"), 0)
    across = {(one.first_person, one.second_person) for one in found.duplicates if one.across_people}
    assert across == {("4427", "5212"), ("7392", "7393")}
