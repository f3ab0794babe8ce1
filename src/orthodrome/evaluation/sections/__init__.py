"""What a report shows, in order: one function per section, from a report to the section, or None where it has nothing to say.

A new section is its function and its place in `SECTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from orthodrome.evaluation import page
from orthodrome.evaluation.sections.audit import calibration, failures_to_enrol, fairness, overlap
from orthodrome.evaluation.sections.hardest import Images, hardest
from orthodrome.evaluation.sections.identification import distractors, galleries, open_set, ranks, trials
from orthodrome.evaluation.sections.section import NO_PLOTS, Rendered, Section, render
from orthodrome.evaluation.sections.verification import (
    compatibility,
    curve_pictures,
    curves,
    folds,
    headline,
    score_pictures,
    thresholds,
)
from orthodrome.types import Report

__all__ = [
    "NO_PLOTS",
    "Images",
    "Rendered",
    "Section",
    "curve_pictures",
    "headline",
    "notes",
    "render",
    "score_pictures",
    "sections_of",
]

Draw = Callable[[Report], Section | None]

FIRST: tuple[Draw, ...] = (curves, thresholds, folds)
LATER: tuple[Draw, ...] = (
    trials,
    galleries,
    ranks,
    distractors,
    open_set,
    fairness,
    calibration,
    compatibility,
    overlap,
    failures_to_enrol,
)


def sections_of(report: Report, images: Images | None = None) -> list[Section]:
    """The sections that a report has something to say in; each of its ``variants`` as a section of its own at the end."""
    draws: tuple[Draw, ...] = (*FIRST, partial(hardest, images=images), *LATER)
    drawn = [draw(report) for draw in draws]
    variants: Mapping[str, Any] = report.metrics.get("variants") or {}
    inner = [_variant(report, name, metrics, images) for name, metrics in variants.items()]
    return [section for section in (*drawn, *inner) if section]


def notes(report: Report) -> Section:
    """Conventions and notes."""
    return Section("Conventions and notes", [page.bullets(report.notes)])


def _variant(report: Report, name: str, metrics: Mapping[str, Any], images: Images | None) -> Section:
    alone = replace(report, title=name, metrics=metrics, series={})
    return Section(name, [headline(metrics), *sections_of(alone, images)])
