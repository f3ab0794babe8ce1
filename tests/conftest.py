"""Shared fixtures: the folder of real faces (optional) and a quiet, reproducible torch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def _shared() -> Path | None:
    candidates = [os.environ.get("ORTHODROME_SHARED"), Path(__file__).resolve().parents[2] / "shared"]
    return next((Path(c) for c in candidates if c and (Path(c) / "data" / "lfw").is_dir()), None)


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """The folder with LFW and the training identities; tests that need it skip where it is absent."""
    folder = _shared()
    if folder is None:
        pytest.skip(
            "needs the folder of research faces: set ORTHODROME_SHARED to a folder that holds data/lfw"
        )
    return folder
