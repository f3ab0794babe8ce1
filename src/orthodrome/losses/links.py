"""Links: how the target logit p meets the logits of the other classes. ``partial`` of each tile, ``merge`` of
partials, ``join`` with p.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from orthodrome import sphere
from orthodrome.types import InputError, Link, Split, Values


def softplus(z: Tensor) -> Tensor:
    """ζ(z) = log(1 + e^z), to the precision of the dtype (torch's default turns linear at z = 20, 2·10⁻⁹ too early
    for float64).
    """
    return functional.softplus(z, threshold=50)


def _logsumexp(logits: Tensor) -> Tensor:
    return torch.logsumexp(logits, dim=1)


def _logaddexp(first: Tensor, second: Tensor) -> Tensor:
    """log(e^first + e^second). Two empty partials (−inf) give −inf with gradient 0, where torch.logaddexp has gradient NaN."""
    return torch.logsumexp(torch.stack(torch.broadcast_tensors(first, second)), dim=0)


def _cross_entropy(p: Tensor, n: Tensor, num_classes: int) -> Tensor:
    return softplus(n - p)


def _shares(logits: Tensor, n: Tensor, upstream: Tensor) -> Tensor:
    """upstream · e^(z − N); 0 where nothing is counted (N = −inf)."""
    return upstream.unsqueeze(1) * torch.exp(logits - n.masked_fill(n == -torch.inf, 0).unsqueeze(1))


def _shares_of_tile(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """logsumexp, the largest logit m, and e^(z − m): of one exponential."""
    level = logits.amax(dim=1)
    finite = level.masked_fill(level.isinf(), 0)
    slopes = torch.exp(logits - finite.unsqueeze(1))
    return finite + torch.log(slopes.sum(dim=1)), level, slopes


def _share_of_level(level: Tensor, n: Tensor, upstream: Tensor) -> Tensor:
    """upstream · e^(m − N); 0 for a tile in which nothing is counted (m = −inf)."""
    return upstream * torch.exp(level - n.masked_fill(n == -torch.inf, 0))


_SHARES = Split(_shares_of_tile, _share_of_level)


def _log_probability(logits: Tensor, p: Tensor, n: Tensor) -> Tensor:
    return logits - torch.logaddexp(p, n).unsqueeze(1)


SOFTMAX = Link(
    _logsumexp,
    _logaddexp,
    _cross_entropy,
    pull=_shares,
    log_bound=_log_probability,
    split=_SHARES,
)
"""⊕ = logsumexp, Φ = ζ(N − p): the cross-entropy."""

SOFT_HINGE = Link(
    _logsumexp,
    _logaddexp,
    lambda p, n, num_classes: torch.relu(n - p),
    pull=_shares,
    log_bound=lambda logits, p, n: logits - n.unsqueeze(1),
    split=_SHARES,
)
"""⊕ = logsumexp, Φ = relu(N − p): the soft maximum of the violations (lifted structure)."""


def softmax(hyper: Values) -> Link:
    """The softmax link, smoothed where ``label_smoothing`` is above 0."""
    return smoothed(hyper["label_smoothing"]) if hyper["label_smoothing"] else SOFTMAX


def smoothed(epsilon: float) -> Link:
    """Cross-entropy against (1 − ε)·own class + ε/C on every class: ζ(N − p) + ε·(p − mean of all logits) (1512.00567).

    The mean needs the sum of the logits beside their logsumexp, so a partial is (B, 2).
    """

    def partial(logits: Tensor) -> Tensor:
        total = logits.masked_fill(logits == -torch.inf, 0).sum(dim=1)
        return torch.stack([_logsumexp(logits), total], dim=1)

    def merge(first: Tensor, second: Tensor) -> Tensor:
        return torch.stack([_logaddexp(first[:, 0], second[:, 0]), first[:, 1] + second[:, 1]], dim=1)

    def join(p: Tensor, n: Tensor, num_classes: int) -> Tensor:
        return softplus(n[:, 0] - p) + epsilon * (p - (p + n[:, 1]) / num_classes)

    def pull(logits: Tensor, n: Tensor, upstream: Tensor) -> Tensor:
        return _shares(logits, n[:, 0], upstream[:, 0]) + upstream[:, 1:] * (logits != -torch.inf)

    return Link(partial, merge, join, pull)


def hardest(margin: float) -> Link:
    """The max link: ⊕ = max, Φ = relu(N − p + margin). Among equal largest logits of a tile the gradient is shared."""

    def pull(logits: Tensor, n: Tensor, upstream: Tensor) -> Tensor:
        return upstream.unsqueeze(1) * shares(logits, n)

    def shares(logits: Tensor, largest: Tensor) -> Tensor:
        here = logits == largest.unsqueeze(1)
        return here / here.sum(dim=1, keepdim=True).clamp_min(1)

    def slopes(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        largest = logits.amax(dim=1)
        return largest, largest, shares(logits, largest)

    return Link(
        lambda logits: logits.amax(dim=1),
        torch.maximum,
        lambda p, n, num_classes: torch.relu(n - p + margin),
        pull,
        log_bound=lambda logits, p, n: torch.where(logits >= n.unsqueeze(1), 0.0, -torch.inf),
        split=Split(slopes, factor=lambda level, n, upstream: upstream * (level == n)),
    )


def class_weights(lam: float | str | None, num_classes: int) -> tuple[float, float]:
    """Weights of the positive and of the negatives: (λ, 1 − λ); (1, 1) for None; λ = (C − 1)/C for "balanced"."""
    if lam is None:
        return 1.0, 1.0
    if lam == "balanced":
        lam = (num_classes - 1) / num_classes
    return float(lam), 1 - float(lam)


def binary(hyper: Values) -> Link:
    """⊕ = Σ ζ(·), Φ = λ·ζ(−p) + (1 − λ)·N: every class decides for itself. ``hyper["lam"]`` is λ; ``bound`` clamps
    logits to ±bound.
    """
    if hyper["label_smoothing"]:
        raise InputError("label_smoothing belongs to losses with the softmax link; the binary link decides each class on its own")
    lam = hyper["lam"]
    bound = hyper["scale"] if hyper.get("clamp") else None

    def clamped(logits: Tensor) -> Tensor:
        if bound is None:
            return logits
        return torch.where(logits == -torch.inf, logits, logits.clamp(-bound, bound))

    def partial(logits: Tensor) -> Tensor:
        return softplus(clamped(logits)).sum(dim=1)

    def join(p: Tensor, n: Tensor, num_classes: int) -> Tensor:
        positive, negative = class_weights(lam, num_classes)
        return positive * softplus(-clamped(p)) + negative * n

    def slopes(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z = clamped(logits)
        small = torch.exp(-z.abs())  # the one exponential of value, z⁺ + log(1 + e^−|z|), and slope
        values = z.clamp_min(0) + sphere.log_of_one_and(small)
        sigmoid = torch.where(z >= 0, torch.ones_like(z), small) / (1 + small)
        if bound is not None:
            sigmoid = sigmoid * ((logits >= -bound) & (logits <= bound))
        total = values.sum(dim=1)
        return total, torch.zeros_like(total), sigmoid

    def pull(logits: Tensor, n: Tensor, upstream: Tensor) -> Tensor:
        return upstream.unsqueeze(1) * slopes(logits)[2]

    def log_bound(logits: Tensor, p: Tensor, n: Tensor) -> Tensor:
        return logits.clamp_max(0)  # at most log 2 above log σ, for the price of nothing

    split = Split(slopes, factor=lambda level, n, upstream: upstream)
    return Link(partial, torch.add, join, pull, log_bound, split, additive=True)
