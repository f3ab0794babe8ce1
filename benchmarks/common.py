"""What every benchmark shares: the machine it ran on, and rows of results."""

from __future__ import annotations

import csv
import datetime
from pathlib import Path

from orthodrome.training.provenance import commit, machine

RESULTS = Path(__file__).parent / "results"


def append_row(name: str, values: dict[str, str]) -> None:
    """One row in ``results/NAME.csv``, with date, commit and machine: those of now, where ``values`` does not bring its own."""
    row = {"date": datetime.date.today().isoformat(), "commit": commit(), "machine": machine(), **values}
    path = RESULTS / f"{name}.csv"
    RESULTS.mkdir(exist_ok=True)
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if is_new:
            writer.writeheader()
        writer.writerow(row)
