"""Tar shards: labels beside images or in folder names, several shards, hostile and damaged ones."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
from pathlib import Path

import pytest
from set_files import jpeg

from orthodrome.data import open_reader, read_shards
from orthodrome.types import InputError, Reader, Sample

EVERYTHING = 1.0


def write_tar(path: Path, members: dict[str, bytes] | list[tuple[str, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items() if isinstance(members, dict) else members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def labelled(*labels: int, start: int = 0) -> dict[str, bytes]:
    members = {}
    for number, label in enumerate(labels, start=start):
        members |= {f"{number:06d}.cls": str(label).encode(), f"{number:06d}.jpg": jpeg(number)}
    return members


def test_one_shard_with_cls(tmp_path: Path) -> None:
    reader = open_reader(write_tar(tmp_path / "a.tar", labelled(7, 3, 7)))
    assert isinstance(reader, Reader)
    assert reader.labels.tolist() == [1, 0, 1]
    assert list(reader.class_names) == ["3", "7"]
    assert reader.sample(2) == Sample("000002.jpg", 1)
    assert reader.encoded(1) == jpeg(1)
    assert reader.image(1, (8, 8)).shape == (8, 8, 3)
    assert reader.problems == ()


def test_json_labels_and_names(tmp_path: Path) -> None:
    members = {
        f"{i}.{end}": content
        for i in range(2)
        for end, content in (("jpg", jpeg(i)), ("json", json.dumps({"label": 5 - i}).encode()))
    }
    assert open_reader(write_tar(tmp_path / "a.tar", members)).labels.tolist() == [1, 0]
    names = {
        f"{i}.{end}": content
        for i, name in enumerate(("grace", "ada"))
        for end, content in (("json", json.dumps({"label": name}).encode()), ("jpg", jpeg(i)))
    }
    reader = open_reader(write_tar(tmp_path / "b.tar", names))
    assert (list(reader.class_names), reader.labels.tolist()) == (["ada", "grace"], [1, 0])


def test_plain_tar_of_identities(tmp_path: Path) -> None:
    """Folders name people; dots in names do not join images; hidden files and other files are no images."""
    members = [
        ("./grace/1.x.jpg", jpeg(0)),
        ("./grace/1.y.jpg", jpeg(1)),
        ("./ada/2.JPG", jpeg(2)),
        ("./ada/._2.jpg", b"resource fork"),
        ("./README.txt", b"x"),
    ]
    reader = open_reader(write_tar(tmp_path / "a.tar", members))
    assert list(reader.class_names) == ["ada", "grace"]
    assert reader.labels.tolist() == [1, 1, 0]
    assert reader.sample(2).key == "./ada/2.JPG"


def test_shards_of_a_folder_and_of_a_pattern(tmp_path: Path) -> None:
    for shard in range(3):
        write_tar(tmp_path / f"{shard:03d}.tar", labelled(shard, 5, start=2 * shard))
    folder, pattern = open_reader(tmp_path), open_reader(tmp_path / "{001..002}.tar")
    assert folder.labels.tolist() == [0, 3, 1, 3, 2, 3]
    assert pattern.labels.tolist() == [0, 2, 1, 2]
    assert [pattern.sample(i).key for i in (0, 3)] == ["001/000002.jpg", "002/000005.jpg"]
    assert [folder.encoded(i) for i in range(6)] == [jpeg(i) for i in range(6)]
    copy = pickle.loads(pickle.dumps(folder))
    assert [copy.encoded(i) for i in range(6)] == [jpeg(i) for i in range(6)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000.tar", "001.tar", "002.tar"], (
        "reading writes nothing into the set"
    )
    with pytest.raises(InputError, match=r"003\.tar: no such shard"):
        open_reader(tmp_path / "{000..003}.tar")


def test_a_label_file_of_another_shard_is_not_taken(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", {"a.cls": b"1"})
    write_tar(tmp_path / "1.tar", {"a.jpg": jpeg(0), "b.jpg": jpeg(1), "b.cls": b"2"})
    reader = read_shards(tmp_path, EVERYTHING)
    assert [problem.key for problem in reader.problems] == ["a", "a.jpg"]
    assert "a label without an image" in reader.problems[0].reason
    assert "no label: expected a .cls or a .json" in reader.problems[1].reason


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"a.jpg": jpeg(0), "a.cls": b"-1"}, r"label '-1' in the \.cls"),
        ({"a.jpg": jpeg(0), "a.cls": b"1.5"}, r"label '1\.5'"),
        ({"a.jpg": jpeg(0), "a.cls": b""}, "label ''"),
        ({"a.jpg": jpeg(0), "a.cls": b"9" * 5000}, "label '9999"),
        ({"a.jpg": jpeg(0), "a.json": b"{"}, r"the \.json is no object"),
        ({"a.jpg": jpeg(0), "a.json": b'{"label": -3}'}, "label -3"),
        ({"a.jpg": jpeg(0), "a.json": b'{"label": true}'}, "label True"),
        ({"a.jpg": jpeg(0), "a.json": b'{"label": 1.5}'}, r"label 1\.5"),
        ({"a.jpg": jpeg(0), "a.png": jpeg(1), "a.cls": b"1"}, "2 images of one key"),
    ],
)
def test_samples_without_a_usable_label(tmp_path: Path, members: dict[str, bytes], reason: str) -> None:
    path = write_tar(tmp_path / "a.tar", {**members, **labelled(4, 6)})
    reader = read_shards(path, EVERYTHING)
    assert list(reader.class_names) == ["4", "6"]
    with pytest.raises(InputError, match=rf"a\.tar: key a\.jpg at offset \d+: {reason}"):
        open_reader(path)


# -------------------------------------------------------------------------------------------------- hostile and damaged


@pytest.mark.parametrize("name", ["../../etc/evil.jpg", "/etc/evil.jpg", "a/../../evil.jpg", "..\\evil.jpg", "C:\\evil.jpg"])
def test_zip_slip_names(tmp_path: Path, name: str) -> None:
    path = write_tar(tmp_path / "a.tar", [(name, jpeg(9)), *labelled(0, 1).items()])
    reader = read_shards(path, EVERYTHING)
    assert len(reader) == 2
    assert [problem.reason for problem in reader.problems] == ["the name points out of the archive"]
    with pytest.raises(InputError, match="the name points out of the archive"):
        open_reader(path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "a.tar"
    write_tar(path, labelled(0, 1))
    with tarfile.open(path, "a") as archive:
        member = tarfile.TarInfo("b/x.jpg")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    assert [problem.reason for problem in read_shards(path, EVERYTHING).problems] == ["a link to /etc/passwd; expected a file"]


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [("Ren\udce9/\udcff.jpg", jpeg(0)), ("Zoe/1.jpg", jpeg(1))])
    reader = open_reader(path)
    assert list(reader.class_names) == [r"Ren\xe9", "Zoe"]
    assert reader.sample(0).key == r"Ren\xe9/\xff.jpg"
    assert reader.image(0).shape == (20, 16, 3)


def test_truncated_shard(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", labelled(0, 1, 2))
    with tarfile.open(path) as archive:
        last = archive.getmember("000002.jpg")
    data = path.read_bytes()
    for end, key in ((last.offset_data + 100, "000002.jpg"), (last.offset + 100, ""), (last.offset, "")):
        path.write_bytes(data[:end])
        reader = read_shards(path, EVERYTHING)
        assert reader.labels.tolist() == [0, 1]
        by_key = {problem.key: problem.reason for problem in reader.problems}
        assert by_key.keys() == {key, "000002"}, "what is lost, and the label that is left of it"
        assert "the archive" in by_key[key]
        with pytest.raises(InputError, match=r"a\.tar.*the archive"):
            open_reader(path)


def test_a_damaged_header_in_the_middle_does_not_end_the_archive_in_silence(tmp_path: Path) -> None:
    """tarfile stops at it as if nothing came after."""
    path = write_tar(tmp_path / "a.tar", labelled(0, 1, 2, 3))
    with tarfile.open(path) as archive:
        at = archive.getmember("000002.cls").offset
    data = bytearray(path.read_bytes())
    data[at + 2] ^= 0xFF
    path.write_bytes(data)
    (problem,) = read_shards(path, EVERYTHING).problems
    assert (problem.offset, problem.reason.split(";")[0]) == (at, "the header of a member is damaged")
    with pytest.raises(InputError, match=rf"a\.tar at offset {at}: the header of a member is damaged"):
        open_reader(path)


def test_archives_end_to_end_in_one_file(tmp_path: Path) -> None:
    first, second = (write_tar(tmp_path / name, labelled(i, start=i)) for i, name in enumerate(("a.tar", "b.tar")))
    first.write_bytes(first.read_bytes() + second.read_bytes())
    (problem,) = read_shards(first, EVERYTHING).problems
    assert "something follows the end mark" in problem.reason


def test_a_label_whose_image_cannot_be_read_is_told(tmp_path: Path) -> None:
    members = {
        **labelled(0, 1),
        "x.gif": b"GIF89a",
        "x.cls": b"1",
        "y.json": b'{"label": 3}',
        "statistics.json": b'{"images": 2}',
    }
    reader = read_shards(write_tar(tmp_path / "a.tar", members), EVERYTHING)
    assert [(problem.key, problem.reason[:24]) for problem in reader.problems] == [
        (key, "a label without an image") for key in "xy"
    ]


def test_a_name_that_stands_twice_is_one_image(tmp_path: Path) -> None:
    """Keys are unique: quarantine and checksums go by them. The same name in another shard is another image."""
    write_tar(tmp_path / "0.tar", [("x/0.jpg", jpeg(0)), ("y/1.jpg", jpeg(1)), ("x/0.jpg", jpeg(2))])
    write_tar(tmp_path / "1.tar", [("x/0.jpg", jpeg(3))])
    reader = read_shards(tmp_path, EVERYTHING)
    assert [reader.encoded(i) for i in range(len(reader))] == [jpeg(0), jpeg(1), jpeg(3)]
    assert [(problem.key, problem.reason) for problem in reader.problems] == [("x/0.jpg", "the archive holds this name twice")]


def test_a_member_beyond_four_gigabytes(tmp_path: Path) -> None:
    """Its size would not fit into 32 bits; the file has holes and takes no room."""
    member = tarfile.TarInfo("ada/1.jpg")
    member.size = 2**32
    with write_tar(tmp_path / "a.tar", {"ada/0.jpg": jpeg(0)}).open("r+b") as file:
        file.seek(512 * (1 + -(-len(jpeg(0)) // 512)))
        file.write(member.tobuf())
        file.truncate(file.tell() + 2**32 + 1024)
    reader = read_shards(tmp_path / "a.tar", EVERYTHING)
    assert reader.encoded(0) == jpeg(0)
    assert [(problem.key, problem.reason) for problem in reader.problems] == [
        ("ada/1.jpg", "4294967296 bytes; an image has less than 2³²")
    ]


def test_pipes_devices_and_sparse_files(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", labelled(0, 1))
    with tarfile.open(path, "a") as archive:
        for name, kind in (("x/1.jpg", tarfile.FIFOTYPE), ("x/2.jpg", tarfile.CHRTYPE)):
            member = tarfile.TarInfo(name)
            member.type = kind
            archive.addfile(member)
        sparse = tarfile.TarInfo("x/3.jpg")
        sparse.size = 512
        sparse.pax_headers = {
            "GNU.sparse.map": "0,512",
            "GNU.sparse.size": "1048576",
            "GNU.sparse.major": "0",
            "GNU.sparse.minor": "1",
        }
        archive.addfile(sparse, io.BytesIO(bytes(512)))
    reader = read_shards(path, EVERYTHING)
    assert len(reader) == 2
    kinds = [(problem.key, problem.reason.split(",")[0].split(";")[0]) for problem in reader.problems]
    assert kinds == [("x/1.jpg", "a device or a pipe"), ("x/2.jpg", "a device or a pipe"), ("x/3.jpg", "a sparse file")]


def test_what_is_no_tar(tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("no archive" * 100)
    with pytest.raises(InputError, match=r"text\.tar: not a tar file"):
        open_reader(tmp_path / "text.tar")
    write_tar(tmp_path / "zipped.tar", labelled(0, 1), "w:gz")
    with pytest.raises(InputError, match=r"zipped\.tar: not a tar file; it is compressed: unpack it first"):
        open_reader(tmp_path / "zipped.tar")
    with pytest.raises(InputError, match=r"none\.tar: no such shard"):
        open_reader(tmp_path / "none.tar")


def test_a_damaged_image_names_shard_key_and_offset(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", {**labelled(0), "x.jpg": b"no picture", "x.cls": b"1"})
    with pytest.raises(InputError, match=r"a\.tar: key x\.jpg at offset \d+: not an image"):
        open_reader(path).image(1)


def test_a_lost_label_does_not_make_a_person_of_the_folder(tmp_path: Path) -> None:
    members = {
        f"p{label:02d}/{number}.{end}": content
        for number, label in enumerate((2, 2, 10, 10))
        for end, content in (("jpg", jpeg(number)), ("cls", str(label).encode()))
    }
    del members["p02/1.cls"]
    reader = read_shards(write_tar(tmp_path / "a.tar", members), 1.0)
    assert (list(reader.class_names), reader.labels.tolist()) == (["2", "10"], [0, 1, 1])
    assert [reader.encoded(i) for i in range(3)] == [jpeg(0), jpeg(2), jpeg(3)]
    (problem,) = reader.problems
    assert (problem.key, problem.reason) == ("p02/1.jpg", "no .cls or .json beside the image, as others have")


def test_more_shards_than_files_may_be_open(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    for number in range(80):
        write_tar(tmp_path / f"{number:03d}.tar", labelled(number))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = max(map(int, os.listdir("/proc/self/fd"))) if Path("/proc/self/fd").is_dir() else 64
    reader = read_shards(tmp_path)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 20, before[1]))
        assert [reader.encoded(i) for i in range(80)] == [jpeg(0)] * 80
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
