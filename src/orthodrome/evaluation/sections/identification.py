"""The sections of identification: ranks, growing distractors, and the open set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orthodrome.evaluation import page
from orthodrome.evaluation.resolution import few_misses
from orthodrome.evaluation.sections.section import Part, Picture, Section
from orthodrome.evaluation.wording import counted, false_accept_rate, percent, rounded_up, span
from orthodrome.types import Report

Rows = Sequence[Mapping[str, Any]]


def ranks(report: Report) -> Section | None:
    """The CMC: how often the right person is among the first N candidates of a search."""
    rows: Rows = report.metrics.get("cmc") or ()
    picture = _picture(rows, "cmc", "rank", "rank", "right person within the rank", "CMC, closed set")
    header = ("rank", "rate", "95 % interval", "hits / searches")
    body = [
        (f"{row['rank']:,}", percent(row["rate"]), span(_interval(row)), counted(row["hits"], row["searches"])) for row in rows
    ]
    minded = page.warnings((f"rank {row['rank']:,}", few_misses(row)) for row in rows)
    return Section("Ranks", [*picture, page.table(header, body), *minded]) if rows else None


def distractors(report: Report) -> Section | None:
    """Rank 1 among growing numbers of strangers."""
    rows: Rows = report.metrics.get("rank_by_distractors") or ()
    caption = "Rank 1 as strangers are added to the gallery"
    picture = _picture(rows, "distractors", "distractors", "distractors", "right person found first", caption)
    header = ("distractors", "rank 1", "95 % interval", "hits / searches")
    body = [
        (f"{row['distractors']:,}", percent(row["rate"]), span(_interval(row)), counted(row["hits"], row["searches"]))
        for row in rows
    ]
    minded = page.warnings((f"{row['distractors']:,} distractors", few_misses(row)) for row in rows)
    return Section("Rank 1 by distractors", [*picture, page.table(header, body), *minded]) if rows else None


def open_set(report: Report) -> Section | None:
    """What a search does when the person may not be in the gallery at all."""
    rows: Rows = report.metrics.get("open_set") or ()
    header = ("FPIR", "threshold", "non-mated accepted", "TPIR", "95 % interval", "mated accepted", "DIR")
    body = [
        (
            false_accept_rate(row["fpir"]),
            rounded_up(row["threshold"]),
            counted(row["accepted_non_mated"], row["non_mated"]),
            percent(row["tpir"]),
            span(row.get("interval")),
            counted(row["accepted_mated"], row["mated"]),
            percent(row["dir"]) if "dir" in row else "–",
        )
        for row in rows
    ]
    meaning = page.paragraph(
        "FPIR: searches for people who are not in the gallery (non-mated) that return a candidate at or above the threshold. "
        "TPIR: searches for people who are in it (mated) whose right candidate is at or above it; DIR: and the first."
    )
    minded = page.warnings((f"FPIR {false_accept_rate(row['fpir'])}", row.get("warning", "")) for row in rows)
    return Section("Open set", [meaning, page.table(header, body), *minded]) if rows else None


def trials(report: Report) -> Section | None:
    """Figures over repeated trials: mean, standard deviation, and their difference, which is what BLUFR reports."""
    rows: Rows = report.metrics.get("trials") or ()
    header = ("figure", "μ − σ", "mean", "standard deviation", "trials", "lowest and highest")
    body = [
        (
            row["name"],
            percent(row["mean"] - row["deviation"]),
            percent(row["mean"]),
            f"{100 * row['deviation']:.2f}",
            str(row["trials"]),
            f"{percent(min(row['values']))}, {percent(max(row['values']))}",
        )
        for row in rows
    ]
    return Section("Trials", [page.table(header, body)]) if rows else None


def galleries(report: Report) -> Section | None:
    """Figures against several galleries, each alone, and their means."""
    rows: Rows = report.metrics.get("mean_over_galleries") or ()
    header = ("figure", "mean", "95 % interval", "each gallery")
    body = [(row["name"], percent(row["mean"]), span(row["interval"]), ", ".join(map(percent, row["galleries"]))) for row in rows]
    return Section("Mean over galleries", [page.table(header, body)]) if rows else None


def _interval(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return row.get("by_identity") or row.get("interval")


def _picture(rows: Rows, stem: str, key: str, across: str, up: str, caption: str) -> list[Part]:
    """The rates over ``key`` (logarithmic, so 0 is left out) with their intervals, where there are two or more to join."""
    shown = [row for row in rows if row[key] > 0]
    if len(shown) < 2:
        return []
    ends = [_interval(row) or {"low": row["rate"], "high": row["rate"]} for row in shown]
    points = (
        [row[key] for row in shown],
        [row["rate"] for row in shown],
        [end["low"] for end in ends],
        [end["high"] for end in ends],
    )
    return [(Picture(stem, caption, lambda figures: figures.rate_figure({caption: points}, across, up)),)]
