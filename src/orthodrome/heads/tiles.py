"""One tile of classes: its products with the queries, its partial, and its part of the gradient.

    raw (B, M·K) = q·W_tileᵀ     z = s·ν(reduce(raw/‖w‖) + class bias) + b, −inf for the own class     partial (B,) = ⊕ z

The lengths of proxies are divided out of the products, so that no second copy of W is made: with a = 1/‖w‖ and G = ∂/∂raw,
∂/∂W = H − (H·W)·a²·W with H = Gᵀ·q: what of it would change the length is taken out, row by row. Everything between products is
elementwise and runs as one compiled pass (``fuse.py``).

Shapes: B batch, C classes, M classes of a tile, D embedding dimension, K proxies of one class.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from orthodrome import sphere
from orthodrome.fuse import fused
from orthodrome.heads.engine import excluding, logits, own_similarity, promote, slope
from orthodrome.heads.pages import on_huge_pages
from orthodrome.types import LossSpec

Leaves = Mapping[str, Tensor]

SIZES = 8
"""Sizes that tiles of gathered classes may have."""


@dataclass(frozen=True)
class Operands:
    """What is differentiated: query (B, D), proxies (C·K, D), scale, bias and class bias (None where there is none)."""

    query: Tensor
    proxies: Tensor
    scale: Tensor
    bias: Tensor | None
    class_bias: Tensor | None

    def all(self) -> tuple[Tensor | None, ...]:
        """In the order of the fields."""
        return self.query, self.proxies, self.scale, self.bias, self.class_bias

    def room(self, whole: bool) -> Operands:
        """Zeros to add their gradients to; those of the proxies are left unset where ``whole``: every row will be written."""
        proxies = on_huge_pages(torch.empty_like(self.proxies))
        if not whole:
            proxies.zero_()
        others = (None if value is None else torch.zeros_like(value) for value in (self.scale, self.bias, self.class_bias))
        return Operands(torch.zeros_like(self.query), proxies, *others)  # type: ignore[arg-type]


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

    def ahead(raw: Tensor, leaves: Leaves, context: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        assert link.split
        z_BM, inputs = watched(raw, leaves, context)
        n, level, slopes_BM = link.split.slopes(z_BM.detach())
        by_raw, by_leaf = pulled_back(z_BM, inputs, slopes_BM)
        return n, level, by_raw, by_leaf

    def at_once(
        raw: Tensor, leaves: Leaves, context: Mapping[str, Any], p: Tensor, num_classes: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, dict[str, Tensor]]:
        assert link.split
        z_BM, inputs = watched(raw, leaves, context)
        n, level, slopes_BM = link.split.slopes(z_BM.detach())
        upstream = slope(spec, p, n, num_classes)
        by_raw, by_leaf = pulled_back(z_BM, inputs, slopes_BM)
        return n, upstream, log_bound(z_BM.detach(), p, n), link.split.factor(level, n, upstream), by_raw, by_leaf

    own, by_own = fused(functools.partial(own_similarity, spec)), fused(functools.partial(own_gradient, spec))
    return Kernels(own, by_own, fused(partial), fused(peaks), fused(gradient), fused(ahead), fused(at_once), fused(tangent))


def tangent(by_proxies: Tensor, proxies: Tensor, inverse: Tensor) -> None:
    """See `Kernels`."""
    by_proxies.sub_((by_proxies * proxies).sum(dim=1, keepdim=True) * inverse**2 * proxies)


def own_gradient(spec: LossSpec, query: Tensor, own: Tensor, own_bias: Tensor | None, upstream: Tensor) -> list[Tensor]:
    """The gradients of `own_similarity` under ``upstream`` (B, 1): of query, own proxies and, where there is one, their bias."""
    inputs = [value.detach().requires_grad_() for value in (query, own, own_bias) if value is not None]
    with torch.enable_grad():
        similarity = own_similarity(spec, inputs[0], inputs[1], inputs[2] if own_bias is not None else None)
    return list(torch.autograd.grad(similarity, inputs, upstream))


@dataclass(frozen=True)
class Ahead:
    """The gradients of a tile before N is known: of raw products (B, M·K) and of leaves (B, 1), but for a factor of each sample, which the
    link makes of ``level`` (B,).
    """

    level: Tensor
    by_raw: Tensor
    by_leaf: Leaves


@dataclass(frozen=True)
class Problem:
    """A batch before any tile: the loss and its kernels, labels, own proxies (B, K, D), similarity (B, 1) and logit p (B,), margin values.
    A label of −1 says that the own class stands elsewhere: its similarity is 0. ``num_classes``: those of all processes.

    ``inverse``: 1/‖w‖ of every proxy (1, C·K), None where proxies are not divided by their lengths. ``floor``: logarithm of the gradient
    of a logit below which a class is left out of the backward products, −inf for none.
    """

    spec: LossSpec
    kernels: Kernels
    labels: Tensor
    own: Tensor
    target: Tensor
    p: Tensor
    values: Mapping[str, Any]
    operands: Operands
    inverse: Tensor | None
    num_classes: int
    chunk: int
    compute_dtype: torch.dtype | None = None
    floor: float = -torch.inf

    @property
    def classes(self) -> int:
        """Those that are compared here."""
        return len(self.operands.proxies) // self.spec.similarity.per_class

    @property
    def splits(self) -> bool:
        """Whether the gradient of a tile is known before N, but for a factor of each sample: that of class biases sums over samples."""
        return self.spec.link.split is not None and self.operands.class_bias is None

    @property
    def stand_alone(self) -> bool:
        """Whether the gradient of a tile needs no other tile, here or on another process, and the weights no other sample."""
        alone = self.chunk >= self.classes == self.num_classes
        return self.splits and self.spec.uniform and (self.spec.link.additive or alone)

    def tiles(self) -> Iterator[Tile]:
        """The classes, cut into tiles."""
        query = self.rounded(self.operands.query.detach())
        for start in range(0, self.classes, self.chunk):
            classes = slice(start, min(start + self.chunk, self.classes))
            yield Tile(self, query, classes, self.labels - start)

    def tiles_of(self, chosen: Tensor) -> Iterator[Tile]:
        """The ``chosen`` classes, ascending, and a few others, gathered into tiles of few sizes."""
        query = self.rounded(self.operands.query.detach())
        chosen = filled(chosen, self.classes, self.step)
        for classes in chosen.split(SIZES * self.step) if len(chosen) else ():
            column = torch.searchsorted(classes, self.labels).clamp_max(len(classes) - 1)
            yield Tile(self, query, classes, torch.where(classes[column] == self.labels, column, -1))

    @torch.no_grad()
    def add_own(self, by_target: Tensor, by_own: Tensor, gradients: Operands) -> None:
        """Adds the gradients of the own classes to ``gradients``: under ``by_target`` (B, 1) that of their similarity, and ``by_own`` of
        their proxies beside it (empty for none).
        """
        query, biases = self.operands.query.detach(), self.operands.class_bias
        places = self.labels.clamp_min(0)
        bias = None if biases is None else biases.detach()[places].unsqueeze(1)
        by_target = by_target.masked_fill(self.labels.unsqueeze(1) < 0, 0)
        by_query, by_proxies, *by_bias = self.kernels.own_gradient(query, self.own, bias, by_target)
        gradients.query.add_(by_query)
        classes = gradients.proxies.unflatten(0, (-1, self.spec.similarity.per_class))
        classes.index_add_(0, places, (by_proxies + by_own if by_own.numel() else by_proxies).to(classes.dtype))
        if gradients.class_bias is not None:
            gradients.class_bias.index_add_(0, places, by_bias[0].squeeze(1).to(gradients.class_bias.dtype))

    @property
    def step(self) -> int:
        """Gathered tiles have a multiple of so many classes, at most `SIZES` times."""
        return max(1, self.chunk // SIZES)

    def rounded(self, values: Tensor) -> Tensor:
        """A factor of a product, in ``compute_dtype`` where there is one."""
        return values if self.compute_dtype is None else values.to(self.compute_dtype)


class Tile:
    """The ``classes`` of a problem, compared together. ``query``: that of the operands, rounded. ``own``: column of the own class."""

    def __init__(self, problem: Problem, query: Tensor, classes: slice | Tensor, own: Tensor) -> None:
        self.problem, self.query, self.classes = problem, query, classes
        self.rows = rows_of(classes, problem.spec.similarity.per_class)
        self.proxies = promote(problem.operands.proxies.detach()[self.rows])
        self.inverse = None if problem.inverse is None else problem.inverse[:, self.rows]
        self.context = {
            "target": problem.target,
            "own": own.int().unsqueeze(1),
            "columns": torch.arange(len(self.proxies) // problem.spec.similarity.per_class, dtype=torch.int32, device=own.device),
            "values": problem.values,
            "scale": problem.operands.scale.detach(),
            "inverse": self.inverse,
        }

    def products(self) -> Tensor:
        """Raw products (B, M·K) of queries and proxies."""
        return self.query @ self.problem.rounded(self.proxies).T

    def leaves(self) -> dict[str, Tensor]:
        """What is differentiated beside the products."""
        operands = self.problem.operands
        found = {"scale": operands.scale} if operands.scale.requires_grad else {}
        if operands.bias is not None:
            found["bias"] = operands.bias
        if operands.class_bias is not None:
            found["class_bias"] = operands.class_bias[self.classes]
        return {name: value.detach() for name, value in found.items()}

    @torch.no_grad()
    def partial(self, raw: Tensor) -> Tensor:
        """The partial, from the products."""
        return self.problem.kernels.partial(raw, self.leaves(), self.context)

    @torch.no_grad()
    def peaks(self, raw: Tensor, so_far: Tensor | None) -> tuple[Tensor, Tensor]:
        """The partials so far merged with this one, and the classes of this tile that have a gradient worth computing."""
        merged, log_bounds = self.problem.kernels.peaks(raw, self.leaves(), self.context, self.problem.p, so_far)
        return merged, (log_bounds >= self.problem.floor).nonzero().squeeze(1)

    @torch.no_grad()
    def ahead(self, raw: Tensor) -> tuple[Tensor, Tensor | Ahead]:
        """The partial, and what spares the way back work: the gradients but for a factor where the link splits, else ``raw``."""
        if not self.problem.splits:
            return self.partial(raw), raw
        partial, level, by_raw, by_leaf = self.problem.kernels.ahead(raw, self.leaves(), self.context)
        return partial, Ahead(level, by_raw, by_leaf)

    @torch.no_grad()
    def add_gradients(self, known: Tensor | Ahead, n: Tensor, upstream: Tensor, gradients: Operands) -> None:
        """Adds the gradients under ``upstream``, the gradient of N = ``n``, to ``gradients``. ``known``: raw products, which are used up,
        or what was known ahead.
        """
        if isinstance(known, Ahead):
            split = self.problem.spec.link.split
            assert split
            self._add(known.by_raw, known.by_leaf, split.factor(known.level, n, upstream), gradients)
        else:
            by_leaf = self.problem.kernels.gradient(known, self.leaves(), self.context, n, upstream)
            self._add(known, by_leaf, None, gradients)

    @torch.no_grad()
    def at_once(self, raw: Tensor, gradients: Operands) -> tuple[Tensor, Tensor]:
        """The partial and the gradient of N, where tiles `Problem.stand_alone`; its gradients added to ``gradients``."""
        problem = self.problem
        passed = problem.kernels.at_once(raw, self.leaves(), self.context, problem.p, problem.num_classes)
        partial, upstream, log_bounds, factor, by_raw, by_leaf = passed
        if problem.floor == -torch.inf:
            self._add(by_raw, by_leaf, factor, gradients)
        else:
            kept = (log_bounds >= problem.floor).nonzero().squeeze(1)
            few = len(kept) < problem.step
            self._add_some(kept if few else filled(kept, len(log_bounds), problem.step), by_raw, by_leaf, factor, gradients)
        return partial, upstream

    def _add(self, by_raw: Tensor, by_leaf: Leaves, factor: Tensor | None, gradients: Operands) -> None:
        """Adds the gradients of a tile, times ``factor`` (B,) of each sample where there is one."""
        self._add_scalars(by_leaf, factor, gradients)
        self._add_products(by_raw, factor, self.proxies, self.rows, self.inverse, gradients)

    def _add_some(self, kept: Tensor, by_raw: Tensor, by_leaf: Leaves, factor: Tensor, gradients: Operands) -> None:
        """As :meth:`_add`, but only the ``kept`` columns of the tile enter the products."""
        self._add_scalars(by_leaf, factor, gradients)
        columns = rows_of(kept, self.problem.spec.similarity.per_class)
        rows = torch.arange(len(self.problem.operands.proxies), device=kept.device)[self.rows][columns]
        inverse = None if self.inverse is None else self.inverse[:, columns]
        self._add_products(by_raw[:, columns], factor, self.proxies[columns], rows, inverse, gradients)

    def _add_scalars(self, by_leaf: Leaves, factor: Tensor | None, gradients: Operands) -> None:
        if factor is not None:
            leaves = self.leaves()
            by_leaf = {name: (factor.unsqueeze(1) * value).sum_to_size(leaves[name].shape) for name, value in by_leaf.items()}
        if "scale" in by_leaf:
            gradients.scale.add_(by_leaf["scale"])
        if gradients.bias is not None:
            gradients.bias.add_(by_leaf["bias"])
        if gradients.class_bias is not None:
            gradients.class_bias[self.classes] = by_leaf["class_bias"]

    def _add_products(
        self,
        by_raw: Tensor,
        factor: Tensor | None,
        proxies: Tensor,
        rows: slice | Tensor,
        inverse: Tensor | None,
        gradients: Operands,
    ) -> None:
        """∂/∂q += G·W, and ∂/∂W in its rows, written where it belongs: passes over W are what a tile costs. What ``factor`` each row of G
        lacks is given to the smaller side of the products.
        """
        problem, query = self.problem, self.query
        rounded = problem.rounded
        by_raw = rounded(by_raw)
        if factor is None:
            add_product(gradients.query, by_raw, rounded(proxies))
        else:
            gradients.query.addcmul_(factor.unsqueeze(1), by_raw @ rounded(proxies))
            query = rounded(problem.operands.query.detach() * factor.unsqueeze(1))
        in_place = isinstance(rows, slice) and gradients.proxies.dtype == proxies.dtype
        by_proxies = gradients.proxies[rows] if in_place else torch.empty_like(proxies)
        write_product(by_proxies, by_raw.T, query)
        if inverse is not None:
            few = len(proxies) < problem.step  # of any number, none of which is worth compiling for
            (tangent if few else problem.kernels.tangent)(by_proxies, proxies, inverse.T)
        if not in_place:
            gradients.proxies[rows] = by_proxies.to(gradients.proxies.dtype)


def each_sample(value: Tensor, batch: int) -> Tensor:
    """A number once for each sample, (B, 1): its gradient is then summed within the rows, in the same pass as all else."""
    return value.detach().expand(batch, 1) if value.ndim == 0 else value.detach()


def filled(chosen: Tensor, count: int, step: int) -> Tensor:
    """``chosen`` of ``count`` classes, ascending, with others up to a multiple of ``step``: each size is compiled once."""
    missing = min(-len(chosen) % step, count - len(chosen))
    if not missing:
        return chosen
    left = torch.ones(count, dtype=torch.bool, device=chosen.device)
    left[chosen] = False
    return torch.cat([chosen, left.nonzero().squeeze(1)[:missing]]).sort().values


def inverse_lengths(proxies: Tensor, rows: int) -> Tensor:
    """1/‖w‖ of every proxy, (1, C·K), so many ``rows`` at a time: half precision is promoted, and not all at once."""
    return torch.cat([_inverse_norms(promote(part)) for part in proxies.split(rows)]).T


_inverse_norms = fused(sphere.inverse_norms)


def write_product(place: Tensor, first: Tensor, second: Tensor) -> None:
    """place = first·second; a product in lower precision is rounded to that of its factors."""
    if first.dtype == place.dtype:
        torch.mm(first, second, out=place)
    else:
        place.copy_(first @ second)


def add_product(place: Tensor, first: Tensor, second: Tensor) -> None:
    """place += first·second; a product in lower precision is rounded to that of its factors."""
    if first.dtype == place.dtype:
        place.addmm_(first, second)
    else:
        place.add_(first @ second)


def rows_of(classes: slice | Tensor, per_class: int) -> slice | Tensor:
    """Where the proxies of classes stand."""
    if isinstance(classes, slice):
        return slice(classes.start * per_class, classes.stop * per_class)
    if per_class == 1:
        return classes
    return (classes.unsqueeze(1) * per_class + torch.arange(per_class, device=classes.device)).flatten()
