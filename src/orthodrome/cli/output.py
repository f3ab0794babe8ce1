"""Where the verbs print: results on standard output, progress and remarks on standard error."""

from __future__ import annotations

from rich.console import Console, RenderableType


def show(result: RenderableType) -> None:
    """A result, on standard output; lines of text are not folded."""
    Console().print(result, highlight=False, markup=False, soft_wrap=isinstance(result, str))


def remarks() -> Console:
    """Standard error."""
    return Console(stderr=True)
