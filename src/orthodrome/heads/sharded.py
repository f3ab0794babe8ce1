"""Classes split over processes: every process holds a shard of the proxies, sees the whole batch, and sends only what is (B,).

Each process computes the losses of its own samples. What it knows of them for other processes to use, or needs from them, passes one
of the functions below, which do forward what their name says and send gradients the other way. What travels in a step, for a batch of
B in all: embeddings and their gradient (B, D), labels, own similarities (B,), one partial (B,) per process, and the gradients of
the latter two.

Gradients are those DistributedDataParallel expects: of the mean of the samples of a process for its embeddings, which DDP then
averages; of the mean over all processes for what the head itself owns.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from orthodrome.heads.prototypes import shard
from orthodrome.types import InputError, Link


class Processes:
    """The processes of ``group`` that share the classes of one head."""

    def __init__(self, group: dist.ProcessGroup, num_classes: int) -> None:
        self.group = group
        self.rank, self.world = dist.get_rank(group), dist.get_world_size(group)
        self.classes = shard(num_classes, self.rank, self.world)

    # ---------------------------------------------------------------------------------------- what the engine asks for

    def total(self, values: Tensor) -> Tensor:
        """The sum over processes; so is the gradient."""
        found: Tensor = _Sum.apply(self, values)
        return found

    def merge(self, link: Link, n: Tensor) -> Tensor:
        """N of all classes; the partials of the processes merge in the order of their ranks."""
        return reduce(link.merge, _Everyones.apply(self, n).unbind())

    def count(self, classes: int) -> int:
        """The sum over processes."""
        return int(self.sum(torch.tensor(classes)))

    # --------------------------------------------------------------------------------------- what the head asks for

    def batch(self, embeddings: Tensor, labels: Tensor, sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The samples of all processes, in the order of their ranks."""
        return _Batch.apply(self, embeddings, tuple(sizes)), torch.cat(self.gathered(labels, sizes))

    def own_samples(self, losses: Tensor, sizes: Sequence[int]) -> Tensor:
        """Those of this process; their gradient is divided by the number of processes (see :class:`_Batch` and the module)."""
        own = losses.split(list(sizes))[self.rank]
        return own.detach() + (own - own.detach()) / self.world

    def replicated(self, value: Tensor) -> Tensor:
        """The same on every process, its gradient the sum over processes."""
        found: Tensor = _Replicated.apply(self, value)
        return found

    def from_first(self, value: Tensor) -> Tensor:
        """The value of rank 0."""
        dist.broadcast(value, group_src=0, group=self.group)
        return value

    def agree(self, what: str, mine: object) -> None:
        """Raises InputError on every process unless all were given the same."""
        everyones: list[Any] = [None] * self.world
        dist.all_gather_object(everyones, mine, group=self.group)
        if any(other != everyones[0] for other in everyones):
            given = ", ".join(f"rank {rank}: {other}" for rank, other in enumerate(everyones))
            raise InputError(f"all processes must build the same head; {what} differ: {given}")

    def sizes(self, batch: int, error: InputError | None) -> list[int]:
        """The batch size of each process. Raises the errors of all on every process where there are any."""
        mine = torch.tensor([batch, error is not None])
        found = torch.stack(self.gathered(mine, [2] * self.world))
        if found[:, 1].any():
            messages: list[Any] = [None] * self.world
            dist.all_gather_object(messages, error and str(error), group=self.group)
            raise InputError("; ".join(f"rank {rank}: {message}" for rank, message in enumerate(messages) if message))
        return [int(size) for size in found[:, 0]]

    # ------------------------------------------------------------------------------------------------- plain collectives

    def sum(self, values: Tensor) -> Tensor:
        """A new tensor, without gradient."""
        found = values.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(found, group=self.group)
        return found

    def gathered(self, values: Tensor, sizes: Sequence[int]) -> list[Tensor]:
        """The values of every process, of ``sizes`` along the first axis, without gradient."""
        found = [values.new_empty((size, *values.shape[1:])) for size in sizes]
        if len(set(sizes)) == 1:
            dist.all_gather(found, values.detach().contiguous(), group=self.group)
            return found
        for rank, room in enumerate(found):
            if rank == self.rank:
                room.copy_(values.detach())
            dist.broadcast(room, group_src=rank, group=self.group)
        return found


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, processes: Processes, values: Tensor) -> Tensor:
        ctx.processes = processes
        return processes.sum(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, ctx.processes.sum(gradient)


class _Everyones(torch.autograd.Function):
    """(R, …) values of all processes."""

    @staticmethod
    def forward(ctx: Any, processes: Processes, values: Tensor) -> Tensor:
        ctx.processes = processes
        return torch.stack(processes.gathered(values, [len(values)] * processes.world))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, ctx.processes.sum(gradient)[ctx.processes.rank]


class _Batch(torch.autograd.Function):
    """(B, D) of all processes. The gradient of the own samples is summed over processes, and made that of their own mean."""

    @staticmethod
    def forward(ctx: Any, processes: Processes, embeddings: Tensor, sizes: tuple[int, ...]) -> Tensor:
        ctx.processes, ctx.sizes = processes, sizes
        return torch.cat(processes.gathered(embeddings, sizes))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        processes: Processes = ctx.processes
        total = processes.sum(gradient)
        return None, total.split(list(ctx.sizes))[processes.rank] * processes.world, None


class _Replicated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, processes: Processes, value: Tensor) -> Tensor:
        ctx.processes = processes
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, ctx.processes.sum(gradient)
