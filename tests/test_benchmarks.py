"""Rows of results fit the file they are added to."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from orthodrome.types import InputError


@pytest.fixture
def common(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """benchmarks/common.py, which writes into a folder of the test."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    module = importlib.import_module("common")
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    return module


def test_a_row_is_added_under_its_columns_or_refused(common: ModuleType, tmp_path: Path) -> None:
    given = {"date": "d", "commit": "c", "machine": "m"}
    common.append_row("x", {**given, "loss": "softmax", "eer": "1"})
    common.append_row("x", {**given, "eer": "2", "loss": "cosface"})
    text = "date,commit,machine,loss,eer\nd,c,m,softmax,1\nd,c,m,cosface,2\n"
    assert (tmp_path / "x.csv").read_text() == text
    for values in ({"loss": "arcface"}, {"loss": "arcface", "eer": "3", "tar": "4"}):
        with pytest.raises(InputError, match=r"x\.csv has the columns"):
            common.append_row("x", {**given, **values})
    assert (tmp_path / "x.csv").read_text() == text
