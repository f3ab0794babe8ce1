"""Shared fixtures: the folder of real faces (optional) and a quiet, reproducible torch."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """A file or folder of ORTHODROME_SHARED, the folder of real faces; a test that asks for what is not there skips."""
    folder = os.environ.get("ORTHODROME_SHARED")

    def path(name: str) -> Path:
        if not folder or not Path(folder, name).exists():
            pytest.skip(f"needs {name}: set ORTHODROME_SHARED to a folder that holds it; it is {folder or 'not set'}")
        return Path(folder, name)

    return path


@pytest.fixture(autouse=True)
def own_cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexes of sets go to a folder of the test session."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def small_faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 6 made-up people × 6 images, 32×32: each person a colour pattern, each image a noisy shift of it."""
    root = tmp_path_factory.mktemp("faces")
    generator = np.random.default_rng(7)
    for person in range(6):
        folder = root / f"person_{person}"
        folder.mkdir()
        pattern = generator.integers(0, 256, (4, 4, 3)).repeat(8, axis=0).repeat(8, axis=1)
        for number in range(1, 7):
            noisy = np.roll(pattern, generator.integers(-2, 3, 2), axis=(0, 1)) + generator.normal(0, 12, pattern.shape)
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"person_{person}_{number:04d}.png")
    return root


@pytest.fixture(scope="session")
def small_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of 2 folds × (6 + 6) pairs over `small_faces`."""
    lines = ["2\t6"]
    for fold in range(2):
        lines += [f"person_{p}\t{1 + fold}\t{3 + fold}" for p in range(6)]
        lines += [f"person_{p}\t{1 + fold}\tperson_{(p + 1 + fold) % 6}\t{2 + fold}" for p in range(6)]
    path = tmp_path_factory.mktemp("lists") / "pairs.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def run_cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run ``orthodrome ARGUMENTS`` in this process: exit code, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        from orthodrome.cli.main import main

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", ["orthodrome", *map(str, arguments)])
            with pytest.raises(SystemExit) as ended:
                main()
        printed = capsys.readouterr()
        code = ended.value.code
        return (0 if code is None else int(code)), printed.out, printed.err

    return run


TINY = {
    "name": "tiny",
    "seed": 3,
    "batch_size": 12,
    "backbone": {"name": "sfnet4", "width": 0.125, "batch_norm": True, "embedding_dim": 16},
    "loss": {"name": "cosface", "scale": 16.0, "margin": 0.1},
    "data": {"size": 32, "shift": 1, "workers": 0},
    "schedule": {"epochs": 2},
    "log": {"every": 1},
}


@pytest.fixture
def tiny_recipe() -> dict[str, Any]:
    """Settings of a run of 2 epochs × 3 steps that takes a fraction of a second."""
    return copy.deepcopy(TINY)


@pytest.fixture
def tiny_recipe_file(tiny_recipe: dict[str, Any], tmp_path: Path) -> Path:
    """`tiny_recipe` as YAML."""
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_recipe))
    return path
