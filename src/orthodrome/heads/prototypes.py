"""Class proxies (prototypes) W of a head: first values, more classes, other shards.

Shapes: C classes, K proxies of one class, D embedding dimension, N embeddings.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor, nn

from orthodrome.heads.sharded import failing_together
from orthodrome.registry import Registry
from orthodrome.sphere import norms, unit
from orthodrome.types import EmbeddingSet, InputError, Similarity

if TYPE_CHECKING:
    from orthodrome.heads.proxy import ProxyHead

# -------------------------------------------------------------------------------------------------------- first values

Initializer = Callable[[Tensor, int], object]
"""Fills some rows (n, D) of a table from torch's generator, given how many rows the table has in all."""

INITIALIZERS: Registry[Initializer] = Registry("init")

SPREAD = 0.1
"""Length of the step, along the sphere, between the mean of a class and each of its K > 1 proxies."""

_BLOCK = 4096
"""Rows drawn at a time. Of a multiple of 16 torch draws the numbers it would draw in one go."""


def normal(rows: Tensor, count: int) -> None:
    """Normal with σ = 0.01: lengths of about 0.01·√D."""
    rows.normal_(std=0.01)


def xavier(rows: Tensor, count: int) -> None:
    """Uniform in ±√(6/(C·K + D)) (Glorot and Bengio 2010)."""
    bound = math.sqrt(6 / (count + rows.shape[1]))
    rows.uniform_(-bound, bound)


INITIALIZERS.add("normal", normal)
INITIALIZERS.add("xavier", xavier)


def table_rows(classes: range, per_class: int) -> range:
    """The rows of some classes in a table with ``per_class`` rows for each."""
    return range(classes.start * per_class, classes.stop * per_class)


def drawn(init: str, rows: range, count: int, dimension: int) -> Tensor:
    """``rows`` of a table (count, D), drawn as if it were drawn whole.

    All rows are drawn, block by block, and those outside ``rows`` dropped: so the first values of a head do not depend on how many
    processes share it, as long as all are seeded alike.
    """
    fill, kept = INITIALIZERS.get(init), torch.empty(len(rows), dimension)
    starts = range(0, max(count - _BLOCK, 0) + 1, _BLOCK)  # the last block takes the rest
    for start, stop in zip(starts, [*starts[1:], count], strict=True):
        block = torch.empty(stop - start, dimension)
        fill(block, count)
        first, last = max(start, rows.start), min(stop, rows.stop)
        if first < last:
            kept[first - rows.start : last - rows.start] = block[first - start : last - start]
    return kept


def class_means(embeddings: EmbeddingSet, classes: range, per_class: int = 1, *, generator: Generator | None = None) -> Tensor:
    """(C·K, D) unit proxies for ``classes``: the direction of the mean of the unit embeddings of each; labels outside are left alone.

    K > 1 proxies of a class stand :data:`SPREAD` aside of it, each in a direction of its own. Raises InputError, naming them, for
    embeddings of these classes that are not finite, classes without embeddings and classes whose embeddings cancel out.
    """
    vectors, labels = torch.as_tensor(embeddings.vectors), torch.as_tensor(embeddings.labels) - classes.start
    inside = (labels >= 0) & (labels < len(classes))
    _refuse_not_finite(embeddings, inside & ~vectors.isfinite().all(dim=1))
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


def _refuse_not_finite(embeddings: EmbeddingSet, wrong: Tensor) -> None:
    if wrong.any():
        first = int(wrong.nonzero()[0])
        raise InputError(
            f"{int(wrong.sum())} of {len(embeddings)} embeddings are not finite, the first that of {embeddings.ids[first]!r}: "
            "leave them out, or embed these images anew"
        )


def _refuse(wrong: Tensor, classes: range, why: str) -> None:
    if wrong.any():
        first = ", ".join(str(int(row) + classes.start) for row in wrong.nonzero()[:5])
        which = f"{int(wrong.sum())} of the {len(classes)} classes {classes.start} to {classes.stop - 1}"
        raise InputError(f"{which} {why}: {first}{' …' if wrong.sum() > 5 else ''}")


@torch.no_grad()
def initialize(head: ProxyHead, how: str | EmbeddingSet) -> None:
    """Fill the proxies of ``head``, by the name of an initializer or with the class means of an EmbeddingSet.

    On several processes, all of which must call it, each fills the classes it holds; by name, with what one process would draw if all
    are seeded alike. What one of them refuses is raised on all.
    Losses on the sphere do not look at the length of a proxy; the logits of affine ones (softmax, l2_softmax) do: class means have
    length 1, "normal" about 0.01·√D. Raises InputError for an unknown name, another dimension, what is neither a name nor an
    EmbeddingSet, and as :func:`class_means`.
    """
    with failing_together(head._processes):
        first = _first_values(head, how, head.classes, head.num_classes)
    head.weight.copy_(first)


def _first_values(head: ProxyHead, how: str | EmbeddingSet, classes: range, num_classes: int) -> Tensor:
    per_class = head.spec.similarity.per_class
    if isinstance(how, str):
        return drawn(how, table_rows(classes, per_class), num_classes * per_class, head.embedding_dim)
    if not isinstance(how, EmbeddingSet):
        names = ", ".join(INITIALIZERS.names())
        raise InputError(f"proxies begin as an initializer ({names}) or an EmbeddingSet says; got {type(how).__name__}")
    if how.vectors.shape[1] != head.embedding_dim:
        raise InputError(f"embeddings must have {head.embedding_dim} dimensions, as the head has; got {how.vectors.shape[1]}")
    return class_means(how, classes, per_class)


# --------------------------------------------------------------------------------------------------------- more classes


def rows_per_class(similarity: Similarity) -> dict[str, int]:
    """What is split where processes share the classes, and the rows of one class in it: the proxies (K), the class bias (1)."""
    return {"weight": similarity.per_class} | ({"class_bias": 1} if similarity.class_bias else {})


def per_class_entries(head: ProxyHead) -> dict[str, int]:
    """Entries of the state of ``head`` with rows of their own for each class, and how many rows: W (K), class bias, centres."""
    entries = rows_per_class(head.spec.similarity)
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
    bigger = copy.copy(head)
    bigger._parameters, bigger._buffers = dict(head._parameters), dict(head._buffers)
    for name, hooks in vars(head).items():
        if name.endswith("_hooks"):
            setattr(bigger, name, copy.copy(hooks))
    bigger.num_classes, bigger.classes = num_classes, range(num_classes)
    added = _first_values(head, new, range(old, num_classes), num_classes)
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
    """The state of a head, saved by len(parts) processes, for each of ``world`` processes (1: a whole head); see :func:`shard_of`.

    Raises InputError as that does, and for a number of processes below 1 or above that of the classes.
    """
    if world < 1:
        raise InputError(f"world is the number of processes that will hold the head, at least 1; got {world}")
    wanted = [shard(num_classes, rank, world) for rank in range(world)]
    return [shard_of(parts, classes, num_classes=num_classes, entries=entries) for classes in wanted]


def shard_of(parts: Sequence[State], classes: range, *, num_classes: int, entries: Mapping[str, int]) -> dict[str, Tensor]:
    """The state of a head that holds ``classes``, from ``parts``: what each rank saved, in order.

    ``entries``: those that are split, :func:`rows_per_class`; other entries must be the same on all. Rows are copied bit for bit, and
    rows of other classes not looked at: a part may be a file mapped into memory.

    Raises InputError for parts that are not the shards of ``num_classes``, or that disagree where they should not.
    """
    if not parts:
        raise InputError("resharded needs the state of each process; got none")
    for rank, part in enumerate(parts):
        _check_part(rank, part, parts[0], len(shard(num_classes, rank, len(parts))), entries)
    return {
        name: rows_of([part[name] for part in parts], table_rows(classes, entries[name])) if name in entries else value
        for name, value in parts[0].items()
    }


def rows_of(tables: Sequence[Tensor], rows: range) -> Tensor:
    """A copy of ``rows`` of one table that is given as pieces which follow on each other."""
    pieces, start = [tables[0][:0]], 0
    for table in tables:
        pieces.append(table[max(rows.start - start, 0) : max(rows.stop - start, 0)])
        start += len(table)
    return torch.cat(pieces)


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
