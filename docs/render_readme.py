"""Fills the tables of the README from where they come from: the table of losses, and the rows in benchmarks/results. No number is typed.

python docs/render_readme.py
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

from orthodrome.losses import find_row, names
from orthodrome.losses.describe import link_to, main_defaults
from orthodrome.study.found import read_found, systems
from orthodrome.study.plan import load_plan
from orthodrome.study.resampled import FIGURES
from orthodrome.study.rows import tables

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def losses() -> str:
    """One line per loss."""
    lines = ["| loss | formula | main defaults | paper |", "|---|---|---|---|"]
    for name in names():
        row = find_row(name)
        formula = row.formula.replace("|", "\\|")
        lines.append(f"| [`{name}`](docs/losses.md#{name}) | {formula} | {main_defaults(name)} | {link_to(row.paper)} |")
    return "\n".join(lines)


def quickstart() -> str:
    """The last recorded quickstart."""
    rows = read("quickstart")
    lines = ["| system | EER | TAR@FAR = 1 % | accuracy |", "|---|---|---|---|"]
    lines += [f"| {row['system']} | {row['eer']} | {row['tar_at_far_1_percent']} | {row['accuracy']} |" for row in rows]
    return "\n".join([*lines, "", f"({rows[0]['machine']}, commit {rows[0]['commit']}; {rows[0]['seconds']} s in all)"])


def results() -> str:
    """One line per recorded run on LFW."""
    lines = [
        "| recipe | loss | accuracy ± standard error (95 % by identity) | EER (95 %) | training |",
        "|---|---|---|---|---|",
    ]
    rows = read("lfw")
    for row in rows:
        accuracy = f"**{percent(row['accuracy'])} %** ± {percent(row['standard_error'])}"
        interval = f"({percent(row['by_identity_low'])}–{percent(row['by_identity_high'])})"
        eer = f"{percent(row['eer'])} % ({percent(row['eer_low'])}–{percent(row['eer_high'])})"
        cost = f"{row['epochs']} epochs, {row['minutes']} min ({row['images_per_second']} images/s, {row['precision']})"
        lines.append(f"| `{row['recipe']}` | {row['loss']} | {accuracy} {interval} | {eer} | {cost} |")
    machines = dict.fromkeys(f"`{row['recipe']}`: {row['machine']}, commit {row['commit']}" for row in rows)
    return "\n".join([*lines, "", f"({'; '.join(machines)})"])


def study() -> str:
    """The losses of the first study under one budget, those that were run, the lowest EER first."""
    found = read_found(load_plan(ROOT / "studies" / "first.yaml"), tables(RESULTS / "study.csv"))
    run = [system for system in systems(found, found.plan.group("a-losses")) if system.judged]
    lines = ["| loss | EER | TAR at FAR 1 % | TAR at FAR 0.1 % | accuracy on the 6,000 pairs |", "|---|---|---|---|---|"]
    for system in sorted(run, key=lambda system: float(system.judged[0]["eer"])):
        row = system.judged[0]
        rates = [f"{percent(row[name])} ({percent(row[f'{name}_low'])}–{percent(row[f'{name}_high'])})" for name in FIGURES]
        lines.append(f"| `{system.name}` | {' | '.join(rates)} | {percent(row['accuracy'])} ± {percent(row['accuracy_error'])} |")
    return "\n".join(lines)


BLOCKS = {"losses": losses, "quickstart": quickstart, "results": results, "study": study}


def read(name: str) -> list[dict[str, str]]:
    """Rows of a result file."""
    with (RESULTS / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def percent(rate: str) -> str:
    """``0.9140`` -> ``91.40``."""
    return f"{100 * float(rate):.2f}"


def render(text: str) -> str:
    """The README with its blocks filled."""
    for name, block in BLOCKS.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text = pattern.sub(lambda match, block=block: f"{match[1]}{block()}\n{match[2]}", text)  # type: ignore[misc]
    return text


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(render(readme.read_text(encoding="utf-8")), encoding="utf-8")
