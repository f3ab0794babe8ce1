"""Classes split over processes give what one process gives: every loss, its gradients and its state, on 2 and 3 processes."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from loss_cases import CASES, CLASSES, DIMENSION, head_of, inputs
from torch import distributed as dist
from torch import multiprocessing

from orthodrome import ProxyHead
from orthodrome.heads.prototypes import shard
from orthodrome.types import InputError

SIZES = {2: (5, 3), 3: (3, 3, 2)}


def spawn(worker: Callable[..., Any], world: int, folder: Path) -> list[Any]:
    """What ``worker(rank, world)`` returns on each of ``world`` processes."""
    multiprocessing.start_processes(_enter, (worker, world, str(folder), sys.path), nprocs=world, start_method="fork")
    return [pickle.loads((folder / f"{rank}").read_bytes()) for rank in range(world)]


def _enter(rank: int, worker: Callable[..., Any], world: int, folder: str, path: list[str]) -> None:
    sys.path[:] = path
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    Path(folder, f"{rank}").write_bytes(pickle.dumps(worker(rank, world)))
    dist.destroy_process_group()


def parts(head: ProxyHead, classes: range) -> dict[str, torch.Tensor]:
    """The state of a whole head as a shard keeps it."""
    count = head.spec.similarity.per_class
    state = dict(head.state_dict())
    state["weight"] = state["weight"][classes.start * count : classes.stop * count]
    if "class_bias" in state:
        state["class_bias"] = state["class_bias"][classes.start : classes.stop]
    return state


def train_twice(head: ProxyHead, embeddings: list[torch.Tensor], labels: list[torch.Tensor]) -> dict[str, Any]:
    """Losses, gradients and state after two steps."""
    for step, (x, y) in enumerate(zip(embeddings, labels, strict=True)):
        torch.manual_seed(step)
        head.zero_grad()
        output = head(x, y)
        output.loss.backward()
    return {
        "losses": output.per_sample.detach(),
        "x": x.grad,
        "gradients": {name: value.grad for name, value in head.named_parameters()},
        "state": dict(head.named_buffers()),
    }


def every_case(rank: int, world: int) -> dict[str, Any]:
    found = {}
    for case in CASES:
        for impl in ("dense", "chunked"):
            whole = head_of(case, impl=impl)
            head = head_of(case, impl=impl, process_group=dist.group.WORLD)
            head.load_state_dict(parts(whole, shard(CLASSES, rank, world)))
            own = [[part[rank] for part in (x.detach().split(SIZES[world]), y.split(SIZES[world]))] for x, y in batches()]
            found[case, impl] = train_twice(head, [x.clone().requires_grad_() for x, _ in own], [y for _, y in own])
    return found


def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [inputs(seed=seed) for seed in (1, 2)]


@pytest.fixture(scope="module", params=[2, 3], ids=lambda world: f"{world} processes")
def sharded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return spawn(every_case, request.param, tmp_path_factory.mktemp("store"))


@pytest.mark.parametrize("impl", ["dense", "chunked"])
@pytest.mark.parametrize("case", CASES)
def test_sharded_is_whole(case: str, impl: str, sharded: list[dict[str, Any]]) -> None:
    world = len(sharded)
    found = [rank[case, impl] for rank in sharded]
    torch.manual_seed(0)
    head = head_of(case, impl="dense")
    (first, second) = batches()
    weights = torch.cat([torch.full((size,), 1 / size / world, dtype=torch.float64) for size in SIZES[world]])
    for step, (x, y) in enumerate((first, second)):
        torch.manual_seed(step)
        head.zero_grad()
        output = head(x, y)
        (output.per_sample * weights).sum().backward()
    close = {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(torch.cat([rank["losses"] for rank in found]), output.per_sample, **close)
    torch.testing.assert_close(torch.cat([rank["x"] for rank in found]) / world, second[0].grad, **close)
    for name, value in head.named_parameters():
        mine = [rank["gradients"][name] for rank in found]
        if name in ("weight", "class_bias"):
            torch.testing.assert_close(torch.cat(mine), value.grad, **close)
        else:
            for gradient in mine:
                torch.testing.assert_close(gradient, value.grad, **close)
    for rank in found:
        torch.testing.assert_close(rank["state"], dict(head.named_buffers()), **close)


def errors(rank: int, world: int) -> list[str]:
    def message(action: Callable[[], Any]) -> str:
        try:
            action()
        except InputError as error:
            return str(error)
        return "no error"

    def wrong_label() -> None:
        head = ProxyHead("arcface", 6, 4, process_group=dist.group.WORLD)
        head(torch.randn(2, 4), torch.tensor([0, 6 if rank == 1 else 5]))

    def wrong_row() -> None:
        head = ProxyHead("arcface", 6, 4, process_group=dist.group.WORLD)
        head(torch.full((2, 4), torch.nan if rank == 0 else 1.0), torch.tensor([0, 1]))

    return [
        message(lambda: ProxyHead("arcface", 6 + rank, 4, process_group=dist.group.WORLD)),
        message(lambda: ProxyHead("arcface", 6, 4, process_group=dist.group.WORLD, margin=0.5 if rank else 0.4)),
        message(lambda: ProxyHead("arcface", 2, 4, process_group=dist.group.WORLD)),
        message(wrong_label),
        message(wrong_row),
    ]


def test_mistakes_of_one_end_all_with_one_message(tmp_path: Path) -> None:
    found = spawn(errors, 3, tmp_path)
    assert found[0] == found[1] == found[2]
    classes, hyper, few, label, row = found[0]
    assert "rank 0: ('arcface', 6" in classes
    assert "rank 2: ('arcface', 8" in classes
    assert "all processes must build the same head" in hyper
    assert few == "2 classes cannot be split over 3 processes: each must hold at least one"
    assert label.startswith("rank 1: labels must be in [0, 6); got 6 at position 1")
    assert row.startswith("rank 0: embeddings must be finite; row 0")


def fresh(rank: int, world: int) -> torch.Tensor:
    torch.manual_seed(0)
    return ProxyHead("arcface", 7, 4, process_group=dist.group.WORLD).weight.detach()


def test_shards_start_from_different_values_of_one_seed(tmp_path: Path) -> None:
    first, second = spawn(fresh, 2, tmp_path)
    assert (len(first), len(second)) == (4, 3)
    assert not torch.isclose(first[:3], second).any()


def sampled(rank: int, world: int) -> Any:
    torch.manual_seed(rank)
    head = ProxyHead("arcface", 40, DIMENSION, process_group=dist.group.WORLD, sample_rate=0.25)
    output = head(torch.randn(3, DIMENSION, requires_grad=True), torch.tensor([rank, 20 + rank, 39]))
    output.loss.backward()
    return head.weight.grad.coalesce().indices()[0].tolist(), head.classes


def test_each_process_samples_its_own_classes(tmp_path: Path) -> None:
    for rows, classes in spawn(sampled, 2, tmp_path):
        own = {label - classes.start for label in (0, 20, 39, 1, 21) if label in classes}
        assert own <= set(rows) <= set(range(20))
        assert len(rows) == 5
