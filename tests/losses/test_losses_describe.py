"""``orthodrome losses``: the table, one row, the page; all from the table the losses run from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from orthodrome import InputError, PairHead, ProxyHead, losses
from orthodrome.cli import losses as verb
from orthodrome.losses.describe import describe, main_defaults, plain, taxonomy
from orthodrome.losses.meanings import MEANINGS
from orthodrome.losses.page import markdown

ROOT = Path(__file__).resolve().parents[2]

app = typer.Typer()
app.command("losses")(verb.losses)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exit_code == 0, result.output
    return result.output


def test_the_committed_page_is_the_output() -> None:
    page = (ROOT / "docs" / "losses.md").read_text(encoding="utf-8")
    assert page == markdown(), "docs/losses.md is stale: orthodrome losses --markdown > docs/losses.md"
    assert run("--markdown") == page


def test_the_table_shows_every_row() -> None:
    output = run()
    for name in losses.names():
        assert name in output
    assert "positive and negative compared" in output


@pytest.mark.parametrize("name", [*losses.names(), *losses.ALIASES, *losses.PRESETS])
def test_one_row(name: str) -> None:
    output = run(name)
    row = losses.find_row(losses.get(name).name)
    assert row.formula in output
    assert row.paper in output
    for preset in losses.PRESETS:
        if losses.PRESETS.get(preset).row == row.name:
            assert preset in output


def test_an_unknown_name_answers_with_near_matches() -> None:
    result = CliRunner().invoke(app, ["arcfase"])
    assert isinstance(result.exception, InputError)
    assert "'arcface'" in str(result.exception)


def test_help_does_not_import_torch() -> None:
    code = (
        "import sys; from orthodrome.cli import losses; import typer; from typer.testing import CliRunner; app = typer.Typer();"
        "app.command()(losses.losses); result = CliRunner().invoke(app, ['--help']); assert 'loss' in result.output;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_taxonomy_has_four_cells_and_every_row_once() -> None:
    cells = taxonomy()
    assert len(cells) == 4
    assert all(cells.values())
    assert sorted(name for names in cells.values() for name in names) == sorted(losses.names())
    assert cells["pair", "no proxies"] == ("contrastive",)
    assert {"sphereface2", "uniface"} <= set(cells["pair", "proxies"])


@pytest.mark.parametrize("name", losses.names())
def test_every_hyper_parameter_has_a_meaning(name: str) -> None:
    described = describe(name)
    names = {**described.defaults, **described.common}
    assert [key for key in names if key not in MEANINGS and key != "weight"] == []
    assert all(described.notes)


@pytest.mark.parametrize("name", losses.names())
def test_the_example_call_works(name: str) -> None:
    torch.manual_seed(0)
    call = describe(name).example.replace("10572", "6").replace("512", "4")
    scope = {"ProxyHead": ProxyHead, "PairHead": PairHead, "embeddings": torch.randn(6, 4), "labels": torch.arange(6) // 2}
    assert eval(call, scope).isfinite()


def test_facts_of_some_rows() -> None:
    assert describe("cosface").aliases == ("am_softmax",)
    assert describe("sphereface2").state == ("bias (learned)",)
    assert describe("adaface").state == ("mu (buffer, frozen at evaluation)", "sigma (buffer, frozen at evaluation)")
    assert describe("arcface").state == ("none",)
    assert describe("center").defaults == {"base": "softmax", "weight": 0.003}
    assert describe("center").state == ("class_bias (learned)", "centers (buffer, frozen at evaluation)")
    assert describe("arcface@insightface-2022").gradient.startswith("detached")
    assert describe("arcface@insightface-2022").defaults["fallback"] == "none"
    assert describe("sphereface_r").variants == ("version='v2': scale=60, margin=1.4",)
    assert main_defaults("contrastive") == "distance='euclidean', pos_margin=0, neg_margin=1"
    assert plain({"scale": 64.0, "margin": 0.5, "fallback": "cos"}) == "scale=64, margin=0.5, fallback='cos'"
