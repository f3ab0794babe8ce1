"""What a number of comparisons can resolve: which FARs, and how far a rate read off few errors can be
trusted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction
from typing import Any

from orthodrome.evaluation.wording import false_accept_rate
from orthodrome.types import InputError

Rate = float | Fraction | Decimal | str
"""A rate as it was written: 0.001, "1e-3" and Fraction(1, 1000) are one."""


def possible_fars(impostors: int) -> tuple[float, ...]:
    """0.1, 0.01, 0.001, … as far as FAR·``impostors`` ≥ 1."""
    return tuple(float(f"1e-{digits}") for digits in range(1, len(str(impostors))))


def possible_rates(rates: Sequence[Rate], trials: int) -> tuple[Rate, ...]:
    """Those of ``rates`` with rate·``trials`` ≥ 1."""
    return tuple(rate for rate in rates if Fraction(str(rate)) * trials >= 1)


def far_or_lowest(far: float, impostors: int) -> tuple[float, ...]:
    """``far`` where so many impostors resolve it, or the lowest of `possible_fars`; none where they resolve not even 0.1."""
    return (far,) if possible_rates((far,), impostors) else possible_fars(impostors)[-1:]


def unresolved(name: str, rates: Sequence[Rate], trials: int, what: str) -> str:
    """Empty, or which of ``rates`` are not told, because there are no more than so many ``what``."""
    possible = possible_rates(rates, trials)
    left_out = ", ".join(false_accept_rate(float(Fraction(str(rate)))) for rate in rates if rate not in possible)
    return f"{name} {left_out}: more {what} are needed than {trials:,}" if left_out else ""


def exact_far(far: Rate, impostors: int) -> Fraction:
    """``far`` as the decimal number that was written: 0.001 is 1/1000, and ⌊FAR·N⌋ is exact.

    Raises InputError unless 0 < FAR ≤ 1 and FAR·``impostors`` ≥ 1.
    """
    try:
        exact = Fraction(str(far))
    except (ValueError, ZeroDivisionError):
        raise InputError(f"FAR must be a number in (0, 1]; got {far!r}") from None
    if not 0 < exact <= 1:
        raise InputError(f"FAR must lie in (0, 1]; got {far}")
    if exact * impostors < 1:
        raise InputError(
            f"FAR {far} needs ≥ 1/FAR = {-(-exact.denominator // exact.numerator):,} impostors; "
            f"got {impostors:,}. Ask for FAR ≥ {_lowest_far(impostors):g} or compare more people"
        )
    return exact


def _lowest_far(impostors: int) -> float:
    """1/``impostors`` with two digits, rounded up, so that as many impostors resolve it."""
    return float(Context(prec=2, rounding=ROUND_CEILING).divide(Decimal(1), Decimal(impostors)))


def small_counts_warning(accepted_impostor: int, impostor: int, accepted_genuine: int, genuine: int) -> str:
    """Empty, or what the counts behind a FAR and its FRR are too small for."""
    accepted = few_errors_warning(accepted_impostor, impostor, "accepted impostors", "FAR")
    rejected = few_errors_warning(genuine - accepted_genuine, genuine, "rejected genuines", "FRR")
    return "; ".join(text for text in (accepted, rejected) if text)


def few_errors_warning(errors: int, trials: int, what: str, rate: str) -> str:
    """Empty from 30 errors on, or what fewer of them can say.

    Rule of 3: no error in n trials bounds the rate by 3/n at 95 %. Rule of 30 (Doddington et al., 2000):
    with 30 errors the true rate is within ± 30 % of the observed one with 90 % confidence.
    """
    if trials == 0:
        return f"nothing was compared, and no {rate} is known"
    if errors == 0:
        return f"no {what} in {trials:,}: the true {rate} may be up to {min(1.0, 3 / trials):.2g} (rule of 3)"
    if errors < 30:
        return f"{errors} {what} in {trials:,}: the true {rate} may be off by more than 30 % (rule of 30)"
    return ""


def few_misses(row: Mapping[str, Any]) -> str:
    """Empty, or the warning of a rate of searches, out of JSON, that is read off few misses."""
    return few_errors_warning(row["searches"] - row["hits"], row["searches"], "misses", "rate of misses")


def few_errors_of_group(group: Mapping[str, Any]) -> str:
    """Empty, or the warning of a group's FMR and FNMR, out of JSON, that are read off few errors."""
    genuine = group["genuine"]
    return small_counts_warning(group["accepted_impostor"], group["impostor"], genuine - group["rejected_genuine"], genuine)
