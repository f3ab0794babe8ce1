"""Every kind of image file, good and bad."""

from __future__ import annotations

import io
import multiprocessing
import os
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from orthodrome.data import decode_image, printable
from orthodrome.types import InputError


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def smooth(height: int, width: int) -> np.ndarray:
    """A colour picture without noise, so that JPEG keeps it within a few levels."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([255 * y / height, 255 * x / width, 255 * (x + y) / (height + width)], axis=-1).astype(np.uint8)


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG written by hand: Pillow does not write 16-bit colour, nor a header without its pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


# ------------------------------------------------------------------------------------------------------ kinds of image


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF"])
def test_lossless_formats_come_back_exactly(kind: str) -> None:
    picture = smooth(13, 17)
    result = decode_image(encoded(Image.fromarray(picture), kind))
    assert result.dtype == np.uint8
    assert result.flags.writeable
    assert result.flags.c_contiguous
    np.testing.assert_array_equal(result, picture)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_formats_come_back_closely(kind: str) -> None:
    picture = smooth(32, 48)
    result = decode_image(encoded(Image.fromarray(picture), kind, quality=98))
    assert result.shape == (32, 48, 3)
    assert np.abs(result.astype(int) - picture).mean() < 4


def test_grey_is_repeated_over_three_channels() -> None:
    grey = smooth(9, 11)[..., 0]
    result = decode_image(encoded(Image.fromarray(grey), "PNG"))
    np.testing.assert_array_equal(result, np.repeat(grey[..., None], 3, axis=2))


def test_cmyk_jpeg_shows_the_colours_and_not_their_negative() -> None:
    red = Image.new("RGB", (32, 32), (250, 10, 10)).convert("CMYK")
    result = decode_image(encoded(red, "JPEG", quality=98))
    assert np.abs(result.astype(int) - (250, 10, 10)).max() < 10


def test_palette_image_becomes_its_colours() -> None:
    picture = Image.new("RGB", (4, 4), (10, 200, 30)).quantize(4)
    np.testing.assert_array_equal(decode_image(encoded(picture, "PNG"))[0, 0], (10, 200, 30))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_over_black(mode: str) -> None:
    picture = Image.new("RGBA", (2, 1), (200, 200, 200, 255))
    picture.putpixel((1, 0), (200, 200, 200, 51))
    result = decode_image(encoded(picture.convert(mode), "PNG"))
    np.testing.assert_array_equal(result[0, :, 0], (200, 40))


def test_transparent_palette_entry_is_black_whatever_colour_hides_beneath() -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.putpixel((1, 0), 1)
    result = decode_image(encoded(picture, "PNG", transparency=1))
    np.testing.assert_array_equal(result[0], [[255, 0, 0], [0, 0, 0]])


VALUES_16 = np.array([0x0000, 0x00FF, 0x1234, 0x80FF, 0xFFFF, 0x7F80], dtype=np.uint16)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled_and_not_clipped(kind: str) -> None:
    result = decode_image(encoded(Image.fromarray(VALUES_16[None]), kind))
    np.testing.assert_array_equal(result[0, :, 0], VALUES_16 >> 8)


def test_16_bit_colour_png_is_scaled_as_grey_is() -> None:
    rows = b"\0" + VALUES_16.astype(">u2").tobytes()
    result = decode_image(png(2, 1, 16, 2, rows))
    np.testing.assert_array_equal(result[0].reshape(-1), VALUES_16 >> 8)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_pixels_without_a_white_point_are_refused(dtype: type) -> None:
    data = encoded(Image.fromarray(np.ones((2, 2), dtype)), "TIFF")
    with pytest.raises(InputError, match="32-bit pixels have no defined white"):
        decode_image(data)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [None, (20, 12)])
def test_exif_orientation_is_undone(orientation: int, size: tuple[int, int] | None) -> None:
    upright = Image.fromarray(smooth(80, 48))
    turns = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    stored = upright
    for turn in turns.get(orientation, []):
        stored = stored.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    result = decode_image(encoded(stored, "JPEG", quality=98, exif=exif), size)
    expected = upright if size is None else upright.resize((12, 20), Image.Resampling.BILINEAR)
    assert result.shape == np.asarray(expected).shape
    assert np.abs(result.astype(int) - np.asarray(expected)).mean() < 4


# --------------------------------------------------------------------------------------------------------------- sizes


def test_resize_is_antialiased() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255  # sampling without a filter would give all black or all white
    result = decode_image(encoded(Image.fromarray(stripes), "PNG"), (16, 16))
    assert np.abs(result.astype(int) - 127).max() < 20


def test_other_aspect_ratio_is_resized_plainly() -> None:
    assert decode_image(encoded(Image.fromarray(smooth(30, 90)), "PNG"), (24, 12)).shape == (24, 12, 3)


@pytest.mark.parametrize(
    ("size", "decoded"),
    [((16, 16), 16), ((17, 17), 32), ((31, 31), 32), ((32, 9), 32), ((33, 33), 64), ((9, 65), 128), ((128, 128), 128)],
)
def test_jpeg_is_decoded_at_the_smallest_scale_that_covers_the_target(
    size: tuple[int, int], decoded: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    resize = Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", lambda image, *args: seen.append(image.size) or resize(image, *args))
    result = decode_image(encoded(Image.fromarray(smooth(128, 128)), "JPEG"), size)
    assert result.shape == (*size, 3)
    assert seen == ([] if size == (decoded, decoded) else [(decoded, decoded)])


@pytest.mark.parametrize("size", [(0, 4), (4, -1), (4,)])
def test_impossible_size_is_an_error(size: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="two positive integers"):
        decode_image(b"", size)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------------ bad files


def test_text_named_jpg(tmp_path: Path) -> None:
    path = tmp_path / "letter.jpg"
    path.write_text("Dear reader, this is not a picture.")
    with pytest.raises(InputError, match=r"letter\.jpg: not an image that can be read"):
        decode_image(path)


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.png"
    path.touch()
    with pytest.raises(InputError, match=r"empty\.png: the file is empty"):
        decode_image(path)


def test_missing_path_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.jpg: no such file"):
        decode_image(tmp_path / "none.jpg")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        decode_image(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(encoded(Image.new("RGB", (2, 2)), "PNG"))
    path.chmod(0)
    with pytest.raises(InputError, match=r"secret\.png: cannot be read: Permission denied"):
        decode_image(path)


def test_permission_error_of_the_system_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, flags: int) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("orthodrome.data.decode._without_waiting", refuse)
    with pytest.raises(InputError, match=r"a\.jpg: cannot be read: Permission denied"):
        decode_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("size", [None, (24, 24)])
@pytest.mark.parametrize("kind", ["JPEG", "progressive", "PNG", "BMP", "WEBP", "PPM", "TIFF"])
def test_a_truncated_file_is_an_error_and_never_a_part_of_the_picture(kind: str, size: tuple[int, int] | None) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8))
    options = {"progressive": True} if kind == "progressive" else {}
    data = encoded(noise, "JPEG" if kind == "progressive" else kind, **options)
    whole = decode_image(data, size)
    refused = 0
    for cut in np.linspace(1, len(data) - 1, 60).astype(int):
        try:
            result = decode_image(data[:cut], size)
        except InputError:
            refused += 1
        else:  # only what follows the pixels may be missing
            np.testing.assert_array_equal(result, whole)
    assert refused >= 58


def test_truncated_jpeg_names_file_and_reason(tmp_path: Path) -> None:
    path = tmp_path / "half.jpg"
    data = encoded(Image.fromarray(smooth(256, 256)), "JPEG")
    path.write_bytes(data[:-500])
    with pytest.raises(InputError, match=r"half\.jpg: the image is damaged: .*truncated"):
        decode_image(path)


def test_the_switch_that_hides_truncation_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(InputError, match="LOAD_TRUNCATED_IMAGES"):
        decode_image(encoded(Image.new("RGB", (2, 2)), "PNG"))


def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").symlink_to("/dev/zero")
    for name in ("a.jpg", "b.jpg"):
        with pytest.raises(InputError, match=rf"{name}: a pipe or a device"):
            decode_image(tmp_path / name)


def test_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(30_000, 30_000, 8, 2, b""))  # the pixels are not even there
    limit_before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(InputError, match=r"bomb\.png: 30000×30000 pixels are over the limit of 100 megapixels"):
        decode_image(path)
    assert limit_before == Image.MAX_IMAGE_PIXELS


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_process_forked_while_a_thread_decodes_can_decode() -> None:
    data, stop = encoded(Image.fromarray(smooth(8, 8)), "PNG"), threading.Event()

    def keep_decoding() -> None:
        while not stop.is_set():
            decode_image(data)

    threads = [threading.Thread(target=keep_decoding) for _ in range(2)]
    for thread in threads:
        thread.start()
    processes = [multiprocessing.get_context("fork").Process(target=decode_image, args=(data,)) for _ in range(40)]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join(20)
        assert [process.exitcode for process in processes] == [0] * len(processes)
    finally:
        stop.set()
        for process in processes:
            process.kill()
        for thread in threads:
            thread.join()


def test_random_bytes_after_a_good_signature_are_one_line_errors() -> None:
    generator = np.random.default_rng(1)
    good = encoded(Image.fromarray(smooth(40, 40)), "JPEG")
    for _ in range(200):
        data = bytearray(good)
        for position in generator.integers(2, len(data), 20):
            data[position] = generator.integers(256)
        try:
            message = str(decode_image(bytes(data), (16, 16)).shape)
        except InputError as error:
            message = str(error)
        assert "\n" not in message


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")
    assert printable(path).endswith(r"caf\xe9.jpg")
    with pytest.raises(InputError) as caught:
        decode_image(path)
    str(caught.value).encode("utf-8")  # can be printed


def test_bytes_are_named_as_the_caller_says() -> None:
    with pytest.raises(InputError, match="record 7: not an image"):
        decode_image(b"nothing", name="record 7")
    with pytest.raises(InputError, match="image of 7 bytes: not an image"):
        decode_image(b"nothing")
