"""Rows of results: CSV files that several processes append to, each whole or untouched."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orthodrome.files import write_file
from orthodrome.study.locks import waiting_lock
from orthodrome.types import InputError

Row = Mapping[str, str]

CELLS = (
    "date", "commit", "machine", "study", "digest", "group", "cell", "judge", "loss", "hyper", "learning_rate", "settings",
    "chosen_from", "seed", "noise", "people", "images", "training_set", "test_set", "network", "size", "epochs", "steps", "batch_size",
    "workers", "threads", "minutes", "training_minutes", "images_per_second",
    "accuracy", "accuracy_error", "accuracy_low", "accuracy_high",
    "eer", "eer_low", "eer_high", "tar_1e-2", "tar_1e-2_low", "tar_1e-2_high", "tar_1e-3", "tar_1e-3_low", "tar_1e-3_high",
    "genuine", "impostor", "genuine_angle", "genuine_angle_sd", "impostor_angle", "impostor_angle_sd", "norm", "norm_sd",
    "unseen_images", "unseen_accuracy", "confidence", "calibration_error", "unseen_cllr",
    "final_loss", "final_target_cosine", "run", "failed",
)  # fmt: skip
CURVES = ("study", "digest", "curve", "values")
PAIRS = (
    "date", "commit", "study", "group", "noise", "people", "first", "second", "digests_first", "digests_second", "seeds",
    "figure", "value_first", "value_second", "difference", "low", "high", "resamples",
)  # fmt: skip

PAIR_KEY = ("study", "group", "noise", "people", "first", "second", "figure")


@dataclass(frozen=True)
class Table:
    """One CSV file with its columns; ``key``: the columns that name a row, of which the newest one counts."""

    path: Path
    columns: Sequence[str]
    key: Sequence[str]

    def read(self) -> list[Row]:
        """All rows, in the order of the file; none where there is no file. Raises InputError for other columns, naming them."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{self.path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
        lines = list(csv.reader(io.StringIO(text, newline="")))
        if not lines or lines[0] != list(self.columns):
            wrong = sorted(set(lines[0] if lines else ()) ^ set(self.columns))
            raise InputError(f"{self.path}: its columns are not those of a study's rows ({', '.join(wrong) or 'their order'})")
        for number, line in enumerate(lines[1:], start=2):
            if len(line) != len(self.columns):
                raise InputError(f"{self.path}:{number}: expected {len(self.columns)} columns, got {len(line)}")
        return [dict(zip(self.columns, line, strict=True)) for line in lines[1:]]

    def add(self, rows: Sequence[Row]) -> None:
        """Add rows, replacing those of the same key, under a lock: no row of another process is lost."""
        self._change(lambda old: [row for row in old if self.name(row) not in {self.name(new) for new in rows}] + list(rows))

    def name(self, row: Row) -> tuple[str, ...]:
        """The key of a row."""
        return tuple(row[column] for column in self.key)

    def _change(self, change: Callable[[list[Row]], list[Row]]) -> None:
        with waiting_lock(self.path.with_name(f".{self.path.name}.lock")):
            text = io.StringIO()
            writer = csv.DictWriter(text, self.columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(change(self.read()))
            write_file(self.path, text.getvalue().encode())


@dataclass(frozen=True)
class Tables:
    """The three files of a study's results: cells in the file given, curves and pairs beside it."""

    cells: Table
    curves: Table
    pairs: Table


def rows_of(study: str, tables: Tables) -> dict[str, Row]:
    """The rows of a study's cells by digest."""
    return {row["digest"]: row for row in tables.cells.read() if row["study"] == study}


def tables(rows: Path) -> Tables:
    """``study.csv`` -> study.csv, study_curves.csv, study_pairs.csv."""
    beside = [rows.with_name(f"{rows.stem}_{name}{rows.suffix}") for name in ("curves", "pairs")]
    return Tables(
        Table(rows, CELLS, ("study", "digest")),
        Table(beside[0], CURVES, ("study", "digest", "curve")),
        Table(beside[1], PAIRS, PAIR_KEY),
    )
