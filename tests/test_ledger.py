"""The ledger and the page of learning losses are made of their sources, and everything the ledger names exists."""

from __future__ import annotations

import ast
import csv
import importlib
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from orthodrome import losses

ROOT = Path(__file__).parents[1]
PAPERS = yaml.safe_load((ROOT / "docs" / "ledger.yaml").read_text(encoding="utf-8"))
ROWS = [row for paper in PAPERS for row in paper["rows"]]


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """docs/render_ledger.py."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    return importlib.import_module("render_ledger")


@pytest.fixture
def learning(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """docs/render_every_row_learns.py."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    return importlib.import_module("render_every_row_learns")


def test_the_ledger_is_its_rendering(ledger: ModuleType) -> None:
    rendered = ledger.render(ledger.read_ledger())
    assert ledger.PAGE.read_text(encoding="utf-8") == rendered, "run: python docs/render_ledger.py"


def test_every_statement_has_one_row(shared: Callable[[str], Path]) -> None:
    claims = shared("spec/claims.md").read_text(encoding="utf-8")
    stated = re.findall(r"^\| ([A-Z]\w*-\d+) \|", claims, re.MULTILINE)
    assert [row["id"] for row in ROWS] == stated


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_what_a_row_names_exists(row: dict[str, Any]) -> None:
    assert row["statement"]
    assert row["kind"] in ("formula", "claim", "picture")
    for path in row["code"]:
        assert found(path) is not None
    for test in row.get("tests", ()):
        file, _, name = test.partition("::")
        assert name in functions(ROOT / file), f"{test} does not exist"
    assert set(row.get("goldens", ())) | set(row.get("learning", ())) <= set(losses.names())


def test_golden_losses_have_golden_cases(ledger: ModuleType) -> None:
    assert {name for row in ROWS for name in row.get("goldens", ())} <= set(ledger.golden_cases())


def test_an_unknown_key_is_refused(ledger: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "ledger.yaml"
    source.write_text(yaml.safe_dump([{"paper": "x", "rows": [{"id": "X-1", "measured": "99 %"}]}]))
    monkeypatch.setattr(ledger, "SOURCE", source)
    with pytest.raises(ValueError, match="X-1: unknown measured"):
        ledger.read_ledger()


def found(path: str) -> Any:
    """The module, function or value of a dotted path; None where there is none."""
    names = path.split(".")
    for length in range(len(names), 0, -1):
        try:
            value: Any = importlib.import_module(".".join(names[:length]))
        except ModuleNotFoundError:
            continue
        for name in names[length:]:
            value = getattr(value, name, None)
        return value
    return None


@cache
def functions(file: Path) -> set[str]:
    """Names of the test functions of a file."""
    return {node.name for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)}


# ------------------------------------------------------------------------------------------------------ every row learns


def test_the_page_of_learning_losses_is_its_rendering(learning: ModuleType) -> None:
    assert learning.PAGE.read_text(encoding="utf-8") == learning.page(), "run: python docs/render_every_row_learns.py"


@pytest.fixture
def results(learning: ModuleType) -> dict[str, dict[str, str]]:
    """Made-up results: raw pixels at 10 %, everything else at 5 %."""
    plain = {
        **dict.fromkeys(learning.CONDITIONS, "1"),
        **{"machine": "m", "date": "d", "settings": "", "learning_rate": "1", "eer_low": "0", "eer_high": "1"},
    }
    systems = (learning.PIXELS, learning.UNTRAINED, *losses.names())
    return {name: {**plain, "system": name, "eer": "0.1" if name == learning.PIXELS else "0.05"} for name in systems}


def test_a_loss_that_did_not_learn_has_to_be_explained(
    learning: ModuleType, results: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    results["arcface"]["eer"] = "0.2"
    with pytest.raises(ValueError, match="nobody says why: arcface"):
        learning.render(results)
    monkeypatch.setattr(learning, "DOES_NOT_LEARN", {"arcface": "because"})
    page = learning.render(results)
    assert "- **arcface**: because" in page
    assert "| [arcface](losses.md#arcface) | 20.0 % (0.0–100.0) | **no** | **no** | defaults | 1 |" in page


def test_what_was_not_measured_is_still_to_come(learning: ModuleType, results: dict[str, dict[str, str]]) -> None:
    complete = learning.render(results)
    assert "Still to come" not in complete
    del results["triplet"]
    page = learning.render(results)
    assert f"Still to come: 1 of {len(losses.names())} losses." in page
    assert "| [triplet](losses.md#triplet) | — | — | — | — | — |" in page
    assert learning.render({}).count("| — | — | — | — | — |") == len(losses.names())


def test_results_under_other_conditions_do_not_count(
    learning: ModuleType, results: dict[str, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arcface = results["arcface"]
    rows = [{**arcface, "eer": "0.1"}, {**results["triplet"], "epochs": "99"}, arcface]
    with (tmp_path / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, arcface)
        writer.writeheader()
        writer.writerows(rows)
    monkeypatch.setattr(learning, "RESULTS", tmp_path / "results.csv")
    assert learning.read_results() == {"arcface": arcface}
