"""Fairness over a list of pairs whose people belong to groups."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orthodrome.evaluation.fairness import fairness
from orthodrome.evaluation.listed import text_lines
from orthodrome.evaluation.outcome import Outcome, Result
from orthodrome.evaluation.pairs import ListedImage, Pairs, read_pairs, resolve_pairs
from orthodrome.evaluation.protocols.verification import with_repeated
from orthodrome.evaluation.resolution import possible_fars
from orthodrome.evaluation.verification import scored_pairs
from orthodrome.types import EmbeddingSet, InputError, PathLike, Report

FAR = 1e-3


@dataclass(frozen=True)
class GroupedPairs:
    """Pairs, and the group of every person by name."""

    pairs: Pairs
    groups: dict[str, str]


def read_grouped(path: PathLike) -> GroupedPairs:
    """A folder with ``pairs.txt`` in LFW's form and ``groups.txt``, lines ``person group`` (the group after the last blank or tab).

    Raises InputError for a malformed line, a person with two groups, and a person of the pairs without one (line named).
    """
    folder = Path(path)
    pairs = read_pairs(folder / "pairs.txt")
    groups: dict[str, str] = {}
    for number, line in enumerate(text_lines(folder / "groups.txt", "list of people and groups"), start=1):
        fields = line.rsplit(maxsplit=1)
        if len(fields) != 2:
            raise InputError(f"{folder / 'groups.txt'}:{number}: expected 'person group'; got {line!r}")
        person, group = fields[0].strip(), fields[1]
        if groups.setdefault(person, group) != group:
            raise InputError(f"{folder / 'groups.txt'}:{number}: {person!r} is in two groups, {groups[person]!r} and {group!r}")
    for image in pairs.images():
        if image.name not in groups:
            raise InputError(f"{pairs.where(image)}: {image.name!r} has no group in {folder / 'groups.txt'}")
    return GroupedPairs(pairs, groups)


def grouped_images(lists: GroupedPairs, root: PathLike) -> dict[str, Path]:
    """The images of the pairs."""
    return resolve_pairs(lists.pairs, root)


def measure_fairness(embeddings: EmbeddingSet, lists: GroupedPairs) -> Result:
    """FMR and FNMR of each group at the threshold of FAR 0.1 % over all pairs, or of the lowest FAR they resolve."""
    pairs = lists.pairs
    scored = scored_pairs(embeddings, pairs)
    resolved = possible_fars(int((~pairs.same).sum()))
    if not resolved:
        raise InputError(f"{pairs.source}: fewer than 10 impostor pairs resolve no FAR; fairness needs a threshold")
    groups = _groups(lists, pairs.first, pairs.second)
    found = fairness(scored.scores, pairs.same, groups, max(FAR, resolved[-1]), identities=scored.identities)
    notes = (
        f"One threshold for all: the smallest whose FAR over all impostor pairs is at most {found.overall.far:g}.",
        "FMR of a group: pairs of two different people both of it; FNMR: its genuine pairs; both per comparison. Pairs across groups count "
        "for the threshold only.",
        "Intervals: of TAR by identity, people, not pairs, drawn with replacement, 1,000 times, each time with a threshold of its own "
        "(Wilson's where no resample differs); of FMR and FNMR of a group Wilson's, which takes comparisons as independent.",
        "FDR = 1 − (max|ΔFMR| + max|ΔFNMR|)/2.",
    )
    metrics = {**found.metrics(), "counts": {"genuine": int(pairs.same.sum()), "impostor": int((~pairs.same).sum())}}
    return Outcome(with_repeated(Report("fairness", "Error rates by group", metrics, scored.series(), notes), pairs))


def _groups(lists: GroupedPairs, *sides: Iterable[ListedImage]) -> np.ndarray:
    return np.array([[lists.groups[image.name] for image in side] for side in sides]).T
