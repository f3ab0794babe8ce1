"""Classes split over processes: every process holds a shard of the proxies, sees the whole batch, and sends only what is (B,).

Each process answers for the losses of its own samples. What it knows of them for other processes to use, or needs from them, passes
one of the functions below, which do forward what their name says and send gradients the other way. What travels in a step, for a batch
of B in all: embeddings and their gradient (B, D), labels, own similarities (B,), one partial (B,) per process, and the gradients of
the latter two.

The loss is the mean over the samples of all processes, the same on each, whatever part of the batch each has. Gradients are those of
this mean, but for the embeddings: theirs is that times the number of processes, since DistributedDataParallel then averages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from orthodrome.heads.engine import COMPUTED_IN, promote
from orthodrome.types import InputError, Link, LossOutput

SHOWN = 3
"""Messages of different processes, settings and values that an error repeats."""

SAME_HEAD = "all processes must build the same head"


class SharedError(InputError):
    """What went wrong on one process or more, raised on all with one message."""


def evaluated(
    processes: Processes | None,
    check: Callable[[Tensor, Tensor], Tensor],
    evaluate: Callable[[Tensor, Tensor], LossOutput],
    embeddings: Tensor,
    labels: Tensor,
    training: bool,
) -> LossOutput:
    """``evaluate`` of the batches of all processes together, once ``check`` has passed the labels (B,) of each.

    ``per_sample`` are the losses of the own samples. Raises what ``check`` does; for several processes a SharedError on all, also where
    embeddings differ in dtype or dimension, or in whether they need a gradient, or heads in whether they are ``training``: some would
    wait for what others never send.
    """
    if processes is None:
        return evaluate(embeddings, check(embeddings, labels))
    form, error = [0, 0, 0, False, False], None
    try:
        labels = check(embeddings, labels)
        embeddings = promote(embeddings)
        gradient = torch.is_grad_enabled() and embeddings.requires_grad
        form = [*embeddings.shape, COMPUTED_IN.index(embeddings.dtype), gradient, training]
    except Exception as found:
        error = found
    sizes, *alike = processes.exchange(*form, error=error)
    if any(len(set(given)) > 1 for given in alike):
        told = [
            {"dimension": size, "dtype": COMPUTED_IN[dtype], "gradient of embeddings": bool(gradient), "training": bool(training)}
            for size, dtype, gradient, training in zip(*alike, strict=True)
        ]
        raise SharedError(f"all processes must call the head alike; {differences(told)}")
    return processes.own_part(evaluate(*processes.batch(embeddings, labels, sizes)), sizes)


@contextmanager
def failing_together(processes: Processes | None) -> Iterator[None]:
    """What fails within on any of several processes is raised on all, as a SharedError; all must come here."""
    error = None
    try:
        yield
    except Exception as found:
        if processes is None:
            raise
        error = found
    if processes:
        processes.exchange(error=error)


def picklable(head: object, processes: Processes | None, without: Sequence[str]) -> dict[str, Any]:
    """The attributes of a head but for the functions of its loss. Raises InputError for a head of several processes."""
    if processes:
        raise InputError("a head of several processes cannot be pickled or copied: save its state_dict()")
    return {name: value for name, value in vars(head).items() if name not in without}


class Processes:
    """The processes of ``group``, and what they tell each other."""

    def __init__(self, group: dist.ProcessGroup) -> None:
        self.group = group
        self.rank, self.world = dist.get_rank(group), dist.get_world_size(group)

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

    def own_part(self, output: LossOutput, sizes: Sequence[int]) -> LossOutput:
        """The loss of all, its gradient that of the own samples' part in it, and their losses."""
        own = output.per_sample.split(list(sizes))[self.rank]
        part = own.sum() / sum(sizes)
        return LossOutput(output.loss.detach() + (part - part.detach()), own, output.stats)

    def replicated(self, value: Tensor) -> Tensor:
        """The same on every process, its gradient the sum over processes."""
        found: Tensor = _Replicated.apply(self, value)
        return found

    def from_first(self, value: Tensor) -> Tensor:
        """The value of rank 0."""
        dist.broadcast(value, group_src=0, group=self.group)
        return value

    def agree(self, what: str, mine: Mapping[str, object]) -> None:
        """Raises SharedError, which begins with ``what`` and names what differs, unless all were given the same ``mine``."""
        everyones = self.objects(dict(mine))
        if any(other != everyones[0] for other in everyones):
            raise SharedError(f"{what}; {differences(everyones)}")

    def exchange(self, *numbers: int, error: Exception | None = None) -> list[list[int]]:
        """Each of the numbers of every process. Where any has an error, raises those of all on every process."""
        mine = torch.tensor([*numbers, error is not None], dtype=torch.int64)
        *found, failed = torch.stack(self.gathered(mine, [len(mine)] * self.world)).T.tolist()
        if any(failed):
            raise SharedError(together(self.objects(error and message(error)))) from error
        return found

    def objects(self, mine: object) -> list[Any]:
        """The object of each process."""
        everyones: list[Any] = [None] * self.world
        dist.all_gather_object(everyones, mine, group=self.group)
        return everyones

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


def message(error: Exception) -> str:
    """What an error says; one that is not about the user's input with its kind."""
    return str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"


def together(messages: Sequence[str | None]) -> str:
    """The messages of the first ranks that have one, each with its rank; one that all give, once."""
    if len(set(messages)) == 1:
        return str(messages[0])
    return shortened([f"rank {rank}: {text}" for rank, text in enumerate(messages) if text], "; ")


def differences(everyones: Sequence[Mapping[str, object]]) -> str:
    """What differs between ranks, each value with the first rank that has it: ``margin is 0.4 on rank 0, 0.5 on rank 2``."""
    names = dict.fromkeys(name for given in everyones for name in given)
    told = [_values(name, [repr(given[name]) if name in given else "absent" for given in everyones]) for name in names]
    return shortened([text for text in told if text], "; ")


def _values(name: str, values: Sequence[str]) -> str:
    """Who has which value; nothing where all have the same."""
    firsts = [rank for rank, value in enumerate(values) if value not in values[:rank]]
    given = shortened([f"{values[rank]} on rank {rank}" for rank in firsts], ", ")
    return f"{name} is {given}" if len(firsts) > 1 else ""


def shortened(texts: Sequence[str], between: str) -> str:
    """The first texts, and how many more there are."""
    more = f"{between}and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return between.join(texts[:SHOWN]) + more


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
