"""What a hyper-parameter may be. Checked when a loss is made, so that a wrong value never trains nonsense in silence."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from orthodrome.losses.angular import FALLBACKS
from orthodrome.losses.distances import DISTANCES
from orthodrome.losses.gradients import GRADIENTS
from orthodrome.losses.pairs import REDUCTIONS
from orthodrome.types import InputError, Values


@dataclass(frozen=True)
class Rule:
    """``allows`` a value, or the message ends in ``expected``."""

    allows: Callable[[Any], bool]
    expected: str


def is_number(value: Any) -> bool:
    """A finite real number; True and False are not numbers here."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def one_of(options: Collection[str]) -> Rule:
    """One of these words."""
    return Rule(lambda value: isinstance(value, str) and value in options, f"one of {', '.join(map(repr, options))}")


NUMBER = Rule(is_number, "a finite number")
POSITIVE = Rule(lambda value: is_number(value) and value > 0, "a finite number above 0")
NOT_NEGATIVE = Rule(lambda value: is_number(value) and value >= 0, "a finite number of at least 0")
RATE = Rule(lambda value: is_number(value) and 0 <= value <= 1, "a number in [0, 1]")
SHARE = Rule(lambda value: is_number(value) and 0 < value <= 1, "a number in (0, 1]")
SWITCH = Rule(lambda value: isinstance(value, bool), "True or False")

RULES: dict[str, Rule] = {
    **dict.fromkeys(("margin", "margin_p", "margin_n", "pos_margin", "neg_margin", "l_margin", "u_margin"), NUMBER),
    **dict.fromkeys(("m1", "m2", "m3", "mu0", "t0"), NUMBER),
    **dict.fromkeys(("scale", "t", "temperature", "loss_weight", "sigma0", "h", "l_a", "u_a"), POSITIVE),
    **dict.fromkeys(("gamma", "sigma", "lambda_g", "center", "inter_class", "annealing_lambda"), NOT_NEGATIVE),
    **dict.fromkeys(("alpha", "t_alpha"), RATE),
    **dict.fromkeys(("learn_scale", "plus", "clamp"), SWITCH),
    "keep": SHARE,
    "label_smoothing": Rule(lambda value: is_number(value) and 0 <= value < 1, "a number in [0, 1)"),
    "conflict": Rule(lambda value: is_number(value) and -1 <= value <= 1, "a similarity in [-1, 1], or None"),
    "subcenters": Rule(lambda value: type(value) is int and value >= 1, "a positive integer"),
    "easy_margin": Rule(lambda value: value in (True, False, "cos>0"), "True, False or 'cos>0' (another word for True)"),
    "fallback": one_of(FALLBACKS.names()),
    "gradient": one_of(GRADIENTS.names()),
    "distance": one_of(DISTANCES.names()),
    "mining": one_of(("hm", "focal")),
    "reduction": one_of(("mean", "sum")),
    "lam": Rule(lambda value: value in (None, "balanced") or (is_number(value) and 0 < value < 1),
                "a number strictly between 0 and 1, 'balanced', or None (both weights 1)"),
    "bias": Rule(lambda value: value in (None, "paper init") or is_number(value), "'paper init', a number, or None (no bias)"),
}  # fmt: skip
"""By the one name a hyper-parameter has everywhere. None is allowed where it is the default."""


def check(name: str, hyper: Values, defaults: Values, rules: Mapping[str, Rule]) -> None:
    """Raises InputError naming the loss, the hyper-parameter, what was given and what was expected. ``rules`` of the
    row come first.
    """
    for key, value in hyper.items():
        rule = rules.get(key) or RULES.get(key)
        if rule is None or (value is None and defaults.get(key) is None):
            continue
        if not rule.allows(value):
            raise InputError(f"{key} of {name} must be {rule.expected}; got {value!r}")


# ------------------------------------------------------------------------------------------------ rules of single rows

WHOLE_ORDER = Rule(lambda value: is_number(value) and value in (1, 2, 3, 4),
                   "1, 2, 3 or 4, as cos(mθ) is a polynomial in cos θ (sphereface_r takes fractions)")  # fmt: skip
MULTIPLE = Rule(lambda value: is_number(value) and value >= 1, "a finite number of at least 1, as it multiplies the angle")
NUMBER_OR_NORM = Rule(
    lambda value: value is None or POSITIVE.allows(value), "a finite number above 0, or None for the feature norm ‖x‖"
)
ADACOS_MODE = one_of(("dynamic", "fixed"))
TRIPLET_MINING = one_of(("all", "batch_hard", "semihard"))
TRIPLET_REDUCTION = one_of(REDUCTIONS.names())


def nothing(hyper: Values) -> None:
    """Each value on its own is all there is to check."""


def falling_angle(hyper: Values) -> None:
    """Two fallbacks are values at θ, which go on falling only where the angle is not multiplied."""
    if hyper["m1"] != 1 and hyper["fallback"] in ("linear", "cos"):
        raise InputError(
            f"fallback must be 'none' or 'clamp_theta' where m1 is not 1; got {hyper['fallback']!r} and m1={hyper['m1']!r}"
        )


def norm_range(hyper: Values) -> None:
    """MagFace's norms are clamped to an interval."""
    if not hyper["l_a"] < hyper["u_a"]:
        raise InputError(f"l_a must be below u_a; got l_a={hyper['l_a']!r}, u_a={hyper['u_a']!r}")


def margins_of_variant(hyper: Values) -> None:
    """Only SphereFace2's variant C has a margin on the other classes; that of variant M is a factor."""
    margin = hyper["margin"] if hyper["margin_p"] is None else hyper["margin_p"]
    if hyper["variant"] == "M" and not MULTIPLE.allows(margin):
        raise InputError(f"the margin of variant 'M' must be {MULTIPLE.expected}; got {margin!r}")
    if hyper["variant"] != "C" and hyper["margin_n"] is not None:
        raise InputError(f"margin_n belongs to variant 'C'; variant {hyper['variant']!r} has no margin on the other classes")
