"""Class proxies (prototypes) W of a head: first values by name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from orthodrome.registry import Registry
from orthodrome.types import InputError

Initializer = Callable[[int, int, int, "Generator | None"], Tensor]
INITIALIZERS: Registry[Initializer] = Registry("init")


def normal(num_classes: int, per_class: int, dimension: int, generator: Generator | None) -> Tensor:
    """σ = 0.01."""
    return torch.empty(num_classes * per_class, dimension).normal_(std=0.01, generator=generator)


INITIALIZERS.add("normal", normal)


def shard(num_classes: int, rank: int, world: int) -> range:
    """The classes of a rank: contiguous, the first C mod R ranks hold one more. Raises InputError for more ranks than classes."""
    if not 1 <= world <= num_classes:
        raise InputError(f"{num_classes} classes cannot be split over {world} processes: each must hold at least one")
    if not 0 <= rank < world:
        raise InputError(f"rank must be in [0, {world}); got {rank}")
    small, more = divmod(num_classes, world)
    start = rank * small + min(rank, more)
    return range(start, start + small + (rank < more))
