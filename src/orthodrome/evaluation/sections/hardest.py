"""The hardest pairs as pictures: impostors that look most alike to the system, genuines that look least."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from orthodrome.evaluation import page
from orthodrome.evaluation.sections.section import Section
from orthodrome.evaluation.wording import counted, rounded_up, signed
from orthodrome.types import Report

Images = Mapping[str, bytes | str | Path]
"""Image files, or their content, by the id that the pairs use."""

_SIDE = 112  # of a thumbnail, in pixels


def hardest(report: Report, images: Images | None = None) -> Section | None:
    """The hardest false accepts and false rejects, side by side, with their scores and ids."""
    found = report.metrics.get("hardest")
    if not found:
        return None
    threshold = rounded_up(found["threshold"])
    accepted = f"{counted(found['accepted_impostor'], found['impostor'])} impostors are accepted at {threshold}"
    rejected = f"{counted(found['rejected_genuine'], found['genuine'])} genuines are rejected at {threshold}"
    return Section(
        "Hardest pairs",
        [
            page.paragraph("The first place to look for wrong labels, and for what the system cannot do."),
            "<h3>Different people, highest scores</h3>",
            page.paragraph(f"{accepted}, the threshold of best accuracy."),
            _gallery(found["false_accepts"], images or {}),
            "<h3>The same person, lowest scores</h3>",
            page.paragraph(f"{rejected}."),
            _gallery(found["false_rejects"], images or {}),
        ],
    )


def _gallery(pairs: Sequence[Mapping[str, Any]], images: Images) -> str:
    """The pairs as cards with both faces; as a table of ids where there is no image of any."""
    if not any(identifier in images for pair in pairs for identifier in pair["ids"]):
        rows = [(signed(pair["score"]), _verdict(pair), *pair["ids"]) for pair in pairs]
        return page.table(("score", "", "first", "second"), rows, words=("first", "second"))
    cards = "\n".join(_card(pair, images) for pair in pairs)
    return f'<div class="faces">\n{cards}\n</div>'


def _card(pair: Mapping[str, Any], images: Images) -> str:
    both = "".join(_face(identifier, images.get(identifier)) for identifier in pair["ids"])
    names = "<br>".join(escape(identifier.split("/")[-1]) for identifier in pair["ids"])
    caption = f"<figcaption><b>{signed(pair['score'])}</b> {_verdict(pair)}<br>{names}</figcaption>"
    return f'<figure><div class="both">{both}</div>{caption}</figure>'


def _verdict(pair: Mapping[str, Any]) -> str:
    return "accepted" if pair["accepted"] else "rejected"


def _face(identifier: str, source: bytes | str | Path | None) -> str:
    data = b"" if source is None else _thumbnail(source)
    if not data:
        return f'<div class="absent">{"no image" if source is None else "cannot be read"}</div>'
    text = base64.b64encode(data).decode()
    return f'<img alt="{escape(identifier, quote=True)}" title="{escape(identifier, quote=True)}" src="data:image/jpeg;base64,{text}">'


def _thumbnail(source: bytes | str | Path) -> bytes:
    """A small JPEG, upright as the system saw it; empty where the image cannot be read, for a report must not fail for one picture."""
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            small = ImageOps.exif_transpose(image).convert("RGB")
    except Exception:  # decoders answer damaged bytes with almost anything
        return b""
    small.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
