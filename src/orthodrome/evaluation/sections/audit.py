"""The sections on what a figure may hide: groups, calibration, overlap with the training set, failures to enrol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orthodrome.evaluation import page
from orthodrome.evaluation.resolution import few_errors_of_group
from orthodrome.evaluation.sections.section import Picture, Section
from orthodrome.evaluation.wording import counted, failed_images, percent, rounded_up, span
from orthodrome.types import Report

_MOST_OVERLAPS = 50


def fairness(report: Report) -> Section | None:
    """Both errors of each group at one global threshold, and how far apart the groups are."""
    found = report.metrics.get("fairness")
    if not found:
        return None
    header = ("group", "FMR", "95 % interval", "accepted impostors", "FNMR", "95 % interval", "rejected genuines")
    body = [
        (
            str(row["group"]),
            _rate(row["fmr"]),
            span(row.get("fmr_interval")),
            counted(row["accepted_impostor"], row["impostor"]),
            _rate(row["fnmr"]),
            span(row.get("fnmr_interval")),
            counted(row["rejected_genuine"], row["genuine"]),
        )
        for row in found["groups"]
    ]
    intro = page.paragraph(f"One threshold for all, {rounded_up(found['threshold'])}; rates per comparison.")
    ratios = page.bullets(f"{name}: {_ratio(value)}" for name, value in (found.get("ratios") or {}).items())
    minded = page.warnings((f"group {row['group']}", few_errors_of_group(row)) for row in found["groups"])
    return Section("Groups", [intro, page.table(header, body), *minded, ratios])


def calibration(report: Report) -> Section | None:
    """How good the scores are as probabilities, judged on folds the calibration was not fitted on."""
    found = report.metrics.get("calibration")
    if not found:
        return None
    methods: Sequence[Mapping[str, Any]] = found["methods"]
    rows = [(row["method"], f"{row['cllr']:.4f}", f"{row['cllr'] - found['minimum_cllr']:+.4f}") for row in methods]
    table = page.table(("calibration", "Cllr, bits", "over the minimum"), rows)
    intro = page.paragraph(
        f"Scores turned into match probabilities; each fold judged by a calibration fitted on the other {found['folds'] - 1}. "
        f"Cllr is the cost per comparison: 0 for certainty, 1 for ratios that say nothing. The best that any non-falling map "
        f"could reach on these scores is {found['minimum_cllr']:.4f}."
    )
    use = page.paragraph(
        "calibration.json holds the logistic calibration fitted on all folds: orthodrome.evaluation.load_calibration reads it, "
        ".probabilities(scores, prior=…) applies it."
    )
    caption = f"Reliability at the set's own share of genuines, {percent(found['genuine_share'])}; bars: Wilson's 95 % interval"
    points = {row["method"]: _points(row["bins"]) for row in methods}
    counts = {row["method"]: [entry["count"] for entry in row["bins"]] for row in methods}
    picture = Picture("reliability", caption, lambda figures: figures.reliability_figure(points, counts))
    return Section("Calibration", [intro, table, (picture,), use])


def overlap(report: Report) -> Section | None:
    """Whether people of the test set were trained on."""
    found = report.metrics.get("overlap")
    if not found:
        return None
    pairs = found.get("pairs") or ()
    rest = [page.paragraph(f"… and {len(pairs) - _MOST_OVERLAPS:,} more, in report.json.")] if len(pairs) > _MOST_OVERLAPS else []
    shown = [_cells(pair) for pair in pairs[:_MOST_OVERLAPS]]
    listed = [page.table([str(name) for name in pairs[0]], shown, words=("train", "test"))] if pairs else []
    how = page.paragraph(f"Audited {found['method']}; the pairs have to be looked at.")
    return Section("Overlap with the training set", [page.paragraph(f"{found['text']}.", "say"), how, *listed, *rest])


def failures_to_enrol(report: Report) -> Section | None:
    """Images that gave no embedding."""
    count = report.metrics.get("failures_to_enrol")
    if count is None:
        return None
    text = f"{count:,} failures to enrol; their comparisons count as non-matches." if count else "None."
    lists = report.metrics.get("failed_images")
    listed = [page.paragraph(f"Images that failed: {failed_images(lists)}.")] if lists else []
    return Section("Failures to enrol", [page.paragraph(text, "say"), *listed])


def _rate(rate: float | None) -> str:
    return "–" if rate is None else percent(rate) if rate == 0 or rate >= 0.001 else f"{100 * rate:.2g} %"


def _ratio(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) else "undefined: a rate is 0" if value is None else str(value)


def _cells(pair: Mapping[str, Any]) -> list[str]:
    return [f"{value:.4f}" if isinstance(value, float) else str(value) for value in pair.values()]


def _points(bins: Sequence[Mapping[str, Any]]) -> tuple[list[float], ...]:
    return (
        [row["predicted"] for row in bins],
        [row["observed"] for row in bins],
        [row["interval"]["low"] for row in bins],
        [row["interval"]["high"] for row in bins],
    )
