"""Pair losses: the one formulation with keys = other embeddings instead of proxies. One short pure function each.

All take ``(closeness (B, M), positives (B, M), negatives (B, M), **values)`` and return (B,) losses of the anchors
whose mean is the loss.
Closeness is a similarity or a negated distance (``distances.py``); the masks say which keys are the same identity
(never the anchor itself) and which another. The first B keys are the batch; keys of a memory follow.

An anchor, or a batch, without a positive (or without a negative, where the formula compares both) has nothing to
compare: it counts in no mean, and a batch of only such anchors has loss 0 and gradient 0, as in the implementations people use.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from orthodrome.losses import angular
from orthodrome.losses.links import SOFT_HINGE, SOFTMAX, hardest
from orthodrome.registry import Registry
from orthodrome.types import Link

# ------------------------------------------------------------------------------------------------- means over what counts


def over_anchors(losses: Tensor, counts: Tensor) -> Tensor:
    """(B,) losses of anchors -> the same, zero where an anchor does not count, scaled so that their mean is the mean
    of those that do.
    """
    kept = torch.where(counts, losses, 0)
    return kept * len(losses) / counts.sum().clamp_min(1)


def over_pairs(terms: Tensor, counts: Tensor) -> Tensor:
    """(B, M) terms -> (B,): each anchor's share, scaled so that their mean is the mean of all terms that count."""
    kept = torch.where(counts, terms, 0).sum(dim=1)
    return kept * len(terms) / counts.sum().clamp_min(1)


def only(values: Tensor, mask: Tensor) -> Tensor:
    """−inf where ``mask`` is False: a link then counts the others only."""
    return torch.where(mask, values, -torch.inf)


def softest(link: Link, closeness: Tensor, positives: Tensor) -> Tensor:
    """−⊕ (−closeness) over the positives (B,): one target logit that speaks for all of them, led by the farthest."""
    return -link.partial(only(-closeness, positives))


# ---------------------------------------------------------------------------------- softmax link, one term for each positive


def n_pair(closeness: Tensor, positives: Tensor, negatives: Tensor, *, scale: float) -> Tensor:
    """ζ(N_i − s·c_ip), N_i = logsumexp of s·c over the negatives of i; mean over all (anchor, positive) pairs.

    N-pair (Sohn 2016) as used today. Departures: unit vectors and a scale, where the paper has raw inner products
    and a norm penalty;
    every embedding of another identity is a negative, where the paper takes one per class. With s = 1/T this is ``nt_xent``.
    """
    logits = scale * closeness
    others = SOFTMAX.partial(only(logits, negatives))
    return over_pairs(SOFTMAX.join(logits, others.unsqueeze(1), 0), positives & negatives.any(dim=1, keepdim=True))


def nt_xent(closeness: Tensor, positives: Tensor, negatives: Tensor, *, temperature: float) -> Tensor:
    """−log e^{c_ip/T} / (e^{c_ip/T} + Σ_neg e^{c_in/T}): :func:`n_pair` at the scale 1/T (SimCLR, 2002.05709).

    Departure: with labels there may be several positives; each makes a term of its own, and they are not in each
    other's denominator.
    """
    return n_pair(closeness, positives, negatives, scale=1 / temperature)


def supcon(closeness: Tensor, positives: Tensor, negatives: Tensor, *, temperature: float) -> Tensor:
    """(1/|P_i|) Σ_p [ N_i − c_ip/T ], N_i = logsumexp of c/T over all keys but i, positives included; mean over
    anchors with a positive.

    SupCon (2004.11362), its L_out. It needs no negatives.
    """
    logits = closeness / temperature
    everyone = SOFTMAX.partial(only(logits, positives | negatives))
    terms = torch.where(positives, everyone.unsqueeze(1) - logits, 0).sum(dim=1)
    return over_anchors(terms / positives.sum(dim=1).clamp_min(1), positives.any(dim=1))


# ---------------------------------------------------------------------------------------- positives pooled before the link


def circle_per_anchor(closeness: Tensor, positives: Tensor, negatives: Tensor, *, margin: float, scale: float) -> Tensor:
    """ζ(N_i − P_i) with φ, ν of :func:`orthodrome.losses.angular.circle`; P_i soft minimum over positives, N_i over negatives.

    Circle loss (2002.10857, eq. 6) for each anchor; mean over the anchors that have both.
    """
    phi, nu = angular.circle(closeness, closeness, margin=margin)
    target = softest(SOFTMAX, scale * phi, positives)
    losses = SOFTMAX.join(target, SOFTMAX.partial(only(scale * nu, negatives)), 0)
    return over_anchors(losses, positives.any(dim=1) & negatives.any(dim=1))


def circle_pooled(closeness: Tensor, positives: Tensor, negatives: Tensor, *, margin: float, scale: float) -> Tensor:
    """The authors' code: all unordered pairs of the batch in one ζ(N − P). Every sample reports that one number."""
    once = torch.ones_like(positives).triu(diagonal=1)
    rows = [values.reshape(1, -1) for values in (closeness, positives & once, negatives & once)]
    return circle_per_anchor(*rows, margin=margin, scale=scale).expand(len(closeness))


def lifted_generalised(
    closeness: Tensor, positives: Tensor, negatives: Tensor, *, pos_margin: float, neg_margin: float
) -> Tensor:
    """[ logsumexp_pos(d − m_p) + logsumexp_neg(m_n − d) ]₊ for each anchor (Hermans 2017, 1703.07737, eq. 8); mean
    over the batch.

    Departure from that mean: an anchor without a positive or a negative is left out.
    """
    target = softest(SOFT_HINGE, closeness, positives) + pos_margin
    losses = SOFT_HINGE.join(target, SOFT_HINGE.partial(only(closeness, negatives)) + neg_margin, 0)
    return over_anchors(losses, positives.any(dim=1) & negatives.any(dim=1))


def lifted_original(closeness: Tensor, positives: Tensor, negatives: Tensor, *, pos_margin: float, neg_margin: float) -> Tensor:
    """½·mean over positive pairs of [ J_ij ]₊², J_ij = log(Σ_neg(i) e^{m_n − d_ik} + Σ_neg(j) e^{m_n − d_jl}) + d_ij
    − m_p (Song 2016, 1511.06452).

    Couples the two ends of a pair, so it is dense. A key of the memory brings the negatives it has in the batch.
    """
    of_anchors = SOFTMAX.partial(only(closeness, negatives))
    of_keys = SOFTMAX.partial(only(closeness, negatives).T)
    both = SOFTMAX.merge(of_anchors.unsqueeze(1), of_keys.unsqueeze(0)) + neg_margin
    terms = torch.relu(both - closeness - pos_margin).square() / 2
    return over_pairs(terms, positives & (both > -torch.inf))


# -------------------------------------------------------------------------------------------------------------- triplets


def _mean(terms: Tensor, counts: Tensor) -> Tensor:
    return counts


def _non_zero(terms: Tensor, counts: Tensor) -> Tensor:
    return counts & (terms > 0)


REDUCTIONS: Registry[Callable[[Tensor, Tensor], Tensor]] = Registry("reduction")
"""Which of the triplets mined count in the mean: all of them, or those whose loss is not zero."""
for _name in ("mean", "mean over anchors", "mean over triplets", "mean over semihard triplets"):
    REDUCTIONS.add(_name, _mean)
for _name in ("nonzero", "mean over non-zero anchors", "mean over non-zero triplets"):
    REDUCTIONS.add(_name, _non_zero)


def triplet_batch_hard(closeness: Tensor, positives: Tensor, negatives: Tensor, *, margin: float, reduction: str) -> Tensor:
    """[ c_in − c_ip + m ]₊ with the farthest positive and the nearest negative of each anchor (1703.07737): the max link."""
    link = hardest(margin)
    losses = link.join(softest(link, closeness, positives), link.partial(only(closeness, negatives)), 0)
    counts = positives.any(dim=1) & negatives.any(dim=1)
    return over_anchors(losses, REDUCTIONS.get(reduction)(losses, counts))


def triplet_all(closeness: Tensor, positives: Tensor, negatives: Tensor, *, margin: float, reduction: str) -> Tensor:
    """[ c_in − c_ip + m ]₊ over all triplets. Dense: one row for each (anchor, positive), (T, M)."""
    return _triplets(closeness, positives, negatives, margin, reduction, lambda gap: gap > -torch.inf)


def triplet_semihard(closeness: Tensor, positives: Tensor, negatives: Tensor, *, margin: float, reduction: str) -> Tensor:
    """[ c_in − c_ip + m ]₊ over the negatives farther than the positive but within the margin (FaceNet, 1503.03832).

    Departure: all semi-hard negatives of a pair count, where FaceNet picks one.
    """
    return _triplets(closeness, positives, negatives, margin, reduction, lambda gap: (gap > 0) & (gap < margin))


def _triplets(
    closeness: Tensor, positives: Tensor, negatives: Tensor, margin: float, reduction: str, mined: Callable[[Tensor], Tensor]
) -> Tensor:
    anchor, positive = positives.nonzero(as_tuple=True)
    gap = closeness[anchor] - closeness[anchor, positive].unsqueeze(1) + margin
    terms = torch.relu(gap)
    counts = REDUCTIONS.get(reduction)(terms, negatives[anchor] & mined(gap.detach()))
    sums = torch.where(counts, terms, 0).sum(dim=1)
    of_anchors = closeness.new_zeros(len(closeness)).index_add(0, anchor, sums)
    return of_anchors * len(closeness) / counts.sum().clamp_min(1)


# ------------------------------------------------------------------------------------------------- each pair on its own


def contrastive(closeness: Tensor, positives: Tensor, negatives: Tensor, *, pos_margin: float, neg_margin: float) -> Tensor:
    """mean [ m_p − c ]₊ over positive pairs + mean [ c − m_n ]₊ over negative pairs, each over the terms that are not zero.

    The margins here are closenesses; for a distance d they are those of [ d − m_p ]₊ and [ m_n − d ]₊. Departure
    from Hadsell 2006: the
    terms are not squared and pairs already satisfied do not dilute the mean, as in pytorch-metric-learning.
    """
    pull, push = torch.relu(pos_margin - closeness), torch.relu(closeness - neg_margin)
    return over_pairs(pull, positives & (pull > 0)) + over_pairs(push, negatives & (push > 0))
