"""The pieces of a report page: one self-contained HTML file, without scripts, for light and dark screens and
for paper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from orthodrome.evaluation.wording import false_accept_rate, one_in, percent, rounded_up

STYLE = """
:root { color-scheme: light dark; --page: #fbfbf9; --card: #ffffff; --ink: #1f2933; --soft: #5d6875; --line: #dfe3e8; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14181d; --card: #1b2027; --ink: #e3e8ee; --soft: #9aa6b2; --line: #323a44; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .4rem; }
p { margin: .4rem 0; }
.soft, figcaption, li { color: var(--soft); font-size: .92rem; }
.headline { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: .8rem; margin: 1.4rem 0; }
.headline div { background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; padding: .8rem .9rem; }
.headline b { display: block; font-size: 1.55rem; font-variant-numeric: tabular-nums; }
.headline span { color: var(--soft); font-size: .88rem; display: block; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .93rem; }
th, td { padding: .38rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; border-bottom-width: 2px; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1rem 0; background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .8rem; }
figure svg { display: block; width: 100%; height: auto; color: var(--ink); }
@media print { :root { color-scheme: light; --page: #fff; --card: #fff; --ink: #000; --soft: #444; --line: #bbb; }
  main { max-width: none; padding: 0; } figure, tr, .headline div { break-inside: avoid; } h2, h3 { break-after: avoid; } }
"""


def page(title: str, subtitle: str, sections: Iterable[str]) -> bytes:
    """The whole HTML file, UTF-8; ``sections`` are HTML already."""
    body = "\n".join(sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{escape(title)}</h1>\n<p class="soft">{escape(subtitle)}</p>\n{body}\n</main>\n</body>\n</html>\n'
    ).encode()


def section(title: str, *parts: str) -> str:
    """A heading and its parts (HTML)."""
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(parts) + "\n</section>"


def paragraph(text: str) -> str:
    return f'<p class="soft">{escape(text)}</p>'


def notes(lines: Sequence[str]) -> str:
    """A section with the conventions and notes of a report."""
    items = "\n".join(f"<li>{escape(line)}</li>" for line in lines)
    return section("Conventions and notes", f"<ul>\n{items}\n</ul>")


def figure(svg: str, caption: str) -> str:
    """An inline SVG with its caption, which also names it to screen readers."""
    label = escape(caption, quote=True)
    drawn = svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    return f"<figure>\n{drawn}\n<figcaption>{escape(caption)}</figcaption>\n</figure>"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of plain cells, which are escaped; the first column is set left, the others right."""

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row)

    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<div class="wide"><table>\n<thead><tr>{cells("th", header)}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def headline(metrics: Mapping[str, Any]) -> str:
    """The figures one looks for first, each with its interval: accuracy, EER and TAR at the FARs."""
    boxes = []
    if accuracy := metrics.get("accuracy"):
        spread = accuracy["by_identity"] or accuracy["wilson"]
        error = f"± {100 * accuracy['standard_error']:.2f} standard error"
        boxes.append(("accuracy", percent(accuracy["mean"]), error, spread))
    if eer := metrics.get("eer"):
        boxes.append(("equal error rate", percent(eer["rate"]), "", eer["interval"]))
    for row in metrics.get("tar_at_far", ()):
        boxes.append((f"TAR@FAR = {false_accept_rate(row['far'])}", percent(row["tar"]), "", row["interval"]))
    return '<div class="headline">\n' + "\n".join(_box(*box) for box in boxes) + "\n</div>"


def threshold_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Which threshold to use, what it accepts and rejects, and how far the counts carry."""
    header = (
        "FAR",
        "threshold",
        "accepted impostors",
        "TAR",
        "95 % interval",
        "rejected genuines",
    )
    body = [
        (
            false_accept_rate(row["far"]),
            rounded_up(row["threshold"]),
            f"{row['accepted_impostor']:,} / {row['impostor']:,}",
            percent(row["tar"]),
            _span(row["interval"]),
            f"{row['genuine'] - row['accepted_genuine']:,} / {row['genuine']:,}",
        )
        for row in rows
    ]
    advice = [paragraph(_advice(row)) for row in rows]
    warnings = [paragraph(f"Mind at FAR {false_accept_rate(row['far'])}: {row['warning']}.") for row in rows if row["warning"]]
    rounding = paragraph("Thresholds are shown rounded up, the safe side; report.json holds them in full.")
    return section("Choosing a threshold", *advice, table(header, body), rounding, *warnings)


def fold_table(folds: Sequence[Mapping[str, Any]]) -> str:
    """Each fold: the threshold from the other folds, and the decisions on this one."""
    header = ("fold", "threshold", "accuracy", "accepted genuines", "accepted impostors")
    body = [
        (
            fold["fold"],
            f"{fold['threshold']:.4f}",
            percent(fold["accuracy"]),
            f"{fold['accepted_genuine']:,} / {fold['genuine']:,}",
            f"{fold['accepted_impostor']:,} / {fold['impostor']:,}",
        )
        for fold in folds
    ]
    return section("Folds", table(header, body))


def accuracy_line(accuracy: Mapping[str, Any]) -> str:
    return section("Accuracy", paragraph(accuracy["text"]))


SECTIONS: Mapping[str, Callable[[Any], str]] = {"accuracy": accuracy_line, "tar_at_far": threshold_table, "folds": fold_table}
"""What a report shows of its metrics, in this order, where it has them."""


def metric_sections(metrics: Mapping[str, Any]) -> list[str]:
    """The sections of the metrics that are there."""
    return [draw(metrics[name]) for name, draw in SECTIONS.items() if metrics.get(name)]


def _box(name: str, value: str, extra: str, interval: Mapping[str, Any]) -> str:
    lines = [escape(line) for line in (extra, f"{_span(interval)} ({interval['method'].split(' (')[0]})") if line]
    return f"<div><span>{escape(name)}</span><b>{value}</b>" + "".join(f"<span>{line}</span>" for line in lines) + "</div>"


def _span(interval: Mapping[str, Any]) -> str:
    return f"{100 * interval['low']:.2f}–{100 * interval['high']:.2f} %"


def _advice(row: Mapping[str, Any]) -> str:
    far, accepted = false_accept_rate(row["far"]), row["achieved"]
    impostors = f"accepts {one_in(accepted)} impostors" if accepted else f"accepted none of {row['impostor']:,} impostors"
    return f"At FAR {far} use {rounded_up(row['threshold'])}: {impostors}, rejects {100 * (1 - row['tar']):.1f} % of genuines."
