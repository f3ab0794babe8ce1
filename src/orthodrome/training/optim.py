"""Optimizers and their parameter groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from orthodrome.training.recipe import OptimizerSettings
from orthodrome.training.row_optimizers import RowAdamW, RowSGD


def parameter_groups(backbone: nn.Module, head: nn.Module, settings: OptimizerSettings) -> list[dict[str, Any]]:
    """Four groups: decayed and not decayed, of the backbone and of the head.

    Weight decay acts on parameters with two or more axes (convolutions, linear layers, proxies); biases, norms, PReLU slopes and the
    scalars of a loss are left alone. Parameters of modules that ask for no gradient are left out.
    """
    groups = []
    for module, rate in ((backbone, 1.0), (head, settings.head_rate)):
        trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
        for decay, members in (
            (settings.weight_decay, [p for p in trainable if p.ndim >= 2]),
            (0.0, [p for p in trainable if p.ndim < 2]),
        ):
            if members:
                groups.append({"params": members, "weight_decay": decay, "rate": rate})
    return groups


def create_optimizer(
    groups: list[dict[str, Any]], settings: OptimizerSettings, *, sampled: bool = False
) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW; where classes are ``sampled``, those that leave what was not drawn alone."""
    if sampled:
        if settings.name == "sgd":
            return RowSGD(groups, lr=settings.learning_rate, momentum=settings.momentum, nesterov=settings.nesterov)
        return RowAdamW(groups, lr=settings.learning_rate, betas=settings.betas)
    if settings.name == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum, nesterov=settings.nesterov)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Give every group its share of ``learning_rate``."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["rate"]


def clip_gradients(
    optimizer: torch.optim.Optimizer,
    clip_norm: float | None,
    rows: Sequence[Tensor] = (),
    total: Callable[[Tensor], Tensor] = lambda values: values,
) -> None:
    """Scale all gradients down together so that their norm is at most ``clip_norm``.

    ``rows``: parameters of which other processes hold other rows; ``total`` sums over processes.
    """
    if clip_norm is None:
        return
    parameters = _parameters(optimizer)
    split = {id(parameter) for parameter in rows}
    common = _gradients(parameter for parameter in parameters if id(parameter) not in split)
    own = _gradients(parameter for parameter in parameters if id(parameter) in split)
    squares = total(nn.utils.get_total_norm(own) ** 2)
    norm = (nn.utils.get_total_norm(common).to(squares.device) ** 2 + squares).sqrt()
    factor = (clip_norm / (norm + 1e-6)).clamp_max(1)
    for gradient in common + own:
        gradient.mul_(factor.to(gradient.device))


def _gradients(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """The numbers of each gradient; of a sparse one those it has, its rows added up where it has them several times."""
    found = []
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad = parameter.grad.coalesce() if parameter.grad.is_sparse else parameter.grad
            found.append(parameter.grad.values() if parameter.grad.is_sparse else parameter.grad)
    return found


def _parameters(optimizer: torch.optim.Optimizer) -> Iterable[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
