"""SGD and AdamW for a table of class rows of which only some are drawn at each step, as in Partial FC (An et al., arXiv 2203.15565).

The gradient of such a table W (C, D) is a sparse COO tensor: indices (1, n), values (n, D). Common implementations either read and write
all C rows, or let the rows that were not drawn drift: momentum goes on to move them, weight decay to shrink them, at rates that depend on
the implementation. Here only the n rows drawn are read and written, and what happens to the others is one of two exact things:

* ``catch_up=False``: time stands still for a row that is not drawn. A row drawn k times is where a dense optimizer that saw these k
  gradients alone would have put it.
* ``catch_up=True``: every row is where the dense optimizer with explicit zero gradients would have put it, but late: the steps a row
  missed are made up when it is drawn again. The settings of all steps (four or five numbers a step) are kept until `catch_up_all`.

A parameter with a dense gradient is handed to torch's own implementation.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from numbers import Real
from typing import Any, TypeAlias, overload

import torch
from torch import Tensor
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from orthodrome.types import InputError

Settings: TypeAlias = tuple[float, ...]
"""What one step depends on, beside gradient and state: learning rate, decay and so on."""

Rows: TypeAlias = dict[str, Tensor]
"""Weight, step and buffers of the same rows: ``weight`` (n, D), ``step`` (n,) int64, the buffers (n, D)."""

_BLOCK = 16384
"""Rows `catch_up_all` copies at a time; on a CPU, blocks that leave its cache are up to three times slower."""


class _RowOptimizer(torch.optim.Optimizer, ABC):
    """What the two have in common: taking rows out and putting them back, and each row's own time.

    State of a parameter W (C, D) with sparse gradients: the buffers, each (C, D); ``step`` (C,) int64, the number of steps each row has
    been through; ``history``, the settings of the steps since ``history_start``. With ``catch_up`` the present is the step
    history_start + len(history), and a row of a smaller ``step`` is behind. The name ``step`` matters: it is the one tensor that torch
    does not cast to the type of the parameter when a state is loaded.
    """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, which may override the settings. Raises InputError for settings out of range."""
        self._check({**self.defaults, **param_group})
        super().add_param_group(param_group)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for parameter, own in self.state.items():
            if "history" in own:
                own["step"] = own["step"].to(parameter.device)

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step for every parameter that has a gradient; returns the value of ``closure`` if there is one.

        With ``catch_up`` the rows drawn are brought up to the present first (see `catch_up` for when to do so earlier). Raises
        InputError for a sparse gradient that is not one of whole rows, and for a gradient that is sparse at one step, dense at another.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moving = [parameter for parameter in group["params"] if parameter.grad is not None]
            dense = [parameter for parameter in moving if not parameter.grad.is_sparse]
            self._step_dense(
                dense, [self._open_state(parameter, group, by_rows=False) for parameter in dense], self._settings(group)
            )
            for parameter in moving:
                if parameter.grad.is_sparse:
                    self._step_rows(parameter, group)
        return loss

    @torch.no_grad()
    def catch_up(self, parameter: Tensor, rows: Tensor) -> None:
        """Bring ``rows`` (n,) int64 of ``parameter`` up to the present; without ``catch_up=True`` there is nothing to do.

        `step` does this too, but after the gradient was computed. Called with the rows drawn before the forward pass, the gradient
        is that of the weights the dense optimizer would have, and so the whole training is that of the dense optimizer.
        """
        state = self.state.get(parameter, {})
        if not state.get("history"):
            return
        start, now = state["history_start"], state["history_start"] + len(state["history"])
        steps, order = state["step"].index_select(0, rows).sort()
        rows = rows[order[: int((steps < now).sum())]]
        if len(rows):
            late = _take(parameter, state, rows)
            self._make_up(late, state["history"][int(steps[0]) - start :])
            late["step"].fill_(now)
            _put(parameter, state, rows, late)

    def catch_up_all(self) -> None:
        """Bring all rows of all parameters up to the present, to save or evaluate them, and forget the history."""
        for parameter, state in self.state.items():
            if state.get("history"):
                for rows in torch.split(torch.arange(len(parameter), device=parameter.device), _BLOCK):
                    self.catch_up(parameter, rows)
                state["history_start"] += len(state["history"])
                state["history"] = []

    def _step_rows(self, parameter: Tensor, group: dict[str, Any]) -> None:
        drawn, gradient = _rows_and_values(parameter)
        state, settings = self._open_state(parameter, group, by_rows=True), self._settings(group)
        if group["catch_up"]:
            self.catch_up(parameter, drawn)
            state["history"].append(settings)
        rows = _take(parameter, state, drawn)
        rows["step"] += 1
        self._advance(rows, gradient, settings)
        _put(parameter, state, drawn, rows)

    def _open_state(self, parameter: Tensor, group: dict[str, Any], by_rows: bool) -> dict[str, Any]:
        state: dict[str, Any] = self.state[parameter]
        if state and ("history" in state) != by_rows:
            now, before = ("sparse", "dense") if by_rows else ("dense", "sparse")
            raise InputError(
                f"the gradient of a parameter of shape {tuple(parameter.shape)} is {now}, but was {before} at the steps before; "
                "it must stay one or the other"
            )
        if by_rows and not state:
            state["step"] = torch.zeros(len(parameter), dtype=torch.int64, device=parameter.device)
            state.update(history=[], history_start=0)
        for name in self._buffers(group):
            if state.get(name) is None:
                state[name] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        return state

    @abstractmethod
    def _check(self, group: dict[str, Any]) -> None:
        """Raise InputError for settings out of range."""

    @abstractmethod
    def _settings(self, group: dict[str, Any]) -> Settings:
        """What a step of this group depends on now."""

    @abstractmethod
    def _buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        """Names of the buffers a step of this group needs."""

    @abstractmethod
    def _step_dense(self, parameters: list[Tensor], states: list[dict[str, Any]], settings: Settings) -> None:
        """One step of torch's implementation."""

    @abstractmethod
    def _advance(self, rows: Rows, gradient: Tensor, settings: Settings) -> None:
        """One step of ``rows`` in place; ``step`` counts it already."""

    @abstractmethod
    def _make_up(self, rows: Rows, history: list[Settings]) -> None:
        """In place, the steps without a gradient that ``rows``, in ascending order of ``step``, missed: row 0 missed all of ``history``,
        a row whose ``step`` is larger by i all but the first i."""


class RowSGD(_RowOptimizer):
    """SGD as torch.optim.SGD without dampening, with time of its own for each row of a sparse gradient.

    g' = g + weight_decay·w; b ← momentum·b + g'; w ← w − lr·b, or w − lr·(g' + momentum·b) with ``nesterov``.

    ``catch_up`` as at the top of this module; a loaded state brings its own settings, as with torch's optimizers. Missed steps are
    linear, (w, b) ← M (w, b) with a 2×2 matrix M for each step; rows are multiplied by the product of those they missed.

    Raises InputError unless 0 ≤ lr, 0 ≤ momentum < 1, 0 ≤ weight_decay, all finite, and for ``nesterov`` without momentum.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        catch_up: bool = False,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay, "catch_up": catch_up}
        super().__init__(params, defaults)

    def _check(self, group: dict[str, Any]) -> None:
        _check_range("lr", group["lr"])
        _check_range("momentum", group["momentum"], below=1)
        _check_range("weight_decay", group["weight_decay"])
        if group["nesterov"] and group["momentum"] == 0:
            raise InputError("nesterov needs a momentum above 0; got momentum 0")

    def _settings(self, group: dict[str, Any]) -> Settings:
        return float(group["lr"]), float(group["momentum"]), float(group["weight_decay"]), float(group["nesterov"])

    def _buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("momentum_buffer",) if group["momentum"] else ()

    def _step_dense(self, parameters: list[Tensor], states: list[dict[str, Any]], settings: Settings) -> None:
        _sgd(parameters, [_gradient(parameter) for parameter in parameters], [s.get("momentum_buffer") for s in states], settings)

    def _advance(self, rows: Rows, gradient: Tensor, settings: Settings) -> None:
        _sgd([rows["weight"]], [gradient], [rows.get("momentum_buffer")], settings)

    def _make_up(self, rows: Rows, history: list[Settings]) -> None:
        weight, buffer = rows["weight"], rows.get("momentum_buffer")
        products = _suffix_products(torch.tensor([_idle_matrix(*settings) for settings in history], dtype=torch.float64))
        own = products.to(weight.device).index_select(0, rows["step"] - rows["step"][0])
        ww, wb, bw, bb = (_column(entries, weight) for entries in own.flatten(1).unbind(1))
        if buffer is None:
            weight.mul_(ww)
        else:
            rows["weight"], rows["momentum_buffer"] = ww * weight + wb * buffer, bw * weight + bb * buffer


class RowAdamW(_RowOptimizer):
    """AdamW as torch.optim.AdamW, with time of its own, bias correction included, for each row of a sparse gradient.

    w ← (1 − lr·weight_decay)·w; m ← β₁·m + (1 − β₁)·g; v ← β₂·v + (1 − β₂)·g²; w ← w − lr·m̂/(√v̂ + eps), with
    m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ), t the steps of the row.

    ``catch_up`` as at the top of this module; a loaded state brings its own settings, as with torch's optimizers. Missed steps are
    gone through one by one, the longest missed first, each for the rows that missed it: the work is the sum of the steps missed.

    Raises InputError unless 0 ≤ lr, 0 ≤ β₁, β₂ < 1, 0 < eps, 0 ≤ weight_decay, all finite.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        catch_up: bool = False,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "catch_up": catch_up}
        super().__init__(params, defaults)

    def _check(self, group: dict[str, Any]) -> None:
        _check_range("lr", group["lr"])
        if not isinstance(group["betas"], tuple | list) or len(group["betas"]) != 2:
            raise InputError(f"betas must be two numbers; got {group['betas']!r}")
        for beta in group["betas"]:
            _check_range("betas", beta, below=1)
        _check_range("eps", group["eps"], positive=True)
        _check_range("weight_decay", group["weight_decay"])

    def _settings(self, group: dict[str, Any]) -> Settings:
        beta1, beta2 = group["betas"]
        return float(group["lr"]), float(beta1), float(beta2), float(group["eps"]), float(group["weight_decay"])

    def _buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return "exp_avg", "exp_avg_sq"

    def _step_dense(self, parameters: list[Tensor], states: list[dict[str, Any]], settings: Settings) -> None:
        lr, beta1, beta2, eps, weight_decay = settings
        adamw(
            parameters,
            [_gradient(parameter) for parameter in parameters],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state.setdefault("step", torch.zeros((), dtype=torch.float32)) for state in states],
            has_complex=any(parameter.is_complex() for parameter in parameters),
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=lr,
            weight_decay=weight_decay,
            eps=eps,
            maximize=False,
        )

    def _advance(self, rows: Rows, gradient: Tensor, settings: Settings) -> None:
        _adamw_rows(rows, gradient, settings)

    def _make_up(self, rows: Rows, history: list[Settings]) -> None:
        times = torch.arange(len(history), device=rows["step"].device) + rows["step"][0]
        for settings, late in zip(history, torch.searchsorted(rows["step"], times, right=True).tolist(), strict=True):
            part = {name: table[:late] for name, table in rows.items()}
            part["step"] += 1
            _adamw_rows(part, None, settings)


def _check_range(name: str, value: Any, below: float = math.inf, positive: bool = False) -> None:
    if not isinstance(value, Real) or not 0 <= float(value) < below or (positive and value == 0):
        raise InputError(f"{name} must be a number with 0 {'<' if positive else '<='} {name} < {below}; got {value!r}")


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def _rows_and_values(parameter: Tensor) -> tuple[Tensor, Tensor]:
    """Rows drawn (n,), ascending, each once, and their gradients (n, D)."""
    gradient = _gradient(parameter)
    if gradient.sparse_dim() != 1 or gradient.shape != parameter.shape or not parameter.is_floating_point():
        raise InputError(
            "a sparse gradient must consist of whole rows (1 sparse dimension) of a real parameter; got "
            f"{gradient.sparse_dim()} sparse and {gradient.dense_dim()} dense dimensions, shape {tuple(gradient.shape)}, "
            f"for a parameter of shape {tuple(parameter.shape)}, {parameter.dtype}"
        )
    gradient = gradient.coalesce()
    return gradient.indices()[0], gradient.values()


def _tables(parameter: Tensor, state: dict[str, Any]) -> Rows:
    """Every tensor that has one entry per row: the weight, the step and the buffers."""
    return {"weight": parameter, **{name: value for name, value in state.items() if isinstance(value, Tensor)}}


def _take(parameter: Tensor, state: dict[str, Any], rows: Tensor) -> Rows:
    return {name: table.index_select(0, rows) for name, table in _tables(parameter, state).items()}


def _put(parameter: Tensor, state: dict[str, Any], rows: Tensor, content: Rows) -> None:
    for name, table in _tables(parameter, state).items():
        table.index_copy_(0, rows, content[name])


def _column(numbers: Tensor, like: Tensor) -> Tensor:
    """One number per row, (n,) -> (n, 1), with more axes of one if ``like`` has them, in its type."""
    return numbers.to(like.dtype).view(-1, *[1] * (like.ndim - 1))


def _sgd(weights: list[Tensor], gradients: list[Tensor], buffers: list[Tensor | None], settings: Settings) -> None:
    """One step of torch's SGD. Its first step sets the buffer to the gradient, which is what a buffer of zeros comes to."""
    lr, momentum, weight_decay, nesterov = settings
    sgd(
        weights,
        gradients,
        buffers,
        lr=lr,
        momentum=momentum,
        dampening=0.0,
        weight_decay=weight_decay,
        nesterov=bool(nesterov),
        maximize=False,
    )


def _idle_matrix(lr: float, momentum: float, weight_decay: float, nesterov: float) -> list[list[float]]:
    """M of a step of SGD without a gradient, (w, b) ← M (w, b). Without momentum the buffer is left alone, as torch does."""
    if momentum == 0:
        return [[1 - lr * weight_decay, 0.0], [0.0, 1.0]]
    ahead = momentum if nesterov else 0.0
    w_part, b_part = weight_decay * (1 + ahead), momentum * (ahead or 1.0)
    return [[1 - lr * w_part, -lr * b_part], [weight_decay, momentum]]


def _suffix_products(matrices: Tensor) -> Tensor:
    """M_L ⋯ M_i for each i, (L, 2, 2), in log₂ L passes, each of which doubles the number of factors."""
    products, span = matrices, 1
    while span < len(products):
        products = torch.cat([products[span:] @ products[:-span], products[-span:]])
        span *= 2
    return products


def _adamw_rows(rows: Rows, gradient: Tensor | None, settings: Settings) -> None:
    """One step of AdamW in place, the bias of each row corrected for its own ``step``; no gradient is one of zeros."""
    lr, beta1, beta2, eps, weight_decay = settings
    weight, first, second, steps = rows["weight"], rows["exp_avg"], rows["exp_avg_sq"], rows["step"].to(torch.float64)
    weight.mul_(1 - lr * weight_decay)
    second.mul_(beta2)
    if gradient is None:
        first.mul_(beta1)
    else:
        first.lerp_(gradient, 1 - beta1)
        second.addcmul_(gradient, gradient, value=1 - beta2)
    rate, root = _column(lr / (1 - beta1**steps), weight), _column((1 - beta2**steps).sqrt(), weight)
    weight.addcdiv_(first * rate, (second.sqrt() / root).add_(eps), value=-1)
