"""What one line of the table holds, before hyper-parameters are bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from orthodrome.losses import angular, links, scales, similarities
from orthodrome.losses.checks import Rule, nothing
from orthodrome.losses.margins import Margins, constants
from orthodrome.registry import Registry
from orthodrome.types import Angular, Link, Regularizer, Similarity, State, Values

TRIPLET_PROXY = ("triplet", "proxies")
PAIR_PROXY = ("pair", "proxies")
TRIPLET_FREE = ("triplet", "no proxies")
PAIR_FREE = ("pair", "no proxies")


PairLosses = Callable[..., Tensor]
"""``(closeness (B, M), positives (B, M), negatives (B, M), **values) -> (B,)``, see ``pairs.py``."""


@dataclass(frozen=True)
class Choice:
    """A function picked by the value of one hyper-parameter, for example the variant of SphereFace2."""

    hyper: str
    options: Mapping[Any, Any]

    def pick(self, hyper: Values) -> Any:
        """The function of the value given; raises InputError with near matches."""
        table: Registry[Any] = Registry(self.hyper)
        for name, option in self.options.items():
            table.add(name, option)
        return table.get(hyper[self.hyper])


no_values = constants()


def no_state(num_classes: int, hyper: Values) -> dict[str, State]:
    """A loss without state."""
    return {}


def plain_factor(hyper: Values) -> float:
    """``loss_weight``."""
    return float(hyper["loss_weight"])


@dataclass(frozen=True)
class Row:
    """One loss of the table: pure functions by their names, defaults, and what people ask about it.

    ``when`` maps a hyper-parameter and its value to other defaults, for example SphereFace2's variants. ``rules``
    and ``check`` are what the row asks of its hyper-parameters beyond the rules everyone shares (``checks.py``).
    """

    name: str
    paper: str
    formula: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    angular: Angular | Choice = angular.plain
    margins: Margins | Choice = no_values
    margin_detached: Angular | Choice | None = None
    scale: Callable[..., Tensor | float] = scales.constant
    similarity: Callable[[Values], Similarity] = similarities.cosine
    link: Callable[[Values], Link] = links.softmax
    state: Callable[[int, Values], Mapping[str, State]] = no_state
    prepare: Callable[..., Mapping[str, Tensor]] | None = None
    regularizer: Callable[[Values], Regularizer | None] | None = None
    factor: Callable[[Values], float] = plain_factor
    cell: tuple[str, str] = TRIPLET_PROXY
    gradient: str = "exact"
    gradient_note: str = "the published formula, differentiated"
    when: Mapping[str, Mapping[Any, Mapping[str, Any]]] = field(default_factory=dict)
    rules: Mapping[str, Rule] = field(default_factory=dict)
    check: Callable[[Values], None] = nothing
    minimum_classes: int = 2
    renames: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PairRow:
    """One pair loss of the table: its pure function, which hyper-parameters it takes as they are, its defaults and sources.

    ``margins`` names hyper-parameters that are margins on the distance, and so change sign with it (``distances.py``).
    """

    name: str
    paper: str
    formula: str
    defaults: Mapping[str, Any]
    losses: PairLosses | Choice
    values: tuple[str, ...] = ()
    margins: tuple[str, ...] = ()
    cell: tuple[str, str] = TRIPLET_FREE
    gradient: str = "exact"
    gradient_note: str = "the published formula, differentiated"
    when: Mapping[str, Mapping[Any, Mapping[str, Any]]] = field(default_factory=dict)
    rules: Mapping[str, Rule] = field(default_factory=dict)


@dataclass(frozen=True)
class PairSpec:
    """One pair loss, resolved: every function bound to its hyper-parameters. Made by :func:`orthodrome.losses.get`.

    ``closeness``: queries (B, D), keys (M, D) -> (B, M). ``losses``: closeness, masks of positives and negatives (B,
    M) -> (B,), whose mean is the loss.
    """

    name: str
    closeness: Callable[[Tensor, Tensor], Tensor]
    losses: PairLosses
    hyper: Values
    defaults: Values
    paper: str
    cell: tuple[str, str]
    formula: str
