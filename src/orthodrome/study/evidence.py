"""What a study says to a claim of the ledger: sentences with numbers out of its rows, and on which side each of them is.

A claim names its evidence as mappings, each with one of these keys, and ``group`` where the cells are:

* ``order: [better, worse]``: the paired difference of the two, with ``noise`` and ``people`` where the data was varied;
* ``overconfident: name``: the probabilities of its classes on images that were not trained on;
* ``angles: [names]``: angles of genuine and impostor pairs, which take no side;
* ``spread: tuning group``: how far apart its settings lie, which takes no side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orthodrome.evaluation.intervals import wilson
from orthodrome.registry import Registry
from orthodrome.study.found import Found, System, differences, systems, titled
from orthodrome.study.identity import Variation
from orthodrome.study.verdicts import shown_order, verdict
from orthodrome.study.wording import interval_of, mean, percent, points
from orthodrome.types import InputError

Asked = Mapping[str, Any]


@dataclass(frozen=True)
class Evidence:
    """``text`` with its numbers; ``side`` 1 for the claim, −1 against it, 0 undecided, None where it takes none."""

    text: str
    side: int | None


KINDS: Registry[Callable[[Found, Asked], Evidence | None]] = Registry("kind of evidence")
"""Each gives None where the cells it needs were not run."""


def evidence(found: Found, asked: Sequence[Asked]) -> list[Evidence]:
    """What was measured of all that is asked for. Raises InputError for a kind, group or name that is not there."""
    known = (KINDS.get(_kind(one))(found, one) for one in asked)
    return [one for one in known if one is not None]


def verdict_on(found: Sequence[Evidence]) -> str:
    """The rule of `verdict` on the evidence that takes a side."""
    return verdict(one.side for one in found if one.side is not None)


def _kind(asked: Asked) -> str:
    return next((key for key in asked if key in KINDS), next(iter(asked), ""))


def _order(found: Found, asked: Asked) -> Evidence | None:
    group = found.plan.group(asked["group"])
    names = list(asked["order"])
    if tuple(names) not in group.compare and tuple(names[::-1]) not in group.compare:
        raise InputError(f"{found.plan.path}: group {group.name!r} does not compare {' with '.join(map(repr, names))}")
    for difference in differences(found, group):
        if {difference.first, difference.second} == set(names) and _matches(difference.variation, asked) and difference.rows:
            row = difference.rows["eer"]
            first, second = (f"{name} {percent(row[key])}" for name, key in (
                (difference.first, "value_first"), (difference.second, "value_second")))  # fmt: skip
            seeds = f", {len(row['seeds'].split())} seeds" if " " in row["seeds"] else ""
            interval = f"{points(row['difference'])} ({interval_of(row)}{seeds})"
            side = shown_order(row) * (1 if difference.first == names[0] else -1)
            return Evidence(titled(f"EER {first}, {second} %: {interval}", difference.variation), side)
    return None


def _overconfident(found: Found, asked: Asked) -> Evidence | None:
    system = _system(found, asked, asked["overconfident"])
    if system is None or not system.judged[0]["unseen_images"]:
        return None
    row = system.judged[0]
    images = int(row["unseen_images"])
    accuracy, confidence = float(row["unseen_accuracy"]), float(row["confidence"])
    interval = wilson(accuracy * images, images)
    side = (confidence > interval.high) - (confidence < interval.low)
    held = f"{percent(accuracy)} % ({percent(interval.low)}–{percent(interval.high)})"
    return Evidence(
        f"{system.name}: mean confidence {percent(confidence)} % in classes that are right for {held} of unseen images", side
    )


def _angles(found: Found, asked: Asked) -> Evidence | None:
    known = [system for name in asked["angles"] if (system := _system(found, asked, name)) is not None]
    parts = [
        f"{system.name} {mean(system.judged, 'genuine_angle'):.1f}° ± {mean(system.judged, 'genuine_angle_sd'):.1f}° genuine, "
        f"{mean(system.judged, 'impostor_angle'):.1f}° ± {mean(system.judged, 'impostor_angle_sd'):.1f}° impostor"
        for system in known
    ]
    return Evidence("angles: " + "; ".join(parts), None) if parts else None


def _spread(found: Found, asked: Asked) -> Evidence | None:
    group = found.plan.group(asked["spread"])
    rows = [row for row in map(found.row, found.cells(group)) if row is not None and row["eer"]]
    if len(rows) < 2:
        return None
    rates = sorted(float(row["eer"]) for row in rows)
    return Evidence(f"EER on held-out people over {len(rates)} settings: {percent(rates[0])} to {percent(rates[-1])} %", None)


def _system(found: Found, asked: Asked, name: str) -> System | None:
    group = found.plan.group(asked["group"])
    if name not in {cell.title for cell in group.cells}:
        raise InputError(f"{found.plan.path}: group {group.name!r} has no cell {name!r}")
    known = (system for system in systems(found, group) if system.name == name and system.judged)
    return next((system for system in known if system.variation and _matches(system.variation, asked)), None)


def _matches(variation: Variation, asked: Asked) -> bool:
    return variation.noise == asked.get("noise", 0) and ("people" not in asked or variation.identities == asked["people"])


KINDS.add("order", _order)
KINDS.add("overconfident", _overconfident)
KINDS.add("angles", _angles)
KINDS.add("spread", _spread)
