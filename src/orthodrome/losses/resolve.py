"""From a name and hyper-parameters to a :class:`LossSpec` (or :class:`PairSpec`) with every function bound."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from orthodrome.losses import angular, checks, regularizers, weights
from orthodrome.losses.distances import DISTANCES
from orthodrome.losses.gradients import GRADIENTS
from orthodrome.losses.presets import PRESETS
from orthodrome.losses.row import Choice, PairRow, PairSpec, Row
from orthodrome.losses.table import ALIASES, ROWS
from orthodrome.registry import Registry, near_matches
from orthodrome.types import Angular, InputError, LossSpec, Regularizer, State, Values

COMMON: Mapping[str, Any] = {
    "gradient": None, "mining": None, "keep": 0.9, "gamma": 2.0, "loss_weight": 1.0, "label_smoothing": 0.0,
    "center": 0.0, "alpha": 0.5, "reduction": "mean", "inter_class": 0.0, "conflict": None,
}  # fmt: skip
"""Arguments every proxy row takes: gradient convention, sample weighting, regularisers by their weight (0: none), and
``conflict``: other classes more similar to a sample than this are taken for its own person under another label and do not count."""

WEIGHTS: Registry[Callable[[Values], Callable[[Tensor], Tensor]]] = Registry("mining")
WEIGHTS.add("hm", lambda hyper: partial(weights.hard_mining, keep=hyper["keep"]))
WEIGHTS.add("focal", lambda hyper: partial(weights.focal, gamma=hyper["gamma"]))


PAIR_COMMON: Mapping[str, Any] = {"loss_weight": 1.0}
"""Arguments every pair row takes."""


def names() -> tuple[str, ...]:
    """Names of all losses, without aliases and presets."""
    return ROWS.names()


def proxy_names() -> tuple[str, ...]:
    """Names of the losses that compare embeddings with class proxies: those of ``ProxyHead``."""
    return tuple(name for name in ROWS if isinstance(ROWS.get(name), Row))


def pair_names() -> tuple[str, ...]:
    """Names of the losses that compare embeddings with each other: those of ``PairHead``."""
    return tuple(name for name in ROWS if isinstance(ROWS.get(name), PairRow))


def get(name: str, **hyper: Any) -> LossSpec | PairSpec:
    """The loss ``name`` (a row, an alias or a preset) with its defaults and ``hyper`` bound.

    Raises InputError, a ValueError, with near matches for an unknown name or hyper-parameter, and for a value that
    makes no sense.

    >>> get("arcface", margin=0.4).hyper["margin"]
    0.4
    >>> get("arcface", margn=0.4)
    Traceback (most recent call last):
    ...
    orthodrome.types.InputError: arcface has no hyper-parameter 'margn'. Did you mean 'margin' or 'easy_margin'?
    """
    row, inner, layers = _layers(name, hyper)
    defaults = _merge(inner, layers)
    bound = _merge(inner, [*layers, _given(name, row, hyper, defaults)])
    checks.check(name, bound, defaults, inner.rules)
    if isinstance(inner, PairRow):
        return _bind_pair(inner, bound, defaults)
    inner.check(bound)
    return _bind(row, inner, bound, defaults)


def proxy_loss(name: str, **hyper: Any) -> LossSpec:
    """:func:`get` for a loss over class proxies; raises InputError for a pair loss."""
    spec = get(name, **hyper)
    if isinstance(spec, PairSpec):
        raise InputError(f"{name} compares embeddings with each other and has no class proxies: use PairHead({name!r})")
    return spec


def pair_loss(name: str, **hyper: Any) -> PairSpec:
    """:func:`get` for a loss over pairs of embeddings; raises InputError for a proxy loss."""
    spec = get(name, **hyper)
    if isinstance(spec, LossSpec):
        raise InputError(f"{name} compares embeddings with class proxies: use ProxyHead({name!r}, num_classes, embedding_dim)")
    return spec


def find_row(name: str) -> Row | PairRow:
    """The row of a name or alias; raises InputError with near matches among rows, aliases and presets."""
    name = ALIASES.get(name, name)
    if name not in ROWS:
        known = [*ROWS.names(), *ALIASES, *PRESETS.names()]
        raise InputError(f"unknown loss {name!r}.{near_matches(str(name), known)}")
    return ROWS.get(name)


def _given(name: str, row: Row | PairRow, hyper: Values, defaults: Values) -> dict[str, Any]:
    """What the caller gave, by the names the functions use; raises InputError for a name the loss does not have."""
    renames = row.renames if isinstance(row, Row) else {}
    given = {renames.get(key, key): value for key, value in hyper.items() if key != "base" or "base" not in row.defaults}
    if given.get("loss_weight") == "as returned":  # a published value's words for the row's own weight
        del given["loss_weight"]
    if given.get("gradient", "") is None:  # None asks for the default of the row or preset
        del given["gradient"]
    for key in given:
        if key not in defaults:
            raise InputError(f"{name} has no hyper-parameter {key!r}.{near_matches(key, defaults)}")
    return given


def _layers(name: str, hyper: Values) -> tuple[Row | PairRow, Row | PairRow, list[Values]]:
    """The row asked for, the row whose functions it runs on, and the settings laid over that row's defaults, weakest first."""
    if name in PRESETS:
        preset = PRESETS.get(name)
        row, inner, layers = _layers(preset.row, hyper)
        return row, inner, [*layers, preset.hyper]
    row = find_row(name)
    if "base" not in row.defaults:
        return row, row, []
    base = hyper.get("base", row.defaults["base"])
    _, inner, layers = _layers(base, {})
    if isinstance(inner, PairRow):
        raise InputError(f"base of {name} must be a loss with class proxies; got {base!r}. Known: {', '.join(proxy_names())}")
    known = {**COMMON, **inner.defaults}
    own = {key: value for key, value in row.defaults.items() if key in known}
    return row, inner, [*layers, own]


def _merge(inner: Row | PairRow, layers: list[Values]) -> dict[str, Any]:
    """Common arguments, then the row's defaults, then those of the chosen variant, then the layers."""
    upper: dict[str, Any] = {}
    for layer in layers:
        upper |= layer
    merged = {**(COMMON if isinstance(inner, Row) else PAIR_COMMON), **inner.defaults}
    for key, variants in inner.when.items():
        chosen = upper.get(key, merged[key])
        merged |= variants.get(chosen, {}) if isinstance(chosen, Hashable) else {}
    return merged | upper


def _bind_pair(row: PairRow, hyper: dict[str, Any], defaults: Values) -> PairSpec:
    distance = DISTANCES.get(hyper.get("distance", "cosine"))
    values = {key: hyper[key] for key in row.values} | {key: distance.sign * hyper[key] for key in row.margins}
    losses = partial(_picked(row.losses, hyper), **values)
    return PairSpec(
        name=row.name,
        closeness=distance.closeness,
        losses=lambda *compared: hyper["loss_weight"] * losses(*compared),
        hyper=hyper,
        defaults=defaults,
        paper=row.paper,
        cell=row.cell,
        formula=row.formula,
    )


def _bind(row: Row | PairRow, inner: Row, hyper: dict[str, Any], defaults: Values) -> LossSpec:
    gradient = hyper["gradient"] or inner.gradient
    hyper = {**hyper, "gradient": gradient}
    similarity = inner.similarity(hyper)
    if hyper["conflict"] is not None and not similarity.unit_proxies:
        raise InputError(
            f"conflict is a similarity of unit vectors, which {row.name} does not compare; leave it out, or use normface"
        )
    if hyper["conflict"] is not None and hyper.get("label_smoothing"):
        raise InputError("label_smoothing spreads over all classes, conflict leaves some out: give one of the two")
    return LossSpec(
        name=row.name,
        similarity=similarity,
        angular=_angular(inner, gradient, hyper),
        link=inner.link(hyper),
        margins=partial(_picked(inner.margins, hyper), hyper=hyper),
        scale=partial(inner.scale, hyper=hyper),
        weight=_weight(inner, hyper),
        state=partial(_state, inner, hyper),
        prepare=partial(inner.prepare, hyper=hyper) if inner.prepare else None,
        regularizers=tuple(_regularizers(inner, hyper)),
        gradient=gradient,
        hyper=hyper,
        defaults=defaults,
        paper=row.paper,
        cell=inner.cell,
        formula=row.formula,
        minimum_classes=inner.minimum_classes,
        uniform=hyper["mining"] is None,
        conflict=hyper["conflict"],
    )


def _picked(function: Any, hyper: Values) -> Any:
    return function.pick(hyper) if isinstance(function, Choice) else function


def _angular(inner: Row, gradient: str, hyper: Values) -> Angular:
    convention = GRADIENTS.get(gradient)
    function = _picked(inner.angular, hyper)
    if gradient == "detach_margin" and inner.margin_detached is not None:
        return _picked(inner.margin_detached, hyper)
    if hyper.get("easy_margin"):
        function = _easy(function)
    return convention(function)


def _easy(function: Any) -> Any:
    """``function`` with the margin on the right half of the sphere only; support vectors are then those above that φ."""
    base = function.keywords.get("base") if isinstance(function, partial) else None
    if base is None:
        return partial(angular.easy_margin, base=function)
    return partial(function.func, **{**function.keywords, "base": partial(angular.easy_margin, base=base)})


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
