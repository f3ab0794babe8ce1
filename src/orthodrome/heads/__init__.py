"""What a loss *runs on*: heads that own proxies and state, and the one engine behind them."""

from collections.abc import Mapping
from typing import Any

from torch import distributed as dist

from orthodrome import losses
from orthodrome.heads.pair import PairHead
from orthodrome.heads.proxy import ProxyHead
from orthodrome.types import InputError

__all__ = ["PairHead", "ProxyHead", "create_head"]


def create_head(
    loss: str,
    num_classes: int,
    embedding_dim: int,
    options: Mapping[str, Any] | None = None,
    process_group: dist.ProcessGroup | None = None,
    **hyper: Any,
) -> ProxyHead | PairHead:
    """The head a loss runs on: a PairHead for pair losses, which needs no classes, a ProxyHead for all others.

    ``options`` say how a ProxyHead holds its classes (``impl``, ``sample_rate`` …); ``process_group``: processes that each call the head
    with their part of a batch. Raises InputError where a pair loss is given any options.
    """
    options = options or {}
    row = losses.PRESETS.get(loss).row if loss in losses.PRESETS else loss
    if row not in losses.pair_names():
        return ProxyHead(loss, num_classes, embedding_dim, process_group=process_group, **options, **hyper)
    if options:
        raise InputError(
            f"{loss} compares embeddings with each other and has no classes: leave out {', '.join(options)} of the head"
        )
    return PairHead(loss, process_group=process_group, **hyper)
