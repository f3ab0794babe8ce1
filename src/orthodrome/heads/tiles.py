"""One tile of classes: its products with the queries, its partial, and its part of the gradient.

    raw (B, M·K) = q·W_tileᵀ     z = s·ν(reduce(raw/‖w‖) + class bias) + b, −inf for the own class     partial (B,) = ⊕ z

The lengths of proxies are divided out of the products, so that no second copy of W is made: with a = 1/‖w‖ and G = ∂/∂raw,
∂/∂W = H − (H·W)·a²·W with H = Gᵀ·q: what of it would change the length is taken out, row by row. Everything between products is
elementwise and runs as one compiled pass (``kernels.py``).

Shapes: B batch, C classes, M classes of a tile, D embedding dimension, K proxies of one class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from orthodrome import sphere
from orthodrome.fuse import fused
from orthodrome.heads.engine import promote
from orthodrome.heads.kernels import Kernels, Leaves, tangent
from orthodrome.heads.pages import on_huge_pages
from orthodrome.types import LossSpec

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
        assert isinstance(columns, Tensor)
        rows = columns + self.rows.start if isinstance(self.rows, slice) else self.rows[columns]
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
