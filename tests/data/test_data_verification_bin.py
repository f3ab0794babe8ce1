"""Verification sets of insightface: pickles of every protocol and of Python 2 are read, and none of them is run."""

from __future__ import annotations

import io
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orthodrome.data import SourceReader, decode_image, read_verification_set, save_verification_set
from orthodrome.types import InputError


def jpeg(seed: int, size: tuple[int, int] = (8, 8), kind: str = "JPEG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=kind)
    return buffer.getvalue()


IMAGES = [jpeg(n) for n in range(4)]


def write(folder: Path, content: Any, protocol: int = 4) -> Path:
    path = folder / "small.bin"
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_every_pickle_protocol_and_every_kind_of_item(tmp_path: Path, protocol: int) -> None:
    arrays = [np.frombuffer(image, dtype=np.uint8) for image in IMAGES]
    pixels = [np.asfortranarray(decode_image(image)) for image in IMAGES]
    for items in (IMAGES, arrays, [bytearray(image) for image in IMAGES]):
        for same in ([True, False], [np.bool_(True), np.bool_(False)], np.array([1, 0]), [1, 0]):
            found = read_verification_set(write(tmp_path, (items, same), protocol))
            assert found.images == tuple(IMAGES)
            assert found.same.tolist() == [True, False]
    found = read_verification_set(write(tmp_path, [pixels, [True, False]], protocol))
    for given, got in zip(pixels, found.images, strict=True):
        np.testing.assert_array_equal(given, got)


def python_2_pickle(images: list[bytes], same: list[bool]) -> bytes:
    """As ``cPickle.dumps((bins, issame), 2)`` of Python 2 writes it: byte strings as BINSTRING, true and false as NEWTRUE and NEWFALSE."""
    strings = b"".join(b"T" + struct.pack("<i", len(image)) + image for image in images)
    flags = b"".join(b"\x88" if flag else b"\x89" for flag in same)
    return b"\x80\x02](" + strings + b"e](" + flags + b"e\x86."


def python_2_arrays(images: list[bytes], same: list[bool]) -> bytes:
    """The same with ``numpy.frombuffer(image, 'uint8')`` items: global names of Python 2's numpy, all strings byte strings."""

    def string(text: bytes) -> bytes:
        return b"U" + bytes([len(text)]) + text if len(text) < 256 else b"T" + struct.pack("<i", len(text)) + text

    dtype = (
        b"cnumpy\ndtype\n"
        + string(b"u1")
        + b"K\x00K\x01\x87R(K\x03"
        + string(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    items = b""
    for image in images:
        items += b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + string(b"b") + b"\x87R"
        items += b"(K\x01" + b"M" + struct.pack("<H", len(image)) + b"\x85" + dtype + b"\x89" + string(image) + b"tb"
    flags = b"".join(b"\x88" if flag else b"\x89" for flag in same)
    return b"\x80\x02](" + items + b"e](" + flags + b"e\x86."


@pytest.mark.parametrize("form", [python_2_pickle, python_2_arrays])
def test_python_2_pickles(tmp_path: Path, form: Any) -> None:
    found = read_verification_set(write(tmp_path, form(IMAGES, [True, False])))
    assert found.images == tuple(IMAGES)
    assert found.same.tolist() == [True, False]


class Hostile:
    """Its pickle asks for ``os.system``, which would create a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("hidden", ["in the list", "as the whole", "as a flag"])
def test_a_hostile_pickle_is_refused_by_name_and_creates_nothing(tmp_path: Path, protocol: int, hidden: str) -> None:
    target = tmp_path / "created"
    hostile = Hostile(target)
    content = {
        "in the list": ([hostile, *IMAGES[1:]], [True, False]),
        "as the whole": hostile,
        "as a flag": (IMAGES, [True, hostile]),
    }
    path = write(tmp_path, content[hidden], protocol)
    with pytest.raises(InputError, match=r"small.bin: refused: the pickle asks for (posix|nt)\.system; .*Nothing was run"):
        read_verification_set(path)
    assert not target.exists()


@pytest.mark.parametrize(
    "program",
    [
        b'cbuiltins\neval\n(S\'open("created", "w")\'\ntR.',
        b'c__builtin__\nexec\n(S\'open("created", "w")\'\ntR.',
        b"cbuiltins\ngetattr\n(cnumpy\nndarray\nS'tofile'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b'(S\'open("created", "w")\'\nibuiltins\neval\n.',
        b"c_codecs\nencode\n(Vx\nVzlib\ntR.",
        b"cbuiltins\nbytearray\n(I1000000000000\ntR.",
        b"cnumpy\ndtype\n(S'u1'\ntR}S'__class__'\ncbuiltins\nint\nsb.",
        b"cnumpy\ndtype\n}S'__call__'\nI1\nsb.",
        b"P1\n.",
    ],
)
def test_other_doors_are_shut_too(tmp_path: Path, program: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, program)
    with pytest.raises(InputError, match=r"small.bin"):
        read_verification_set(path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["small.bin"]


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    items = [np.array([1, "x"], dtype=object), *IMAGES[1:]]
    with pytest.raises(InputError, match=r"plain numbers"):
        read_verification_set(write(tmp_path, (items, [True, False])))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ((IMAGES[:3], [True, False]), "2 pairs need 4 images; got 3"),
        (([], []), "no images in it"),
        ((IMAGES, [True, 2]), "expected one true or false for each pair"),
        ((IMAGES, [0.5, 1.0]), "expected one true or false for each pair"),
        (([*IMAGES[:3], 7], [True, False]), r"image 3: expected the bytes of an image file.*got int"),
        (([*IMAGES[:3], np.zeros((4, 4), np.uint8)], [True, False]), r"image 3: .*got uint8 \(4, 4\)"),
        (([*IMAGES[:3], np.zeros((4, 4, 3), np.float32)], [True, False]), r"image 3: .*got float32"),
        ((IMAGES, [True, False], 1), "expected a pickle of two lists"),
        ((5, [True, False]), "expected a pickle of two lists"),
        ((IMAGES, [[1], [1, 2]]), "expected one true or false for each pair"),
        (([*IMAGES[:3], b""], [True, False]), r"image 3: expected the bytes of an image file.*got nothing"),
        (([*IMAGES[:3], np.zeros(0, np.uint8)], [True, False]), r"image 3: .*got uint8 \(0,\)"),
        (b"no pickle", "damaged, or not a pickle"),
        (b"", "damaged, or not a pickle"),
        (pickle.dumps((IMAGES, [True, False]))[:-40], "damaged, or not a pickle"),
    ],
)
def test_sets_that_cannot_be(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_verification_set(write(tmp_path, content))


def test_kept_without_pickles(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    found = read_verification_set(write(tmp_path, ([*IMAGES[:3], pixels], [True, False])))
    again = read_verification_set(save_verification_set(found, tmp_path / "small.npz"))
    assert again.images[:3] == tuple(IMAGES[:3])
    assert isinstance(again.images[3], bytes)
    np.testing.assert_array_equal(decode_image(again.images[3]), pixels)  # PNG loses nothing
    assert again.same.tolist() == [True, False]
    with np.load(tmp_path / "small.npz", allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    np.savez(tmp_path / "wrong.npz", **(arrays | {"offsets": arrays["offsets"] + 1}))
    with pytest.raises(InputError, match="offsets do not divide"):
        read_verification_set(tmp_path / "wrong.npz")
    with pytest.raises(InputError, match=r"written to \.npz"):
        save_verification_set(found, tmp_path / "small.bin")


@pytest.mark.parametrize(
    "arrays",
    [
        {"data": np.zeros(3, np.uint8), "offsets": np.int64(3), "same": np.ones(1, bool)},
        {"data": np.zeros(3, np.uint8), "offsets": np.array([0, 1.5, 3]), "same": np.ones(1, bool)},
        {"data": np.zeros((3, 1), np.uint8), "offsets": np.array([0, 1, 3]), "same": np.ones(1, bool)},
        {"data": np.zeros(3, np.uint8), "offsets": np.array(["0", "3"]), "same": np.ones(1, bool)},
        {"data": np.zeros(3, np.uint8), "offsets": np.array([0, 2**63, 3], np.uint64), "same": np.ones(1, bool)},
    ],
)
def test_archives_of_other_shapes(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(InputError, match=r"x\.npz: its offsets do not divide"):
        read_verification_set(tmp_path / "x.npz")


def test_damaged_archives_end_in_one_line(tmp_path: Path) -> None:
    data = np.frombuffer(b"".join(IMAGES[:2]), np.uint8)
    np.savez_compressed(tmp_path / "x.npz", data=data, offsets=np.array([0, len(IMAGES[0]), len(data)]), same=np.ones(1, bool))
    whole, generator = (tmp_path / "x.npz").read_bytes(), np.random.default_rng(0)
    refused = 0
    for at in generator.permutation(len(whole))[:150].tolist():
        spoilt = bytearray(whole)
        spoilt[at] ^= 0x55
        (tmp_path / "x.npz").write_bytes(spoilt)
        try:
            read_verification_set(tmp_path / "x.npz")
        except InputError:
            refused += 1
    assert refused > 75


def test_images_of_another_resolution_are_refused_not_resized() -> None:
    reader = SourceReader(("lfw.bin/000000", "lfw.bin/000001"), (IMAGES[0], decode_image(IMAGES[1])))
    assert reader.image(0, (8, 8)).shape == (8, 8, 3)
    for index in (0, 1):
        with pytest.raises(InputError, match=rf"lfw.bin/00000{index}: the image is 8×8 .*the model takes 16×12"):
            reader.image(index, (16, 12))


def test_files_among_the_sources_are_resized(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(IMAGES[0])
    assert SourceReader(("a",), (tmp_path / "a.jpg",)).image(0, (4, 6)).shape == (4, 6, 3)


def test_the_shared_set(shared: Callable[[str], Path]) -> None:
    found = read_verification_set(shared("fixtures/lfw_fold1.bin"))
    assert (len(found), int(found.same.sum())) == (600, 300)
    assert decode_image(found.images[0]).shape == (112, 112, 3)  # type: ignore[arg-type]


def test_a_number_for_bytes_asks_for_no_memory(tmp_path: Path) -> None:
    """``numpy.frombuffer(10**9)`` would be a gigabyte of zeros from a file of a hundred bytes."""
    content = (
        b"\x80\x04cnumpy.core.numeric\n_frombuffer\n(J\x00\xca\x9a;cnumpy\ndtype\n(\x8c\x02u1\x89\x88tRK\x01\x85\x8c\x01CtR."
    )
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(InputError, match="makes numbers of a int"):
        read_verification_set(tmp_path / "a.bin")


@pytest.mark.parametrize("put", [b"r\xff\xff\xff\x07", b"p99999999\n"])
def test_a_number_for_the_memo_asks_for_no_memory(tmp_path: Path, put: bytes) -> None:
    """``LONG_BINPUT 2**27`` would be a gigabyte of pointers from a file of 18 bytes."""
    (tmp_path / "a.bin").write_bytes(b"\x80\x02]" + put + b"]\x86.")
    with pytest.raises(InputError, match=r"asks for memory for [0-9,]+ values after 2 instructions"):
        read_verification_set(tmp_path / "a.bin")
