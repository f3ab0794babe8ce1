"""Classes split over processes give what one process gives: every loss, its gradients and its state, on 2 and 3 processes."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from loss_cases import CASES, CLASSES, DIMENSION, head_of, inputs
from spawning import spawn
from torch import distributed as dist

from orthodrome import PairHead, ProxyHead, losses
from orthodrome.heads.prototypes import initialize, shard
from orthodrome.heads.sharded import differences
from orthodrome.types import EmbeddingSet, InputError

SIZES = {2: (5, 3), 3: (3, 3, 2)}


def parts(head: ProxyHead, classes: range) -> dict[str, torch.Tensor]:
    """The state of a whole head as a shard keeps it."""
    count = head.spec.similarity.per_class
    state = dict(head.state_dict())
    state["weight"] = state["weight"][classes.start * count : classes.stop * count]
    if "class_bias" in state:
        state["class_bias"] = state["class_bias"][classes.start : classes.stop]
    return state


def train_twice(head: ProxyHead | PairHead, embeddings: list[torch.Tensor], labels: list[torch.Tensor]) -> dict[str, Any]:
    """Losses, gradients and state after two steps."""
    for step, (x, y) in enumerate(zip(embeddings, labels, strict=True)):
        torch.manual_seed(step)
        head.zero_grad()
        output = head(x, y)
        output.loss.backward()
    return {
        "loss": output.loss.detach(),
        "losses": output.per_sample.detach(),
        "x": x.grad,
        "gradients": {name: value.grad for name, value in head.named_parameters()},
        "state": dict(head.named_buffers()),
    }


FORMS = {"dense": {"impl": "dense"}, "chunked": {"impl": "chunked"}}
COPIES = ("softmax", "arcface", "adaface", "sphereface2", "center", "subcenter_arcface")
WAYS = {
    **{(case, form): options for form, options in FORMS.items() for case in CASES},
    **{(case, "copies"): {"impl": "dense", "sharded": False} for case in COPIES},
}


def every_case(rank: int, world: int) -> dict[str, Any]:
    found = {}
    for (case, form), options in WAYS.items():
        head = head_of(case, process_group=dist.group.WORLD, **options)
        assert head.classes == (range(CLASSES) if form == "copies" else shard(CLASSES, rank, world))
        head.load_state_dict(parts(head_of(case), head.classes))
        found[case, form] = train_twice(head, *own_part(batches(), rank, world))
    for name in losses.pair_names():
        head = PairHead(name, memory=5, process_group=dist.group.WORLD)
        found[name] = train_twice(head, *own_part(batches(), rank, world))
    return found


def batches() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    x, labels = zip(*(inputs(seed=seed) for seed in (1, 2)), strict=True)
    return list(x), list(labels)


def own_part(
    both: tuple[list[torch.Tensor], list[torch.Tensor]], rank: int, world: int
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    x, labels = ([batch.detach().split(SIZES[world])[rank].clone() for batch in side] for side in both)
    return [batch.requires_grad_() for batch in x], labels


@pytest.fixture(scope="module", params=[2, 3], ids=lambda world: f"{world} processes")
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return spawn(every_case, request.param, tmp_path_factory.mktemp("store"))


def assert_whole(parts: list[dict[str, Any]], whole: dict[str, Any], rows: tuple[str, ...] = ()) -> None:
    """The parts of all processes are what one process gives; the loss, and what is not of ``rows``, on each of them."""
    close = {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(torch.cat([part["losses"] for part in parts]), whole["losses"], **close)
    torch.testing.assert_close(torch.cat([part["x"] for part in parts]) / len(parts), whole["x"], **close)
    for name, gradient in whole["gradients"].items():
        if name in rows:
            torch.testing.assert_close(torch.cat([part["gradients"][name] for part in parts]), gradient, **close)
        else:
            for part in parts:
                torch.testing.assert_close(part["gradients"][name], gradient, **close)
    for part in parts:
        torch.testing.assert_close(part["loss"], whole["loss"], **close)
        torch.testing.assert_close(part["state"], whole["state"], **close)


@pytest.mark.parametrize(("case", "form"), WAYS)
def test_parts_are_one_whole(case: str, form: str, found: list[dict[str, Any]]) -> None:
    """Parts of unequal sizes, too: the loss is the mean over samples, not over processes."""
    whole = train_twice(head_of(case, impl="dense"), *batches())
    assert_whole([rank[case, form] for rank in found], whole, () if form == "copies" else ("weight", "class_bias"))


@pytest.mark.parametrize("name", losses.pair_names())
def test_pairs_are_those_of_the_batches_of_all(name: str, found: list[dict[str, Any]]) -> None:
    assert_whole([rank[name] for rank in found], train_twice(PairHead(name, memory=5), *batches()))


def message(action: Callable[[], Any]) -> str:
    try:
        action()
    except InputError as error:
        return str(error)
    return "no error"


def errors(rank: int, world: int) -> list[str]:
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
        message(lambda: ProxyHead("arcface", 6, 4, process_group=dist.group.WORLD, sharded=False, sample_rate=0.5)),
        message(wrong_label),
        message(wrong_row),
        message(lambda: pickle.dumps(ProxyHead("arcface", 6, 4, process_group=dist.group.WORLD))),
    ]


def test_mistakes_of_one_end_all_with_one_message(tmp_path: Path) -> None:
    found = spawn(errors, 3, tmp_path)
    assert found[0] == found[1] == found[2]
    classes, hyper, few, copies, label, row, pickled = found[0]
    assert classes == "all processes must build the same head; num_classes is 6 on rank 0, 7 on rank 1, 8 on rank 2"
    assert hyper == "all processes must build the same head; margin is 0.4 on rank 0, 0.5 on rank 1"
    assert few == "2 classes cannot be split over 3 processes: each must hold at least one"
    assert copies.startswith("sample_rate below 1 needs the classes split")
    assert label.startswith("rank 1: labels must be in [0, 6); got 6 at position 1")
    assert row.startswith("rank 0: embeddings must be finite; row 0")
    assert pickled.endswith("save its state_dict()")


DIFFERING = {
    "loss": (("arcface", "cosface"), {}),
    "too few": (("arcface", "arcface"), {"num_classes": (6, 1)}),
    "unknown init": (("arcface", "arcface"), {"init": ("normal", "norml")}),
    "init": (("arcface", "arcface"), {"init": ("normal", "xavier")}),
    "sharded": (("arcface", "arcface"), {"sharded": (True, False)}),
    "sample_rate": (("arcface", "arcface"), {"sample_rate": (1.0, 0.5)}),
    "sample_rate out of range": (("arcface", "arcface"), {"sample_rate": (1.0, 1.5)}),
    "filter_below": (("arcface", "arcface"), {"filter_below": (0.0, 0.001)}),
    "compute_dtype": (("arcface", "arcface"), {"compute_dtype": (None, "bf16")}),
    "gradient": (("arcface", "arcface"), {"gradient": (None, "detached")}),
    "base": (("center", "center"), {"base": ("softmax", "normface")}),
    "own ways": (("arcface", "arcface"), {"impl": ("dense", "chunked"), "chunk_size": (None, 3)}),
    "pairs": (("triplet", "supcon"), {}),
    "memory": (("triplet", "triplet"), {"memory": (0, 5)}),
    "negative memory": (("triplet", "triplet"), {"memory": (0, -1)}),
}
"""What two ranks ask for, each."""


def disagreements(rank: int, world: int) -> dict[str, str]:
    def build(case: str) -> None:
        names, options = DIFFERING[case]
        given = {key: values[rank] for key, values in options.items()}
        if names[rank] in losses.pair_names():
            PairHead(names[rank], process_group=dist.group.WORLD, **given)
        else:
            ProxyHead(names[rank], **{"num_classes": 6, "embedding_dim": 4, "process_group": dist.group.WORLD, **given})

    return {case: message(lambda case=case: build(case)) for case in DIFFERING}


def test_heads_that_differ_are_refused_by_all_with_what_differs(tmp_path: Path) -> None:
    first, second = spawn(disagreements, 2, tmp_path)
    assert first == second
    same = "all processes must build the same head; "
    assert first.pop("loss").startswith(f"{same}loss is 'arcface' on rank 0, 'cosface' on rank 1; ")
    assert first.pop("pairs").startswith(f"{same}loss is 'triplet' on rank 0, 'supcon' on rank 1; ")
    assert first == {
        "too few": "rank 1: num_classes of arcface must be an integer of at least 2; got 1",
        "unknown init": f"{same}init is 'normal' on rank 0, 'norml' on rank 1",
        "init": f"{same}init is 'normal' on rank 0, 'xavier' on rank 1",
        "sharded": f"{same}sharded is True on rank 0, False on rank 1",
        "sample_rate": f"{same}sample_rate is 1.0 on rank 0, 0.5 on rank 1",
        "sample_rate out of range": "rank 1: sample_rate must be a number above 0 and at most 1; got 1.5",
        "filter_below": f"{same}filter_below is 0.0 on rank 0, 0.001 on rank 1",
        "compute_dtype": f"{same}compute_dtype is None on rank 0, 'bf16' on rank 1",
        "gradient": f"{same}gradient is 'exact' on rank 0, 'detached' on rank 1",
        "base": f"{same}base is 'softmax' on rank 0, 'normface' on rank 1; scale is absent on rank 0, 30.0 on rank 1; "
        "learn_scale is absent on rank 0, False on rank 1",
        "own ways": "no error",
        "memory": f"{same}memory is 0 on rank 0, 5 on rank 1",
        "negative memory": "rank 1: memory must be the number of embeddings to keep, an integer of at least 0; got -1",
    }


def test_of_many_differences_the_first_are_told() -> None:
    ranks = [{"loss": "arcface", "margin": rank // 2, **{f"more {number}": rank for number in range(4)}} for rank in range(8)]
    assert differences(ranks) == (
        "margin is 0 on rank 0, 1 on rank 2, 2 on rank 4, and 1 more; "
        "more 0 is 0 on rank 0, 1 on rank 1, 2 on rank 2, and 5 more; "
        "more 1 is 0 on rank 0, 1 on rank 1, 2 on rank 2, and 5 more; and 2 more"
    )


def unlike_batches(rank: int, world: int) -> list[str]:
    head, pairs = ProxyHead("arcface", 6, 4, process_group=dist.group.WORLD), PairHead("triplet", process_group=dist.group.WORLD)
    labels, dtype = torch.tensor([0, 5]), (torch.float32, torch.float64)[rank]

    def own_head() -> None:
        mixed = ProxyHead("arcface", 6, 4, process_group=dist.group.WORLD).to(dtype)
        mixed(torch.randn(2, 4, dtype=dtype), labels)

    return [
        message(lambda: head(torch.randn(2, 4, dtype=dtype), labels)),
        message(own_head),
        message(lambda: pairs(torch.randn(2, 4, dtype=dtype), labels)),
        message(lambda: pairs(torch.randn(2, 4 + rank), labels)),
        message(lambda: head(torch.randn(2, 4), [0, 5] if rank else labels)),
        message(lambda: head(None if rank else torch.randn(2, 4), labels)),
        message(lambda: head(torch.randn(2, 4, dtype=(torch.float32, torch.float16)[rank]), labels)),
        message(lambda: head(torch.randn(2, 4, requires_grad=not rank), labels)),
        message(lambda: head.train(not rank)(torch.randn(2, 4), labels)),
    ]


def test_batches_that_differ_are_refused_by_all_with_one_message(tmp_path: Path) -> None:
    first, second = spawn(unlike_batches, 2, tmp_path)
    assert first == second
    other_dtype, own_head, pairs, dimension, labels, nothing, half_precision, gradient, training = first
    assert other_dtype.startswith("rank 1: embeddings are torch.float64 but the proxies of the head torch.float32")
    alike = "all processes must call the head alike; "
    assert own_head == pairs == f"{alike}dtype is torch.float32 on rank 0, torch.float64 on rank 1"
    assert dimension == f"{alike}dimension is 4 on rank 0, 5 on rank 1"
    assert labels == "rank 1: labels must be a torch tensor; got list: give torch.as_tensor(labels)"
    assert nothing.startswith("rank 1: embeddings must be a torch tensor; got NoneType")
    assert half_precision == "no error"
    assert gradient == f"{alike}gradient of embeddings is True on rank 0, False on rank 1"
    assert training == f"{alike}training is True on rank 0, False on rank 1"


def unforeseen(rank: int, world: int) -> str:
    head = ProxyHead("arcface", 6, 4, process_group=dist.group.WORLD)
    with patch.object(head, "_checked", side_effect=KeyError("something")) if rank else nullcontext():
        return message(lambda: head(torch.randn(2, 4), torch.tensor([0, 5])))


def test_what_nobody_foresaw_ends_all_too(tmp_path: Path) -> None:
    assert spawn(unforeseen, 2, tmp_path) == ["rank 1: KeyError: 'something'"] * 2


def half(rank: int, world: int) -> Any:
    torch.manual_seed(0)
    head = ProxyHead("arcface", 6, 4, process_group=dist.group.WORLD)
    x = torch.full((2, 4), rank + 1.0, dtype=torch.bfloat16, requires_grad=True)
    output = head(x * torch.tensor([1, 2, 3, 4 + rank]), torch.tensor([rank, 5]))
    output.loss.backward()
    return output.loss.dtype, x.grad.dtype, float(output.loss.detach())


def test_half_precision_travels_as_float32(tmp_path: Path) -> None:
    first, second = spawn(half, 2, tmp_path)
    assert first[:2] == (torch.float32, torch.bfloat16)
    assert first == second


def fresh(rank: int, world: int) -> list[torch.Tensor]:
    found = []
    for init in ("normal", "xavier"):
        torch.manual_seed(0)
        found.append(ProxyHead("subcenter_arcface", 5000, 3, init=init, process_group=dist.group.WORLD).weight.detach())
    return found


def test_shards_start_from_the_values_of_one_process(tmp_path: Path) -> None:
    """15,000 rows: more than are drawn at a time."""
    for init, first, second in zip(("normal", "xavier"), *spawn(fresh, 2, tmp_path), strict=True):
        torch.manual_seed(0)
        assert torch.equal(torch.cat([first, second]), ProxyHead("subcenter_arcface", 5000, 3, init=init).weight)
        torch.manual_seed(0)
        whole = torch.empty(15_000, 3)
        drawn = whole.normal_(std=0.01) if init == "normal" else torch.nn.init.xavier_uniform_(whole)
        torch.testing.assert_close(torch.cat([first, second]), drawn)


def filled(rank: int, world: int) -> list[str]:
    head = ProxyHead("arcface", 4, 3, process_group=dist.group.WORLD)

    def of(labels: list[int]) -> EmbeddingSet:
        return EmbeddingSet(np.eye(len(labels), 3, dtype=np.float32) + 1, np.array(labels), tuple(map(str, labels)))

    return [message(lambda labels=labels: initialize(head, of(labels))) for labels in ([0, 1, 2], [0, 2], [0, 1, 2, 3])]


def test_a_class_without_embeddings_ends_all_with_one_message(tmp_path: Path) -> None:
    first, second = spawn(filled, 2, tmp_path)
    assert first == second
    none, of_second = "have no embedding to be initialised from", "rank 1: 1 of the 2 classes 2 to 3"
    assert first == [f"{of_second} {none}: 3", f"rank 0: 1 of the 2 classes 0 to 1 {none}: 1; {of_second} {none}: 3", "no error"]


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
