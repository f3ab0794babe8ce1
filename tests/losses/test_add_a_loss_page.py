"""The page that shows how to add a loss is run as it stands, and the loss it adds meets every contract."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from orthodrome import ProxyHead, losses

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "add-a-loss.md"
FENCE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The names the page defines, with its loss registered for the length of a test."""
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "losses"))
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "contracts"))
    names: dict[str, Any] = {}
    try:
        for block in FENCE.findall(PAGE.read_text(encoding="utf-8")):
            exec(compile(block, str(PAGE), "exec"), names)
        yield names
    finally:
        losses.ROWS._rows.pop("li_arcface", None)


def test_the_page_runs_and_its_loss_is_its_reference(page: dict[str, Any]) -> None:
    reference, hyper = page["reference"]["li_arcface"]
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 3, 3, 1, 4, 0])
    head = ProxyHead("li_arcface", 5, 4, **hyper).double()
    torch.nn.init.normal_(head.weight, generator=generator)
    expected = reference(embeddings.tolist(), head.weight.tolist(), labels.tolist())
    assert float(head(embeddings, labels).loss.detach()) == pytest.approx(expected, rel=1e-9)
    assert page["output"].loss.isfinite()


def test_its_function_is_short(page: dict[str, Any]) -> None:
    function = next(block for block in FENCE.findall(PAGE.read_text(encoding="utf-8")) if "def li_arcface" in block)
    assert len(function[function.index("def ") :].strip().splitlines()) <= 15


def test_its_loss_meets_the_contracts(page: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    cases = importlib.import_module("loss_cases").CASES
    monkeypatch.setitem(cases, "li_arcface", ("li_arcface", {}))
    engine, numbers, state, gradients = (
        importlib.import_module(f"test_contract_{room}") for room in ("engine", "numbers", "state", "gradients")
    )
    engine.test_nu_is_column_local("li_arcface")
    engine.test_the_target_is_a_constant_inside_nu("li_arcface")
    engine.test_classes_may_be_numbered_in_any_order("li_arcface")
    for dtype in numbers.DTYPES:
        numbers.test_finite_at_every_corner("li_arcface", dtype)
    state.test_a_saved_head_goes_on_identically("li_arcface")
    gradients.test_exact_gradients_pass_gradcheck("li_arcface")
    gradients.test_detached_has_slope_one_everywhere("li_arcface")


def test_it_is_described(page: dict[str, Any]) -> None:
    from orthodrome.losses.describe import describe

    assert describe("li_arcface").defaults == {"scale": 64.0, "margin": 0.45}
    assert "li_arcface" in losses.names()


def test_the_page_leaves_nothing_behind() -> None:
    assert "li_arcface" not in losses.names()
