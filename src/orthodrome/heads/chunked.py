"""All classes, a tile of them at a time: the B×C logits are never held.

A tile of M classes costs its (B, M) products and yields a partial (B,). Its gradient needs the merged partial N of all tiles, but for
an additive link, and where one tile is all there is: there gradients are computed on the way there, in three matrix products. Else
the gradients of products, which most links know but for a factor of each sample, are held up to :data:`HELD_BYTES`, and products are
computed once more beyond: three to four products.

Shapes: B batch, C classes, M classes of a tile, D embedding dimension, K proxies of one class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from orthodrome.heads.engine import Classes, Compare, Known, Terms, own_proxies
from orthodrome.heads.kernels import kernels
from orthodrome.heads.tiles import Ahead, Operands, Problem, inverse_lengths
from orthodrome.losses.angular import plain
from orthodrome.losses.links import SOFTMAX
from orthodrome.types import InputError, LossSpec, Values

TILE_ELEMENTS = 2**21
"""Products of a tile where no ``chunk_size`` is given: 8 MB of float32."""

HELD_BYTES = 92 * 2**20
"""Held of all tiles together from the way there to the way back, so that products need not be computed again."""


@dataclass
class Found:
    """What the way there leaves for the way back: N, and what spares work.

    ``held``: of the first tiles, see :meth:`Tile.ahead`. ``chosen``: the only classes with a gradient worth computing, None for all.
    ``gradients``: those computed on the way there, under the ``expected`` gradient of N.
    """

    n: Tensor
    held: tuple[Tensor | Ahead, ...] = ()
    chosen: Tensor | None = None
    expected: Tensor | None = None
    gradients: Operands | None = None


def holding(problem: Problem, budget: int) -> Found:
    """N, with what tiles know ahead, held as long as it stays below ``budget`` bytes together."""
    partials, held = [], []
    for tile in problem.tiles():
        raw = tile.products()
        budget -= raw.nbytes
        if budget >= 0:
            partial, known = tile.ahead(raw)
            held.append(known)
        else:
            partial = tile.partial(raw)
        partials.append(partial)
    return Found(reduce(problem.spec.link.merge, partials), tuple(held))


def choosing(problem: Problem) -> Found:
    """N, with the classes whose gradient reaches the floor for some sample, judged by what of N was known when they were met."""
    n, chosen, start = None, [], 0
    for tile in problem.tiles():
        n, columns = tile.peaks(tile.products(), n)
        chosen.append(columns + start)
        start += problem.chunk
    assert n is not None  # there is at least one tile
    return Found(n, chosen=torch.cat(chosen))


def at_once(problem: Problem) -> Found:
    """N, with the gradients, which no tile needs another for."""
    gradients = problem.operands.room(whole=problem.floor == -math.inf)
    partials, upstreams = zip(*(tile.at_once(tile.products(), gradients) for tile in problem.tiles()), strict=True)
    return Found(reduce(problem.spec.link.merge, partials), expected=upstreams[0], gradients=gradients)


def gradients_of(problem: Problem, found: Found, upstream: Tensor) -> Operands:
    """The gradients under ``upstream``, the gradient of N, tile by tile."""
    gradients = problem.operands.room(whole=found.chosen is None)
    tiles = problem.tiles() if found.chosen is None else problem.tiles_of(found.chosen)
    held, found.held = iter(found.held), ()  # used up: a second backward computes them anew
    for tile in tiles:
        known = next(held, None)
        tile.add_gradients(tile.products() if known is None else known, found.n, upstream, gradients)
    return gradients


def common_factor(upstream: Tensor, expected: Tensor | None) -> float | None:
    """The number f with upstream = f·expected, to rounding, 1 where it is 1 to rounding; None where there is none."""
    if expected is None:
        return None
    known, rounding = expected.flatten(), 64 * torch.finfo(upstream.dtype).eps
    largest = known.abs().argmax()
    factor = upstream.flatten()[largest] / known[largest]
    close = ((upstream - factor * expected).abs() <= rounding * (factor * expected).abs()).all()
    if not close:  # or not finite
        return None
    return 1.0 if abs(float(factor) - 1) <= rounding else float(factor)


def scale_in_place(gradients: Operands, factor: float) -> None:
    """Multiply by ``factor``, for nothing where it is 1."""
    if factor != 1:
        for value in gradients.all():
            if value is not None:
                value.mul_(factor)


class Tiles(torch.autograd.Function):
    """(own similarity (B, 1), N, own proxies (B, K, D)) of a batch, with the gradient of all in one array the size of the proxies.

    Own proxies are empty but where regularisers ask for them.

    ``asked``: whether a gradient may be asked for: autograd says that it is needed where it is switched off, too.
    """

    @staticmethod
    def forward(ctx: Any, problem: Problem, asked: bool, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        wanted = asked and any(ctx.needs_input_grad)
        if wanted and problem.stand_alone:
            ctx.found = at_once(problem)
        elif wanted and problem.floor > -math.inf:
            ctx.found = choosing(problem)
        else:
            ctx.found = holding(problem, HELD_BYTES if wanted else 0)
        ctx.problem = replace(problem, operands=None)  # type: ignore[arg-type]  # the inputs are where autograd watches over them
        ctx.save_for_backward(*inputs)
        own = problem.own.detach() if problem.spec.regularizers else problem.own.new_empty(0)
        return problem.target.masked_fill(problem.labels.unsqueeze(1) < 0, 0), ctx.found.n.clone(), own

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_target: Tensor, by_n: Tensor, by_own: Tensor) -> tuple[Tensor | None, ...]:
        problem: Problem = replace(ctx.problem, operands=Operands(*ctx.saved_tensors))
        found: Found = ctx.found
        factor = common_factor(by_n, found.expected)
        if factor is None or found.gradients is None:
            gradients = gradients_of(problem, found, by_n)
        else:
            gradients, found.gradients = found.gradients, None  # given away: a second backward computes anew
            scale_in_place(gradients, factor)
        problem.add_own(by_target, by_own, gradients)
        return (None, None, *gradients.all())


def chunked(
    spec: LossSpec, chunk_size: int | None = None, compute_dtype: torch.dtype | None = None, filter_below: float = 0.0
) -> Compare:
    """Compare the classes in tiles of ``chunk_size``, or of about :data:`TILE_ELEMENTS` products; see the head for the arguments.

    Raises InputError where ``filter_below`` is given and the gradient of a logit never vanishes (label smoothing).
    """
    if filter_below and spec.link.log_bound is None:
        raise InputError(f"filter_below needs a loss whose gradient vanishes for far classes; {spec.name} smooths its labels")
    floor = math.log(filter_below) if filter_below else -math.inf
    cosines = replace(spec, angular=plain, link=SOFTMAX)
    bounded = (
        spec.link if filter_below else replace(spec.link, log_bound=None)
    )  # a bound that nobody asks for costs as much as the loss
    passes, passes_over_cosines = kernels(replace(spec, link=bounded)), kernels(cosines)

    def compare(query: Tensor, labels: Tensor, proxies: Tensor, class_bias: Tensor | None) -> Classes:
        per_class = spec.similarity.per_class
        count = len(proxies) // per_class
        chunk = chunk_size or even_chunk(count, len(query) * per_class)

        with torch.no_grad():
            inverse = inverse_lengths(proxies, chunk * per_class) if spec.similarity.unit_proxies else None
            own = own_proxies(spec, proxies, labels)
            bias = None if class_bias is None else class_bias.detach()[labels.clamp_min(0)].unsqueeze(1)
            target = passes.own(query.detach(), own, bias).masked_fill(labels.unsqueeze(1) < 0, 0)

        batch = partial(
            Problem, labels=labels, own=own, inverse=inverse, num_classes=count, chunk=chunk, compute_dtype=compute_dtype
        )

        def negatives(scale: Tensor | float) -> Tensor:
            operands = Operands(query, proxies, torch.as_tensor(scale, dtype=query.dtype, device=query.device), None, class_bias)
            nothing = target.squeeze(1)
            problem = batch(cosines, passes_over_cosines, target=target, p=nothing, values={}, operands=operands)
            return holding(problem, budget=0).n

        def terms(known: Known) -> Terms:
            scale = torch.as_tensor(known.scale, dtype=query.dtype, device=query.device)
            operands = Operands(query, proxies, scale, known.state.get("bias"), class_bias)
            values, total = constants(known.values), known.num_classes
            problem = batch(
                spec, passes, target=known.target, p=known.p, values=values, operands=operands, num_classes=total, floor=floor
            )
            return Terms(*Tiles.apply(problem, torch.is_grad_enabled(), *operands.all()))

        return Classes(target, count, negatives, terms)

    return compare


def even_chunk(classes: int, products_of_a_class: int) -> int:
    """Classes of a tile, so that tiles have about :data:`TILE_ELEMENTS` products and one size: a small last one costs as many calls."""
    tiles = max(1, round(classes * products_of_a_class / TILE_ELEMENTS))
    return -(-classes // tiles)


def constants(values: Values) -> Mapping[str, Any]:
    """Margin values as ν sees them: without gradient."""
    return {name: value.detach() if isinstance(value, Tensor) else value for name, value in values.items()}
