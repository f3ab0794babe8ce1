"""Reports on disk: JSON for programs, one HTML page for people, PNG pictures for slides; and the table that
compares systems.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from orthodrome.evaluation import page
from orthodrome.evaluation.roc import roc_curve
from orthodrome.evaluation.wording import false_accept_rate
from orthodrome.files import write_together
from orthodrome.types import InputError, PathLike, Report

NO_PLOTS = 'no pictures were drawn: matplotlib is missing. Install it by: pip install "orthodrome[plots]"'

_COMPARED_FAR = 0.01


@dataclass(frozen=True)
class Written:
    """The ``files`` of a report, and a ``notice`` for the user: empty, or why there are no pictures."""

    files: tuple[Path, ...]
    notice: str = ""


def write_report(report: Report, folder: PathLike) -> Written:
    """Write ``report.json``, ``report.html``, ``roc.png`` and ``scores.png`` into ``folder``: all of them or,
    on an error, none.

    Without matplotlib the JSON and the page are written without pictures, and ``notice`` says what to
    install. Raises InputError naming the file that cannot be written.
    """
    pictures, notice = _pictures({report.title: report})
    sections = [
        page.headline(report.metrics),
        *_figures(pictures, notice),
        *page.metric_sections(report.metrics),
    ]
    html = page.page(report.title, _subtitle(report), [*sections, page.notes(report.notes)])
    files = {"report.json": _json(_content(report)), "report.html": html, **_pngs(pictures)}
    return Written(write_together(Path(folder), files), notice)


def write_comparison(reports: Mapping[str, Report], folder: PathLike, title: str) -> Written:
    """Write several systems' reports as one: ``report.json``, ``report.html``, ``roc.png``, ``scores.png``
    into ``folder``.

    ``reports`` names each system, in the order to show. As `write_report` otherwise; raises InputError
    where ``reports`` is empty.
    """
    if not reports:
        raise InputError("a comparison needs at least one report; got none")
    pictures, notice = _pictures(reports)
    sections = [_summary(reports), *_figures(pictures, notice)]
    for name, report in reports.items():
        sections += [f"<hr>\n<h2>{escape(name)}</h2>", page.headline(report.metrics)]
        sections += page.metric_sections(report.metrics)
    lines = tuple(dict.fromkeys(line for report in reports.values() for line in report.notes))
    html = page.page(title, "; ".join(dict.fromkeys(map(_subtitle, reports.values()))), [*sections, page.notes(lines)])
    content = {"title": title, "systems": {name: _content(report) for name, report in reports.items()}}
    files = {"report.json": _json(content), "report.html": html, **_pngs(pictures)}
    return Written(write_together(Path(folder), files), notice)


def summary_rows(reports: Mapping[str, Report]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows of one table over systems: EER, TAR@FAR = 1 % and accuracy, each with its interval (–
    where it is not measured).
    """
    header = ("system", "EER", f"TAR@FAR = {false_accept_rate(_COMPARED_FAR)}", "accuracy")
    return header, [(name, *_cells(report.metrics)) for name, report in reports.items()]


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


def _summary(reports: Mapping[str, Report]) -> str:
    methods = {report.metrics["eer"]["interval"]["method"] for report in reports.values() if "eer" in report.metrics}
    caption = f"In brackets: 95 % intervals in per cent, {'; '.join(sorted(methods))}."
    return page.section("Summary", page.table(*summary_rows(reports)), page.paragraph(caption))


def _subtitle(report: Report) -> str:
    counts = report.metrics.get("counts")
    size = f", {counts['genuine']:,} genuine and {counts['impostor']:,} impostor comparisons" if counts else ""
    return f"protocol {report.protocol}{size}"


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


def _pictures(reports: Mapping[str, Report]) -> tuple[dict[str, tuple[Any, str]], str]:
    """File stem -> (figure, caption) for the reports that hold scores, and a notice where matplotlib is
    missing.
    """
    scored = {name: r for name, r in reports.items() if {"genuine", "impostor"} <= r.series.keys()}
    if not scored:
        return {}, ""
    try:
        from orthodrome.figures.evaluation import roc_figure, score_distribution_figure
    except ImportError as error:
        if not (error.name or "").startswith("matplotlib"):
            raise
        return {}, NO_PLOTS
    scores = {name: (report.series["genuine"], report.series["impostor"]) for name, report in scored.items()}
    curves = {name: roc_curve(*pair) for name, pair in scores.items()}
    lines = {name: _threshold_lines(report) for name, report in scored.items()}
    return {
        "roc": (roc_figure({name: (c.far, c.tar) for name, c in curves.items()}), "ROC, per comparison"),
        "scores": (
            score_distribution_figure(scores, lines),
            "Scores of genuine and impostor comparisons, each of area 1",
        ),
    }, ""


def _threshold_lines(report: Report) -> dict[str, float]:
    rows = report.metrics.get("tar_at_far", ())
    return {f"FAR {false_accept_rate(row['far'])}": row["threshold"] for row in rows}


def _figures(pictures: Mapping[str, tuple[Any, str]], notice: str) -> list[str]:
    if notice:
        return [page.paragraph(f"Note: {notice}")]
    return [page.figure(_inline_svg(drawn), caption) for drawn, caption in pictures.values()]


def _pngs(pictures: Mapping[str, tuple[Any, str]]) -> dict[str, bytes]:
    return {f"{stem}.png": _saved(drawn, format="png", dpi=150, facecolor="white") for stem, (drawn, _) in pictures.items()}


def _inline_svg(drawn: Any) -> str:
    """The figure as an SVG element whose text and axes follow the text colour of the page."""
    from orthodrome.figures.evaluation import INK

    text = _saved(drawn, format="svg", transparent=True, metadata={"Date": None}).decode()
    return text[text.index("<svg") :].replace(INK, "currentColor").strip()


def _saved(drawn: Any, **options: Any) -> bytes:
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "orthodrome"}):  # the same file for the same data
        drawn.savefig(buffer, **options)
    return buffer.getvalue()
