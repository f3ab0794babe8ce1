"""One algorithm for every proxy row: similarity → φ, ν → partial → merge → join → ω. It knows no loss by name.

    p_i  = s_i·φ(cos_iy) + b         N_i = ⊕_{j≠y} [s_i·ν(cos_ij) + b]         ℓ_i = ω(Φ(p_i, N_i)) + regularisers

How the classes are held, all at once or tile by tile, is a function too (:data:`Compare`).
Shapes: B batch, C classes, M classes of a tile, D embedding dimension, K proxies of one class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from orthodrome import sphere
from orthodrome.losses.links import SOFTMAX
from orthodrome.types import InputError, Link, LossOutput, LossSpec, Rows, Values

StateValues = Mapping[str, Tensor]
Draw = Callable[[tuple[int, ...]], Tensor]

COMPUTED_IN = (torch.float32, torch.float64)
"""Dtypes of embeddings and proxies once half precision is promoted."""


def check_labels(labels: Tensor, batch: int, num_classes: int | None) -> Tensor:
    """``labels`` as int64 (B,), B ≥ 1, in [0, num_classes) or, where that is None, at least 0.

    Raises InputError for what is no tensor, another shape, a floating dtype, or a label out of range (label and position named).
    """
    check_tensor("labels", labels)
    if labels.shape != (batch,):
        raise InputError(f"labels must have shape ({batch},), one per embedding; got {tuple(labels.shape)}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise InputError(f"labels must be integers; got {labels.dtype}")
    labels = labels.long()
    least, largest = map(int, labels.aminmax())
    if least < 0 or (num_classes is not None and largest >= num_classes):
        wrong = labels < 0 if num_classes is None else (labels < 0) | (labels >= num_classes)
        position = int(wrong.nonzero()[0])
        allowed = "at least 0" if num_classes is None else f"in [0, {num_classes})"
        raise InputError(f"labels must be {allowed}; got {int(labels[position])} at position {position}")
    return labels


def promote(values: Tensor) -> Tensor:
    """Half precision becomes float32: cosines near ±1 need the digits."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def similarities(spec: LossSpec, query: Tensor, proxies: Tensor, class_bias: Tensor | None) -> Tensor:
    """(B, M): what each class of a tile is worth to each sample."""
    keys = sphere.unit(promote(proxies)) if spec.similarity.unit_proxies else promote(proxies)
    products = spec.similarity.reduce(query @ keys.T)
    return products if class_bias is None else products + class_bias.to(products.dtype)


def own_similarity(spec: LossSpec, query: Tensor, own: Tensor, own_bias: Tensor | None) -> Tensor:
    """(B, 1): what the own class, of proxies ``own`` (B, K, D) and bias (B, 1), is worth to each sample."""
    keys = sphere.unit(own) if spec.similarity.unit_proxies else own
    similarity = spec.similarity.reduce(torch.linalg.vecdot(keys, query.unsqueeze(1)))
    return similarity if own_bias is None else similarity + own_bias.to(similarity.dtype)


def own_proxies(spec: LossSpec, proxies: Tensor, labels: Tensor) -> Tensor:
    """(B, K, D): the proxies of each sample's own class; any where it stands elsewhere (label −1)."""
    return promote(proxies.unflatten(0, (-1, spec.similarity.per_class))[labels.clamp_min(0)])


def excluding(spec: LossSpec, cos: Tensor, logits: Tensor) -> Tensor:
    """−inf for classes in conflict: more similar than ``spec.conflict``, and so probably the same person under another label."""
    return logits if spec.conflict is None else logits.masked_fill(cos.detach() > spec.conflict, -torch.inf)


def without_target(logits: Tensor, labels: Tensor) -> Tensor:
    """−inf in each sample's own column, in place: the link then counts the other classes only."""
    here = (labels >= 0).nonzero().squeeze(1)
    return logits.index_put_((here, labels[here]), logits.new_tensor(-torch.inf))


@dataclass(frozen=True)
class Terms:
    """What a sample's loss is made of: ``target`` (B, 1) with gradient, N of the other classes, and the ``own`` proxies (B, K, D)."""

    target: Tensor
    n: Tensor
    own: Tensor


@dataclass(frozen=True)
class Known:
    """What is known before classes are compared in earnest, all of it constant for ν: own similarity (B, 1), margin values, scale,
    state, own logit p (B,), and the number of classes of all processes.
    """

    target: Tensor
    values: Values
    scale: Tensor | float
    state: StateValues
    p: Tensor
    num_classes: int


@dataclass(frozen=True)
class Classes:
    """The classes as a head sees them, however it holds them: all at once, tile by tile, or those it has drawn.

    ``target`` (B, 1): the similarity to the own class, a constant for the gradient, 0 where that class stands elsewhere.
    ``count``: how many are compared. ``negatives``: as in :class:`Rows`. ``terms``: what the loss is made of.
    """

    target: Tensor
    count: int
    negatives: Callable[[Tensor | float], Tensor]
    terms: Callable[[Known], Terms]


Compare = Callable[[Tensor, Tensor, Tensor, "Tensor | None"], Classes]
"""Query (B, D), labels (B,) with −1 for a class that stands elsewhere, proxies (C·K, D), class bias (C,) or None -> Classes."""


class Group(Protocol):
    """The processes that share the classes of a head: what each knows of its own classes, made known to all."""

    def total(self, values: Tensor) -> Tensor:
        """The sum over processes."""

    def merge(self, link: Link, n: Tensor) -> Tensor:
        """N of all classes, from that of the own ones."""

    def count(self, classes: int) -> int:
        """The number of classes compared."""


class Alone:
    """One process, all classes."""

    def total(self, values: Tensor) -> Tensor:
        return values

    def merge(self, link: Link, n: Tensor) -> Tensor:
        return n

    def count(self, classes: int) -> int:
        return classes


def dense(spec: LossSpec) -> Compare:
    """All classes in one tile (B, C), differentiated by autograd."""

    def compare(query: Tensor, labels: Tensor, proxies: Tensor, class_bias: Tensor | None) -> Classes:
        cos_BC = similarities(spec, query, proxies, class_bias)
        target = cos_BC.gather(1, labels.clamp_min(0).unsqueeze(1)).masked_fill(labels.unsqueeze(1) < 0, 0)

        def negatives(scale: Tensor | float) -> Tensor:
            cos = cos_BC.detach()
            return SOFTMAX.partial(without_target(excluding(spec, cos, scale * cos), labels))

        def terms(known: Known) -> Terms:
            _, nu_BC = spec.angular(known.target, cos_BC, **known.values)
            z_BC = excluding(spec, cos_BC, logits(known.scale, nu_BC, known.state))
            n = spec.link.partial(without_target(z_BC, labels))
            return Terms(target, n, own_proxies(spec, proxies, labels) if spec.regularizers else proxies.new_empty(0))

        return Classes(target.detach(), cos_BC.shape[1], negatives, terms)

    return compare


def evaluate(
    spec: LossSpec,
    embeddings: Tensor,
    labels: Tensor,
    proxies: Tensor,
    state: StateValues,
    *,
    training: bool,
    draw: Draw,
    compare: Compare,
    group: Group,
    first_class: int = 0,
) -> tuple[LossOutput, StateValues]:
    """The loss of a batch, its classes compared by ``compare``. Returns it and the new state (empty unless ``training``).

    ``proxies`` are those of the classes from ``first_class`` on; other processes of ``group`` hold the rest.
    """
    per_class = spec.similarity.per_class
    here = labels - first_class
    here = torch.where((here >= 0) & (here < len(proxies) // per_class), here, -1)
    with torch.autocast(embeddings.device.type, enabled=False):
        embeddings = promote(embeddings)
        class_bias = state["class_bias"] if spec.similarity.class_bias else None
        classes = compare(spec.similarity.query(embeddings, state), here, proxies, class_bias)
        num_classes = group.count(classes.count)

        def negatives(scale: Tensor | float) -> Tensor:
            return group.merge(SOFTMAX, classes.negatives(scale))

        rows = Rows(sphere.norms(embeddings), group.total(classes.target), num_classes, negatives, draw)
        fresh = prepared(spec, rows, state) if training else {}
        state = {**state, **fresh}
        values, scale = spec.margins(rows, state), spec.scale(rows, state)

        def target_logits(target: Tensor) -> Tensor:
            phi_B1, _ = spec.angular(target, target[:, :0], **values)
            return logits(scale, phi_B1, state).squeeze(1)

        p_B = target_logits(rows.target).detach()

        terms = classes.terms(Known(rows.target, values, scale, state, p_B, num_classes))
        p_B, n_B = target_logits(group.total(terms.target)), group.merge(spec.link, terms.n)
        losses_B = spec.weight(spec.link.join(p_B, n_B, num_classes))
        if spec.regularizers:
            own = group.total(terms.own * (here >= 0)[:, None, None])
            for term in spec.regularizers:
                losses_B = losses_B + term.value(embeddings, labels, own, state)
        fresh = {**fresh, **(after_loss(spec, embeddings, labels, state) if training else {})}
    return LossOutput(losses_B.mean(), losses_B, statistics(rows, scale)), fresh


def logits(scale: Tensor | float, values: Tensor, state: StateValues) -> Tensor:
    """s·values + b, always a new tensor."""
    scaled = scale.to(values.dtype) * values if isinstance(scale, Tensor) else scale * values
    return scaled + state["bias"].to(values.dtype) if "bias" in state else scaled


def slope(spec: LossSpec, p: Tensor, n: Tensor, num_classes: int) -> Tensor:
    """The gradient of the mean loss with respect to N, at own logits p (B,) and N."""
    with torch.enable_grad():
        n = n.detach().requires_grad_()
        return torch.autograd.grad(spec.weight(spec.link.join(p, n, num_classes)).mean(), n)[0]


@torch.no_grad()
def prepared(spec: LossSpec, rows: Rows, state: StateValues) -> StateValues:
    """New state from this batch, before the loss (AdaCos, CurricularFace, AdaFace, A-Softmax)."""
    return spec.prepare(rows, state) if spec.prepare else {}


@torch.no_grad()
def after_loss(spec: LossSpec, embeddings: Tensor, labels: Tensor, state: StateValues) -> StateValues:
    """New state from this batch, after the loss (moving centres)."""
    fresh: dict[str, Tensor] = {}
    for term in spec.regularizers:
        if term.update:
            fresh |= term.update(embeddings, labels, state)
    return fresh


def statistics(rows: Rows, scale: Tensor | float) -> dict[str, Tensor]:
    """Scalars for the log."""
    target = rows.target.detach()
    mean_scale = scale.detach().mean() if isinstance(scale, Tensor) else target.new_tensor(scale)
    return {
        "target_similarity": target.mean(),
        "scale": mean_scale,
        "embedding_norm": rows.norms.detach().mean(),
    }


def check_tensor(name: str, values: object) -> None:
    """Raises InputError for anything but a tensor."""
    if not isinstance(values, Tensor):
        raise InputError(f"{name} must be a torch tensor; got {type(values).__name__}: give torch.as_tensor({name})")


def check_shapes(embeddings: Tensor, dimension: int) -> None:
    """Raises InputError unless embeddings are floating (B, D) with B ≥ 1."""
    check_tensor("embeddings", embeddings)
    if embeddings.ndim != 2 or embeddings.shape[1] != dimension or embeddings.shape[0] < 1:
        raise InputError(f"embeddings must have shape (B, {dimension}) with B ≥ 1; got {tuple(embeddings.shape)}")
    if promote(embeddings).dtype not in COMPUTED_IN:
        raise InputError(f"embeddings must be floating point, of 16, 32 or 64 bits; got {embeddings.dtype}")


def check_dtypes(embeddings: Tensor, proxies: Tensor) -> None:
    """Raises InputError unless embeddings and proxies are of one dtype, half precision promoted to float32."""
    dtype, expected = promote(embeddings).dtype, promote(proxies).dtype
    if dtype != expected:
        raise InputError(
            f"embeddings are {embeddings.dtype} but the proxies of the head {proxies.dtype}: convert the embeddings "
            f"(embeddings.to({expected})) or the head (head.to({dtype}))"
        )


def check_finite(embeddings: Tensor) -> None:
    """Raises InputError, naming the first row, where embeddings hold NaN or infinity."""
    if math.isfinite(embeddings.detach().sum()):  # one pass; a sum of finite numbers that overflows is looked at again
        return
    wrong = ~torch.isfinite(embeddings.detach()).all(dim=1)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise InputError(
            f"embeddings must be finite; row {row} is not ({int(wrong.sum())} of {len(embeddings)} rows): "
            "the network's weights ran away (lower the learning rate, clip gradients) or its input was not finite"
        )
