"""What a paired interval says of a claim, by one rule that is stated once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

SEEN, CONTRADICTED, NOT_VISIBLE = "seen here", "contradicted here", "not visible at this size"

RULE = (
    "A paired difference *shows* an order where its 95 % interval does not hold 0. A claim is *seen here* where every comparison it rests "
    "on that shows an order shows the claimed one, and at least half of them do; *contradicted here* where at least half show the other "
    "one and none the claimed; *not visible at this size* otherwise. The interval holds the chance of who is in the test set; the chance "
    "of a seed is not in it, only averaged over the seeds that were run."
)


@dataclass(frozen=True)
class Order:
    """Whether the first of two systems is the better one: the ``figure`` of both, first − second and its 95 % interval."""

    first: str
    second: str
    figure: str
    value_first: float
    value_second: float
    low: float
    high: float
    seeds: int

    @property
    def shown(self) -> int:
        """1: the first is better, −1: the second, 0: the interval holds 0. Of the EER, the lower is the better."""
        if self.low <= 0 <= self.high:
            return 0
        return 1 if (self.low > 0) == (self.figure != "eer") else -1


def order_of(row: Mapping[str, str]) -> Order:
    """The order that a row of pairs states."""
    first, second, low, high = (float(row[key]) for key in ("value_first", "value_second", "low", "high"))
    return Order(row["first"], row["second"], row["figure"], first, second, low, high, len(row["seeds"].split()))


def verdict(orders: Iterable[Order]) -> str:
    """`RULE` on the comparisons that a claim rests on, each with the claimed winner first; empty where none was made."""
    shown = [order.shown for order in orders]
    for_it, against = shown.count(1), shown.count(-1)
    if not shown:
        return ""
    if not against and 2 * for_it >= len(shown):
        return SEEN
    if not for_it and 2 * against >= len(shown):
        return CONTRADICTED
    return NOT_VISIBLE
