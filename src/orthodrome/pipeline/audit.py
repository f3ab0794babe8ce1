"""The overlap audit of an evaluation: was anybody of the test in the training?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orthodrome.data import open_reader
from orthodrome.evaluation.listed import text_lines
from orthodrome.evaluation.outcome import Outcome, Result
from orthodrome.evaluation.overlap import overlap_by_embedding, overlap_by_name
from orthodrome.pipeline.storage import holds_embeddings, load_embeddings
from orthodrome.types import EmbeddingSet

Training = EmbeddingSet | Sequence[str]
"""Embeddings of a training set, or the names of its people."""


NAMELESS = "not looked for: the lists of this protocol name no people, so embeddings of the training set are needed, not names"


def training_set(path: Path) -> Training:
    """A folder of identities, a list of names, one a line, or embeddings. Raises InputError where it is none of these."""
    if holds_embeddings(path):
        return load_embeddings(path)
    return open_reader(path).class_names if path.is_dir() else text_lines(path, "list of training people")


def audited(result: Result, test: EmbeddingSet, training: Training, people: Sequence[str] | None) -> Result:
    """The result with ``metrics["overlap"]``: the people of ``test`` among those of ``training``.

    ``people``: the person of each embedding of the test as its lists name them, empty where they do not; None where they name nobody.
    Names are compared; of embeddings, which the same model must have made, the nearest, at the strictest threshold of the report.
    """
    report = result.to_report()
    if isinstance(training, EmbeddingSet):
        strictest = max((row["threshold"] for row in report.metrics.get("tar_at_far") or ()), default=None)
        found = overlap_by_embedding(training, test, strictest, people=people or [""] * len(test))
    elif people is None:
        found = {"method": "by name", "pairs": [], "text": NAMELESS}
    else:
        found = overlap_by_name(training, filter(None, people))
    return Outcome(
        replace(report, metrics={**report.metrics, "overlap": found}, notes=(*report.notes, f"Overlap: {found['text']}."))
    )
