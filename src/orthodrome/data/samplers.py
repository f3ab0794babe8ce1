"""Which images form which batch. Every order is a pure function of (seed, epoch): there is no state to save.

To resume at batch k of epoch e, call ``batches(e, start=k)``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from orthodrome.types import InputError, Labels


class BatchSampler(Protocol):
    """The order of a training run, ``num_samples`` images in ``len`` batches an epoch, of ``batch_size`` but for a last one."""

    @property
    def num_samples(self) -> int: ...

    @property
    def batch_size(self) -> int: ...

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


class _Drawn(ABC):
    """An order drawn anew for each epoch from (seed, epoch), cut into batches."""

    num_samples: int
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        _check_counts(self.num_samples, self.batch_size)
        if self.seed < 0:
            raise InputError(f"seed must be ≥ 0; got {self.seed}")
        if len(self) == 0:
            raise InputError(f"batch_size {self.batch_size} is more than the {self.num_samples} images; lower it")

    @abstractmethod
    def __len__(self) -> int: ...

    def batches(self, epoch: int, start: int = 0) -> Iterator[np.ndarray]:
        """See `BatchSampler.batches`."""
        order = self._order(np.random.default_rng([self.seed, epoch]))
        return _cut(order, self.batch_size, len(self), start)

    @abstractmethod
    def _order(self, generator: np.random.Generator) -> np.ndarray:
        """Positions in the reader, one after the other, of all batches of an epoch."""


@dataclass(frozen=True)
class _Groups:
    """The images of each person in an order drawn for the epoch: positions, grouped; where each group begins; how many it has."""

    order: np.ndarray
    first: np.ndarray
    count: np.ndarray

    def images(self, who: np.ndarray, turn: np.ndarray) -> np.ndarray:
        """The image each person shows at its turns 0, 1, …: one after the other, going round."""
        found: np.ndarray = self.order[self.first[who] + turn % self.count[who]]
        return found


class _DrawnByPerson(_Drawn):
    """People take turns, and so do the images of each. ``labels`` (N,): any sequence of integers."""

    labels: Labels | np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", np.asarray(self.labels))
        super().__post_init__()

    @property
    def num_samples(self) -> int:  # type: ignore[override]  # follows from the labels here, a field elsewhere
        """Images of the set."""
        return len(self.labels)

    def _order(self, generator: np.random.Generator) -> np.ndarray:
        labels = np.asarray(self.labels)
        shuffled = generator.permutation(labels.size)
        order = shuffled[np.argsort(labels[shuffled], kind="stable")]
        _, first, count = np.unique(labels[order], return_index=True, return_counts=True)
        return self._visits(_Groups(order, first, count), generator)

    @abstractmethod
    def _visits(self, groups: _Groups, generator: np.random.Generator) -> np.ndarray:
        """The images of an epoch, in order."""


@dataclass(frozen=True)
class EpochSampler(_Drawn):
    """Every image once per epoch, in an order drawn anew from (seed, epoch).

    With ``drop_last`` all batches are full; the images left over differ from epoch to epoch.
    """

    num_samples: int
    batch_size: int
    seed: int = 0
    drop_last: bool = True

    def __len__(self) -> int:
        full, rest = divmod(self.num_samples, self.batch_size)
        return full if self.drop_last or not rest else full + 1

    def _order(self, generator: np.random.Generator) -> np.ndarray:
        return generator.permutation(self.num_samples)


@dataclass(frozen=True, eq=False)
class PKSampler(_DrawnByPerson):
    """Batches of ``people`` identities with ``images_per_person`` images each, neighbours (Hermans et al., 2017).

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
        super().__post_init__()
        identities = np.unique(np.asarray(self.labels)).size
        if identities < self.people:
            raise InputError(f"people must be at most the {identities} identities of the set; got {self.people}")

    @property
    def batch_size(self) -> int:  # type: ignore[override]  # follows from people and images here, a field elsewhere
        """``people · images_per_person``"""
        return self.people * self.images_per_person

    def __len__(self) -> int:
        return max(1, self.num_samples // self.batch_size)

    def _visits(self, groups: _Groups, generator: np.random.Generator) -> np.ndarray:
        visits, identities = len(self) * self.people, groups.count.size
        who = _turns(identities, self.people, visits, generator)
        visit = np.arange(visits) // identities  # each identity occurs once in every round
        turn = visit[:, None] * self.images_per_person + np.arange(self.images_per_person)
        return groups.images(who[:, None], turn).reshape(-1)


@dataclass(frozen=True, eq=False)
class PowerSampler(_DrawnByPerson):
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
        super().__post_init__()
        if not 0 <= self.power <= 1:
            raise InputError(f"power lies in [0, 1], from classes alike to images alike; got {self.power}")

    def __len__(self) -> int:
        return self.num_samples // self.batch_size

    def _visits(self, groups: _Groups, generator: np.random.Generator) -> np.ndarray:
        visits = _systematic(groups.count**self.power, len(self) * self.batch_size, generator)
        who = np.repeat(np.arange(groups.count.size), visits)
        turn = np.arange(who.size) - np.repeat(np.cumsum(visits) - visits, visits)
        return generator.permutation(groups.images(who, turn))


@dataclass(frozen=True, eq=False)
class RankSampler:
    """One rank's part of every batch of ``sampler``: neighbours, as even as can be; all ranks together have the whole batch, each image
    once.

    The order of an epoch does not depend on the number of ranks, so a run may go on with another one. Where a batch (the last one) is
    smaller than the number of ranks, some parts are empty. ``num_samples`` and ``batch_size`` are those of all ranks together.
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

    @property
    def batch_size(self) -> int:
        """Images of a batch, all ranks together."""
        return self.sampler.batch_size

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
