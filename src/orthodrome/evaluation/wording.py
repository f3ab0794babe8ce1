"""How rates, intervals and thresholds are printed, the same in the terminal and on the page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orthodrome.types import Interval


@dataclass(frozen=True)
class Trials:
    """What a set of scores counts, in the words of a picture: its wrong and right acceptances, its rejections, its two kinds."""

    far: str
    tar: str
    frr: str
    genuine: str
    impostor: str
    curve: str


COMPARISONS = Trials(
    far="FAR: impostor comparisons accepted",
    tar="TAR: genuine comparisons accepted",
    frr="FRR: genuine comparisons rejected",
    genuine="genuine",
    impostor="impostor",
    curve="ROC, per comparison",
)
SEARCHES = Trials(
    far="FPIR: non-mated searches accepted",
    tar="TPIR: mated searches accepted",
    frr="FNIR: mated searches not accepted",
    genuine="mated",
    impostor="non-mated",
    curve="ROC of searches, whatever the rank",
)


def signed(score: float) -> str:
    """A score with four digits and a real minus sign."""
    return f"{score:.4f}".replace("-", "−")


def percent(rate: float) -> str:
    """``0.0912`` -> ``9.12 %``."""
    return f"{100 * rate:.2f} %"


def between(interval: Interval) -> str:
    """The interval in per cent: ``90.66–92.09``."""
    return f"{100 * interval.low:.2f}–{100 * interval.high:.2f}"


def false_accept_rate(far: float) -> str:
    """A FAR as the papers write it: ``1 %`` and ``0.1 %``, then ``1e−3``-like powers below."""
    if far >= 0.001:
        return f"{100 * far:g} %"
    mantissa, exponent = f"{far:.6e}".split("e")
    return f"{float(mantissa):g}e−{-int(exponent)}"


def rounded_up(threshold: float, digits: int = 4) -> str:
    """A threshold rounded up, so that what is printed never accepts more impostors than what was measured."""
    steps = math.floor(threshold * 10**digits)
    while float(text := f"{steps / 10**digits:.{digits}f}") < threshold:
        steps += 1
    return text


def one_in(rate: float) -> str:
    """``0.001`` -> ``1 in 1,000``; ``0`` -> ``none``."""
    return f"1 in {1 / rate:,.0f}" if rate > 0 else "none"


def counted(count: int, total: int) -> str:
    """The achieved count: ``3 / 3,000``."""
    return f"{count:,} / {total:,}"


def failed_images(lists: Mapping[str, Mapping[str, int]]) -> str:
    """``1 / 4 probes, 0 / 2 gallery``: the images of each list that could not be enrolled."""
    return ", ".join(f"{counted(found['failed'], found['listed'])} {name}" for name, found in lists.items())


def span(interval: Mapping[str, Any] | None) -> str:
    """An interval out of JSON, in per cent: ``90.66–92.09 %``, below 0.1 % with two digits that say something;
    ``–`` where there is none.
    """
    if not interval:
        return "–"
    low, high = 100 * interval["low"], 100 * interval["high"]
    return f"{low:.2f}–{high:.2f} %" if high >= 0.1 else f"{low:.2g}–{high:.2g} %"


def method_of(interval: Mapping[str, Any]) -> str:
    """The method of an interval out of JSON, in short: ``bootstrap by identity``."""
    return str(interval.get("method", "")).split(" (")[0]
