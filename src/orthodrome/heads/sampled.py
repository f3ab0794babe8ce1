"""A share of the classes at each step, drawn anew: all that occur in the batch, and others by chance (Partial FC, 2203.15565)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from orthodrome.heads.engine import Classes, Compare
from orthodrome.heads.tiles import rows_of


def draw_classes(labels: Tensor, num_classes: int, sample_rate: float) -> Tensor:
    """Ascending classes (n,): those of ``labels`` (−1 ignored) and others, drawn by torch's generator without replacement.

    n = max(classes in the batch, ⌈sample_rate · num_classes⌉), at least 1.
    """
    luck = torch.rand(num_classes, device=labels.device)
    own = labels[labels >= 0].unique()
    luck[own] = 2.0  # above all others
    share = math.ceil(round(sample_rate * num_classes, 6))  # 0.07 · 100 is 7.000000000000001
    count = max(len(own), share, 1)
    return luck.topk(count).indices.sort().values


def sampled(compare: Compare, per_class: int, sample_rate: float) -> Compare:
    """``compare`` on drawn classes only. The gradient of the proxies is sparse: what was not drawn does not occur in it."""

    def compare_drawn(query: Tensor, labels: Tensor, proxies: Tensor, class_bias: Tensor | None) -> Classes:
        drawn = draw_classes(labels, len(proxies) // per_class, sample_rate)
        rows = rows_of(drawn, per_class)
        assert isinstance(rows, Tensor)
        among = torch.where(labels >= 0, torch.searchsorted(drawn, labels), -1)
        bias = None if class_bias is None else torch.gather(class_bias, 0, drawn, sparse_grad=True)
        return compare(query, among, functional.embedding(rows, proxies, sparse=True), bias)

    return compare_drawn
