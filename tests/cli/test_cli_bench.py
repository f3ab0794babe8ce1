"""`orthodrome bench head`: options of the head reach it, and the figures are printed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from orthodrome.heads import measure

Run = Callable[..., tuple[int, str, str]]


def test_options_reach_the_head(run_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def measured(*sizes: Any, **options: Any) -> measure.HeadCost:
        given.update(options)
        return measure.HeadCost(0.5, 2.0, 1.5, 2.5, 3 * 2**20, 4e9, 5e9)

    monkeypatch.setattr(measure, "measure_head", measured)
    code, printed, _ = run_cli("bench", "head", "--classes", 1000, "--filter-below", 0.001, "--sample-rate", 0.5)
    assert (code, given["filter_below"], given["sample_rate"]) == (0, 0.001, 0.5)
    assert "250.0 ms with all classes, so 2.00 × (1.50–2.50)" in printed
    assert "4 of the products' 5  (classes that filter_below leaves out count too)" in printed
    assert "3 MiB beyond" in printed


def test_a_head_that_samples_is_measured(run_cli: Run) -> None:
    code, printed, _ = run_cli(
        "bench", "head", "--classes", 500, "--dim", 8, "--batch", 4, "--rounds", 1, "--impl", "dense", "--sample-rate", 0.1
    )
    assert code == 0
    assert "GFLOP/s" in printed
