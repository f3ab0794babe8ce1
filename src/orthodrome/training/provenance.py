"""What a figure was measured with: the processor, torch, and the commit of the sources."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import torch

SOURCES = Path(__file__).parents[1]


def machine() -> str:
    """Processor and the instructions torch uses of it, threads, torch: one name stands for processors many times apart."""
    return f"{processor()} ({instructions()}), {torch.get_num_threads()} threads, torch {torch.__version__}"


def instructions() -> str:
    """The vector instructions, such as ``AVX2`` or ``AVX512 with bf16``."""
    bf16 = any("bf16" in line for line in _cpuinfo() if line.startswith("flags"))
    return torch.backends.cpu.get_cpu_capability() + (" with bf16" if bf16 else "")


def processor() -> str:
    """The name of the processor, where the system tells."""
    names = (line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


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
