"""Where the verbs print: results on standard output, progress and remarks on standard error."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType

if TYPE_CHECKING:
    from orthodrome.data import ImageReader
    from orthodrome.evaluation.report import Written
    from orthodrome.types import Report


def show(result: RenderableType) -> None:
    """A result, on standard output; lines of text are not folded, and names that are not UTF-8 are written so that they can be printed."""
    if isinstance(result, str):
        result = result.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    Console().print(result, highlight=False, markup=False, soft_wrap=isinstance(result, str))


def remarks() -> Console:
    """Standard error."""
    return Console(stderr=True)


def saying(report: Report, measured: str) -> Report:
    """The report, with the name of what was measured, so that two pages can be told apart."""
    return replace(report, metrics={"measured": measured, **report.metrics})


def show_report(summary: str, written: Written) -> None:
    """The result of an evaluation, and where its report is."""
    show(summary)
    if written.notice:
        print(written.notice, file=sys.stderr)
    show(f"report: {next(file for file in written.files if file.suffix == '.html')}")


def show_left_out(reader: ImageReader) -> None:
    """What of a set is not in what was made of it."""
    if ignored := getattr(reader, "ignored", ()):
        show(f"{len(ignored):,} not read, as no image by its ending or in a folder inside that of a person, first: {ignored[0]}")
    if reader.problems:
        show(f"{len(reader.problems):,} left out, first: {reader.problems[0]}")
