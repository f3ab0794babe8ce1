"""What every benchmark shares: the machine it ran on, and rows of results."""

from __future__ import annotations

import csv
import datetime
from pathlib import Path

from orthodrome.training.provenance import commit, machine
from orthodrome.types import InputError

RESULTS = Path(__file__).parent / "results"


def append_row(name: str, values: dict[str, str]) -> None:
    """One row in ``results/NAME.csv``, with date, commit and machine: those of now, where ``values`` does not bring its own.

    Raises InputError where the rows of the file have other columns.
    """
    row = {"date": datetime.date.today().isoformat(), "commit": commit(), "machine": machine(), **values}
    path = RESULTS / f"{name}.csv"
    RESULTS.mkdir(exist_ok=True)
    columns = _columns(path)
    if columns and set(columns) != set(row):
        raise InputError(
            f"{path} has the columns {columns}, the row has {list(row)}; move the file away, or give its rows the new ones"
        )
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns or list(row))
        if not columns:
            writer.writeheader()
        writer.writerow(row)


def _columns(path: Path) -> list[str]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return next(csv.reader(file), [])
