"""What a loss *runs on*: heads that own proxies and state, and the one engine behind them."""

from typing import Any

from torch import nn

from orthodrome import losses
from orthodrome.heads.pair import PairHead
from orthodrome.heads.proxy import ProxyHead

__all__ = ["PairHead", "ProxyHead", "create_head"]


def create_head(loss: str, num_classes: int, embedding_dim: int, **hyper: Any) -> nn.Module:
    """The head a loss runs on: a PairHead for pair losses, which needs no classes, a ProxyHead for all others."""
    row = losses.PRESETS.get(loss).row if loss in losses.PRESETS else loss
    if row in losses.pair_names():
        return PairHead(loss, **hyper)
    return ProxyHead(loss, num_classes, embedding_dim, **hyper)
