"""Writes the tables of docs/all-comparisons.md from benchmarks/results: `python docs/render_all_comparisons.py`."""

from __future__ import annotations

import csv
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE, RESULTS = ROOT / "docs" / "all-comparisons.md", ROOT / "benchmarks" / "results"
NOTES = {
    "compare_all": "`python benchmarks/compare_all.py`: ways and product in turn, medians, 512 dimensions; memory beside the embeddings. ",
    "search": "`python benchmarks/search.py`: ways and float32 product in turn, medians, 512-d; memory beside embeddings and index. ",
}
"""What stands under the table of each benchmark."""


def table(name: str) -> str:
    """The latest measurement of each way."""
    with (RESULTS / f"{name}.csv").open(newline="") as file:
        latest = {row["what"]: row for row in csv.DictReader(file)}
    lines = [
        "| way | comparisons | million a second | share of the bare product's speed | memory |",
        "|---|---|---|---|---|",
    ]
    for way, row in latest.items():
        share = "–"
        if row["share_of_product"]:
            share = f"{float(row['share_of_product']):.2f} ({float(row['share_min']):.2f}–{float(row['share_max']):.2f})"
        memory = f"{row['mib']} MiB" if row["mib"] else "not measured"
        cells = (way, f"{int(row['comparisons']):,}", row["million_per_second"], share, memory)
        lines.append("| " + " | ".join(cells) + " |")
    sources = dict.fromkeys(f"{row['machine']}, commit {row['commit']}" for row in latest.values())
    return "\n".join([*lines, "", NOTES[name] + "; ".join(sources) + "."])


def render(page: str) -> str:
    """``page`` with what stands between each pair of markers written anew."""
    for name in NOTES:
        before, rest = page.split(f"<!-- {name} -->\n")
        after = rest.split(f"<!-- /{name} -->")[1]
        page = f"{before}<!-- {name} -->\n{table(name)}\n<!-- /{name} -->{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
