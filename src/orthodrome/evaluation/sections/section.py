"""A section of a report before it is drawn: text already in HTML, and pictures still to be made."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from orthodrome.evaluation import page

NO_PLOTS = 'no pictures were drawn: matplotlib is missing. Install it by: pip install "orthodrome[plots]"'


@dataclass(frozen=True)
class Picture:
    """``draw``: `orthodrome.figures.evaluation` -> a matplotlib Figure; ``stem``: the name of its PNG file."""

    stem: str
    caption: str
    draw: Callable[[Any], Any]


Part = str | tuple[Picture, ...]
"""HTML, or pictures that stand side by side."""


@dataclass(frozen=True)
class Section:
    """A title and what stands under it, sections among it."""

    title: str
    parts: Sequence[Part | Section]


@dataclass(frozen=True)
class Rendered:
    """HTML of the sections, their PNG files by name, and a notice: empty, or why there are no pictures."""

    html: list[str]
    files: dict[str, bytes]
    notice: str


def render(sections: Iterable[Section]) -> Rendered:
    """Draw sections: their HTML with pictures inline, and each picture of the outermost sections as a PNG file too.

    Without matplotlib, pictures are left out and the notice says so.
    """
    figures, notice = _figures()
    files: dict[str, bytes] = {}
    html = [_html(section, figures, files, inner=False) for section in sections]
    return Rendered(html, files, notice)


def _html(section: Section, figures: ModuleType | None, files: dict[str, bytes], inner: bool) -> str:
    parts = []
    for part in section.parts:
        if isinstance(part, str):
            parts.append(part)
        elif isinstance(part, Section):
            parts.append(_html(part, figures, files, inner=True))
        elif figures is not None:
            drawn = [(picture, picture.draw(figures)) for picture in part]
            shown = "\n".join(page.figure(_inline_svg(figure), picture.caption) for picture, figure in drawn)
            parts.append(f'<div class="pictures">\n{shown}\n</div>')
            if not inner:
                files |= {
                    f"{picture.stem}.png": _saved(figure, format="png", dpi=200, facecolor="white") for picture, figure in drawn
                }
    return page.section(section.title, parts, inner)


def _figures() -> tuple[ModuleType | None, str]:
    try:
        return import_module("orthodrome.figures.evaluation"), ""
    except ImportError as error:
        if not (error.name or "").startswith("matplotlib"):
            raise
        return None, NO_PLOTS


def _inline_svg(drawn: Any) -> str:
    """The figure as an SVG element whose text and axes follow the text colour of the page."""
    from orthodrome.figures.style import INK

    text = _saved(drawn, format="svg", transparent=True, metadata={"Date": None}).decode()
    drawn.set_layout_engine("none")  # laid out now; the PNG need not do it again
    return text[text.index("<svg") :].replace(INK, "currentColor").strip()


def _saved(drawn: Any, **options: Any) -> bytes:
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "orthodrome"}):  # the same file for the same data
        drawn.savefig(buffer, **options)
    return buffer.getvalue()
