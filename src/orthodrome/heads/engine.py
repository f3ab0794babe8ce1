"""One algorithm for every proxy row: similarity → φ, ν → partial → merge → join → ω. It knows no loss by name.

    p_i  = s_i·φ(cos_iy) + b         N_i = ⊕_{j≠y} [s_i·ν(cos_ij) + b]         ℓ_i = ω(Φ(p_i, N_i)) + regularisers

Shapes: B batch, C classes, D embedding dimension, K proxies of one class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from orthodrome import sphere
from orthodrome.types import InputError, LossOutput, LossSpec, Rows

StateValues = Mapping[str, Tensor]
Draw = Callable[[tuple[int, ...]], Tensor]


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


def similarities(spec: LossSpec, embeddings: Tensor, proxies: Tensor, state: StateValues) -> Tensor:
    """(B, C): what each class is worth to each sample."""
    query = spec.similarity.query(embeddings, state)
    products = spec.similarity.reduce(query @ spec.similarity.keys(proxies).T)
    return products + state["class_bias"].to(products.dtype) if spec.similarity.class_bias else products


def without_target(logits: Tensor, labels: Tensor) -> Tensor:
    """−inf in each sample's own column, in place: the link then counts the other classes only."""
    return logits.scatter_(1, labels.unsqueeze(1), -torch.inf)


def dense(
    spec: LossSpec,
    embeddings: Tensor,
    labels: Tensor,
    proxies: Tensor,
    state: StateValues,
    *,
    training: bool,
    draw: Draw,
) -> tuple[LossOutput, StateValues]:
    """All classes in one tile. Returns the loss and the new values of the state (empty unless ``training``)."""
    with torch.autocast(embeddings.device.type, enabled=False):
        embeddings, proxies = promote(embeddings), promote(proxies)
        cos_BC = similarities(spec, embeddings, proxies, state)
        num_classes = cos_BC.shape[1]

        def negatives(scale: Tensor | float) -> Tensor:
            return torch.logsumexp(without_target(scale * cos_BC.detach(), labels), dim=1)

        rows = Rows(sphere.norms(embeddings), cos_BC.gather(1, labels.unsqueeze(1)), num_classes, negatives, draw)
        fresh = prepared(spec, rows, state) if training else {}
        state = {**state, **fresh}

        phi_B1, nu_BC = spec.angular(rows.target, cos_BC, **spec.margins(rows, state))
        scale = spec.scale(rows, state)
        p_B = logits(scale, phi_B1, state).squeeze(1)
        n_B = spec.link.partial(without_target(logits(scale, nu_BC, state), labels))
        losses_B = spec.weight(spec.link.join(p_B, n_B, num_classes))

        for term in spec.regularizers:
            losses_B = losses_B + term.value(embeddings, labels, proxies, state)
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
