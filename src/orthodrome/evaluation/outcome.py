"""What every protocol hands back: a report, the lines a terminal shows of it, and one line for a log."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from orthodrome.evaluation.resolution import few_errors_of_group, few_misses
from orthodrome.evaluation.wording import failed_images, false_accept_rate, percent, span
from orthodrome.types import Report


class Result(Protocol):
    """The result of a protocol."""

    def summary(self) -> str:
        """A few lines for the terminal."""

    def to_report(self) -> Report:
        """Metrics in plain JSON, and arrays to plot."""


@dataclass(frozen=True)
class Outcome:
    """A result that is its report."""

    report: Report

    def summary(self) -> str:
        """Every metric of the report in a line each, variants apart."""
        return "\n".join([self.report.title, *(f"  {line}" for line in metric_lines(self.report.metrics))])

    def headline(self) -> str:
        """The first metric, for a log."""
        return headline(self.report.metrics)

    def to_report(self) -> Report:
        """The report."""
        return self.report

    def __str__(self) -> str:
        return self.summary()


def headline(metrics: Mapping[str, Any]) -> str:
    """What one looks for first: accuracy and EER, or the first of the other metrics."""
    if "accuracy" in metrics:
        accuracy = metrics["accuracy"]
        return f"{accuracy['mean']:.2%} ± {accuracy['standard_error']:.2%}, EER {metrics['eer']['rate']:.2%}"
    return next(iter(metric_lines(metrics)), "nothing measured")


def metric_lines(metrics: Mapping[str, Any]) -> list[str]:
    """The lines of the metrics that are there, in the order of `LINES`."""
    return [line for key, lines in LINES.items() if metrics.get(key) for line in lines(metrics[key])]


def _accuracy(accuracy: Mapping[str, Any]) -> Iterator[str]:
    yield _line("accuracy", accuracy["text"], warning=accuracy.get("warning", ""))


def _eer(eer: Mapping[str, Any]) -> Iterator[str]:
    yield _line("EER", _rate(eer["rate"], eer["interval"]), warning=eer.get("warning", ""))


def _tar(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    for row in rows:
        counts = f"{row['accepted_genuine']:,} / {row['genuine']:,}; {row['accepted_impostor']:,} / {row['impostor']:,} impostors"
        yield _line(
            f"TAR@FAR={false_accept_rate(row['far'])}", _rate(row["tar"], row["interval"]), counts, row.get("warning", "")
        )


def _cmc(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    for row in rows:
        yield _line(
            f"rank {row['rank']}", _rate(row["rate"], row["by_identity"] or row["interval"]), _count(row), few_misses(row)
        )


def _open_set(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    for row in rows:
        counts = f"{row['accepted_mated']:,} / {row['mated']:,}; {row['accepted_non_mated']:,} / {row['non_mated']:,} non-mates"
        ranked = f"{counts}; DIR {percent(row['dir'])}"
        yield _line(
            f"TPIR@FPIR={false_accept_rate(row['fpir'])}", _rate(row["tpir"], row["interval"]), ranked, row.get("warning", "")
        )


def _distractors(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    for row in rows:
        rate = _rate(row["rate"], row["interval"])
        yield _line(f"rank 1 among {row['distractors']:,}", rate, _count(row), few_misses(row))


def _trials(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    for row in rows:
        spread = f"mean {percent(row['mean'])}, standard deviation {100 * row['deviation']:.2f}, {row['trials']} trials"
        yield _line(row["name"], f"{percent(row['mean'] - row['deviation'])} (μ − σ)", spread)


def _galleries(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    for row in rows:
        each = " and ".join(percent(rate) for rate in row["galleries"])
        yield _line(row["name"], f"{percent(row['mean'])} ({span(row['interval'])})", f"mean of {each}")


def _fairness(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"one threshold     {found['threshold']:.4f}"
    for row in found["groups"]:
        fmr = "–" if row["fmr"] is None else f"{percent(row['fmr'])} ({row['accepted_impostor']:,} / {row['impostor']:,})"
        fnmr = "–" if row["fnmr"] is None else f"{percent(row['fnmr'])} ({row['rejected_genuine']:,} / {row['genuine']:,})"
        yield _line(row["group"], f"FMR {fmr}, FNMR {fnmr}", warning=few_errors_of_group(row))
    for name, value in found["ratios"].items():
        yield f"{name:<17} {'undefined: a rate is 0' if value is None else format(value, '.3g')}"


def _overlap(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"overlap           {found['text']}"


def _failures(count: int) -> Iterator[str]:
    yield f"failures to enrol {count:,}"


def _failed_images(lists: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    yield f"images that failed: {failed_images(lists)}"


def _sentence(text: str) -> Iterator[str]:
    yield text


def _comparisons(counts: Mapping[str, int]) -> Iterator[str]:
    yield f"comparisons       {counts['genuine']:,} genuine, {counts['impostor']:,} impostor"


def _compatibility(found: Mapping[str, Any]) -> Iterator[str]:
    yield found["text"]


def _variants(variants: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, metrics in variants.items():
        yield f"{name}:"
        yield from (f"  {line}" for line in metric_lines(metrics))


LINES: Mapping[str, Callable[[Any], Iterator[str]]] = {
    "accuracy": _accuracy,
    "eer": _eer,
    "tar_at_far": _tar,
    "cmc": _cmc,
    "open_set": _open_set,
    "rank_by_distractors": _distractors,
    "trials": _trials,
    "mean_over_galleries": _galleries,
    "fairness": _fairness,
    "counts": _comparisons,
    "unresolved": _sentence,
    "repeated_pairs": _sentence,
    "repeated_images": _sentence,
    "failures_to_enrol": _failures,
    "failed_images": _failed_images,
    "overlap": _overlap,
    "compatibility": _compatibility,
    "variants": _variants,
}
"""How each metric of a report is told in lines of text, in this order."""


def _line(name: str, rate: str, counts: str = "", warning: str = "") -> str:
    return f"{name:<17} {rate}" + (f"  {counts}" if counts else "") + (f"   ! {warning}" if warning else "")


def _rate(rate: float, interval: Mapping[str, Any]) -> str:
    return f"{percent(rate)} ({100 * interval['low']:.2f}–{100 * interval['high']:.2f})"


def _count(row: Mapping[str, Any]) -> str:
    return f"{row['hits']:,} / {row['searches']:,}"
