"""What a figure was measured with: the processor, torch, and the commit of the sources."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import torch

SOURCES = Path(__file__).parents[1]


def machine() -> str:
    """Processor, cores, torch."""
    return f"{processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def processor() -> str:
    """The name of the processor, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def commit() -> str:
    """The commit of the checkout these sources stand in, with + where they differ from it; ``"unknown"`` for an installed package."""
    if _git("ls-files", "--error-unmatch", "__init__.py") is None:
        return "unknown"
    dirty = _git("status", "--porcelain", "--", ".")
    return f"{_git('rev-parse', '--short', 'HEAD')}{'+' if dirty else ''}"


def _git(*arguments: str) -> str | None:
    """What git answers; None where it fails or is not there."""
    try:
        result = subprocess.run(["git", *arguments], cwd=SOURCES, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()
