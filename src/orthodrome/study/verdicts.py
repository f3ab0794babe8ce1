"""What a paired interval says of a claim, by one rule that is stated once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

SEEN, CONTRADICTED, NOT_VISIBLE = "seen here", "contradicted here", "not visible at this size"

RULE = (
    "A comparison *shows* an order where the 95 % interval of its paired difference does not hold 0 (a mean confidence, where it lies "
    "outside the interval of the accuracy). A claim is *seen here* where at least half of the comparisons it rests on show the claimed "
    "order and none the other; *contradicted here* where at least half show the other and none the claimed; *not visible at this size* "
    "otherwise. The intervals hold the chance of who is in the test set; that of a seed is only averaged over the seeds that were run."
)


def shown_order(row: Mapping[str, str]) -> int:
    """Of a row of pairs, 1: the first is better, −1: the second, 0: the interval holds 0, or there is none. A lower EER is better."""
    if not row["low"]:
        return 0
    low, high = float(row["low"]), float(row["high"])
    if low <= 0 <= high:
        return 0
    return 1 if (low > 0) == (row["figure"] != "eer") else -1


def verdict(sides: Iterable[int]) -> str:
    """`RULE` on what each comparison shows: 1 the claimed order, −1 the other one, 0 none; empty where none was made."""
    shown = list(sides)
    for_it, against = shown.count(1), shown.count(-1)
    if not shown:
        return ""
    if not against and 2 * for_it >= len(shown):
        return SEEN
    if not for_it and 2 * against >= len(shown):
        return CONTRADICTED
    return NOT_VISIBLE
