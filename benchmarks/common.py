"""What every benchmark shares: the machine it ran on, and rows of results."""

from __future__ import annotations

import csv
import datetime
import platform
import subprocess
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results"


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
    """The commit of the checkout, with + where files differ from it."""
    folder = Path(__file__).parent
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=folder, capture_output=True, text=True).stdout.strip()
    dirty = subprocess.run(
        ["git", "status", "--porcelain", "--", "../src"], cwd=folder, capture_output=True, text=True
    ).stdout.strip()
    return f"{head or 'unknown'}{'+' if dirty else ''}"


def append_row(name: str, values: dict[str, str]) -> None:
    """One row in ``results/NAME.csv``, with date, commit and machine."""
    row = {"date": datetime.date.today().isoformat(), "commit": commit(), "machine": machine(), **values}
    path = RESULTS / f"{name}.csv"
    RESULTS.mkdir(exist_ok=True)
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if is_new:
            writer.writeheader()
        writer.writerow(row)
