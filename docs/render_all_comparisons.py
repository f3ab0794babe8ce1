"""Writes the table of docs/all-comparisons.md from benchmarks/results/compare_all.csv: `python docs/render_all_comparisons.py`."""

from __future__ import annotations

import csv
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE, RESULTS = ROOT / "docs" / "all-comparisons.md", ROOT / "benchmarks" / "results" / "compare_all.csv"


def table() -> str:
    """The latest measurement of each way."""
    with RESULTS.open(newline="") as file:
        latest = {row["what"]: row for row in csv.DictReader(file)}
    lines = [
        "| way | comparisons | million a second | share of the bare product's speed | memory |",
        "|---|---|---|---|---|",
    ]
    for name, row in latest.items():
        share = "–"
        if row["share_of_product"]:
            share = f"{float(row['share_of_product']):.2f} ({float(row['share_min']):.2f}–{float(row['share_max']):.2f})"
        memory = f"{row['mib']} MiB" if row["mib"] else "not measured"
        cells = (name, f"{int(row['comparisons']):,}", row["million_per_second"], share, memory)
        lines.append("| " + " | ".join(cells) + " |")
    sources = dict.fromkeys(f"{row['machine']}, commit {row['commit']}" for row in latest.values())
    note = "`python benchmarks/compare_all.py`: ways and product in turn, medians, 512 dimensions; memory beside the embeddings. "
    return "\n".join([*lines, "", note + "; ".join(sources) + "."])


def render(page: str) -> str:
    """``page`` with what stands between the markers written anew."""
    return re.sub(
        r"(<!-- compare_all -->\n).*?(<!-- /compare_all -->)", lambda found: f"{found[1]}{table()}\n{found[2]}", page, flags=re.S
    )


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
