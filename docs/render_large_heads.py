"""Writes the tables of docs/large-heads.md from the formula and from benchmarks/results/heads.csv: `python docs/render_large_heads.py`."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from orthodrome.heads.measure import OPTIMIZER_ARRAYS, head_memory, largest_head

ROOT = Path(__file__).parents[1]
PAGE, RESULTS = ROOT / "docs" / "large-heads.md", ROOT / "benchmarks" / "results" / "heads.csv"
DIMENSION, BATCH, GIB = 512, 1024, 2**30
MACHINES = (("24 GiB", 24, 1), ("80 GiB", 80, 1), ("8 × 80 GiB", 80, 8))


def sizes() -> str:
    """The most classes on three machines, and what 10 and 100 million need."""
    lines = [
        f"The head alone, D = {DIMENSION}, B = {BATCH} on each process:",
        "",
        "| most classes | " + " | ".join(name for name, _, _ in MACHINES) + " |",
        "|---|" + "---|" * len(MACHINES),
    ]
    for optimizer in ("sgd", "adamw"):
        most = (
            largest_head(memory * GIB, DIMENSION, BATCH * many, processes=many, optimizer=optimizer)
            for _, memory, many in MACHINES
        )
        lines.append(f"| {optimizer} | " + " | ".join(f"{classes / 1e6:.1f} M" for classes in most) + " |")
    lines += ["", "| GiB on each process | " + " | ".join(OPTIMIZER_ARRAYS) + " |", "|---|" + "---|" * len(OPTIMIZER_ARRAYS)]
    for classes in (1_000_000, 10_000_000, 100_000_000):
        for many in (1, 8):
            needs = (
                head_memory(classes, DIMENSION, BATCH * many, processes=many, optimizer=name) / GIB for name in OPTIMIZER_ARRAYS
            )
            label = f"{classes // 1_000_000} M classes, {many} process{'es' if many > 1 else ''}"
            lines.append(f"| {label} | " + " | ".join(f"{need:.1f}" for need in needs) + " |")
    return "\n".join(lines)


def measured(state: str) -> str:
    """The latest measurement of each loss, option and size."""
    latest: dict[tuple[str, str, int], dict[str, str]] = {}
    with RESULTS.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["state"] == state:
                latest[row["loss"], row["options"], int(row["classes"])] = row
    columns = sorted({classes for _, _, classes in latest})
    lines = [
        "| loss | products | " + " | ".join(f"C = {classes:,}" for classes in columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    for loss, options in dict.fromkeys((loss, options) for loss, options, _ in latest):
        cells = (cell(latest.get((loss, options, classes))) for classes in columns)
        lines.append(f"| {loss} | {options} | " + " | ".join(cells) + " |")
    sources = dict.fromkeys(f"{row['machine']}, commit {row['commit']}" for row in latest.values())
    return "\n".join([*lines, "", "; ".join(sources) + "."])


def cell(row: dict[str, str] | None) -> str:
    """Ratio, memory, and the cosine of gradients where it was measured."""
    if row is None:
        return ""
    cosine = f", gradient cosine {float(row['gradient_cosine']):.5f}" if row["gradient_cosine"] else ""
    return f"{float(row['ratio']):.2f} ×, {row['extra_mib']} MiB{cosine}"


def render(page: str) -> str:
    """``page`` with what stands between each pair of markers written anew."""
    for name, text in (("sizes", sizes()), ("random", measured("random")), ("trained", measured("trained"))):
        page = re.sub(
            rf"(<!-- {name} -->\n).*?(\n<!-- end -->)",
            lambda found, text=text: found[1] + "\n" + text + "\n" + found[2],
            page,
            flags=re.S,
        )
    return page


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
