"""The sections of verification: the headline, curves, thresholds in plain sentences, folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from orthodrome.evaluation import page
from orthodrome.evaluation.roc import roc_curve
from orthodrome.evaluation.sections.section import Picture, Section
from orthodrome.evaluation.wording import (
    COMPARISONS,
    SEARCHES,
    Trials,
    counted,
    false_accept_rate,
    method_of,
    one_in,
    percent,
    rounded_up,
    span,
)
from orthodrome.types import Report

_DET = "DET: both errors on normal-deviate axes"


def headline(metrics: Mapping[str, Any]) -> str:
    """The figures one looks for first, each with its interval: accuracy, EER, TAR at the FARs, rank 1, TPIR."""
    boxes = []
    if accuracy := metrics.get("accuracy"):
        spread = accuracy["by_identity"] or accuracy["wilson"]
        error = f"± {100 * accuracy['standard_error']:.2f} standard error"
        boxes.append(("accuracy", accuracy["mean"], spread, error))
    if eer := metrics.get("eer"):
        boxes.append(("equal error rate", eer["rate"], eer["interval"], ""))
    for row in metrics.get("tar_at_far", ()):
        boxes.append((f"TAR@FAR = {false_accept_rate(row['far'])}", row["tar"], row["interval"], ""))
    for row in metrics.get("cmc", ())[:1]:
        boxes.append((f"rank {row['rank']}", row["rate"], row.get("by_identity") or row.get("interval"), ""))
    for row in metrics.get("trials", ()):
        boxes.append((f"{row['name']}, μ − σ", row["mean"] - row["deviation"], None, f"over {row['trials']} trials"))
    for row in metrics.get("mean_over_galleries", ()):
        boxes.append((row["name"], row["mean"], row["interval"], "mean of galleries"))
    for row in metrics.get("open_set", ()):
        boxes.append((f"TPIR@FPIR = {false_accept_rate(row['fpir'])}", row["tpir"], row.get("interval"), ""))
    methods = sorted({method_of(interval) for _, _, interval, _ in boxes if interval})
    note = page.paragraph(f"Ranges are 95 % intervals: {'; '.join(methods)}.") if methods else ""
    return (
        page.headline(
            page.box(name, percent(rate), (span(interval) if interval else "", extra)) for name, rate, interval, extra in boxes
        )
        + note
    )


def curves(report: Report) -> Section | None:
    """ROC, DET, error rates over the threshold, and the scores, as far as the series hold them."""
    pictures = [*curve_pictures({report.title: report}), *score_pictures({report.title: report})]
    if not pictures:
        return None
    band = report.metrics.get("roc_band")
    note = [page.paragraph(f"Shaded: the 95 % interval of TAR at each FAR, {band['method']}.{_narrower(report)}")] if band else []
    return Section("Curves", [tuple(pictures), *note])


def curve_pictures(reports: Mapping[str, Report]) -> list[Picture]:
    """ROC and DET of the reports that hold scores or a curve."""
    drawn = {name: curve for name, report in reports.items() if (curve := _curve(report))}
    if not drawn:
        return []
    bands = {name: band for name, report in reports.items() if (band := report.metrics.get("roc_band"))}
    trials = _trials(reports)
    return [
        Picture("roc", trials.curve, lambda figures: figures.roc_figure(drawn, _bands(figures, bands), trials)),
        Picture("det", _DET, lambda figures: figures.det_figure(drawn, _bands(figures, bands), trials)),
    ]


def score_pictures(reports: Mapping[str, Report]) -> list[Picture]:
    """The distributions of the reports that hold scores; for a single one also its error rates over the threshold."""
    scored = {name: report for name, report in reports.items() if {"genuine", "impostor"} <= report.series.keys()}
    if not scored:
        return []
    scores = {name: (np.asarray(r.series["genuine"]), np.asarray(r.series["impostor"])) for name, r in scored.items()}
    lines = {name: _threshold_lines(report.metrics) for name, report in scored.items()}
    trials = _trials(scored)
    caption = f"Scores, {trials.genuine} and {trials.impostor}, each of area 1"
    pictures = [Picture("scores", caption, lambda figures: figures.score_distribution_figure(scores, lines, trials))]
    if len(scored) == 1:
        (name,) = scored
        curve = roc_curve(*scores[name])
        rates = (curve.thresholds[1:], curve.far[1:], 1 - curve.tar[1:])
        caption = f"What each threshold does. {trials.far}; {trials.frr}"
        pictures.append(Picture("errors", caption, lambda figures: figures.error_rates_figure(*rates, lines[name], trials)))
    return pictures


def thresholds(report: Report) -> Section | None:
    """Which threshold to use, what it accepts and rejects, and how far the counts carry."""
    rows = report.metrics.get("tar_at_far")
    if not rows:
        return None
    header = ("FAR", "threshold", "accepted impostors", "TAR", "95 % interval", "rejected genuines")
    body = [
        (
            false_accept_rate(row["far"]),
            rounded_up(row["threshold"]),
            counted(row["accepted_impostor"], row["impostor"]),
            percent(row["tar"]),
            span(row["interval"]),
            counted(row["genuine"] - row["accepted_genuine"], row["genuine"]),
        )
        for row in rows
    ]
    advice = [page.paragraph(_advice(row), "say") for row in rows]
    minded = [(f"FAR {false_accept_rate(row['far'])}", row.get("warning", "")) for row in rows]
    minded += [("the EER", (report.metrics.get("eer") or {}).get("warning", ""))]
    rounding = page.paragraph("Thresholds are shown rounded up, the safe side; report.json holds them in full.")
    return Section("Choosing a threshold", [*advice, page.table(header, body), *page.warnings(minded), rounding])


def folds(report: Report) -> Section | None:
    """Each fold: the threshold from the other folds, and the decisions on this one."""
    rows: Sequence[Mapping[str, Any]] = report.metrics.get("folds") or ()
    if not rows:
        return None
    header = ("fold", "threshold", "accuracy", "accepted genuines", "accepted impostors")
    body = [
        (
            fold["fold"],
            f"{fold['threshold']:.4f}",
            percent(fold["accuracy"]),
            counted(fold["accepted_genuine"], fold["genuine"]),
            counted(fold["accepted_impostor"], fold["impostor"]),
        )
        for fold in rows
    ]
    accuracy = report.metrics.get("accuracy")
    text = [page.paragraph(f"Accuracy {accuracy['text']}.", "say")] if accuracy else []
    minded = page.warnings([("the accuracy", (accuracy or {}).get("warning", ""))])
    return Section("Folds", [*text, *minded, page.table(header, body)])


def compatibility(report: Report) -> Section | None:
    """What another toolkit prints for the same scores, by its own conventions."""
    found = report.metrics.get("compatibility")
    if not found:
        return None
    warning = "For comparison with old numbers only; the figures above are the ones to quote."
    return Section("Other conventions", [page.paragraph(found["text"]), page.paragraph(warning)])


def _trials(reports: Mapping[str, Report]) -> Trials:
    """Searches, where reports count ranks: their scores are the best of each search."""
    return SEARCHES if all(report.metrics.get("cmc") for report in reports.values()) else COMPARISONS


def _curve(report: Report) -> tuple[np.ndarray, np.ndarray] | None:
    """(far, tar) from the scores, or as the series ``roc`` gives them; None where there are neither."""
    if {"genuine", "impostor"} <= report.series.keys():
        curve = roc_curve(report.series["genuine"], report.series["impostor"])
        return curve.far, curve.tar
    far_and_tar = report.series.get("roc")
    if far_and_tar is None:
        return None
    far, tar = (np.asarray(side, dtype=float) for side in far_and_tar)
    return np.append(0.0, far) if far[0] > 0 else far, np.append(0.0, tar) if far[0] > 0 else tar


def _bands(figures: Any, bands: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        name: figures.Band(*(np.asarray(band[side], dtype=float) for side in ("far", "low", "high")))
        for name, band in bands.items()
    }


def _narrower(report: Report) -> str:
    """Empty, or what to mind of a band by pair beside intervals by identity."""
    by_identity = any("identity" in row["interval"]["method"] for row in report.metrics.get("tar_at_far", ()))
    if not by_identity or "identity" in report.metrics["roc_band"]["method"]:
        return ""
    return " It takes comparisons as independent; the intervals of the table below are by identity, and as a rule wider."


def _threshold_lines(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {f"FAR {false_accept_rate(row['far'])}": row["threshold"] for row in metrics.get("tar_at_far", ())}


def _advice(row: Mapping[str, Any]) -> str:
    far, accepted = false_accept_rate(row["far"]), row["achieved"]
    impostors = f"accepts {one_in(accepted)} impostors" if accepted else f"accepted none of {row['impostor']:,} impostors"
    return f"At FAR {far} use {rounded_up(row['threshold'])}: {impostors}, rejects {100 * (1 - row['tar']):.1f} % of genuines."
