"""The processes of a run: one alone, or those that torchrun has started, each with a part of every batch.

A run asks the same of its team either way. What can go wrong on one process and not on another (an image that cannot be read, a full
disk) is done `everywhere`, so that it ends all of them with one message, and none waits for another that is gone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from orthodrome.data import BatchSampler, RankSampler
from orthodrome.heads.sharded import Processes, SharedError
from orthodrome.types import InputError

T = TypeVar("T")

PATIENCE = timedelta(days=1)
"""How long processes wait for one that opens data, evaluates or writes. One that dies is noticed at once."""

GIVEN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun tells each process by its environment."""


class Team(Protocol):
    """``rank`` of ``size`` processes in all, ``local_rank`` of ``local_size`` on this machine; ``group`` is what heads share."""

    rank: int
    size: int
    local_rank: int
    local_size: int
    group: dist.ProcessGroup | None

    def everywhere(self, action: Callable[[], T]) -> T:
        """What ``action`` returns here, once it is done on every process; where it fails on any, raises on all.

        ``action`` must not wait for other processes unless all are sure to come as far as that.
        """

    def anywhere(self, question: Callable[[], bool]) -> bool:
        """`everywhere`, and whether the answer is True on any process."""

    def same(self, what: str, mine: Mapping[str, object]) -> None:
        """Raises InputError, which begins with ``what`` and names what differs, on all unless ``mine`` is the same on all."""

    def from_first(self, mine: T) -> T:
        """What rank 0 has given."""

    def total(self, values: Tensor) -> Tensor:
        """The sum over processes."""

    def device(self, device: torch.device) -> torch.device:
        """The device of this process where the recipe asks for ``device``."""

    def backbone(self, network: nn.Module, device: torch.device) -> nn.Module:
        """``network`` such that its gradients are averaged over processes; it starts from the values of rank 0."""

    def synchronised(self, network: nn.Module, device: torch.device) -> nn.Module:
        """``network`` with batch normalisation by the statistics of the whole batch."""

    def part(self, sampler: BatchSampler) -> BatchSampler:
        """This process' part of every batch."""


class Alone:
    """One process: there is nobody to ask."""

    rank, size, local_rank, local_size = 0, 1, 0, 1
    group: dist.ProcessGroup | None = None

    def everywhere(self, action: Callable[[], T]) -> T:
        return action()

    def anywhere(self, question: Callable[[], bool]) -> bool:
        return question()

    def same(self, what: str, mine: Mapping[str, object]) -> None:
        pass

    def from_first(self, mine: T) -> T:
        return mine

    def total(self, values: Tensor) -> Tensor:
        return values

    def device(self, device: torch.device) -> torch.device:
        return device

    def backbone(self, network: nn.Module, device: torch.device) -> nn.Module:
        return network

    def synchronised(self, network: nn.Module, device: torch.device) -> nn.Module:
        return network

    def part(self, sampler: BatchSampler) -> BatchSampler:
        return sampler


class Several:
    """The processes of torch.distributed's default group, which exists.

    They agree in a group of their own, through main memory and with `PATIENCE`. What each method promises stands in `Team`.
    """

    def __init__(self, local_rank: int, local_size: int) -> None:
        self.group = dist.group.WORLD
        assert self.group is not None
        self._learning = Processes(self.group)
        self._talking = Processes(dist.new_group(backend="gloo", timeout=PATIENCE))
        self.rank, self.size = self._learning.rank, self._learning.world
        self.local_rank, self.local_size = local_rank, local_size

    def everywhere(self, action: Callable[[], T]) -> T:
        found: list[T] = []

        def done() -> bool:
            found.append(action())
            return False

        self.anywhere(done)
        return found[0]

    def anywhere(self, question: Callable[[], bool]) -> bool:
        answer, error = False, None
        try:
            answer = question()
        except Exception as found:
            error = found
        (answers,) = self._talking.exchange(answer, error=error)
        return any(answers)

    def same(self, what: str, mine: Mapping[str, object]) -> None:
        self._talking.agree(what, mine)

    def from_first(self, mine: T) -> T:
        found: T = self._talking.objects(mine)[0]
        return found

    def total(self, values: Tensor) -> Tensor:
        return self._learning.sum(values)

    def device(self, device: torch.device) -> torch.device:
        if device.type != "cuda":
            return device
        if device.index is not None:
            raise InputError(f"device {device} is one GPU for {self.size} processes; with device: cuda each takes its own")
        if self.local_rank >= torch.cuda.device_count():
            raise InputError(
                f"{self.local_size} processes on this machine but {torch.cuda.device_count()} GPUs: start one process for each "
                "(torchrun --nproc-per-node)"
            )
        torch.cuda.set_device(self.local_rank)
        return torch.device("cuda", self.local_rank)

    def backbone(self, network: nn.Module, device: torch.device) -> nn.Module:
        own = [device] if device.type == "cuda" else None
        averaging = DistributedDataParallel(network, device_ids=own, gradient_as_bucket_view=True)
        # Running statistics of batch normalisation do not enter the training, and rank 0 saves its own: they need not travel.
        averaging.broadcast_buffers = False  # the argument has another name in newer versions of torch
        settle_buckets(averaging, device)
        return averaging

    def synchronised(self, network: nn.Module, device: torch.device) -> nn.Module:
        if device.type != "cuda":
            raise InputError(
                f"sync_batch_norm needs GPUs, torch cannot do it on {device.type}: leave it out, and each of the {self.size} processes "
                "normalises by its own part of a batch; or train on one process"
            )
        found: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return found

    def part(self, sampler: BatchSampler) -> BatchSampler:
        if sampler.batch_size < self.size:
            raise InputError(
                f"a batch of {sampler.batch_size} images cannot be shared by {self.size} processes: each must have at least one; "
                "raise batch_size, which counts all processes together, or start fewer"
            )
        return RankSampler(sampler, self.rank, self.size)

    def outlast_first(self) -> None:
        """Wait until rank 0 is gone: a launcher ends all processes as soon as one fails, and rank 0 still has to say why."""
        with suppress(RuntimeError):
            self._talking.exchange()


class _Touched(nn.Module):
    """Stands in for a network: no layers, but each parameter gets a gradient, the last one first, as on the way back."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, factor: Tensor) -> Tensor:
        return factor * torch.stack([parameter.sum() for parameter in self.network.parameters() if parameter.requires_grad])


def settle_buckets(averaging: DistributedDataParallel, device: torch.device) -> None:
    """Let DDP put the gradients into its lasting buckets before the first step, by a backward pass without layers.

    DDP does so once, in the order in which the first gradients came. Where in a bucket a number stands decides in which order those of
    three processes or more are added: the first step of every start would round unlike the same step of a run that was not interrupted.
    ``find_unused_parameters`` keeps the first buckets instead, but looks through the graph at each step and warns of that; a single
    bucket is reordered all the same, and leaves nothing to send while the backward pass is under way.
    """
    network = averaging.module
    averaging.module = _Touched(network)
    averaging(torch.zeros((), device=device)).sum().backward()
    averaging.module = network
    network.zero_grad(set_to_none=True)


@contextmanager
def joined() -> Iterator[Team]:
    """The team of a program: that of torchrun where it was started by it, else this process alone. Left together at the end.

    Where all processes fail with one message, it is raised on rank 0, and the others exit with code 1 in silence. Raises InputError
    where the environment has a part only of what torchrun sets.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield Alone()
        return
    if missing := [name for name in GIVEN if name not in os.environ]:
        raise InputError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']} but {', '.join(missing)} not set: start several processes by torchrun, or unset it"
        )
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    team = Several(int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"]))
    try:
        yield team
    except SharedError:
        if team.rank == 0:
            raise
        team.outlast_first()
        raise SystemExit(1) from None
    dist.destroy_process_group()


def by_first(team: Team, action: Callable[[], object]) -> None:
    """``action`` on rank 0 alone, while the others wait."""
    team.everywhere(lambda: action() if team.rank == 0 else None)


def first_before_others(team: Team, action: Callable[[], T]) -> T:
    """``action`` on rank 0, then on all others, who find what it has left in a cache."""
    if team.rank == 0:
        found = team.everywhere(action)
        team.everywhere(_nothing)
        return found
    team.everywhere(_nothing)
    return team.everywhere(action)


def _nothing() -> None:
    """What the others wait for."""
