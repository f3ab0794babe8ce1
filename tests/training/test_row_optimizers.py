"""Optimizers of class rows: rows that are drawn move as in torch's dense optimizers, the others not at all, or late and exactly."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from orthodrome.training.row_optimizers import RowAdamW, RowSGD
from orthodrome.types import InputError

CLASSES, DIM, STEPS = 7, 3, 25
PAIRS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "sgd": (RowSGD, torch.optim.SGD, {}),
    "sgd decay": (RowSGD, torch.optim.SGD, {"weight_decay": 0.05}),
    "momentum": (RowSGD, torch.optim.SGD, {"momentum": 0.9}),
    "momentum decay": (RowSGD, torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.05}),
    "nesterov": (RowSGD, torch.optim.SGD, {"momentum": 0.8, "nesterov": True}),
    "nesterov decay": (RowSGD, torch.optim.SGD, {"momentum": 0.8, "nesterov": True, "weight_decay": 0.05}),
    "adamw": (RowAdamW, torch.optim.AdamW, {"weight_decay": 0.0}),
    "adamw decay": (RowAdamW, torch.optim.AdamW, {"weight_decay": 0.1, "betas": (0.8, 0.95), "eps": 1e-6}),
}
every_pair = pytest.mark.parametrize("pair", PAIRS)
both_modes = pytest.mark.parametrize("catch_up", [False, True])
draws = st.lists(st.sets(st.integers(0, CLASSES - 1)), min_size=1, max_size=20)


def rate(step: int) -> float:
    """Warm-up, then a cosine."""
    return 0.1 * min(1, (step + 1) / 4) * (1.1 + math.cos(step / 8)) / 2


def random_table(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype))


def random_draws(steps: int = STEPS, seed: int = 1) -> list[set[int]]:
    """Sets of rows of all sizes; row CLASSES − 1 is never drawn, row 0 only at the first step."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.rand(steps, CLASSES, generator=generator) < torch.rand(steps, 1, generator=generator)
    chosen[:, -1], chosen[1:, 0], chosen[0, 0] = False, False, True
    return [set(row.nonzero()[:, 0].tolist()) for row in chosen]


def gradient_of(step: int, shape: tuple[int, ...] = (CLASSES, DIM)) -> Tensor:
    return random_table(*shape, seed=1000 + step).detach()


def sparse(dense: Tensor, rows: set[int]) -> Tensor:
    index = torch.tensor(sorted(rows, reverse=True), dtype=torch.int64)
    return torch.sparse_coo_tensor(index[None], dense[index], dense.shape, check_invariants=True)


def zero_but(dense: Tensor, rows: set[int]) -> Tensor:
    """``dense`` with zeros in all other rows."""
    kept = torch.zeros_like(dense)
    kept[sorted(rows)] = dense[sorted(rows)]
    return kept


def run(optimizer: torch.optim.Optimizer, weight: Tensor, gradients: list[Tensor], first: int = 0) -> None:
    for step, gradient in enumerate(gradients, first):
        optimizer.param_groups[0]["lr"] = rate(step)
        weight.grad = gradient
        optimizer.step()


def train_rows(pair: str, drawn: list[set[int]], **options: Any) -> tuple[nn.Parameter, Any]:
    weight = random_table(CLASSES, DIM)
    optimizer = PAIRS[pair][0]([weight], **PAIRS[pair][2], **options)
    run(optimizer, weight, [sparse(gradient_of(step), rows) for step, rows in enumerate(drawn)])
    return weight, optimizer


def train_dense(pair: str, gradients: list[Tensor]) -> tuple[nn.Parameter, torch.optim.Optimizer]:
    weight = random_table(CLASSES, DIM)
    optimizer = PAIRS[pair][1]([weight], **PAIRS[pair][2])
    run(optimizer, weight, gradients)
    return weight, optimizer


def assert_same(ours: torch.optim.Optimizer, theirs: torch.optim.Optimizer, tolerance: float) -> None:
    """Weights and buffers."""
    mine, reference = (optimizer.param_groups[0]["params"][0] for optimizer in (ours, theirs))
    torch.testing.assert_close(mine, reference, rtol=0, atol=tolerance)
    for name, buffer in theirs.state[reference].items():
        if name != "step" and buffer is not None:
            torch.testing.assert_close(ours.state[mine][name], buffer, rtol=0, atol=tolerance)


@every_pair
@both_modes
def test_a_dense_gradient_is_torchs_own_step(pair: str, catch_up: bool) -> None:
    ours, theirs, options = PAIRS[pair]
    shapes = [(4, 3), (5,), (2, 2, 2)]
    results = []
    for kind, more in ((ours, {"catch_up": catch_up}), (theirs, {})):
        parameters = [random_table(*shape, seed=seed) for seed, shape in enumerate(shapes)]
        idle = random_table(2, 2)
        groups = [{"params": parameters[:1], "lr": 0.3, "weight_decay": 0.3}, {"params": [*parameters[1:], idle]}]
        optimizer = kind(groups, lr=0.1, **options, **more)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        for step in range(10):
            for parameter in parameters:
                parameter.grad = gradient_of(step, tuple(parameter.shape))
            optimizer.step()
            scheduler.step()
        results.append([*parameters, idle])
    assert all(torch.equal(mine, reference) for mine, reference in zip(*results, strict=True))


@every_pair
@both_modes
def test_every_row_at_every_step_is_the_dense_optimizer(pair: str, catch_up: bool) -> None:
    _, ours = train_rows(pair, [set(range(CLASSES))] * STEPS, catch_up=catch_up)
    _, theirs = train_dense(pair, [gradient_of(step) for step in range(STEPS)])
    assert_same(ours, theirs, 1e-12)


def check_time_stands_still(pair: str, drawn: list[set[int]]) -> None:
    """Each row is where a dense optimizer that had this row alone, and only the steps that drew it, put it."""
    weight, ours = train_rows(pair, drawn)
    start = random_table(CLASSES, DIM)
    for row in range(CLASSES):
        steps = [step for step, rows in enumerate(drawn) if row in rows]
        alone = nn.Parameter(start[row : row + 1].detach().clone())
        theirs = PAIRS[pair][1]([alone], **PAIRS[pair][2])
        for step in steps:
            run(theirs, alone, [gradient_of(step)[row : row + 1]], first=step)
        torch.testing.assert_close(weight[row : row + 1], alone, rtol=0, atol=1e-12)
        if not steps:
            assert torch.equal(weight[row], start[row])
        buffers = {name: value for name, value in theirs.state[alone].items() if name != "step" and value is not None}
        for name, buffer in buffers.items():
            torch.testing.assert_close(ours.state[weight][name][row : row + 1], buffer, rtol=0, atol=1e-12)
        assert ours.state[weight]["step"][row] == len(steps)


@every_pair
def test_time_stands_still_for_rows_not_drawn(pair: str) -> None:
    check_time_stands_still(pair, random_draws())


@settings(max_examples=30, deadline=None)
@given(pair=st.sampled_from(sorted(PAIRS)), drawn=draws)
def test_time_stands_still_for_any_draws(pair: str, drawn: list[set[int]]) -> None:
    check_time_stands_still(pair, drawn)


@settings(max_examples=30, deadline=None)
@given(pair=st.sampled_from(sorted(PAIRS)), drawn=draws, dtype=st.sampled_from([torch.float32, torch.float64]))
def test_a_step_leaves_rows_not_drawn_alone_bit_for_bit(pair: str, drawn: list[set[int]], dtype: torch.dtype) -> None:
    weight = random_table(CLASSES, DIM, dtype=dtype)
    optimizer = PAIRS[pair][0]([weight], **PAIRS[pair][2])
    run(optimizer, weight, [sparse(gradient_of(100).to(dtype), set(range(CLASSES)))])
    for step, rows in enumerate(drawn):
        before = {"weight": weight.detach().clone(), **{k: v.clone() for k, v in tensors(optimizer.state[weight]).items()}}
        run(optimizer, weight, [sparse(gradient_of(step).to(dtype), rows)])
        others = sorted(set(range(CLASSES)) - rows)
        for name, after in {"weight": weight.detach(), **tensors(optimizer.state[weight])}.items():
            assert torch.equal(after[others], before[name][others])


def tensors(state: dict[str, Any]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def check_catching_up(pair: str, drawn: list[set[int]]) -> None:
    weight, ours = train_rows(pair, drawn, catch_up=True)
    ours.catch_up_all()
    _, theirs = train_dense(pair, [zero_but(gradient_of(step), rows) for step, rows in enumerate(drawn)])
    assert_same(ours, theirs, 1e-10)
    assert ours.state[weight]["step"].tolist() == [len(drawn)] * CLASSES
    assert ours.state[weight]["history"] == []


@every_pair
def test_caught_up_rows_are_those_of_the_dense_optimizer_with_zero_gradients(pair: str) -> None:
    check_catching_up(pair, random_draws(60))


@settings(max_examples=30, deadline=None)
@given(pair=st.sampled_from(sorted(PAIRS)), drawn=draws)
def test_catching_up_for_any_draws(pair: str, drawn: list[set[int]]) -> None:
    check_catching_up(pair, drawn)


@every_pair
def test_catching_up_in_the_midst_of_training_changes_nothing_but_the_order_of_work(pair: str) -> None:
    drawn = random_draws()
    once, optimizer = train_rows(pair, drawn, catch_up=True)
    optimizer.catch_up_all()
    often = random_table(CLASSES, DIM)
    other = PAIRS[pair][0]([often], **PAIRS[pair][2], catch_up=True)
    for step, rows in enumerate(drawn):
        run(other, often, [sparse(gradient_of(step), rows)], first=step)
        if step % 6 == 0:
            other.catch_up_all()
            other.catch_up_all()
    other.catch_up_all()
    torch.testing.assert_close(often, once, rtol=0, atol=1e-12)


def test_catching_up_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orthodrome.training.row_optimizers._BLOCK", 3)
    check_catching_up("nesterov decay", random_draws())
    check_catching_up("adamw decay", random_draws())


def test_without_catch_up_there_is_nothing_to_catch_up() -> None:
    weight, optimizer = train_rows("momentum decay", random_draws())
    before = weight.detach().clone()
    optimizer.catch_up_all()
    optimizer.catch_up(weight, torch.arange(CLASSES))
    assert torch.equal(weight, before)
    assert optimizer.state[weight]["history"] == []


def test_settings_that_change_on_the_way_are_those_of_the_steps_missed() -> None:
    """Momentum off for a while, then on; another decay; missed steps use the settings they had."""
    drawn = random_draws(40)
    weights: list[Tensor] = []
    optimizers: list[Any] = []
    for kind, more in ((RowSGD, {"catch_up": True}), (torch.optim.SGD, {})):
        weight = random_table(CLASSES, DIM)
        optimizer = kind([weight], momentum=0.9, weight_decay=0.1, **more)
        for step, rows in enumerate(drawn):
            changed = {"momentum": 0.0 if step in range(10, 20) else 0.5 + step / 100, "weight_decay": 0.2 if step > 30 else 0.1}
            optimizer.param_groups[0].update(changed)
            gradient = zero_but(gradient_of(step), rows)
            run(optimizer, weight, [sparse(gradient, rows) if more else gradient], first=step)
        weights.append(weight)
        optimizers.append(optimizer)
    optimizers[0].catch_up_all()
    torch.testing.assert_close(*weights, rtol=0, atol=1e-10)


@pytest.mark.parametrize("pair", ["nesterov decay", "adamw decay"])
def test_rows_caught_up_before_the_forward_pass_train_as_with_the_dense_optimizer(pair: str) -> None:
    """A gradient that depends on the weights, through nn.Embedding; the dense one reads the same rows."""
    ours, theirs, options = PAIRS[pair]
    tables = [nn.Embedding(CLASSES, DIM, sparse=kind is ours, dtype=torch.float64) for kind in (ours, theirs)]
    tables[1].load_state_dict(tables[0].state_dict())
    optimizers = [ours(tables[0].parameters(), **options, catch_up=True), theirs(tables[1].parameters(), **options)]
    for step, rows in enumerate(random_draws(40)):
        ids = torch.tensor(sorted(rows) * 2, dtype=torch.int64)  # each twice: the gradient is not coalesced
        optimizers[0].catch_up(tables[0].weight, ids)
        assert torch.allclose(tables[0].weight[ids], tables[1].weight[ids], rtol=0, atol=1e-10)
        for table, optimizer in zip(tables, optimizers, strict=True):
            optimizer.param_groups[0]["lr"] = rate(step)
            optimizer.zero_grad(set_to_none=True)
            (table(ids).sin() * torch.arange(1.0, DIM + 1)).sum().backward()
            optimizer.step()
    optimizers[0].catch_up_all()
    assert_same(optimizers[0], optimizers[1], 1e-10)


@pytest.mark.parametrize("pair", ["nesterov decay", "adamw decay"])
def test_a_step_without_any_gradient_is_no_step(pair: str) -> None:
    """A gradient of None is no step at all; a sparse one without rows is a step that drew none."""
    drawn = random_draws()
    weight, optimizer = train_rows(pair, drawn, catch_up=True)
    weight.grad = None
    optimizer.step()
    assert len(optimizer.state[weight]["history"]) == len(drawn)
    run(optimizer, weight, [sparse(gradient_of(0), set())], first=len(drawn))
    optimizer.catch_up_all()
    _, theirs = train_dense(pair, [zero_but(gradient_of(step % len(drawn)), rows) for step, rows in enumerate([*drawn, set()])])
    assert_same(optimizer, theirs, 1e-10)


@both_modes
@pytest.mark.parametrize("kind", [RowSGD, RowAdamW])
def test_rows_of_more_than_one_axis(kind: type[RowSGD | RowAdamW], catch_up: bool) -> None:
    """Rows (2, 3) are rows of 6 numbers."""
    options: dict[str, Any] = {"weight_decay": 0.1, "catch_up": catch_up} | ({"momentum": 0.9} if kind is RowSGD else {})
    block, flat = random_table(CLASSES, 2, 3), nn.Parameter(random_table(CLASSES, 2, 3).detach().flatten(1))
    for weight in (block, flat):
        optimizer = kind([weight], **options)
        shaped = [gradient_of(step, (CLASSES, 2, 3)).reshape(weight.shape) for step in range(STEPS)]
        run(optimizer, weight, [sparse(gradient, rows) for gradient, rows in zip(shaped, random_draws(), strict=True)])
        optimizer.catch_up_all()
    assert torch.equal(block.flatten(1), flat)


@every_pair
def test_float32_rows_follow_the_dense_optimizer_as_closely_as_float32_can(pair: str) -> None:
    ours, theirs, options = PAIRS[pair]
    drawn, weights = random_draws(60), []
    for kind, more in ((ours, {"catch_up": True}), (theirs, {})):
        weight = random_table(CLASSES, DIM, dtype=torch.float32)
        optimizer = kind([weight], **options, **more)
        dense = [zero_but(gradient_of(step).float(), rows) for step, rows in enumerate(drawn)]
        run(optimizer, weight, [sparse(g, rows) for g, rows in zip(dense, drawn, strict=True)] if more else dense)
        if more:
            optimizer.catch_up_all()
        weights.append(weight)
    torch.testing.assert_close(*weights, rtol=1e-5, atol=1e-5)


@every_pair
@both_modes
def test_resumed_training_is_the_same_bit_for_bit(pair: str, catch_up: bool) -> None:
    drawn = random_draws()
    for dtype in (torch.float32, torch.float64):
        for pause in (0, 1, 11):
            gradients = [sparse(gradient_of(step).to(dtype), rows) for step, rows in enumerate(drawn)]
            whole = random_table(CLASSES, DIM, dtype=dtype)
            first = PAIRS[pair][0]([whole], **PAIRS[pair][2], catch_up=catch_up)
            run(first, whole, gradients[:pause])
            resumed = nn.Parameter(whole.detach().clone())
            second = PAIRS[pair][0]([resumed], catch_up=catch_up)
            second.load_state_dict(saved_and_loaded(first.state_dict()))
            for weight, optimizer in ((whole, first), (resumed, second)):
                run(optimizer, weight, gradients[pause:], first=pause)
                optimizer.catch_up_all()
            assert torch.equal(whole, resumed)
            assert_same_state(first.state[whole], second.state[resumed])
            assert second.state[resumed]["step"].dtype == torch.int64
            assert second.state[resumed]["step"].shape == (CLASSES,)


def saved_and_loaded(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return dict(torch.load(file, weights_only=True))


def assert_same_state(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        if isinstance(value, Tensor):
            assert value.dtype == other[name].dtype
            assert torch.equal(value, other[name])
        else:
            assert value == other[name]


@pytest.mark.parametrize("pair", ["momentum decay", "adamw decay"])
def test_a_saved_history_keeps_its_steps_in_full_precision(pair: str) -> None:
    weight, optimizer = train_rows(pair, random_draws(), catch_up=True)
    single = nn.Parameter(weight.detach().float())
    other = PAIRS[pair][0]([single])
    other.load_state_dict(saved_and_loaded(optimizer.state_dict()))
    assert other.state[single]["history"] == optimizer.state[weight]["history"]
    assert [entry[0] for entry in other.state[single]["history"]] == [rate(step) for step in range(STEPS)]
    assert torch.equal(other.state[single]["step"], optimizer.state[weight]["step"])
    assert other.param_groups[0]["catch_up"] is True


@pytest.mark.parametrize("pair", ["momentum decay", "adamw decay"])
def test_a_loaded_state_goes_to_the_device_of_its_parameter(pair: str) -> None:
    """The device "meta" stands for a GPU."""
    _, optimizer = train_rows(pair, random_draws())
    elsewhere = nn.Parameter(torch.empty(CLASSES, DIM, device="meta", dtype=torch.float64))
    other = PAIRS[pair][0]([elsewhere])
    other.load_state_dict(saved_and_loaded(optimizer.state_dict()))
    assert {value.device.type for value in tensors(other.state[elsewhere]).values()} == {"meta"}


def test_a_dense_state_is_that_of_torch() -> None:
    """A checkpoint of torch's optimizer can be gone on with."""
    for pair in ("momentum decay", "adamw decay"):
        gradients = [gradient_of(step) for step in range(STEPS)]
        weight, theirs = train_dense(pair, gradients[:10])
        resumed = nn.Parameter(weight.detach().clone())
        ours = PAIRS[pair][0]([resumed], **PAIRS[pair][2])
        ours.state.update({resumed: dict(saved_and_loaded(theirs.state_dict())["state"][0])})
        run(theirs, weight, gradients[10:], first=10)
        run(ours, resumed, gradients[10:], first=10)
        assert torch.equal(weight, resumed)


class LargestResult(TorchDispatchMode):
    """The most numbers any operation returned, but for rows being put back into their table."""

    numbers = 0

    def __torch_dispatch__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and not result.is_sparse and func is not torch.ops.aten.index_copy_.default:
            self.numbers = max(self.numbers, result.numel())
        return result


@every_pair
@both_modes
def test_work_is_that_of_the_rows_drawn(pair: str, catch_up: bool) -> None:
    """After the first step, which makes the state, nothing as large as the number of classes is computed."""
    weight = random_table(5000, DIM)
    optimizer = PAIRS[pair][0]([weight], **PAIRS[pair][2], catch_up=catch_up)
    gradients = [sparse(gradient_of(step, (5000, DIM)), {step, 2 * step, 4999}) for step in range(6)]
    run(optimizer, weight, gradients[:1])
    with LargestResult() as largest:
        run(optimizer, weight, gradients[1:], first=1)
    assert 0 < largest.numbers < 100


@pytest.mark.parametrize("kind", [RowSGD, RowAdamW])
def test_a_closure_is_called_with_gradients_on(kind: type[RowSGD | RowAdamW]) -> None:
    weight = random_table(CLASSES, DIM)
    optimizer = kind([weight], lr=0.1)

    def closure() -> float:
        optimizer.zero_grad()
        loss = (weight**2).sum()
        loss.backward()
        return loss.item()

    losses = [optimizer.step(closure) for _ in range(3)]
    assert losses == sorted(losses, reverse=True)
    assert optimizer.step() is None


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (RowSGD, {"lr": -0.1}, "0 <= lr < inf; got -0.1"),
        (RowSGD, {"lr": "fast"}, "lr must be a number .*'fast'"),
        (RowSGD, {"lr": math.nan}, "lr .* got nan"),
        (RowSGD, {"lr": math.inf}, "lr .* got inf"),
        (RowSGD, {"momentum": 1.0}, "0 <= momentum < 1; got 1.0"),
        (RowSGD, {"weight_decay": -1}, "weight_decay .* got -1"),
        (RowSGD, {"nesterov": True}, "nesterov needs a momentum above 0"),
        (RowAdamW, {"lr": -0.1}, "0 <= lr < inf; got -0.1"),
        (RowAdamW, {"betas": (0.9,)}, r"betas must be two numbers; got \(0.9,\)"),
        (RowAdamW, {"betas": 0.9}, "betas must be two numbers; got 0.9"),
        (RowAdamW, {"betas": (0.9, 1.0)}, "betas .* got 1.0"),
        (RowAdamW, {"eps": 0}, "0 < eps < inf; got 0"),
        (RowAdamW, {"weight_decay": -1}, "weight_decay .* got -1"),
    ],
)
def test_settings_out_of_range(kind: type[RowSGD | RowAdamW], options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        kind([random_table(2, 2)], **options)
    with pytest.raises(InputError, match=message):
        kind([{"params": [random_table(2, 2)], **options}])
    optimizer = kind([random_table(2, 2)])
    with pytest.raises(InputError, match=message):
        optimizer.add_param_group({"params": [random_table(2, 2)], **options})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("kind", [RowSGD, RowAdamW])
def test_a_sparse_gradient_must_be_one_of_rows(kind: type[RowSGD | RowAdamW]) -> None:
    for shape, sparse_dims in (((4, 3), 2), ((4, 3, 2), 2)):
        weight = random_table(*shape)
        before = weight.detach().clone()
        weight.grad = torch.ones(shape, dtype=torch.float64).to_sparse(sparse_dims)
        with pytest.raises(InputError, match=f"whole rows .* got {sparse_dims} sparse and {len(shape) - sparse_dims} dense"):
            kind([weight]).step()
        assert torch.equal(weight, before)


@pytest.mark.parametrize("pair", ["momentum", "adamw"])
def test_a_gradient_stays_sparse_or_dense(pair: str) -> None:
    dense, rows = gradient_of(0), sparse(gradient_of(0), {1})
    for gradients, message in (([dense, rows], "is sparse, but was dense"), ([rows, dense], "is dense, but was sparse")):
        weight = random_table(CLASSES, DIM)
        optimizer = PAIRS[pair][0]([weight], **PAIRS[pair][2])
        with pytest.raises(InputError, match=message):
            run(optimizer, weight, gradients)
