"""From a name and hyper-parameters to a :class:`LossSpec` with every function bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from orthodrome.losses import angular, regularizers, weights
from orthodrome.losses.gradients import GRADIENTS
from orthodrome.losses.row import Choice, Row
from orthodrome.losses.table import ALIASES, PRESETS, ROWS
from orthodrome.registry import Registry, near_matches
from orthodrome.types import Angular, InputError, LossSpec, Regularizer, State, Values

COMMON: Mapping[str, Any] = {
    "gradient": None, "mining": None, "keep": 0.9, "gamma": 2.0, "loss_weight": 1.0,
    "center": 0.0, "alpha": 0.5, "reduction": "mean", "inter_class": 0.0,
}  # fmt: skip
"""Arguments every proxy row takes: gradient convention, sample weighting, and regularisers by their weight (0: none)."""

WEIGHTS: Registry[Callable[[Values], Callable[[Tensor], Tensor]]] = Registry("mining")
WEIGHTS.add("hm", lambda hyper: partial(weights.hard_mining, keep=hyper["keep"]))
WEIGHTS.add("focal", lambda hyper: partial(weights.focal, gamma=hyper["gamma"]))


def names() -> tuple[str, ...]:
    """Names of all proxy losses, without aliases and presets."""
    return ROWS.names()


def get(name: str, **hyper: Any) -> LossSpec:
    """The loss ``name`` (a row, an alias or a preset) with its defaults and ``hyper`` bound.

    Raises InputError, a ValueError, with near matches for an unknown name or hyper-parameter.

    >>> get("arcface", margin=0.4).hyper["margin"]
    0.4
    >>> get("arcface", margn=0.4)
    Traceback (most recent call last):
    ...
    orthodrome.types.InputError: arcface has no hyper-parameter 'margn'. Did you mean 'margin'?
    """
    row, inner, layers = _layers(name, hyper)
    defaults = _merge(inner, layers)
    given = {row.renames.get(key, key): value for key, value in hyper.items() if key != "base"}
    if given.get("loss_weight") == "as returned":  # the golden files' words for the row's own weight
        del given["loss_weight"]
    for key in given:
        if key not in defaults:
            raise InputError(f"{name} has no hyper-parameter {key!r}.{near_matches(key, defaults)}")
    bound = _merge(inner, [*layers, given])
    return _bind(row, inner, bound, defaults)


def find_row(name: str) -> Row:
    """The row of a name or alias; raises InputError with near matches among rows, aliases and presets."""
    name = ALIASES.get(name, name)
    if name not in ROWS:
        known = [*ROWS.names(), *ALIASES, *PRESETS.names()]
        raise InputError(f"unknown loss {name!r}.{near_matches(str(name), known)}")
    return ROWS.get(name)


def _layers(name: str, hyper: Values) -> tuple[Row, Row, list[Values]]:
    """The row asked for, the row whose functions it runs on, and the settings laid over that row's defaults, weakest first."""
    if name in PRESETS:
        preset = PRESETS.get(name)
        row, inner, layers = _layers(preset.row, hyper)
        return row, inner, [*layers, preset.hyper]
    row = find_row(name)
    base = hyper.get("base", row.defaults.get("base"))
    if base is None or "base" not in row.defaults:
        return row, row, []
    _, inner, layers = _layers(base, {})
    known = {**COMMON, **inner.defaults}
    own = {key: value for key, value in row.defaults.items() if key in known}
    return row, inner, [*layers, own]


def _merge(inner: Row, layers: list[Values]) -> dict[str, Any]:
    """Common arguments, then the row's defaults, then those of the chosen variant, then the layers."""
    upper: dict[str, Any] = {}
    for layer in layers:
        upper |= layer
    merged = {**COMMON, **inner.defaults}
    for key, variants in inner.when.items():
        merged |= variants.get(upper.get(key, merged[key]), {})
    return merged | upper


def _bind(row: Row, inner: Row, hyper: dict[str, Any], defaults: Values) -> LossSpec:
    gradient = hyper["gradient"] or inner.gradient
    hyper = {**hyper, "gradient": gradient}
    active = tuple(_regularizers(inner, hyper))
    return LossSpec(
        name=row.name,
        similarity=inner.similarity(hyper),
        angular=_angular(inner, gradient, hyper),
        link=inner.link(hyper),
        margins=partial(_picked(inner.margins, hyper), hyper=hyper),
        scale=partial(inner.scale, hyper=hyper),
        weight=_weight(inner, hyper),
        state=partial(_state, inner, hyper),
        prepare=partial(inner.prepare, hyper=hyper) if inner.prepare else None,
        regularizers=active,
        gradient=gradient,
        hyper=hyper,
        defaults=defaults,
        paper=row.paper,
        cell=inner.cell,
        formula=row.formula,
        minimum_classes=inner.minimum_classes,
    )


def _picked(function: Any, hyper: Values) -> Any:
    return function.pick(hyper) if isinstance(function, Choice) else function


def _angular(inner: Row, gradient: str, hyper: Values) -> Angular:
    convention = GRADIENTS.get(gradient)
    function = _picked(inner.angular, hyper)
    if gradient == "detach_margin" and inner.margin_detached is not None:
        return _picked(inner.margin_detached, hyper)
    if hyper.get("easy_margin"):
        function = partial(angular.easy_margin, base=function)
    return convention(function)


def _weight(inner: Row, hyper: Values) -> Callable[[Tensor], Tensor]:
    factor = inner.factor(hyper)
    reweight = WEIGHTS.get(hyper["mining"])(hyper) if hyper["mining"] else weights.keep_all
    return lambda losses: factor * reweight(losses)


def _regularizers(inner: Row, hyper: Values) -> list[Regularizer]:
    terms = [inner.regularizer(hyper)] if inner.regularizer else []
    if hyper["center"]:
        terms.append(regularizers.center(hyper["center"], hyper["alpha"], hyper["reduction"]))
    if hyper["inter_class"]:
        terms.append(regularizers.inter_class(hyper["inter_class"]))
    return [term for term in terms if term is not None]


def _state(inner: Row, hyper: Values, num_classes: int) -> Mapping[str, State]:
    return inner.state(num_classes, hyper)
