"""The format of RecordIO files: by hand, by properties, and against a reader written line by line from the specification."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthodrome.data.recordio import (
    MAGIC_BYTES,
    pack_image,
    pack_labels,
    read_record,
    record_bytes,
    scan_offsets,
    stream_records,
    unpack_image,
)
from orthodrome.types import InputError

words = st.one_of(st.just(MAGIC_BYTES), st.binary(min_size=1, max_size=6))
payloads = st.lists(words, max_size=8).map(b"".join)


def naive_records(data: bytes) -> list[bytes]:
    """Records of a whole file, read part by part as the specification says."""
    found, parts, at = [], [], 0
    while at < len(data):
        assert data[at : at + 4] == bytes.fromhex("0a23d7ce")
        word = struct.unpack("<I", data[at + 4 : at + 8])[0]
        flag, length = word >> 29, word % 2**29
        parts.append(data[at + 8 : at + 8 + length])
        at += 8 + (length + 3) // 4 * 4
        if flag in (0, 3):
            found.append(bytes.fromhex("0a23d7ce").join(parts))
            parts = []
    return found


def reading(data: bytes):
    def read_at(offset: int, size: int) -> bytes:
        if offset + size > len(data):
            raise InputError("beyond the end")
        return data[offset : offset + size]

    return read_at


def test_a_record_by_hand() -> None:
    assert record_bytes(b"abcde") == bytes.fromhex("0a23d7ce 05000000") + b"abcde\0\0\0"
    assert record_bytes(b"") == bytes.fromhex("0a23d7ce 00000000")


def test_multi_part_record_by_hand() -> None:
    """The magic at multiples of 4 cuts; elsewhere it does not."""
    payload = b"abcd" + MAGIC_BYTES + b"x" + MAGIC_BYTES + b"yzw" + MAGIC_BYTES
    first = MAGIC_BYTES + struct.pack("<I", 1 << 29 | 4) + b"abcd"
    middle = MAGIC_BYTES + struct.pack("<I", 2 << 29 | 8) + b"x" + MAGIC_BYTES + b"yzw"
    last = MAGIC_BYTES + struct.pack("<I", 3 << 29)
    assert record_bytes(payload) == first + middle + last


@given(st.lists(payloads, max_size=6))
def test_records_come_back(contents: list[bytes]) -> None:
    data = b"".join(map(record_bytes, contents))
    assert naive_records(data) == contents
    offset = 0
    for content in contents:
        payload, offset = read_record(reading(data), offset)
        assert payload == content
    assert offset == len(data)


@given(payloads)
def test_the_magic_stands_only_where_parts_begin(content: bytes) -> None:
    data = record_bytes(content)
    heads, at = 0, 0
    while at < len(data):
        heads += 1
        at += 8 + (struct.unpack_from("<I", data, at + 4)[0] % 2**29 + 3) // 4 * 4
    assert sum(data[i : i + 4] == MAGIC_BYTES for i in range(0, len(data), 4)) == heads


@given(contents=st.lists(payloads, min_size=1, max_size=6))
def test_streaming_and_scanning_agree_with_reading(tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("stream") / "a.rec"
    path.write_bytes(b"".join(map(record_bytes, contents)))
    assert [bytes(payload) for payload in stream_records(path)] == contents
    data = path.read_bytes()
    assert [read_record(reading(data), offset)[0] for offset, _ in scan_offsets(path)] == contents


def test_streaming_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orthodrome.data.recordio._BLOCK", 7)
    contents = [b"a" * 30, b"", b"1234" + MAGIC_BYTES + b"5", b"end"]
    (tmp_path / "a.rec").write_bytes(b"".join(map(record_bytes, contents)))
    assert [bytes(payload) for payload in stream_records(tmp_path / "a.rec")] == contents


def test_image_payloads_by_hand() -> None:
    one = struct.pack("<IfQQ", 0, 7.0, 12, 0) + b"image"
    assert pack_image(7, 12, b"image") == one
    assert unpack_image(one) == unpack_image(pack_image(7, 12, b"image"))
    many = struct.pack("<IfQQ3f", 3, -1.0, 12, 0, 5.0, 0.5, 2.0) + b"image"
    found = unpack_image(many)
    assert (found.labels, found.identifier, found.image) == ((5.0, 0.5, 2.0), 12, b"image")
    assert unpack_image(pack_labels(9, (1.0, 3.0))).labels == (1.0, 3.0)


@pytest.mark.parametrize(
    ("payload", "message"),
    [(b"x" * 23, "23 bytes; an image needs a header of 24"), (struct.pack("<IfQQ", 4, 0, 0, 0) + bytes(15), "names 4 labels")],
)
def test_payloads_that_are_too_short(payload: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        unpack_image(payload)


@pytest.mark.parametrize("label", [-1, 2**24 + 1])
def test_labels_that_float32_does_not_hold_are_not_written(label: int) -> None:
    with pytest.raises(InputError, match=f"got {label}"):
        pack_image(label, 0, b"")


WHOLE = record_bytes(b"abcd")
PARTS = record_bytes(b"abcd" + MAGIC_BYTES + b"ef")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\0" * 8, "no record begins"),
        (WHOLE[:-1], "ends inside the record at offset 0"),
        (WHOLE + WHOLE[:5], "ends inside the record at offset 12"),
        (PARTS[:12], "ends inside the record at offset 0"),
        (PARTS[12:], "record at offset 0: the middle of a record"),
        (WHOLE + PARTS[:12] + WHOLE, "record at offset 12: a record in parts has no last part"),
    ],
)
def test_streaming_of_damaged_files(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.rec").write_bytes(data)
    with pytest.raises(InputError, match=message):
        list(stream_records(tmp_path / "a.rec"))


def test_scanning_goes_on_behind_damage(tmp_path: Path) -> None:
    """Junk, a part without its beginning, and a length that runs over the next records: what is whole is found."""
    path = tmp_path / "a.rec"
    over = MAGIC_BYTES + struct.pack("<I", 4000) + b"1234"
    path.write_bytes(WHOLE + b"junkjunk" + WHOLE + PARTS[12:] + WHOLE + over + WHOLE + WHOLE[:9])
    found = list(scan_offsets(path))
    good = [offset for offset, reason in found if reason is None]
    assert good == [0, 20, 20 + 12 + 12, 20 + 12 + 12 + 12 + 12]
    assert [reason.split(":")[0] for _, reason in found if reason] == [
        "no record begins here",
        "parts of a record are out of order",
        "a record of 4000 bytes runs past the end of the file",
        "a record of 4 bytes runs past the end of the file",
    ]


def test_no_file() -> None:
    with pytest.raises(InputError, match=r"none\.rec: cannot be read: No such file"):
        list(stream_records("none.rec"))
