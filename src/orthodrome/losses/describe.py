"""What people ask about a loss, read from the table it runs from, so that the answer cannot drift from the code."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from orthodrome.losses import resolve
from orthodrome.losses.presets import PRESETS
from orthodrome.losses.row import PAIR_FREE, PAIR_PROXY, TRIPLET_FREE, TRIPLET_PROXY, Choice, PairRow, PairSpec, Row
from orthodrome.losses.table import ALIASES

CELLS = (TRIPLET_PROXY, TRIPLET_FREE, PAIR_PROXY, PAIR_FREE)
ROLES = ("margins", "scale", "similarity", "link", "prepare", "regularizer")
ORDINARY = {field.name: field.default for field in fields(Row)}
COMPARISONS = {
    "triplet": "positive and negative compared with each other",
    "pair": "each comparison on its own, against a threshold",
}


@dataclass(frozen=True)
class Description:
    """One loss, in words. ``defaults`` are its own; ``common`` those every loss of its kind takes."""

    name: str
    aliases: tuple[str, ...]
    formula: str
    paper: str
    cell: tuple[str, str]
    defaults: Mapping[str, Any]
    variants: tuple[str, ...]
    common: Mapping[str, Any]
    presets: tuple[tuple[str, str], ...]
    gradient: str
    state: tuple[str, ...]
    notes: tuple[str, ...]
    example: str


def describe(name: str) -> Description:
    """A row, an alias or a preset (its row, with the preset's values); raises InputError with near matches for another name."""
    spec = resolve.get(name)
    row = resolve.find_row(spec.name)
    inner = resolve.find_row(str(row.defaults.get("base", row.name)))
    common = resolve.COMMON if isinstance(row, Row) else resolve.PAIR_COMMON
    own = {**({"base": row.defaults["base"]} if "base" in row.defaults else {}), **spec.defaults}
    renames = {new: old for old, new in row.renames.items()} if isinstance(row, Row) else {}
    shown = {renames.get(key, key): own[key] for key in {**row.defaults, **inner.defaults} if key in own}
    return Description(
        name=name,
        aliases=tuple(alias for alias, target in ALIASES.items() if target == row.name),
        formula=row.formula,
        paper=row.paper,
        cell=spec.cell,
        defaults=shown,
        variants=tuple(_variants(inner)),
        common={key: value for key, value in common.items() if key not in shown and key not in renames and key != "gradient"},
        presets=tuple((preset, PRESETS.get(preset).departure) for preset in PRESETS if PRESETS.get(preset).row == row.name),
        gradient=f"{'exact' if isinstance(spec, PairSpec) else spec.gradient}: {inner.gradient_note}",
        state=tuple(_state(spec)),
        notes=tuple(_notes(inner)),
        example=_example(name, spec),
    )


def taxonomy() -> dict[tuple[str, str], tuple[str, ...]]:
    """The rows of each cell: how comparisons are made × whether there are proxies (SphereFace2 §2)."""
    return {cell: tuple(name for name in resolve.names() if resolve.get(name).cell == cell) for cell in CELLS}


def main_defaults(name: str) -> str:
    """The row's own defaults on one line, without switches that are off."""
    return plain({key: value for key, value in describe(name).defaults.items() if value is not None and value is not False})


def plain(values: Mapping[str, Any]) -> str:
    """``scale=64, margin=0.5``, as one would write it in a call."""
    return ", ".join(f"{key}={_short(value)}" for key, value in values.items())


def link_to(paper: str) -> str:
    """An arXiv number as a Markdown link; other sources as they are."""
    return f"[{paper}](https://arxiv.org/abs/{paper})" if paper.replace(".", "").isdigit() else paper


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)


def _variants(row: Row | PairRow) -> list[str]:
    """Other defaults of a chosen variant: ``version='v2': scale=60, margin=1.4``."""
    return [
        f"{key}={choice!r}: {plain(values)}" for key, choices in row.when.items() for choice, values in choices.items() if values
    ]


def _state(spec: Any) -> list[str]:
    """Names of the entries of the state, and who changes them."""
    if isinstance(spec, PairSpec):
        return ["none; with memory=N a ring of N embeddings and labels (buffers)"]
    entries = dict(spec.state(spec.minimum_classes))
    learned = [name for name, entry in entries.items() if entry.learned] + ["class_bias"] * spec.similarity.class_bias
    kept = [name for name, entry in entries.items() if not entry.learned]
    kept += [name for term in spec.regularizers for name in term.state(1, 1)]
    return [f"{name} (learned)" for name in learned] + [f"{name} (buffer, frozen at evaluation)" for name in kept] or ["none"]


def _notes(row: Row | PairRow) -> list[str]:
    """The documentation of the row's functions: always of its formula, of the others where they are not the ordinary ones."""
    if isinstance(row, PairRow):
        return _documented(row.losses)
    special = {role: getattr(row, role) for role in ROLES if getattr(row, role) is not ORDINARY[role]}
    return [
        *_documented(row.angular),
        *(f"{role}: {note}" for role, function in special.items() for note in _documented(function)),
    ]


def _documented(function: Any) -> list[str]:
    """One note for a function, one for each option of a choice; none where there is no documentation."""
    options = function.options.items() if isinstance(function, Choice) else [("", function)]
    label = f"{function.hyper}=" if isinstance(function, Choice) else ""
    return [f"{f'{label}{key!r}: ' if label else ''}{text}" for key, option in options if (text := _documentation(option))]


def _documentation(function: Callable[..., Any]) -> str:
    """The docstring on one line, in Markdown; of a partial, that of its function."""
    text = " ".join((inspect.getdoc(getattr(function, "func", function)) or "").split())
    return re.sub(r":\w+:`[\w.]*?(\w+)`", r"`\1`", text).replace("``", "`")


def _example(name: str, spec: Any) -> str:
    if isinstance(spec, PairSpec):
        return f'PairHead("{name}")(embeddings, labels).loss'
    return f'ProxyHead("{name}", num_classes=10572, embedding_dim=512)(embeddings, labels).loss'
