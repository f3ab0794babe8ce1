"""The elementwise passes over a tile of products: logits, partials and gradients of a loss, each compiled to one pass (``fuse.py``).

Shapes: B batch, M classes of a tile, D embedding dimension, K proxies of one class.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from orthodrome.fuse import fused
from orthodrome.heads.engine import excluding, logits, own_similarity, slope
from orthodrome.types import LossSpec

Leaves = Mapping[str, Tensor]


@dataclass(frozen=True)
class Kernels:
    """The elementwise passes of a loss, compiled where it pays. Made once per head and kept.

    ``partial``: raw, leaves, context -> partial. ``peaks``: raw, leaves, context, p, partials so far or None -> merged partial and, for
    each class, the largest ``log_bound`` in the batch. ``gradient``: raw, leaves, context, N, its gradient -> gradients of leaves; writes
    that of raw over it. ``ahead``, of links that split: raw, leaves, context -> partial, and level, gradients of raw and of leaves as in
    `Ahead`. ``at_once``, where no other tile is needed: raw, leaves, context, p, number of classes -> partial, the gradient of N,
    ``log_bound`` of each class, factor (B,), and gradients of raw and of leaves that lack it.

    ``own``: query, own proxies (B, K, D), their class bias (B, 1) or None -> similarity (B, 1). ``own_gradient``: the same and its
    gradient -> gradients of those there are.

    ``tangent``: writes H − (H·w)·a²·w over each row H of the gradient of the proxies w (M·K, D); a is a column (M·K, 1).

    ``leaves`` are differentiated: ``scale`` where it is no constant, ``bias``, ``class_bias`` (M,). ``context`` is constant: ``target``
    (B, 1), ``own`` (B, 1), the column of the own class if it stands in this tile, ``columns`` (M,), their numbers: counted inside, they
    would cost as much as the exponential. Margin ``values``, ``scale``, and ``inverse``
    (1, M·K), None where proxies are not divided by their lengths: its gradient is left to ``tangent``.
    """

    own: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    own_gradient: Callable[[Tensor, Tensor, Tensor | None, Tensor], list[Tensor]]
    partial: Callable[..., Tensor]
    peaks: Callable[..., tuple[Tensor, Tensor]]
    gradient: Callable[..., dict[str, Tensor]]
    ahead: Callable[..., tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]]
    at_once: Callable[..., tuple[Tensor, Tensor, Tensor, Tensor, Tensor, dict[str, Tensor]]]
    tangent: Callable[[Tensor, Tensor, Tensor], None]


def kernels(spec: LossSpec) -> Kernels:
    """Those of ``spec``."""
    link = spec.link

    def tile_logits(raw: Tensor, leaves: Leaves, context: Mapping[str, Any]) -> Tensor:
        target = context["target"]
        products = raw.to(target.dtype)
        cos_BM = spec.similarity.reduce(products if context["inverse"] is None else products * context["inverse"])
        if "class_bias" in leaves:
            cos_BM = cos_BM + leaves["class_bias"].to(cos_BM.dtype)
        _, nu_BM = spec.angular(target, cos_BM, **context["values"])
        own = context["columns"] == context["own"]
        scale = leaves["scale"] if "scale" in leaves else context["scale"]
        return excluding(spec, cos_BM, logits(scale, nu_BM, leaves)).masked_fill(own, -torch.inf)

    def partial(raw: Tensor, leaves: Leaves, context: Mapping[str, Any]) -> Tensor:
        return link.partial(tile_logits(raw, leaves, context))

    def peaks(raw: Tensor, leaves: Leaves, context: Mapping[str, Any], p: Tensor, so_far: Tensor | None) -> tuple[Tensor, Tensor]:
        z_BM = tile_logits(raw, leaves, context)
        merged = link.partial(z_BM) if so_far is None else link.merge(so_far, link.partial(z_BM))
        return merged, log_bound(z_BM, p, merged)

    def log_bound(z_BM: Tensor, p: Tensor, n: Tensor) -> Tensor:
        return link.log_bound(z_BM, p, n).amax(dim=0) if link.log_bound else z_BM.new_zeros(z_BM.shape[1])

    def watched(raw: Tensor, leaves: Leaves, context: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        inputs = {name: each_sample(value, len(raw)).requires_grad_() for name, value in {"raw": raw, **leaves}.items()}
        with torch.enable_grad():
            z_BM = tile_logits(inputs["raw"], {name: inputs[name] for name in leaves}, context)
        return z_BM, inputs

    def pulled_back(z_BM: Tensor, inputs: dict[str, Tensor], by_z_BM: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The gradients of raw and of the leaves, those of numbers for each sample."""
        found = torch.autograd.grad(z_BM, list(inputs.values()), by_z_BM, materialize_grads=True)
        by_leaf = dict(zip(inputs, found, strict=True))
        return by_leaf.pop("raw"), by_leaf

    def gradient(raw: Tensor, leaves: Leaves, context: Mapping[str, Any], n: Tensor, upstream: Tensor) -> dict[str, Tensor]:
        z_BM, inputs = watched(raw, leaves, context)
        by_raw, by_leaf = pulled_back(z_BM, inputs, link.pull(z_BM.detach(), n, upstream))
        raw.copy_(by_raw)
        return {name: value.sum_to_size(leaves[name].shape) for name, value in by_leaf.items()}

    def split(
        raw: Tensor, leaves: Leaves, context: Mapping[str, Any]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Tensor]]:
        assert link.split
        z_BM, inputs = watched(raw, leaves, context)
        n, level, slopes_BM = link.split.slopes(z_BM.detach())
        return z_BM.detach(), n, level, *pulled_back(z_BM, inputs, slopes_BM)

    def ahead(raw: Tensor, leaves: Leaves, context: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        return split(raw, leaves, context)[1:]

    def at_once(
        raw: Tensor, leaves: Leaves, context: Mapping[str, Any], p: Tensor, num_classes: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, dict[str, Tensor]]:
        assert link.split
        z_BM, n, level, by_raw, by_leaf = split(raw, leaves, context)
        upstream = slope(spec, p, n, num_classes)
        return n, upstream, log_bound(z_BM, p, n), link.split.factor(level, n, upstream), by_raw, by_leaf

    own, by_own = fused(functools.partial(own_similarity, spec)), fused(functools.partial(own_gradient, spec))
    return Kernels(own, by_own, fused(partial), fused(peaks), fused(gradient), fused(ahead), fused(at_once), fused(tangent))


def tangent(by_proxies: Tensor, proxies: Tensor, inverse: Tensor) -> None:
    """See `Kernels`."""
    directions = proxies * inverse  # a² on its own would overflow
    by_proxies.sub_((by_proxies * directions).sum(dim=1, keepdim=True) * directions)


def own_gradient(spec: LossSpec, query: Tensor, own: Tensor, own_bias: Tensor | None, upstream: Tensor) -> list[Tensor]:
    """The gradients of `own_similarity` under ``upstream`` (B, 1): of query, own proxies and, where there is one, their bias."""
    inputs = [value.detach().requires_grad_() for value in (query, own, own_bias) if value is not None]
    with torch.enable_grad():
        similarity = own_similarity(spec, inputs[0], inputs[1], inputs[2] if own_bias is not None else None)
    return list(torch.autograd.grad(similarity, inputs, upstream))


def each_sample(value: Tensor, batch: int) -> Tensor:
    """A number once for each sample, (B, 1): its gradient is then summed within the rows, in the same pass as all else."""
    return value.detach().expand(batch, 1) if value.ndim == 0 else value.detach()
