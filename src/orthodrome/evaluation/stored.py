"""Evaluations read back from disk, and compared: what ``orthodrome compare-runs`` does."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from orthodrome.evaluation import page
from orthodrome.evaluation.comparing import Difference, McNemar, PairedComparison, System, compare_systems
from orthodrome.evaluation.folds import FoldResult
from orthodrome.evaluation.report import REPORT_FILE, SCORES_FILE, Written, write_comparison
from orthodrome.evaluation.scored import from_series
from orthodrome.evaluation.sections import Section
from orthodrome.evaluation.wording import percent
from orthodrome.files import why_unread
from orthodrome.types import InputError, PathLike, Report

_FOLD_KEYS = ("fold", "threshold", "accepted_genuine", "genuine", "accepted_impostor", "impostor")


@dataclass(frozen=True)
class RunsComparison:
    """Reports by name, and the comparison of each two of them, (name A, name B) -> `PairedComparison`."""

    reports: Mapping[str, Report]
    comparisons: Mapping[tuple[str, str], PairedComparison]

    def summary(self) -> str:
        """A few lines for the terminal."""
        return "\n\n".join("\n".join(_lines(a, b, found)) for (a, b), found in self.comparisons.items())

    def write(self, folder: PathLike) -> Written:
        """One page and one JSON file with all systems and comparisons; see `write_comparison`."""
        findings = [_section(a, b, found) for (a, b), found in self.comparisons.items()]
        content = {"comparisons": [{"a": a, "b": b, **_content(found)} for (a, b), found in self.comparisons.items()]}
        return write_comparison(self.reports, folder, " against ".join(self.reports), findings, content)


def read_report(path: PathLike) -> Report:
    """The report that `write_report` wrote, with its scored pairs as series.

    ``path``: a ``report.json``, its folder, or a run folder with one ``evaluation-…`` folder in it. Raises
    InputError where there is none or more than one, or where a file is not what it should be or gone.
    """
    file = _report_file(Path(path))
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        metrics, notes = dict(content["metrics"]), tuple(content["notes"])
        stored = file.parent / SCORES_FILE
        scores = _read_scores(stored) if content.get("scores", stored.exists()) else {}
        report = Report(str(content["protocol"]), str(content["title"]), metrics, scores, notes)
        _folds(report)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is not the report of one evaluation: {type(error).__name__} {error}") from None
    return report


def compare_runs(paths: Sequence[PathLike]) -> RunsComparison:
    """Compare evaluations of the same pairs, each two of them; ``paths`` as `read_report` takes them.

    Pairs are known by the ids of their images, stored beside the scores. Raises InputError with fewer than two, where one is named
    twice, where there are no pairs or no ids, and where pairs differ, as a list in another order does.
    """
    names = [str(path) for path in paths]
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputError(f"compare-runs needs two different runs or more; got {', '.join(names) or 'none'}")
    reports = {name: read_report(name) for name in names}
    systems = {name: _system(name, report) for name, report in reports.items()}
    comparisons = {}
    for a, b in combinations(names, 2):
        try:
            comparisons[a, b] = compare_systems(systems[a], systems[b])
        except InputError as error:
            raise InputError(f"{a} and {b} cannot be compared: {error}") from None
    return RunsComparison(reports, comparisons)


def _report_file(path: Path) -> Path:
    if path.is_file():
        return path
    if (path / REPORT_FILE).is_file():
        return path / REPORT_FILE
    found = sorted(path.glob(f"evaluation-*/{REPORT_FILE}"))
    if len(found) != 1:
        inside = "; it holds " + ", ".join(file.parent.name for file in found) if found else ""
        raise InputError(
            f"{path} must be a {REPORT_FILE}, a folder that holds one, or a run folder with one evaluation{inside}. "
            + ("Name one of them" if found else "Make one by: orthodrome evaluate")
        )
    return found[0]


def _read_scores(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise InputError(f"the report in {path.parent} was written with {path.name}, which is gone; evaluate it again") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"cannot read the scores {path}: {why_unread(error)}") from None


def _system(name: str, report: Report) -> System:
    pairs = from_series(report.series)
    if pairs is None:
        raise InputError(
            f"{name} is of protocol {report.protocol!r}, which counts and keeps no pairs, so that it cannot be compared pair by pair; "
            "protocols of listed pairs can (lfw, cfp-fp, ytf, ijbc, …)"
        )
    if pairs.rows is None:
        raise InputError(
            f"the {SCORES_FILE} of {name} does not say which images its pairs are of ('genuine_ids', 'impostor_ids'), so that they "
            "cannot be matched with those of another run; evaluate it again, or vouch for the order in Python: compare_systems"
        )
    return System(pairs, _folds(report))


def _folds(report: Report) -> tuple[FoldResult, ...]:
    return tuple(FoldResult(*(fold[key] for key in _FOLD_KEYS)) for fold in report.metrics.get("folds") or ())


def _lines(a: str, b: str, found: PairedComparison) -> list[str]:
    rows = [_header("A", "B"), *map(_row, found.differences)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    return [f"A: {a}", f"B: {b}", *(f"  {line}" for line in table), *_sentences("A", "B", found)]


def _section(a: str, b: str, found: PairedComparison) -> Section:
    said = [page.paragraph(sentence, "say") for sentence in _sentences(a, b, found)]
    note = page.paragraph(
        f"Differences in percentage points with 95 % intervals, {found.differences[0].interval.method}, both systems on the same "
        "resamples. An interval that leaves out 0 shows a difference; with several figures or runs, expect one in twenty to do "
        "so by chance."
    )
    return Section(f"{a} against {b}", [*said, page.table(_header(a, b), map(_row, found.differences)), note])


def _header(a: str, b: str) -> tuple[str, ...]:
    return ("", a, b, "difference", "95 % interval")


def _row(row: Difference) -> tuple[str, ...]:
    low, high = _points(row.interval.low), _points(row.interval.high)
    return (row.name, percent(row.a), percent(row.b), _points(row.difference), f"{low} to {high}")


def _points(difference: float) -> str:
    """Percentage points, with their sign."""
    return f"{100 * difference:+.2f}".replace("-", "−")


def _sentences(a: str, b: str, found: PairedComparison) -> list[str]:
    unclear = [row.name for row in found.differences if not row.better]
    return [
        *(_verdict(a, b, row) for row in found.differences if row.better),
        *([f"No difference is shown in {', '.join(unclear)}."] if unclear else []),
        *([_mcnemar_sentence(a, b, found.mcnemar)] if found.mcnemar else []),
    ]


def _verdict(a: str, b: str, row: Difference) -> str:
    better, worse = (a, b) if row.better == "a" else (b, a)
    ends = sorted(abs(100 * end) for end in (row.interval.low, row.interval.high))
    return (
        f"{row.name}: {better} is better than {worse} by {abs(100 * row.difference):.2f} points ({ends[0]:.2f} to {ends[1]:.2f})."
    )


def _mcnemar_sentence(a: str, b: str, test: McNemar) -> str:
    chance = f"p = {test.p_value:.2g}" if test.p_value >= 1e-4 else "p < 0.0001"
    return (
        f"McNemar's test: {test.only_a:,} pairs are decided rightly by {a} alone, {test.only_b:,} by {b} alone; "
        f"{chance} ({test.method}; takes pairs as independent)."
    )


def _content(found: PairedComparison) -> dict[str, Any]:
    differences = [{**asdict(row), "difference": row.difference, "better": row.better} for row in found.differences]
    return {"differences": differences, "mcnemar": asdict(found.mcnemar) if found.mcnemar else None}
