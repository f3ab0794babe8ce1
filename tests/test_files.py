"""Files are whole or untouched, whatever writes them and however the disk fails."""

from __future__ import annotations

import errno
import io
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from orthodrome import InputError, files

WRITERS: dict[str, files.Content] = {
    "bytes": b"x" * 200_000,
    "torch": lambda file: torch.save({"a": torch.zeros(50_000)}, file),
    "numpy": lambda file: np.savez(file, a=np.zeros(50_000)),
}


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From here on, a disk with room for 10,000 bytes."""

    def fill() -> None:
        def write(self: files._RawFile, data: bytes) -> int | None:
            try:
                if self.tell() > 10_000:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return io.FileIO.write(self, data[:20_000])
            except OSError as error:
                self.error = error
                raise

        monkeypatch.setattr(files._RawFile, "write", write)

    return fill


@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_leaves_the_old_file_and_one_clear_message(kind: str, tmp_path: Path, full_disk: Callable[[], None]) -> None:
    path = files.write_file(tmp_path / "file", WRITERS[kind])
    before = path.read_bytes()
    full_disk()
    with pytest.raises(InputError, match=r"cannot write .*file: No space left on device; nothing was left half-written"):
        files.write_file(path, WRITERS[kind])
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_of_several_files_none_is_replaced_when_one_fails(tmp_path: Path, full_disk: Callable[[], None]) -> None:
    files.write_together(tmp_path, {"a": b"old", "b": b"old"})
    full_disk()
    with pytest.raises(InputError):
        files.write_together(tmp_path, {"a": b"new", "b": WRITERS["bytes"]})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old", "b": b"old"}


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="file"):
        files.write_file(tmp_path / "file" / "x", b"")


@pytest.mark.parametrize("length", [250, 255])
def test_long_names_are_written(length: int, tmp_path: Path) -> None:
    assert files.write_file(tmp_path / ("x" * length), b"1").read_bytes() == b"1"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_name_that_is_too_long_is_one_clear_message(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot write .*xxx: File name too long"):
        files.write_file(tmp_path / ("x" * 256), b"1")
    assert not list(tmp_path.iterdir())


def test_a_link_stays_and_its_file_is_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "real").write_text("old")
    for name, target in (("link", "real"), ("dangling", "made")):
        (tmp_path / name).symlink_to(tmp_path / "folder" / target)
        assert files.write_file(tmp_path / name, b"new") == tmp_path / name
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "folder" / target).read_bytes() == b"new"
    assert {path.name for path in (tmp_path / "folder").iterdir()} == {"real", "made"}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_pipe_is_written_into_and_stays(kind: str, tmp_path: Path) -> None:
    """As -o /dev/stdout, which is a link to one."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    with ThreadPoolExecutor() as pool:
        read = pool.submit((tmp_path / "pipe").read_bytes)
        files.write_file(tmp_path / "link", WRITERS[kind])
        assert len(read.result()) > 100_000
    assert (tmp_path / "pipe").is_fifo()
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "link"}


def test_errors_of_the_content_itself_pass_through(tmp_path: Path) -> None:
    def broken(file: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        files.write_file(tmp_path / "x", broken)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_held_by_one_process_and_not_by_what_it_forks(tmp_path: Path) -> None:
    """A worker that outlives its killed parent for a while must not keep the next run out."""
    with (
        files.alone(tmp_path / "x"),
        pytest.raises(InputError, match="another process is writing into it"),
        files.alone(tmp_path / "x"),
    ):
        pass
    reading, writing = os.pipe()
    with files.alone(tmp_path / "x"):
        if (worker := os.fork()) == 0:
            os.write(writing, b"forked")
            time.sleep(30)
            os._exit(0)
        os.read(reading, 6)
    try:
        with files.alone(tmp_path / "x"):  # while the worker is still there
            assert os.waitpid(worker, os.WNOHANG) == (0, 0)
    finally:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"), files.alone(tmp_path / "file"):
        pass
