"""Which images form which batch. Every order is a pure function of (seed, epoch): there is no state to save.

To resume at batch k of epoch e, call ``batches(e, start=k)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from orthodrome.types import InputError, Labels


class BatchSampler(Protocol):
    """The order of a training run, ``num_samples`` images in ``len`` batches an epoch."""

    @property
    def num_samples(self) -> int: ...

    def __len__(self) -> int: ...

    def batches(self, epoch: int, start: int = 0) -> Iterator[np.ndarray]:
        """The batches ``start, start + 1, …`` of one epoch: int64 (B,) positions in the reader."""


@dataclass(frozen=True)
class SequentialSampler:
    """All images in their own order, the same every epoch, the last batch shorter: for embedding a set."""

    num_samples: int
    batch_size: int

    def __post_init__(self) -> None:
        _check_counts(self.num_samples, self.batch_size)

    def __len__(self) -> int:
        return -(-self.num_samples // self.batch_size)

    def batches(self, epoch: int = 0, start: int = 0) -> Iterator[np.ndarray]:
        """See `BatchSampler.batches`."""
        return _cut(np.arange(self.num_samples), self.batch_size, len(self), start)


@dataclass(frozen=True)
class EpochSampler:
    """Every image once per epoch, in an order drawn anew from (seed, epoch).

    With ``drop_last`` all batches are full; the images left over differ from epoch to epoch.
    """

    num_samples: int
    batch_size: int
    seed: int = 0
    drop_last: bool = True

    def __post_init__(self) -> None:
        _check_counts(self.num_samples, self.batch_size)
        _check_seed(self.seed)
        if len(self) == 0:
            raise InputError(f"batch_size {self.batch_size} is more than the {self.num_samples} images; lower it")

    def __len__(self) -> int:
        full, rest = divmod(self.num_samples, self.batch_size)
        return full if self.drop_last or not rest else full + 1

    def batches(self, epoch: int, start: int = 0) -> Iterator[np.ndarray]:
        """See `BatchSampler.batches`."""
        order = np.random.default_rng([self.seed, epoch]).permutation(self.num_samples)
        return _cut(order, self.batch_size, len(self), start)


@dataclass(frozen=True, eq=False)
class PKSampler:
    """Batches of ``people`` identities with ``images_per_person`` images each (Hermans et al., 2017).

    An epoch has ``N // (people · images_per_person)`` batches, at least one. Identities take turns: in an
    epoch no identity is visited more than once oftener than another. Each visit takes the next images of an
    order drawn per epoch, going round; so the images of a visit are distinct where the identity has enough,
    and repeat as evenly as possible where it has not.
    """

    labels: Labels | np.ndarray
    people: int
    images_per_person: int
    seed: int = 0

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels)
        object.__setattr__(self, "labels", labels)
        _check_counts(labels.size, self.batch_size)
        _check_seed(self.seed)
        identities = np.unique(labels).size
        if identities < self.people:
            raise InputError(f"people must be at most the {identities} identities of the set; got {self.people}")

    @property
    def num_samples(self) -> int:
        """Images of the set."""
        return len(self.labels)

    @property
    def batch_size(self) -> int:
        """``people · images_per_person``"""
        return self.people * self.images_per_person

    def __len__(self) -> int:
        return max(1, self.num_samples // self.batch_size)

    def batches(self, epoch: int, start: int = 0) -> Iterator[np.ndarray]:
        """See `BatchSampler.batches`; the images of one identity are neighbours."""
        generator = np.random.default_rng([self.seed, epoch])
        order, first, count = _shuffled_by_class(np.asarray(self.labels), generator)
        visits = len(self) * self.people
        identity = _turns(count.size, self.people, visits, generator)
        turn = np.arange(visits) // count.size  # each identity occurs once in every turn
        steps = turn[:, None] * self.images_per_person + np.arange(self.images_per_person)
        images = order[first[identity][:, None] + steps % count[identity][:, None]]
        return _cut(images.reshape(-1), self.batch_size, len(self), start)


@dataclass(frozen=True, eq=False)
class PowerSampler:
    """Classes drawn in proportion to ``count ** power`` of their images: 1 all images alike, 0 all classes alike (class-balanced), 0.5
    between the two, for long-tailed sets (square-root sampling; Mahajan et al., 2018).

    An epoch has ``N // batch_size`` batches. A class gets its share of the draws rounded up or down, by chance, so that the expectation
    is exact (systematic sampling); its images take turns in an order drawn per epoch, so none comes twice more than another.
    """

    labels: Labels | np.ndarray
    batch_size: int
    power: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels)
        object.__setattr__(self, "labels", labels)
        _check_counts(labels.size, self.batch_size)
        _check_seed(self.seed)
        if not 0 <= self.power <= 1:
            raise InputError(f"power lies in [0, 1], from classes alike to images alike; got {self.power}")
        if len(self) == 0:
            raise InputError(f"batch_size {self.batch_size} is more than the {labels.size} images; lower it")

    @property
    def num_samples(self) -> int:
        """Images of the set."""
        return len(self.labels)

    def __len__(self) -> int:
        return self.num_samples // self.batch_size

    def batches(self, epoch: int, start: int = 0) -> Iterator[np.ndarray]:
        """See `BatchSampler.batches`."""
        generator = np.random.default_rng([self.seed, epoch])
        order, first, count = _shuffled_by_class(np.asarray(self.labels), generator)
        visits = _systematic(count**self.power, len(self) * self.batch_size, generator)
        which = np.repeat(np.arange(count.size), visits)
        turn = np.arange(which.size) - np.repeat(np.cumsum(visits) - visits, visits)
        images = order[first[which] + turn % count[which]]
        return _cut(generator.permutation(images), self.batch_size, len(self), start)


@dataclass(frozen=True, eq=False)
class RankSampler:
    """One rank's part of every batch of ``sampler``: neighbours, as even as can be; all ranks together have the whole batch, each image
    once.

    The order of an epoch does not depend on the number of ranks, so a run may go on with another one. Where a batch (the last one) is
    smaller than the number of ranks, some parts are empty.
    """

    sampler: BatchSampler
    rank: int
    ranks: int

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.ranks:
            raise InputError(f"rank must be in [0, {self.ranks}), the number of ranks; got {self.rank}")

    @property
    def num_samples(self) -> int:
        """Images of the set."""
        return self.sampler.num_samples

    def __len__(self) -> int:
        return len(self.sampler)

    def batches(self, epoch: int, start: int = 0) -> Iterator[np.ndarray]:
        """See `BatchSampler.batches`."""
        return (np.array_split(batch, self.ranks)[self.rank] for batch in self.sampler.batches(epoch, start))


def _systematic(weights: np.ndarray, total: int, generator: np.random.Generator) -> np.ndarray:
    """Whole numbers (C,) with the sum ``total``, each ``total · weight / Σ weights`` rounded up or down, that on average."""
    edges = np.concatenate([[0.0], np.cumsum(weights)])
    marks = np.floor(edges * (total / edges[-1]) + generator.random()).astype(np.int64)
    marks[-1] = marks[0] + total  # which rounding may miss by one
    return np.diff(marks)


def _shuffled_by_class(labels: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions grouped by class, in random order within each; where each group begins; how many it has."""
    shuffled = generator.permutation(labels.size)
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    _, first, count = np.unique(labels[order], return_index=True, return_counts=True)
    return order, first, count


def _turns(identities: int, people: int, visits: int, generator: np.random.Generator) -> np.ndarray:
    """Random turns of all identities in a row, (visits,); each block of ``people`` holds different ones."""
    turns: list[np.ndarray] = []
    leftover = np.empty(0, dtype=np.int64)  # of the batch that the last turn did not fill
    for _ in range(-(-visits // identities)):
        turn = generator.permutation(identities)
        if leftover.size:
            fitting = turn[~np.isin(turn, leftover)][: people - leftover.size]
            turn = np.concatenate([fitting, turn[~np.isin(turn, fitting)]])
        turns.append(turn)
        unfilled = (len(turns) * identities) % people
        leftover = turn[identities - unfilled :]
    return np.concatenate(turns)[:visits]


def _cut(order: np.ndarray, batch_size: int, count: int, start: int) -> Iterator[np.ndarray]:
    if not 0 <= start <= count:
        raise InputError(f"start must be in [0, {count}], the batches of an epoch; got {start}")
    return (order[k * batch_size : (k + 1) * batch_size] for k in range(start, count))


def _check_counts(num_samples: int, batch_size: int) -> None:
    if num_samples < 1:
        raise InputError(f"a sampler needs at least one image; got {num_samples}")
    if batch_size < 1:
        raise InputError(f"a batch needs at least one image; got a batch size of {batch_size}")


def _check_seed(seed: int) -> None:
    if seed < 0:
        raise InputError(f"seed must be ≥ 0; got {seed}")
