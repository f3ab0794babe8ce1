"""A study of two cells on made-up faces, and what runs it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

SMALL: dict[str, Any] = {
    "name": "small",
    "recipe": {
        "batch_size": 12,
        "checkpoint_every": 2,
        "backbone": {"name": "sfnet4", "width": 0.125, "batch_norm": True, "embedding_dim": 16},
        "data": {"size": 32, "shift": 1},
        "schedule": {"epochs": 2},
        "log": {"every": 1},
    },
    "unseen_images": 1,
    "held_out": {"identities": 2},
    "resamples": 20,
    "groups": [
        {
            "name": "main",
            "cells": [{"loss": "softmax"}, {"loss": {"name": "cosface", "scale": 16, "margin": 0.1}}],
            "compare": [["cosface", "softmax"]],
        }
    ],
}


@pytest.fixture
def small_study() -> dict[str, Any]:
    """Two cells of a second each."""
    return copy.deepcopy(SMALL)


@pytest.fixture
def study_file(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """Writes a study and returns its file."""

    def write(content: dict[str, Any]) -> Path:
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    return write
