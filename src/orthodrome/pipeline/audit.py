"""The overlap audit of an evaluation: was anybody of the test in the training?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orthodrome.data import open_reader
from orthodrome.evaluation.listed import text_lines
from orthodrome.evaluation.outcome import Outcome, Result
from orthodrome.evaluation.overlap import overlap_by_embedding, overlap_by_name, people_of
from orthodrome.pipeline.storage import holds_embeddings, load_embeddings
from orthodrome.types import EmbeddingSet


def audited(result: Result, test: EmbeddingSet, training: Path) -> Result:
    """The result with ``metrics["overlap"]``: the people of ``test`` among those of ``training``.

    ``training`` is a folder of identities or a list of names, one a line (compared by name), or embeddings of the training set made by
    the same model (compared by nearest embedding, at the strictest threshold of the report).
    """
    report = result.to_report()
    if holds_embeddings(training):
        strictest = max((row["threshold"] for row in report.metrics.get("tar_at_far") or ()), default=None)
        found = overlap_by_embedding(load_embeddings(training), test, strictest)
    else:
        names = open_reader(training).class_names if training.is_dir() else text_lines(training, "list of training people")
        found = overlap_by_name(names, people_of(test))
    return Outcome(
        replace(report, metrics={**report.metrics, "overlap": found}, notes=(*report.notes, f"Overlap: {found['text']}."))
    )
