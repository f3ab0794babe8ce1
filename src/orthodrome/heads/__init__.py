"""What a loss *runs on*: heads that own proxies and state, and the one engine behind them."""

from orthodrome.heads.pair import PairHead
from orthodrome.heads.proxy import ProxyHead

__all__ = ["PairHead", "ProxyHead"]
