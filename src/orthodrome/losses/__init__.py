"""What a loss *is*: pure functions and one table. What it runs on is :mod:`orthodrome.heads`.

Start at ``table.py`` (one line per loss), ``angular.py`` (φ and ν of every paper) and ``pairs.py`` (losses without proxies).
"""

from orthodrome.losses.presets import PRESETS
from orthodrome.losses.resolve import find_row, get, names, pair_loss, pair_names, proxy_loss, proxy_names
from orthodrome.losses.row import PairSpec
from orthodrome.losses.table import ALIASES, ROWS

__all__ = [
    "ALIASES",
    "PRESETS",
    "ROWS",
    "PairSpec",
    "find_row",
    "get",
    "names",
    "pair_loss",
    "pair_names",
    "proxy_loss",
    "proxy_names",
]
