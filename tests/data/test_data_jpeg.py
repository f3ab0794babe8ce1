"""Plain JPEGs by libjpeg-turbo: the pixels are Pillow's, and what is not plain is left to it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orthodrome.data import decode
from orthodrome.data.decode import decode_image
from orthodrome.data.jpeg import decode_plain_jpeg
from orthodrome.types import InputError

ALL = 10**6


def jpeg(mode: str = "RGB", side: tuple[int, int] = (61, 90), **options: Any) -> bytes:
    rng = np.random.default_rng(3)
    small = Image.fromarray(rng.integers(0, 256, (8, 12, 3), dtype=np.uint8)).resize(side[::-1], Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    small.convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def by_pillow(data: bytes, least: int) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    if least:
        image.draft(None, (least, least))
    return np.array(image.convert("RGB"))


@pytest.mark.parametrize("least", [0, 7, 8, 15, 16, 31, 45, 61, 100])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"quality": 100, "subsampling": 0},
        {"subsampling": 1},
        {"progressive": True},
        {"mode": "L"},
        {"restart_marker_blocks": 2},
        {"optimize": True, "quality": 20},
        {"side": (17, 300)},
    ],
)
def test_pixels_are_those_of_pillow(options: dict[str, Any], least: int) -> None:
    data = jpeg(**options)
    plain = decode_plain_jpeg(data, least, ALL)
    assert plain is not None
    assert plain.dtype == np.uint8
    assert plain.flags.writeable
    assert plain.flags.c_contiguous
    np.testing.assert_array_equal(plain, by_pillow(data, least))
    np.testing.assert_array_equal(decode_image(data), by_pillow(data, 0))


def held(orientation: Any) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("least", [0, 8])
@pytest.mark.parametrize(
    "options",
    [
        *({"exif": held(orientation)} for orientation in (*range(10), (6, 8))),
        {"exif": Image.Exif()},
        {"exif": b"Exif\0\0MM\0*\0\0\0\xff"},
        {"exif": b"Exif\0\0nothing of the kind"},
        {"xmp": b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'},
        {"xmp": b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="1"/></x:xmpmeta>'},
        {"comment": b"tiff:Orientation is a word"},
        {"comment": b"Exif\0 is one too"},
    ],
)
def test_photographs_are_turned_as_pillow_turns_them(
    options: dict[str, Any], least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = jpeg(**options)

    def decoded() -> np.ndarray | str:
        try:
            return decode_image(data, (least, least) if least else None)
        except InputError as error:
            return str(error)

    straight = decoded()
    monkeypatch.setattr(decode, "decode_plain_jpeg", lambda *_: None)
    np.testing.assert_array_equal(straight, decoded())


def test_photographs_with_exif_are_decoded_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "_decode", None)
    assert decode_image(jpeg(exif=held(6))).shape == (90, 61, 3)
    assert decode_image(jpeg(exif=held(1))).shape == (61, 90, 3)


def test_what_is_not_plain_is_left_to_pillow() -> None:
    others = {
        "four colours": jpeg("CMYK"),
        "RGB as it is": jpeg(keep_rgb=True),
        "no JPEG": b"GIF89a",
        "nothing": b"",
        "truncated": jpeg()[:-40],
    }
    for name, data in others.items():
        assert decode_plain_jpeg(data, 0, ALL) is None, name
    assert decode_plain_jpeg(jpeg(), 0, 61 * 90 - 1) is None


def test_damaged_bytes_never_give_other_pixels_than_pillow() -> None:
    good, rng, decoded = jpeg(quality=60, exif=held(6)), np.random.default_rng(5), 0
    for _ in range(300):
        data = bytearray(good)
        data[rng.integers(2, len(data))] = rng.integers(256)
        plain = decode_plain_jpeg(bytes(data), 0, ALL)
        if plain is not None:
            decoded += 1
            np.testing.assert_array_equal(plain, by_pillow(bytes(data), 0))
    assert 0 < decoded < 300
