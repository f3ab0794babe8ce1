"""The store of weights, with a network that is made up."""

from __future__ import annotations

import hashlib
import io
import urllib.error
from pathlib import Path
from typing import BinaryIO

import pytest

from orthodrome.pipeline import models
from orthodrome.pipeline.models import WEIGHTS, Weights, find_weights, models_folder
from orthodrome.registry import Registry
from orthodrome.types import InputError

CONTENT = bytes(range(256)) * 9000


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rows: Registry[Weights] = Registry("weights")
    rows.add("net", Weights("net.onnx", "https://example.org/net.onnx", hashlib.sha256(CONTENT).hexdigest(), "MIT", "nobody"))
    monkeypatch.setattr(models, "WEIGHTS", rows)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "orthodrome" / "models"


def no_network(url: str) -> BinaryIO:
    raise urllib.error.URLError("Name or service not known")


def test_downloaded_once_then_taken_from_the_cache(store: Path) -> None:
    asked: list[str] = []

    def fetch(url: str) -> BinaryIO:
        asked.append(url)
        return io.BytesIO(CONTENT)

    assert find_weights("net", fetch=fetch).read_bytes() == CONTENT
    assert find_weights("net", fetch=no_network) == store / "net.onnx" == models_folder() / "net.onnx"
    assert asked == ["https://example.org/net.onnx"]


@pytest.mark.parametrize("content", [b"<html>", CONTENT[:-1], b""])
def test_another_content_is_refused_and_not_kept(store: Path, content: bytes) -> None:
    with pytest.raises(InputError, match="something else than the weights of net: SHA-256"):
        find_weights("net", fetch=lambda url: io.BytesIO(content))
    assert not list(store.iterdir())


def test_a_damaged_cache_is_downloaded_anew(store: Path) -> None:
    store.mkdir(parents=True)
    (store / "net.onnx").write_bytes(CONTENT[:100])
    assert find_weights("net", fetch=lambda url: io.BytesIO(CONTENT)).read_bytes() == CONTENT


def test_without_network_the_error_says_what_to_do(store: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be downloaded from https.*not known.*--weights FILE \(SHA-256"):
        find_weights("net", fetch=no_network)
    assert not list(store.iterdir())


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "own.onnx"
    with pytest.raises(InputError, match=r"no such file.*net\.onnx"):
        find_weights("net", own)
    own.write_bytes(b"anything")
    assert find_weights("net", own, no_network) == own


def test_every_row_says_source_licence_and_checksum() -> None:
    for name in WEIGHTS:
        row = WEIGHTS.get(name)
        assert row.url.startswith("https://")
        assert len(bytes.fromhex(row.sha256)) == 32
        assert row.licence
        assert row.source
