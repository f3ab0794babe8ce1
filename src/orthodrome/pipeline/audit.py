"""The overlap audit of an evaluation: was anybody of the test in the training?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from orthodrome.data import open_reader
from orthodrome.evaluation.listed import text_lines
from orthodrome.evaluation.outcome import Outcome, Result
from orthodrome.evaluation.overlap import codes_among, overlap_by_embedding, overlap_by_name
from orthodrome.pipeline.storage import holds_embeddings, load_embeddings
from orthodrome.types import EmbeddingSet

Training = EmbeddingSet | Sequence[str]
"""Embeddings of a training set, or the names of its people."""

NAMELESS = "not looked for: {}, so embeddings of the training set are needed, not names"


def training_set(path: Path) -> Training:
    """A folder of identities, a list of names, one a line, or embeddings. Raises InputError where it is none of these."""
    if holds_embeddings(path):
        return load_embeddings(path)
    return open_reader(path).class_names if path.is_dir() else text_lines(path, "list of training people")


def audited(result: Result, test: EmbeddingSet, training: Training, people: Sequence[str | None] | None) -> Result:
    """The result with ``metrics["overlap"]``: the people of ``test`` among those of ``training``.

    ``people``: the person of each embedding of the test as its lists name them, empty where they do not, None where they do not list the
    image, which is then not of the test; None where they name nobody.
    Names are compared; of embeddings, which the same model must have made, the nearest, at the strictest threshold of the report.
    Names are not compared, and the report says so, where more than half of those of either side are numbers or codes
    (`orthodrome.evaluation.overlap.codes_among`).
    """
    report = result.to_report()
    if isinstance(training, EmbeddingSet):
        tested, names = _tested(test, people or [""] * len(test))
        strictest = max((row["threshold"] for row in report.metrics.get("tar_at_far") or ()), default=None)
        found = overlap_by_embedding(training, tested, strictest, people=names)
    else:
        found = _by_name(sorted(set(training)), sorted({name for name in people or () if name}))
    return Outcome(
        replace(report, metrics={**report.metrics, "overlap": found}, notes=(*report.notes, f"Overlap: {found['text']}."))
    )


def _tested(test: EmbeddingSet, people: Sequence[str | None]) -> tuple[EmbeddingSet, list[str]]:
    """The embeddings of listed images, and their people: a file may hold more than the lists of the test name."""
    listed = {row: person for row, person in enumerate(people) if person is not None}
    rows = list(listed)
    ids = tuple(test.ids[row] for row in rows)
    return EmbeddingSet(test.vectors[rows], test.labels[rows], ids, test.meta), list(listed.values())


def _by_name(training: Sequence[str], tested: Sequence[str]) -> dict[str, Any]:
    if not tested:
        return _not_looked_for("the lists of this protocol name no people")
    sides = {"training": training, "test": tested}
    codes = {side: codes_among(names) for side, names in sides.items()}
    for side, names in sides.items():
        if 2 * codes[side] > len(names):
            return _not_looked_for(f"the {side} people have numbers or codes for names ({names[0]!r}, …)")
    found = overlap_by_name(training, tested)
    said = "".join(f"; {count:,} {side} names are numbers or codes, which say nothing" for side, count in codes.items() if count)
    return {**found, "text": found["text"] + said}


def _not_looked_for(reason: str) -> dict[str, Any]:
    return {"method": "by name", "pairs": [], "text": NAMELESS.format(reason)}
