"""One algorithm for every proxy row: similarity → φ, ν → partial → merge → join → ω. It knows no loss by name.

    p_i  = s_i·φ(cos_iy) + b         N_i = ⊕_{j≠y} [s_i·ν(cos_ij) + b]         ℓ_i = ω(Φ(p_i, N_i)) + regularisers

How the classes are held, all at once or tile by tile, is a function too (:data:`Compare`).
Shapes: B batch, C classes, M classes of a tile, D embedding dimension, K proxies of one class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from orthodrome import sphere
from orthodrome.types import InputError, LossOutput, LossSpec, Rows, Values

StateValues = Mapping[str, Tensor]
Draw = Callable[[tuple[int, ...]], Tensor]
Upstream = Callable[[Tensor], Tensor]


def check_labels(labels: Tensor, batch: int, num_classes: int | None) -> Tensor:
    """``labels`` as int64 (B,), in [0, num_classes) or, where that is None, at least 0.

    Raises InputError for another shape, a floating dtype, or a label out of range (label and position named).
    """
    if labels.shape != (batch,):
        raise InputError(f"labels must have shape ({batch},), one per embedding; got {tuple(labels.shape)}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise InputError(f"labels must be integers; got {labels.dtype}")
    labels = labels.long()
    wrong = labels < 0 if num_classes is None else (labels < 0) | (labels >= num_classes)
    if bool(wrong.any()):
        position = int(wrong.nonzero()[0])
        allowed = "at least 0" if num_classes is None else f"in [0, {num_classes})"
        raise InputError(f"labels must be {allowed}; got {int(labels[position])} at position {position}")
    return labels


def promote(values: Tensor) -> Tensor:
    """Half precision becomes float32: cosines near ±1 need the digits."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def similarities(spec: LossSpec, query: Tensor, proxies: Tensor, class_bias: Tensor | None) -> Tensor:
    """(B, M): what each class of a tile is worth to each sample."""
    products = spec.similarity.reduce(query @ spec.similarity.keys(promote(proxies)).T)
    return products if class_bias is None else products + class_bias.to(products.dtype)


def without_target(logits: Tensor, labels: Tensor) -> Tensor:
    """−inf in each sample's own column, in place: the link then counts the other classes only."""
    return logits.scatter_(1, labels.unsqueeze(1), -torch.inf)


@dataclass(frozen=True)
class Classes:
    """The classes as a head sees them, however it holds them: all at once, or tile by tile.

    ``target`` (B, 1): the similarity to the own class, a constant for the gradient. ``negatives``: as in :class:`Rows`.
    ``partial``: margin values, scale, state, and the gradient of the mean loss at a given N (or None where it is not wanted) ->
    target (B, 1) with gradient, and N of the other classes.
    """

    target: Tensor
    negatives: Callable[[Tensor | float], Tensor]
    partial: Callable[[Values, Tensor | float, StateValues, Upstream], tuple[Tensor, Tensor]]


Compare = Callable[[LossSpec, Tensor, Tensor, Tensor, Tensor | None], Classes]
"""Loss, query (B, D), labels (B,), proxies (C·K, D), class bias (C,) or None -> Classes."""


def dense(spec: LossSpec, query: Tensor, labels: Tensor, proxies: Tensor, class_bias: Tensor | None) -> Classes:
    """All classes in one tile (B, C), differentiated by autograd."""
    cos_BC = similarities(spec, query, proxies, class_bias)
    target = cos_BC.gather(1, labels.unsqueeze(1))

    def negatives(scale: Tensor | float) -> Tensor:
        return torch.logsumexp(without_target(scale * cos_BC.detach(), labels), dim=1)

    def partial(values: Values, scale: Tensor | float, state: StateValues, upstream: Upstream) -> tuple[Tensor, Tensor]:
        _, nu_BC = spec.angular(target.detach(), cos_BC, **values)
        return target, spec.link.partial(without_target(logits(scale, nu_BC, state), labels))

    return Classes(target.detach(), negatives, partial)


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
) -> tuple[LossOutput, StateValues]:
    """The loss of a batch, its classes compared by ``compare``. Returns it and the new state (empty unless ``training``)."""
    num_classes = len(proxies) // spec.similarity.per_class
    with torch.autocast(embeddings.device.type, enabled=False):
        embeddings = promote(embeddings)
        class_bias = state["class_bias"] if spec.similarity.class_bias else None
        classes = compare(spec, spec.similarity.query(embeddings, state), labels, proxies, class_bias)
        rows = Rows(sphere.norms(embeddings), classes.target, num_classes, classes.negatives, draw)
        fresh = prepared(spec, rows, state) if training else {}
        state = {**state, **fresh}
        values, scale = spec.margins(rows, state), spec.scale(rows, state)

        def target_logits(target: Tensor) -> Tensor:
            phi_B1, _ = spec.angular(target, target[:, :0], **values)
            return logits(scale, phi_B1, state).squeeze(1)

        def upstream(n: Tensor) -> Tensor:
            """The gradient of the mean loss at N = n."""
            with torch.enable_grad():
                n = n.detach().requires_grad_()
                losses = spec.weight(spec.link.join(target_logits(rows.target).detach(), n, num_classes))
                return torch.autograd.grad(losses.mean(), n)[0]

        target_B1, n_B = classes.partial(values, scale, state, upstream)
        losses_B = spec.weight(spec.link.join(target_logits(target_B1), n_B, num_classes))
        for term in spec.regularizers:
            losses_B = losses_B + term.value(embeddings, labels, promote(proxies), state)
        fresh = {**fresh, **(after_loss(spec, embeddings, labels, state) if training else {})}
    return LossOutput(losses_B.mean(), losses_B, statistics(rows, scale)), fresh


def logits(scale: Tensor | float, values: Tensor, state: StateValues) -> Tensor:
    """s·values + b, always a new tensor."""
    scaled = scale.to(values.dtype) * values if isinstance(scale, Tensor) else scale * values
    return scaled + state["bias"].to(values.dtype) if "bias" in state else scaled


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


def check_shapes(embeddings: Tensor, dimension: int) -> None:
    """Raises InputError unless embeddings are floating (B, D) with B ≥ 1."""
    if embeddings.ndim != 2 or embeddings.shape[1] != dimension or embeddings.shape[0] < 1:
        raise InputError(f"embeddings must have shape (B, {dimension}) with B ≥ 1; got {tuple(embeddings.shape)}")
    if not embeddings.is_floating_point():
        raise InputError(f"embeddings must be floating point; got {embeddings.dtype}")
