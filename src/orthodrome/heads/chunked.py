"""All classes, a tile of them at a time: the B×C logits are never held.

A tile of M classes costs its (B, M) similarities and yields a partial (B,). The gradient of a tile needs the gradient of the loss with
respect to that partial: tiles are computed once more on the way back (four matrix products), unless it is known on the way there and
the gradient is computed at once (three): under an additive link, or where one tile holds all classes.

Shapes: B batch, C classes, M classes of a tile, D embedding dimension, K proxies of one class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from orthodrome.heads.engine import Classes, Compare, StateValues, Upstream, logits, promote
from orthodrome.losses.angular import plain
from orthodrome.losses.links import SOFTMAX
from orthodrome.types import LossSpec, Values

TILE_ELEMENTS = 2**20
"""Similarities of a tile where no ``chunk_size`` is given: 4 MB of float32, of which a handful are alive at once."""


@dataclass(frozen=True)
class Problem:
    """What every tile needs beside its proxies, all of it constant: the loss, labels, own similarity (B, 1), margin values, tile size."""

    spec: LossSpec
    labels: Tensor
    target: Tensor
    values: Values
    chunk: int
    compute_dtype: torch.dtype | None

    def tiles(self, num_classes: int) -> Iterator[slice]:
        """The classes, cut into tiles."""
        for start in range(0, num_classes, self.chunk):
            yield slice(start, min(start + self.chunk, num_classes))

    def product(self, left: Tensor, right: Tensor) -> Tensor:
        """``left @ right``, its factors rounded to ``compute_dtype`` where there is one."""
        if self.compute_dtype is None:
            return left @ right
        return (left.to(self.compute_dtype) @ right.to(self.compute_dtype)).to(left.dtype)


@dataclass(frozen=True)
class Operands:
    """What the partials are differentiated by: query (B, D), proxies (C·K, D), scale, bias and class bias (None where there is none)."""

    query: Tensor
    proxies: Tensor
    scale: Tensor
    bias: Tensor | None
    class_bias: Tensor | None

    def all(self) -> tuple[Tensor | None, ...]:
        """In the order of the fields."""
        return self.query, self.proxies, self.scale, self.bias, self.class_bias

    def zeros(self) -> Operands:
        """Room for their gradients."""
        return Operands(*(None if value is None else torch.zeros_like(value) for value in self.all()))  # type: ignore[arg-type]


def partial_of_tile(
    problem: Problem, tile: slice, products: Tensor, scale: Tensor, bias: Tensor | None, class_bias: Tensor | None
) -> Tensor:
    """From products (B, M·K) of query and keys to the partial of the tile; own classes do not count."""
    spec = problem.spec
    cos_BM = spec.similarity.reduce(products)
    if class_bias is not None:
        cos_BM = cos_BM + class_bias.to(cos_BM.dtype)
    _, nu_BM = spec.angular(problem.target, cos_BM, **problem.values)
    own = torch.arange(tile.start, tile.stop, device=products.device) == problem.labels.unsqueeze(1)
    state = {} if bias is None else {"bias": bias}
    return spec.link.partial(logits(scale, nu_BM, state).masked_fill(own, -torch.inf))


def keys_of_tile(problem: Problem, proxies: Tensor, tile: slice) -> tuple[Tensor, slice]:
    """The proxies (M·K, D) of a tile, and where they stand."""
    count = problem.spec.similarity.per_class
    rows = slice(tile.start * count, tile.stop * count)
    return proxies[rows], rows


@torch.no_grad()
def forward_tile(problem: Problem, operands: Operands, tile: slice) -> Tensor:
    """The partial of a tile."""
    proxies, _ = keys_of_tile(problem, operands.proxies, tile)
    products = problem.product(operands.query, problem.spec.similarity.keys(promote(proxies)).T)
    bias_M = None if operands.class_bias is None else operands.class_bias[tile]
    return partial_of_tile(problem, tile, products, operands.scale, operands.bias, bias_M)


def backward_tile(problem: Problem, operands: Operands, tile: slice, upstream: Upstream, gradients: Operands) -> Tensor:
    """The partial of a tile; what ``upstream`` (partial -> its gradient) makes of it is added to ``gradients``."""
    with torch.enable_grad():
        proxies, rows = keys_of_tile(problem, operands.proxies.detach(), tile)
        proxies.requires_grad_()
        keys = problem.spec.similarity.keys(promote(proxies))
        products = problem.product(operands.query.detach(), keys.detach().T).requires_grad_()
        bias_M = None if operands.class_bias is None else operands.class_bias[tile]
        inputs = {"scale": operands.scale, "bias": operands.bias, "class_bias": bias_M}
        leaves = {name: value.detach().requires_grad_() for name, value in inputs.items() if value is not None}
        partial = partial_of_tile(problem, tile, products, *(leaves.get(name) for name in inputs))  # type: ignore[arg-type]
        found = torch.autograd.grad(partial, [products, *leaves.values()], upstream(partial))
    along = dict(zip(leaves, found[1:], strict=True))
    with torch.no_grad():
        gradients.query.add_(problem.product(found[0], keys))
        by_keys = problem.product(found[0].T, operands.query)
    gradients.proxies[rows] = torch.autograd.grad(keys, proxies, by_keys)[0] if keys is not proxies else by_keys
    gradients.scale.add_(along["scale"])
    if gradients.bias is not None:
        gradients.bias.add_(along["bias"])
    if gradients.class_bias is not None:
        gradients.class_bias[tile] = along["class_bias"]
    return partial.detach()


def merged(problem: Problem, partials: list[Tensor]) -> Tensor:
    """N, of all tiles."""
    return reduce(problem.spec.link.merge, partials)


def gradients_by_recomputation(problem: Problem, operands: Operands, partials: list[Tensor], upstream: Tensor) -> Operands:
    """The gradients under ``upstream``, the gradient of N: every tile once more."""
    with torch.enable_grad():
        leaves = [partial.detach().requires_grad_() for partial in partials]
        by_partial = torch.autograd.grad(merged(problem, leaves), leaves, upstream)
    gradients = operands.zeros()
    for tile, gradient in zip(problem.tiles(classes_of(problem, operands)), by_partial, strict=True):
        backward_tile(problem, operands, tile, lambda partial, gradient=gradient: gradient, gradients)  # type: ignore[misc]
    return gradients


def classes_of(problem: Problem, operands: Operands) -> int:
    """C."""
    return len(operands.proxies) // problem.spec.similarity.per_class


def common_factor(upstream: Tensor, expected: Tensor) -> Tensor | None:
    """The number f with upstream = f·expected, to rounding; None where there is none."""
    largest = expected.abs().argmax()
    if not expected.flatten()[largest]:
        return None
    factor = upstream.flatten()[largest] / expected.flatten()[largest]
    close = torch.allclose(upstream, factor * expected, rtol=64 * torch.finfo(upstream.dtype).eps, atol=0)
    return factor if close else None


@dataclass
class AtOnce:
    """Gradients computed on the way there, under the ``expected`` gradient of N."""

    expected: Tensor
    gradients: Operands


class Tiles(torch.autograd.Function):
    """(own proxies (B, K, D), N) of a batch, with the gradient of both in one array the size of the proxies."""

    @staticmethod
    def forward(ctx: Any, problem: Problem, expected: Upstream | None, *inputs: Any) -> tuple[Tensor, Tensor]:
        operands = Operands(*inputs)
        tiles = list(problem.tiles(classes_of(problem, operands)))
        wanted = expected is not None and any(ctx.needs_input_grad)
        ctx.at_once, ctx.partials = None, []
        if wanted and (len(tiles) == 1 or (problem.spec.link.additive and problem.spec.uniform)):
            ctx.at_once = AtOnce(torch.empty(0), operands.zeros())

        def upstream(partial: Tensor) -> Tensor:
            ctx.at_once.expected = expected(partial)  # type: ignore[misc]
            return ctx.at_once.expected

        for tile in tiles:
            if ctx.at_once:
                ctx.partials.append(backward_tile(problem, operands, tile, upstream, ctx.at_once.gradients))
            else:
                ctx.partials.append(forward_tile(problem, operands, tile))
        ctx.problem = problem
        ctx.save_for_backward(*inputs)
        own = operands.proxies.unflatten(0, (-1, problem.spec.similarity.per_class))[problem.labels]
        return promote(own), merged(problem, ctx.partials)

    @staticmethod
    def backward(ctx: Any, by_own: Tensor, by_n: Tensor) -> tuple[Tensor | None, ...]:
        problem: Problem = ctx.problem
        operands = Operands(*ctx.saved_tensors)
        at_once, ctx.at_once = ctx.at_once, None  # given away: a second backward computes anew
        factor = common_factor(by_n, at_once.expected) if at_once else None
        if factor is None:
            gradients = gradients_by_recomputation(problem, operands, ctx.partials, by_n)
        else:
            gradients = at_once.gradients
            if factor != 1:
                for value in gradients.all():
                    if value is not None:
                        value.mul_(factor.to(value.dtype))
        classes = gradients.proxies.unflatten(0, (-1, problem.spec.similarity.per_class))
        classes.index_add_(0, problem.labels, by_own.to(classes.dtype))
        return (None, None, *gradients.all())


def chunked(chunk_size: int | None = None, compute_dtype: torch.dtype | None = None) -> Compare:
    """Compare the classes in tiles of ``chunk_size``, or of about :data:`TILE_ELEMENTS` similarities; see the head for both arguments."""

    def compare(spec: LossSpec, query: Tensor, labels: Tensor, proxies: Tensor, class_bias: Tensor | None) -> Classes:
        per_class = spec.similarity.per_class
        chunk = chunk_size or max(1, TILE_ELEMENTS // (len(query) * per_class))

        def own_similarity(own: Tensor) -> Tensor:
            products = (spec.similarity.keys(own.flatten(0, 1)).view_as(own) @ query.unsqueeze(2)).squeeze(2)
            similarity = spec.similarity.reduce(products)
            return similarity if class_bias is None else similarity + class_bias[labels].to(similarity.dtype).unsqueeze(1)

        with torch.no_grad():
            target = own_similarity(promote(proxies.unflatten(0, (-1, per_class))[labels]))

        def negatives(scale: Tensor | float) -> Tensor:
            cosines = replace(spec, angular=plain, link=SOFTMAX)
            problem = Problem(cosines, labels, target, {}, chunk, compute_dtype)
            operands = Operands(query, proxies, torch.as_tensor(scale, dtype=query.dtype), None, class_bias)
            return merged(
                problem, [forward_tile(problem, operands, tile) for tile in problem.tiles(classes_of(problem, operands))]
            )

        def partial(values: Values, scale: Tensor | float, state: StateValues, upstream: Upstream) -> tuple[Tensor, Tensor]:
            problem = Problem(spec, labels, target, constants(values), chunk, compute_dtype)
            scale = torch.as_tensor(scale, dtype=query.dtype, device=query.device)
            own, n = Tiles.apply(problem, upstream, query, proxies, scale, state.get("bias"), class_bias)
            return own_similarity(own), n

        return Classes(target, negatives, partial)

    return compare


def constants(values: Values) -> Mapping[str, Any]:
    """Margin values as ν sees them: without gradient."""
    return {name: value.detach() if isinstance(value, Tensor) else value for name, value in values.items()}
