"""What a loss *is*: pure functions and one table. What it runs on is :mod:`orthodrome.heads`.

Start at ``table.py`` (one line per loss) and ``angular.py`` (φ and ν of every paper).
"""

from orthodrome.losses.resolve import find_row, get, names
from orthodrome.losses.table import ALIASES, PRESETS, ROWS

__all__ = ["ALIASES", "PRESETS", "ROWS", "find_row", "get", "names"]
