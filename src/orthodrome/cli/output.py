"""Where the verbs print: results on standard output, progress and remarks on standard error."""

from __future__ import annotations

from rich.console import Console


def console() -> Console:
    """Standard output, not folded where it is no terminal."""
    return Console(soft_wrap=True)


def remarks() -> Console:
    """Standard error."""
    return Console(stderr=True)
