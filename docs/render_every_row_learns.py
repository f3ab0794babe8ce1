"""Makes every-row-learns.md of benchmarks/results/every_row_learns.csv. No number is typed.

python docs/render_every_row_learns.py
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from orthodrome import losses
from orthodrome.training.small_data import DOES_NOT_LEARN

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "every_row_learns.csv"
PAGE = ROOT / "docs" / "every-row-learns.md"

Row = Mapping[str, str]
Results = Mapping[str, Row]

PIXELS, UNTRAINED = "raw pixels", "untrained network"
EMPTY = "—"
CONDITIONS = ("seed", "network", "size", "epochs", "batch_size")
"""What the results of one page must have in common, or they are not comparable."""

INTRODUCTION = """# Every row learns

Each loss of the [table](losses.md) trains the network of the quickstart on 30 people of the AT&T/ORL faces (credit: AT&T
Laboratories Cambridge) and verifies the 10 others, whom it has never seen: every image against every other. A loss that does not end
with a lower equal error rate (EER) than raw pixels, the grey values minus the mean face, is a bug, or is explained here.

This is **no ranking**. Ten people do not resolve differences of a few per cent (in brackets: 95 % bootstrap intervals by identity),
and a seed is a seed: the split, the weights and the order of the samples are drawn anew with it. Settings are what departs from the
defaults of a row, which are made for tens of thousands of identities; each has its reason in `src/orthodrome/training/small_data.py`.
Those of `sphereface2_e`, `sphereface2_a`, `sphereface2_bias` and `lifted_structure` were changed after seeing these splits, as others
did not beat raw pixels there. All losses share network, input, schedule and number of steps.

`python benchmarks/every_row_learns.py` measures all of it anew (`--epochs N` for a shorter schedule than the quickstart's);
`python docs/render_every_row_learns.py` makes this page of its results.
"""


def read_results(seed: str | None = None) -> dict[str, dict[str, str]]:
    """The newest result of every system under the conditions of the last one (but for ``seed``); empty where nothing was measured."""
    if not RESULTS.exists():
        return {}
    with RESULTS.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    last = rows[-1] if seed is None else {**rows[-1], "seed": seed}
    conditions = [last[key] for key in CONDITIONS]
    return {row["system"]: row for row in rows if [row[key] for key in CONDITIONS] == conditions}


def render(results: Results) -> str:
    """The page, losses in the order of the table, — where a measurement is still to come.

    Raises ValueError where a loss did not end below raw pixels and nobody says why.
    """
    lines = [
        INTRODUCTION,
        conditions(results),
        "",
        "| loss | EER on strangers | below raw pixels | below the untrained network | settings | learning rate |",
        "|---|---|---|---|---|---|",
        *(f"| *{name}* | {rate(results[name]) if name in results else EMPTY} | | | | |" for name in (PIXELS, UNTRAINED)),
        *(loss_line(name, results) for name in losses.names()),
        "",
        *explanations(results),
    ]
    return "\n".join(lines).rstrip() + "\n"


def conditions(results: Results) -> str:
    """What all results have in common, where they come from, and how many are still to come."""
    missing = [name for name in losses.names() if name not in results]
    to_come = f"Still to come: {len(missing)} of {len(losses.names())} losses." if missing else ""
    if not results:
        return to_come
    row = next(iter(results.values()))
    machines = sorted({result["machine"] for result in results.values()})
    days = sorted({result["date"] for result in results.values()})
    return (
        f"{row['network']}, images of {row['size']} pixels, {row['epochs']} epochs in batches of {row['batch_size']}, "
        f"seed {row['seed']} ({'; '.join(machines)}; {', '.join(days)}). {to_come}"
    ).strip()


def loss_line(name: str, results: Results) -> str:
    """One loss beside both baselines."""
    loss = f"[{name}](losses.md#{name})"
    if name not in results:
        return f"| {loss} |{f' {EMPTY} |' * 5}"
    row = results[name]
    settings = f"`{row['settings']}`" if row["settings"] else "defaults"
    below = " | ".join("yes" if is_below(row, results[baseline]) else "**no**" for baseline in (PIXELS, UNTRAINED))
    return f"| {loss} | {rate(row)} | {below} | {settings} | {row['learning_rate']} |"


def is_below(row: Row, baseline: Row) -> bool:
    """A lower EER than the baseline."""
    return float(row["eer"]) < float(baseline["eer"])


def rate(row: Row) -> str:
    """EER and its interval in per cent."""
    eer, low, high = (100 * float(row[key]) for key in ("eer", "eer_low", "eer_high"))
    return f"{eer:.1f} % ({low:.1f}–{high:.1f})"


def explanations(results: Results) -> list[str]:
    """Why a loss did not end below raw pixels."""
    failed = [name for name in losses.names() if name in results and not is_below(results[name], results[PIXELS])]
    unexplained = [name for name in failed if name not in DOES_NOT_LEARN]
    if unexplained:
        raise ValueError(f"not below raw pixels, and nobody says why: {', '.join(unexplained)}")
    return [f"- **{name}**: {DOES_NOT_LEARN[name]}" for name in failed]


def repeated(results: Results) -> str:
    """The same at another seed, in one line; raises ValueError as :func:`render` does. Empty where there is none."""
    if not results:
        return ""
    explanations(results)
    values = [f"{name} {100 * float(row['eer']):.1f}" for name, row in results.items()]
    seed = next(iter(results.values()))["seed"]
    return f"\nWith **seed {seed}** (another split), EER in per cent: {', '.join(values)}.\n"


def page() -> str:
    """The whole page: the results of one seed in full, and of seed 1 in short."""
    return render(read_results()) + repeated(read_results("1"))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
