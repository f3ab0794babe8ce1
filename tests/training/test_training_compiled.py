"""``compile: true``: the same training, with the network fused by torch.compile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from orthodrome.data import open_reader
from orthodrome.training.recipe import parse_recipe
from orthodrome.training.report import LOG_FILE
from orthodrome.training.run import train
from orthodrome.types import InputError


def run(settings: dict[str, Any], faces: Path, folder: Path, **more: Any) -> Any:
    return train(parse_recipe(settings, "test"), open_reader(faces), folder, console=Console(quiet=True), **more)


def curve(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / LOG_FILE).read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.slow
def test_a_compiled_run_is_the_same_to_rounding(tiny_recipe: dict[str, Any], small_faces: Path, tmp_path: Path) -> None:
    try:
        torch.compile(torch.sin)(torch.ones(64))
    except Exception:
        pytest.skip("needs a C++ compiler for torch.compile")
    plain = run(tiny_recipe, small_faces, tmp_path / "plain")
    fused = run({**tiny_recipe, "compile": True}, small_faces, tmp_path / "fused")
    assert curve(tmp_path / "fused") == pytest.approx(curve(tmp_path / "plain"), rel=1e-3)
    images = torch.rand(4, 3, *fused.model.preprocessing.size) * 2 - 1
    assert torch.allclose(fused.model.network(images), plain.model.network(images), rtol=1e-2, atol=1e-2)
    assert plain.model.network.state_dict().keys() == fused.model.network.state_dict().keys()


def test_without_a_compiler_it_says_so_first(
    tiny_recipe: dict[str, Any], small_faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no working C++ compiler\nand many more lines")

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(InputError, match=r"does not work here: no working C\+\+ compiler. It needs .*--set compile=false"):
        run({**tiny_recipe, "compile": True}, small_faces, tmp_path / "run")
    assert not (tmp_path / "run" / LOG_FILE).exists()
