"""Reports on disk: JSON and scores for programs, one HTML page for people, PNG pictures for slides; and the table that
compares systems.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orthodrome.evaluation import page, sections
from orthodrome.evaluation.calibration import calibration_json
from orthodrome.evaluation.calibration_quality import calibration_for_use
from orthodrome.evaluation.completing import completed
from orthodrome.evaluation.scored import from_series
from orthodrome.evaluation.sections import Images, Rendered, Section
from orthodrome.evaluation.wording import false_accept_rate
from orthodrome.files import write_together
from orthodrome.types import InputError, PathLike, Report

SCORES_FILE = "scores.npz"
REPORT_FILE = "report.json"

_CALIBRATION_FILE = "calibration.json"
_PICTURES = ("roc", "det", "scores", "errors", "reliability", "cmc", "distractors")
_NOT_ALWAYS = (SCORES_FILE, _CALIBRATION_FILE, *(f"{stem}.png" for stem in _PICTURES))

_COMPARED_FAR = 0.01


@dataclass(frozen=True)
class Written:
    """The ``files`` of a report, and a ``notice`` for the user: empty, or why there are no pictures."""

    files: tuple[Path, ...]
    notice: str = ""


def write_report(report: Report, folder: PathLike, images: Images | None = None) -> Written:
    """Write one evaluation into ``folder``: all files or, on an error, none.

    ``report.json``: all figures, and whether there are ``scores``. ``report.html``: the page, with everything in it. ``scores.npz``: the
    scored pairs, for `compare_runs` and for anyone (read by ``numpy.load``; no pickles), where the report
    holds scores. ``calibration.json``: scores to probabilities, where there are folds. A PNG per picture.
    A report that was there before is replaced, and such files of it as this one has not are removed.

    ``images`` maps the ids of the pairs to image files or their content, for the hardest pairs. Without
    matplotlib the rest is written without pictures, and ``notice`` says what to install. Raises InputError
    naming the file that cannot be written.
    """
    full = completed(report)
    shown = sections.sections_of(full, images)
    drawn = sections.render([*shown, sections.notes(full)])
    stored = _series_files(full)
    files = {
        REPORT_FILE: _json({**_content(full), "scores": SCORES_FILE if SCORES_FILE in stored else None}),
        "report.html": _page(
            full.title, ", ".join([*_measured(full), _subtitle(full)]), [sections.headline(full.metrics)], drawn, shown
        ),
        **stored,
        **drawn.files,
    }
    return _written(Path(folder), files, drawn.notice)


def write_comparison(
    reports: Mapping[str, Report],
    folder: PathLike,
    title: str,
    findings: Sequence[Section] = (),
    content: Mapping[str, Any] | None = None,
) -> Written:
    """Write several systems' reports as one: ``report.json``, ``report.html`` and the pictures into ``folder``.

    ``reports`` names each system, in the order to show; ``findings`` are sections to show before the
    curves, ``content`` what to add to the JSON. As `write_report` otherwise; raises InputError where
    ``reports`` is empty.
    """
    if not reports:
        raise InputError("a comparison needs at least one report; got none")
    full = {name: completed(report) for name, report in reports.items()}
    pictures = (*sections.curve_pictures(full), *sections.score_pictures(full))
    curves = [Section("Curves", [pictures, page.paragraph(_band_note(full))])] if pictures else []
    systems = [
        Section(name, [*map(page.paragraph, _measured(r)), sections.headline(r.metrics), *sections.sections_of(_tables(r))])
        for name, r in full.items()
    ]
    shown = [Section("Summary", _summary(full)), *findings, *curves, *systems]
    lines = tuple(dict.fromkeys(line for report in full.values() for line in report.notes))
    drawn = sections.render([*shown, sections.notes(Report("", title, {}, {}, lines))])
    stored = {"title": title, **(content or {}), "systems": {name: _content(report) for name, report in full.items()}}
    subtitle = "; ".join(dict.fromkeys(map(_subtitle, full.values())))
    files = {REPORT_FILE: _json(stored), "report.html": _page(title, subtitle, [], drawn, shown), **drawn.files}
    return _written(Path(folder), files, drawn.notice)


def check_folder(folder: PathLike) -> list[str]:
    """The files of an earlier report that a new one may remove. Worth asking for before hours of counting.

    Raises InputError where a file of such a name is there and no report, so that it is somebody else's.
    """
    before = [name for name in _NOT_ALWAYS if (Path(folder) / name).exists()]
    if before and not (Path(folder) / REPORT_FILE).exists():
        raise InputError(
            f"{folder} holds {', '.join(before)} but no {REPORT_FILE}: no report wrote that, so none is written over it; "
            "name another folder, or move it away"
        )
    return before


def summary_rows(reports: Mapping[str, Report]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows of one table over systems: EER, TAR@FAR = 1 % and accuracy, each with its interval (–
    where it is not measured).
    """
    header = ("system", "EER", f"TAR@FAR = {false_accept_rate(_COMPARED_FAR)}", "accuracy")
    return header, [(name, *_cells(report.metrics)) for name, report in reports.items()]


def _written(folder: Path, files: Mapping[str, bytes], notice: str) -> Written:
    """Write a report; nothing of one before stays beside it, to be taken for its own. Raises InputError as `check_folder` does."""
    before = check_folder(folder)
    written = write_together(folder, files)
    for name in set(before) - set(files):
        (folder / name).unlink()
    return Written(written, notice)


def _page(title: str, subtitle: str, before: Sequence[str], drawn: Rendered, shown: Sequence[Section]) -> bytes:
    notice = [page.paragraph(f"Note: {drawn.notice}", "warning")] if drawn.notice else []
    return page.page(title, subtitle, [*before, *notice, *drawn.html], [section.title for section in shown])


def _cells(metrics: Mapping[str, Any]) -> tuple[str, str, str]:
    eer, accuracy = metrics.get("eer"), metrics.get("accuracy")
    row = next((row for row in metrics.get("tar_at_far", ()) if row["far"] == _COMPARED_FAR), None)
    return (
        _cell(eer["rate"], eer["interval"]) if eer else "–",
        _cell(row["tar"], row["interval"]) if row else "–",
        _cell(accuracy["mean"], accuracy["by_identity"] or accuracy["wilson"]) if accuracy else "–",
    )


def _cell(rate: float, interval: Mapping[str, Any]) -> str:
    return f"{100 * rate:.2f} % ({100 * interval['low']:.2f}–{100 * interval['high']:.2f})"


def _summary(reports: Mapping[str, Report]) -> list[str]:
    methods = {report.metrics["eer"]["interval"]["method"] for report in reports.values() if "eer" in report.metrics}
    caption = f"In brackets: 95 % intervals in per cent, {'; '.join(sorted(methods))}."
    return [page.table(*summary_rows(reports)), page.paragraph(caption)]


def _band_note(reports: Mapping[str, Report]) -> str:
    methods = sorted({band["method"] for report in reports.values() if (band := report.metrics.get("roc_band"))})
    return f"Shaded: the 95 % interval of TAR at each FAR, {'; '.join(methods)}." if methods else ""


def _tables(report: Report) -> Report:
    """A report without its scores: its curves are drawn beside those of the others."""
    return Report(report.protocol, report.title, report.metrics, {}, report.notes)


def _measured(report: Report) -> list[str]:
    """What was measured, where the report says so."""
    return [report.metrics["measured"]] if "measured" in report.metrics else []


def _subtitle(report: Report) -> str:
    counts = report.metrics.get("counts")
    size = f", {counts['genuine']:,} genuine and {counts['impostor']:,} impostor comparisons" if counts else ""
    return f"protocol {report.protocol}{size}"


def _series_files(report: Report) -> dict[str, bytes]:
    """The scored pairs, and the calibration that they give."""
    pairs = from_series(report.series)
    if pairs is None:
        return {}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **pairs.series())  # type: ignore[arg-type]
    files = {SCORES_FILE: buffer.getvalue()}
    if "calibration" in report.metrics:
        files[_CALIBRATION_FILE] = calibration_json(calibration_for_use(pairs))
    return files


def _content(report: Report) -> dict[str, Any]:
    return {
        "protocol": report.protocol,
        "title": report.title,
        "metrics": report.metrics,
        "notes": report.notes,
    }


def _json(content: Mapping[str, Any]) -> bytes:
    """Strict JSON: a NaN among the metrics is an error here, not an unreadable file."""
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False, default=_plain) + "\n").encode()


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not plain JSON; a report's metrics must be numbers, strings, lists and dicts")
