"""Short runs on made-up faces, on one process or several: recipes without batch normalisation, whose result is that of one process."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from orthodrome.data import open_reader
from orthodrome.training import run as room
from orthodrome.training.processes import Team
from orthodrome.training.recipe import parse_recipe
from orthodrome.training.run import CHECKPOINT_FILE, train

SETTINGS: dict[str, Any] = {
    "seed": 3,
    "batch_size": 11,
    "backbone": {"name": "sfnet4", "width": 0.125, "embedding_dim": 16},
    "data": {"size": 32, "shift": 1, "workers": 0},
    "schedule": {"epochs": 2},
    "log": {"every": 1},
}
RECIPES: dict[str, dict[str, Any]] = {
    "cosface": {"loss": {"name": "cosface", "scale": 16.0, "margin": 0.1}, "optimizer": {"clip_norm": 1.0}},
    "sphereface2": {"loss": {"name": "sphereface2"}, "optimizer": {"learning_rate": 0.01}},
    "softmax": {"loss": {"name": "softmax"}, "optimizer": {"name": "adamw", "learning_rate": 0.001}},
    "elastic": {"loss": {"name": "elastic_arcface"}, "optimizer": {"learning_rate": 0.01}, "head": {"sharded": False}},
    "center": {"loss": {"name": "center", "base": "arcface", "scale": 8.0}, "head": {"impl": "chunked"}},
    "sampled": {
        "loss": {"name": "arcface", "scale": 16.0},
        "head": {"sample_rate": 0.5},
        "optimizer": {"learning_rate": 0.01},
        "batch_size": 4,  # few enough to leave classes to be drawn
    },
    "triplet": {
        "loss": {"name": "triplet"},
        "data": SETTINGS["data"] | {"sampler": "identities", "people": 5, "images_per_person": 2},
    },
}
"""Between them: class biases, a learned bias, moving centres, random margins, copies of the classes, clipping, pairs."""

STOP = 4
"""In the middle of the second epoch of 2 × 3 steps."""


def settings(name: str, **more: Any) -> Any:
    return parse_recipe({**SETTINGS, **RECIPES[name], **more}, name)


def run(name: str, faces: Path, folder: Path, team: Team, **more: Any) -> bool:
    return train(settings(name), open_reader(faces), folder, console=Console(quiet=True), team=team, **more).finished


def stop_at(step: int) -> None:
    """This process, and no other, is asked to stop."""
    original = room._RunEvents.step

    def stopping(self: Any, position: Any, *rest: Any) -> bool:
        if position.step == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, position, *rest)

    room._RunEvents.step = stopping  # type: ignore[method-assign]


def wait_for(path: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} was not written"
        time.sleep(0.02)


def position(folder: Path) -> dict[str, int]:
    found: dict[str, int] = torch.load(folder / CHECKPOINT_FILE, weights_only=True)["position"]
    return found
