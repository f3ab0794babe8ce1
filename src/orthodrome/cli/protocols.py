"""The table of protocols, for ``orthodrome evaluate --list``."""

from __future__ import annotations

from rich.table import Table

from orthodrome.evaluation import PROTOCOLS


def protocol_table() -> Table:
    """Each protocol: its name, what it measures, the lists it reads, and its options, the default first."""
    table = Table(
        "protocol", "what it measures, from which --lists, with which --set", box=None, pad_edge=False, padding=(0, 2, 1, 0)
    )
    table.columns[0].no_wrap = True
    for name in PROTOCOLS:
        row = PROTOCOLS.get(name)
        options = [f"--set {option}={'|'.join(values)}" for option, values in row.options.items()]
        table.add_row(name, "\n".join([row.description, f"--lists {row.needs}", *options]))
    return table
