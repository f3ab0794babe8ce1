"""What is wrong with a set, item by item, and how much of it is borne: left out and told, never replaced, and refused above a budget."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from orthodrome.data.decode import printable
from orthodrome.files import beside, write_file
from orthodrome.types import InputError

BUDGET = 0.001
"""Share of a set that may be left out before opening it fails: 0.1 %."""

WHAT_TO_DO = (
    "list what cannot be used with `orthodrome data verify`; what its quarantine list names is left out, up to the budget"
)
"""The end of a message about an image that stops a job."""

_SHOWN = 3


@dataclass(frozen=True)
class Place:
    """Where an item is: a file, and an offset in it (None: the item is the file)."""

    file: str
    offset: int | None = None

    def of(self, key: str) -> str:
        """File, key and offset as errors name them."""
        named = f"{self.file}: key {key}" if key else self.file
        return f"{named} at offset {self.offset}" if self.offset is not None else named


@dataclass(frozen=True)
class Problem:
    """One item that cannot be used: the file it is in, its key there, its offset in bytes (None: it is the file), and the reason."""

    file: str
    key: str
    offset: int | None
    reason: str

    def __str__(self) -> str:
        return f"{Place(self.file, self.offset).of(self.key)}: {self.reason}"


def check_budget(problems: Sequence[Problem], total: int, budget: float, what: str) -> None:
    """Refuse a set of ``total`` items, good and bad, of which more than the share ``budget`` is bad.

    Raises:
        InputError: with how many of how many, and the first of them.
    """
    if not 0 <= budget <= 1:
        raise InputError(f"the quarantine budget is a share in [0, 1]; got {budget}")
    if len(problems) > budget * total:
        first = "; ".join(str(problem) for problem in problems[:_SHOWN])
        more = f"; and {len(problems) - _SHOWN:,} more" if len(problems) > _SHOWN else ""
        raise InputError(
            f"{what}: {len(problems):,} of {total:,} items cannot be used, more than the {budget:.2%} that are borne: {first}{more}. "
            "List them all with `orthodrome data verify`; raise the budget (--budget; data.quarantine of a recipe) to go on without them"
        )


def quarantine_file(path: str | Path) -> Path:
    """Where the quarantine list of a set is kept: beside it, ``NAME.quarantine.jsonl``; of a link, beside what it leads to."""
    return beside(Path(path).resolve(), ".quarantine.jsonl")


def write_quarantine(path: Path, problems: Iterable[Problem]) -> None:
    """One JSON object a line: file, key, offset, reason."""
    lines = (json.dumps(asdict(problem), ensure_ascii=False) + "\n" for problem in problems)
    write_file(path, "".join(lines).encode())


def read_quarantine(path: Path) -> tuple[Problem, ...]:
    """What `write_quarantine` wrote; none where there is no list.

    Raises:
        InputError: a line that is no such object, by its number.
    """
    if not path.is_file():
        return ()
    problems = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line:
            continue
        try:
            problems.append(Problem(**json.loads(line)))
        except (ValueError, TypeError):
            raise InputError(
                f"{printable(path)}:{number}: not a line of a quarantine list; write it anew with `orthodrome data verify`"
            ) from None
    return tuple(problems)
