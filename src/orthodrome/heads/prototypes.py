"""Class proxies (prototypes) W of a head: first values, more classes, other shards.

Shapes: C classes, K proxies of one class, D embedding dimension, N embeddings.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor, nn

from orthodrome.registry import Registry
from orthodrome.sphere import norms, unit
from orthodrome.types import EmbeddingSet, InputError

if TYPE_CHECKING:
    from orthodrome.heads.proxy import ProxyHead

# -------------------------------------------------------------------------------------------------------- first values

Initializer = Callable[[int, int, int, "Generator | None"], Tensor]
"""Classes, proxies of one class, dimension, generator or None for torch's own -> (C·K, D)."""

INITIALIZERS: Registry[Initializer] = Registry("init")

SPREAD = 0.1
"""Length of the step, along the sphere, between the mean of a class and each of its K > 1 proxies."""


def normal(num_classes: int, per_class: int, dimension: int, generator: Generator | None = None) -> Tensor:
    """Normal with σ = 0.01: lengths of about 0.01·√D."""
    return torch.empty(num_classes * per_class, dimension).normal_(std=0.01, generator=generator)


def xavier(num_classes: int, per_class: int, dimension: int, generator: Generator | None = None) -> Tensor:
    """Uniform in ±√(6/(C·K + D)) (Glorot and Bengio 2010)."""
    return nn.init.xavier_uniform_(torch.empty(num_classes * per_class, dimension), generator=generator)


INITIALIZERS.add("normal", normal)
INITIALIZERS.add("xavier", xavier)


def class_means(embeddings: EmbeddingSet, classes: range, per_class: int = 1, *, generator: Generator | None = None) -> Tensor:
    """(C·K, D) unit proxies for ``classes``: the direction of the mean of the unit embeddings of each; labels outside are left alone.

    K > 1 proxies of a class stand :data:`SPREAD` aside of it, each in a direction of its own. Raises InputError, naming them, for
    classes without embeddings and classes whose embeddings cancel out.
    """
    vectors, labels = torch.as_tensor(embeddings.vectors), torch.as_tensor(embeddings.labels) - classes.start
    inside = (labels >= 0) & (labels < len(classes))
    labels = labels[inside]
    counts = torch.bincount(labels, minlength=len(classes))
    _refuse(counts == 0, classes, "have no embedding to be initialised from")
    sums = torch.zeros(len(classes), vectors.shape[1]).index_add_(0, labels, unit(vectors[inside].float()))
    _refuse(norms(sums).squeeze(1) < 1e-4 * counts, classes, "have embeddings that cancel out, so no mean direction")
    means = unit(sums).repeat_interleave(per_class, dim=0)
    if per_class == 1:
        return means
    aside = torch.empty_like(means).normal_(generator=generator)
    aside = unit(aside - (aside * means).sum(dim=1, keepdim=True) * means)
    return unit(means + SPREAD * aside)


def _refuse(wrong: Tensor, classes: range, why: str) -> None:
    if wrong.any():
        first = ", ".join(str(int(row) + classes.start) for row in wrong.nonzero()[:5])
        raise InputError(f"{int(wrong.sum())} of {len(classes)} classes {why}: {first}{' …' if wrong.sum() > 5 else ''}")


@torch.no_grad()
def initialize(head: ProxyHead, how: str | EmbeddingSet) -> None:
    """Fill the proxies of ``head``, by the name of an initializer or with the class means of an EmbeddingSet.

    Losses on the sphere do not look at the length of a proxy; the logits of affine ones (softmax, l2_softmax) do: class means have
    length 1, "normal" about 0.01·√D. Raises InputError for an unknown name, another dimension, and as :func:`class_means`.
    """
    head.weight.copy_(_first_values(head, how, head.classes))


def _first_values(head: ProxyHead, how: str | EmbeddingSet, classes: range) -> Tensor:
    per_class = head.spec.similarity.per_class
    if isinstance(how, str):
        return INITIALIZERS.get(how)(len(classes), per_class, head.embedding_dim, None)
    if how.vectors.shape[1] != head.embedding_dim:
        raise InputError(f"embeddings must have {head.embedding_dim} dimensions, as the head has; got {how.vectors.shape[1]}")
    return class_means(how, classes, per_class)


# --------------------------------------------------------------------------------------------------------- more classes


def per_class_entries(head: ProxyHead) -> dict[str, int]:
    """Entries of the state of ``head`` with rows of their own for each class, and how many rows: W (K), class bias, centres."""
    entries = {"weight": head.spec.similarity.per_class}
    if head.spec.similarity.class_bias:
        entries["class_bias"] = 1
    for made in (head.spec.state, *(lambda c, t=term: t.state(c, head.embedding_dim) for term in head.spec.regularizers)):
        few, more = made(head.spec.minimum_classes), made(head.spec.minimum_classes + 1)
        entries |= {name: 1 for name in few if few[name].value.shape != more[name].value.shape}
    return entries


@torch.no_grad()
def grown(head: ProxyHead, num_classes: int, new: str | EmbeddingSet = "normal") -> ProxyHead:
    """A copy of ``head`` with ``num_classes`` classes: the old ones first, their proxies, biases and centres bit for bit as they were.

    New proxies come from an initializer by name, or from class means (labels are those of the new head; only new classes are used).
    Other entries of new classes start at zero; what is not kept per class (AdaCos' scale, SphereFace2's bias, averages) stays as
    trained. Raises InputError unless there are more classes than before, and for a sharded head: grow before sharding.
    """
    old = head.num_classes
    if not isinstance(num_classes, int) or num_classes <= old:
        raise InputError(f"num_classes must be above the {old} of the head; got {num_classes!r}")
    if len(head.classes) != old:
        raise InputError("a shard of a head cannot grow: grow the whole head, then split it with resharded")
    bigger = copy.copy(head)  # shares the functions of the loss, which hold no tensors
    bigger._parameters, bigger._buffers = dict(head._parameters), dict(head._buffers)
    bigger.num_classes, bigger.classes = num_classes, range(num_classes)
    added = _first_values(head, new, range(old, num_classes))
    for name, value in head.state_dict().items():
        if name in per_class_entries(head):
            first = added.to(value) if name == "weight" else value.new_zeros((num_classes - old, *value.shape[1:]))
            value = torch.cat([value, first])
        else:
            value = value.clone()
        if name in head._parameters:
            bigger._parameters[name] = nn.Parameter(value, requires_grad=head.get_parameter(name).requires_grad)
        else:
            bigger._buffers[name] = value
    return bigger


# --------------------------------------------------------------------------------------------------------- other shards


def shard(num_classes: int, rank: int, world: int) -> range:
    """The classes of a rank: contiguous, the first C mod R ranks hold one more. Raises InputError for more ranks than classes."""
    if not 1 <= world <= num_classes:
        raise InputError(f"{num_classes} classes cannot be split over {world} processes: each must hold at least one")
    if not 0 <= rank < world:
        raise InputError(f"rank must be in [0, {world}); got {rank}")
    small, more = divmod(num_classes, world)
    start = rank * small + min(rank, more)
    return range(start, start + small + (rank < more))


State = Mapping[str, Tensor]


def resharded(parts: Sequence[State], world: int, *, num_classes: int, entries: Mapping[str, int]) -> list[dict[str, Tensor]]:
    """The state of a head, saved by len(parts) processes, for ``world`` processes (1: a whole head).

    ``parts``: what each rank saved, in order. ``entries``: :func:`per_class_entries` that are sharded, so without the centres of the
    centre regulariser, which each process holds whole. Other entries must be the same on all. Rows are kept bit for bit.

    Raises InputError for parts that are not the shards of ``num_classes``, or that disagree where they should not.
    """
    if not parts:
        raise InputError("resharded needs the state of each process; got none")
    shards = [shard(num_classes, rank, len(parts)) for rank in range(len(parts))]
    wanted = [shard(num_classes, rank, world) for rank in range(world)]
    for rank, part in enumerate(parts):
        _check_part(rank, part, parts[0], len(shards[rank]), entries)
    states: list[dict[str, Tensor]] = [{} for _ in wanted]
    for name, value in parts[0].items():
        rows = entries.get(name)
        whole = None if rows is None else torch.cat([part[name] for part in parts])
        for state, classes in zip(states, wanted, strict=True):
            state[name] = value if whole is None or rows is None else whole[classes.start * rows : classes.stop * rows].clone()
    return states


def _check_part(rank: int, part: State, first: State, classes: int, entries: Mapping[str, int]) -> None:
    if part.keys() != first.keys():
        raise InputError(f"rank {rank} has the entries {', '.join(part)}; rank 0 has {', '.join(first)}")
    for name, value in part.items():
        if name in entries:
            expected = classes * entries[name]
            if len(value) != expected:
                raise InputError(
                    f"{name} of rank {rank} must have {expected} rows, those of its {classes} classes; got {len(value)}"
                )
        elif not torch.equal(value, first[name]):
            raise InputError(f"{name} must be the same on all processes; rank {rank} differs from rank 0")
