"""Every loss against numbers from elsewhere: public implementations (losses) and straight-line references (losses_reference).

Value and both gradients in float64, to 1e-10 relative.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from orthodrome import PairHead, ProxyHead, losses

HERE = Path(__file__).parent
PROSE = ("note",)
TOLERANCES = {"uniface__authors_uce_s16": 1e-7}  # whose public implementation keeps its bias in float32


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


condense = _module(HERE / "condense.py")
NAIVE = _module(HERE.parent / "losses" / "test_losses_naive.py").NAIVE
GOLDEN = {name: (dict(np.load(HERE / f"{name}.npz")), json.loads((HERE / f"{name}.json").read_text())) for name in condense.NAMES}
CASES = [(name, case) for name, (_, cases) in GOLDEN.items() for case in cases]


def proxy_gradients(row: str, hyper: dict[str, Any], data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Loss and gradients of a ProxyHead with the proxies, biases and centres of the golden file."""
    proxies = torch.tensor(data["W"])
    classes = len(proxies) // hyper.get("subcenters", 1)
    head = ProxyHead(row, classes, proxies.shape[1], **hyper).double()
    head.load_state_dict(
        {
            **head.state_dict(),
            "weight": proxies,
            **({"class_bias": torch.tensor(data["bias"])} if hasattr(head, "class_bias") else {}),
            **({"centers": proxies} if hasattr(head, "centers") else {}),
        }
    )
    embeddings = torch.tensor(data["x"], requires_grad=True)
    loss = head(embeddings, torch.tensor(data["y"]) % classes).loss
    loss.backward()
    return {"loss": loss.detach().numpy(), "dx": embeddings.grad.numpy(), "dW": head.weight.grad.numpy()}


def pair_gradients(row: str, hyper: dict[str, Any], data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Loss and gradient of a PairHead; there are no proxies to have one."""
    embeddings = torch.tensor(data["x"], requires_grad=True)
    loss = PairHead(row, **hyper)(embeddings, torch.tensor(data["pair_labels"])).loss
    loss.backward()
    return {"loss": loss.detach().numpy(), "dx": embeddings.grad.numpy(), "dW": np.zeros_like(data["W"])}


def regulariser_gradients(row: str, hyper: dict[str, Any], data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The golden centre loss is the regulariser alone: the row minus the softmax it stands on."""
    whole, base = proxy_gradients(row, hyper, data), proxy_gradients("softmax", {}, data)
    return {key: whole[key] - base[key] for key in whole}


def gradients(case: dict[str, Any], data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Whatever head the row of the case runs on."""
    row, hyper = case["loss"], {key: value for key, value in case["hyper"].items() if key not in PROSE}
    if row == "center":
        return regulariser_gradients(row, hyper, data)
    return (pair_gradients if row in losses.pair_names() else proxy_gradients)(row, hyper, data)


def assert_close(found: np.ndarray, expected: np.ndarray, what: str, tolerance: float) -> None:
    """Largest difference, relative to the largest expected entry (absolute where all are zero)."""
    size = np.abs(expected).max()
    error = np.abs(found - expected).max() / (size if size > 0 else 1)
    assert error < tolerance, f"{what}: relative difference {error:.1e}"


@pytest.mark.parametrize(("name", "case"), CASES, ids=[case for _, case in CASES])
def test_value_and_gradients(name: str, case: str) -> None:
    data, cases = GOLDEN[name]
    found, tolerance = gradients(cases[case], data), TOLERANCES.get(case, 1e-10)
    assert_close(found["loss"], data[f"{case}/loss"], "loss", tolerance)
    assert_close(found["dx"], data[f"{case}/dx"], "dx", tolerance)
    assert_close(condense.projections(found["dW"]), data[f"{case}/dW"], "dW", tolerance)


def test_every_row_has_a_golden_case_or_a_naive_reference() -> None:
    golden = {case["loss"] for _, cases in GOLDEN.values() for case in cases.values()} | NAIVE.keys()
    # elastic rows draw random margins: at evaluation they are their parents, which have golden cases.
    assert set(losses.names()) - golden <= {"elastic_arcface", "elastic_cosface"}


def test_full_arrays(shared: Callable[[str], Path]) -> None:
    """The same against the full arrays, where they are at hand."""
    for name in condense.NAMES:
        data = dict(np.load(shared(f"golden/{name}.npz")))
        for case, row in GOLDEN[name][1].items():
            found = gradients(row, data)
            for key, value in found.items():
                assert_close(value, data[f"{case}/{key}"], f"{case} {key}", TOLERANCES.get(case, 1e-10))
