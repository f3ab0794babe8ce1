"""Makes ledger.md of ledger.yaml, the golden cases of the tests, and the rows of benchmarks/every_row_learns.py and of the first study.

python docs/render_ledger.py
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import render_every_row_learns as learning
import yaml

from orthodrome.study.evidence import evidence, verdict_on
from orthodrome.study.found import Found, read_found
from orthodrome.study.plan import load_plan
from orthodrome.study.rows import tables
from orthodrome.study.verdicts import RULE

ROOT = Path(__file__).parents[1]
SOURCE, PAGE = ROOT / "docs" / "ledger.yaml", ROOT / "docs" / "ledger.md"
GOLDENS = [ROOT / "tests" / "golden" / f"{name}.json" for name in ("losses", "losses_reference")]
STUDY, STUDY_ROWS = ROOT / "studies" / "first.yaml", ROOT / "benchmarks" / "results" / "study.csv"
KEYS = {"id", "kind", "statement", "code", "tests", "goldens", "learning", "found", "study", "decide", "paper", "source"}

HEADER = (
    "| | statement | code | test | measured here | the paper's number | at this size | what would decide it at full size |\n"
    "|---|---|---|---|---|---|---|---|"
)

INTRODUCTION = f"""# Ledger

What the papers say, where it is in the code, which test holds it, and what was measured here. An empty cell (—) means still to come:
nothing stands in *measured here* that was not measured by this code.

- **Golden cases** come from public implementations and from straight-line references; loss and both gradients agree to 10⁻¹⁰
  relative in float64 (UniFace to 10⁻⁷: its public code keeps the bias in float32). `tests/golden/test_golden_losses.py` runs them.
- **EER on strangers** is from [every row learns](every-row-learns.md): 30 people in training, 10 in the test, one seed. It shows that a
  loss learns, and ranks nothing.
- **At this size** is what the [first study](study/first.md) says (its page tells what was run and how alike settings were tuned): some
  forty runs of a small network on 1,369 people, judged on all comparisons of LFW. {RULE}
- **The paper's number** is quoted with its source. *Unchecked*: quoted from memory and not yet compared with the paper; *?*: not at hand.

The page is made by `python docs/render_ledger.py` of `docs/ledger.yaml`; a test checks that all code and all tests named here exist.
"""


def read_ledger() -> list[dict[str, Any]]:
    """Papers, each with its rows. Raises ValueError for a key that no column shows."""
    papers: list[dict[str, Any]] = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
    for row in rows(papers):
        if unknown := row.keys() - KEYS:
            raise ValueError(f"{row['id']}: unknown {', '.join(sorted(unknown))}")
    return papers


def rows(papers: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """All rows of all papers."""
    return [row for paper in papers for row in paper["rows"]]


def render(papers: list[dict[str, Any]]) -> str:
    """The page."""
    cases, results, study = golden_cases(), learning.read_results(), read_study()
    parts = [INTRODUCTION]
    for paper in papers:
        lines = [line(row, cases, results, study) for row in paper["rows"]]
        parts.append("\n".join([f"## {paper['paper']}", "", HEADER, *lines]) + "\n")
    return "\n".join(parts)


def golden_cases() -> list[str]:
    """The loss of every golden case."""
    return [case["loss"] for file in GOLDENS for case in json.loads(file.read_text(encoding="utf-8")).values()]


def read_study() -> Found:
    """The first study with what of it was run."""
    return read_found(load_plan(STUDY), tables(STUDY_ROWS))


def line(row: dict[str, Any], cases: list[str], results: learning.Results, study: Found) -> str:
    """One statement."""
    code = "<br>".join(f"`{path.removeprefix('orthodrome.')}`" for path in row.get("code", ()))
    tests = "<br>".join(f"`{test.rpartition('/')[2]}`" for test in row.get("tests", ()))
    paper = row.get("paper", "")
    if "source" in row:
        paper += f" [{row['source']}]"
    cells = (
        f"**{row['id']}** {row['kind']}",
        row["statement"],
        code,
        tests,
        measured(row, cases, results),
        paper,
        at_this_size(row, study),
        row.get("decide", ""),
    )
    return f"| {' | '.join(cell.replace('|', '&#124;') or learning.EMPTY for cell in cells)} |"


def measured(row: dict[str, Any], cases: list[str], results: learning.Results) -> str:
    """Golden cases, what a test found, and errors on strangers."""
    parts = []
    if count := sum(loss in row.get("goldens", ()) for loss in cases):
        parts.append(f"{count} golden case{'s' * (count > 1)} agree{'s' * (count == 1)}")
    if "found" in row:
        parts.append(row["found"])
    if shown := [name for name in row.get("learning", ()) if name in results]:
        parts.append("EER on strangers: " + ", ".join(f"{name} {100 * float(results[name]['eer']):.1f} %" for name in shown))
    return "<br>".join(parts)


def at_this_size(row: dict[str, Any], study: Found) -> str:
    """The verdict of the study, and each number it rests on; empty where nothing of it was run."""
    found = evidence(study, row.get("study", ()))
    said = verdict_on(found)
    return "<br>".join([*([f"**{said}**"] if said else []), *(one.text for one in found)])


if __name__ == "__main__":
    PAGE.write_text(render(read_ledger()), encoding="utf-8")
