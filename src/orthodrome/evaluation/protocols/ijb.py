"""IJB-B and IJB-C: templates of images and video frames, verified 1:1 and identified 1:N (Whitelam et al. 2017; Maze et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from orthodrome.evaluation.checks import check_both_kinds
from orthodrome.evaluation.identification import CONVENTIONS, FPIRS, resolved_metrics
from orthodrome.evaluation.intervals import of_mean
from orthodrome.evaluation.listed import find_images, match_rows
from orthodrome.evaluation.outcome import Outcome, Result
from orthodrome.evaluation.protocols.ijb_lists import Faces, Identification, Verification
from orthodrome.evaluation.protocols.verification import with_repeated
from orthodrome.evaluation.resolution import possible_rates, unresolved
from orthodrome.evaluation.roc import roc_summary
from orthodrome.evaluation.scored import ScoredPairs
from orthodrome.evaluation.scores import scores_of_rows, unit_vectors, usable
from orthodrome.evaluation.searches import search_all
from orthodrome.evaluation.templates import WEIGHTINGS, pool
from orthodrome.types import EmbeddingSet, Interval, PathLike, Report

FARS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
RANKS = (1, 5, 10)
WEIGHTING_OPTION = {"weighting": WEIGHTINGS.names()}


def face_images(lists: Verification | Identification, root: PathLike) -> dict[str, Path]:
    """The aligned crop of every listed face, ``root/name``."""
    return find_images(lists.faces.ids, root, lists.faces.where)


def verify_templates(embeddings: EmbeddingSet, lists: Verification, *, protocol: str, weighting: str = "equal") -> Result:
    """TAR at FAR 10⁻⁶ … 10⁻¹, as far as the impostor pairs resolve it, and EER, of the listed pairs of templates."""
    check_both_kinds(lists.same, lists.source)
    names, vectors = _templates(embeddings, lists.faces, weighting)
    first, second = (np.searchsorted(names, side) for side in (lists.first, lists.second))
    units = unit_vectors(vectors, _called(names))
    scores, rows = scores_of_rows(units, units, first, second), np.stack([first, second], axis=1).astype(np.int32)
    found = ScoredPairs(scores, lists.same, np.full(len(scores), ""), rows=rows, names=names.astype(str))
    genuine, impostor = found.of_kind("genuine"), found.of_kind("impostor")
    eer, tars = roc_summary(genuine, impostor, possible_rates(FARS, len(impostor)))
    left_out = unresolved("FAR", FARS, len(impostor), "impostor comparisons")
    metrics: dict[str, Any] = {
        "eer": asdict(eer),
        "tar_at_far": [{**asdict(row), "achieved": row.achieved} for row in tars],
        "counts": {"genuine": len(genuine), "impostor": len(impostor)},
        "unresolved": left_out,
    }
    title = f"{protocol.upper()[:3]}-{protocol.upper()[3:]} 1:1 templates, weighting {weighting}"
    notes = (
        _template_note(weighting),
        "Intervals: Wilson's, which takes comparisons as independent: the list does not name the people.",
        *([f"{left_out}."] if left_out else []),
    )
    return Outcome(with_repeated(Report(protocol, title, metrics, found.series(), notes), lists))


def identify_templates(embeddings: EmbeddingSet, lists: Identification, *, protocol: str, weighting: str = "equal") -> Result:
    """Ranks 1, 5, 10 and TPIR at FPIR 0.01, 0.1 against each gallery alone, and their mean.

    The galleries hold different people: a probe of a person of the other gallery is a non-mate in this one. They are never merged.
    """
    names, vectors = _templates(embeddings, lists.faces, weighting)
    probes, people = lists.probes
    probe_vectors = _vectors_of(probes, names, vectors)
    variants: dict[str, Any] = {}
    for name, (templates, subjects) in lists.galleries.items():
        sides = (probe_vectors, people, _vectors_of(templates, names, vectors), subjects)
        variants[name] = resolved_metrics(search_all(*sides), RANKS, FPIRS)
    metrics = {"mean_over_galleries": _mean(list(variants.values())), "variants": variants}
    title = f"{protocol.upper()[:3]}-{protocol.upper()[3:4]} 1:N templates, weighting {weighting}"
    note = "Each gallery alone; probes of the other's people are non-mates. The mean of the two is the figure to quote."
    left_out = [f"{name}: {found['unresolved']}." for name, found in variants.items() if found["unresolved"]]
    return Outcome(Report(protocol, title, metrics, {}, (*CONVENTIONS, note, _template_note(weighting), *left_out)))


def _templates(embeddings: EmbeddingSet, faces: Faces, weighting: str) -> tuple[np.ndarray, np.ndarray]:
    rows = match_rows(embeddings, faces.ids, faces.where)
    usable(embeddings.vectors, embeddings.ids)  # a zero or NaN embedding is named here, before it hides in a template
    return pool(WEIGHTINGS.get(weighting)(embeddings.vectors[rows], faces.scores), faces.templates, faces.media)


def _vectors_of(templates: np.ndarray, names: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """The vectors (T, D) of the ``templates`` (T,) by ``names`` (N,) of ``vectors`` (N, D); one that is unusable is named."""
    return usable(vectors[np.searchsorted(names, templates)], _called(templates))


def _called(templates: np.ndarray) -> tuple[str, ...]:
    return tuple(f"template {template}" for template in templates.tolist())


def _template_note(weighting: str) -> str:
    return (
        "Template: mean of the embeddings within each media, sum over the media, L2-normalised; where mirror images are summed, both are "
        f"added before anything is normalised. Weighting {weighting!r}: {_WEIGHTING_WORDS[weighting]}."
    )


_WEIGHTING_WORDS = {
    "equal": "unit embeddings",
    "norm": "embeddings as long as the network makes them",
    "detector": "unit embeddings times the detector's score",
    "norm+detector": "embeddings as long as the network makes them, times the detector's score (as insightface's scripts)",
}


def _mean(parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The mean over galleries of each rate that all of them have, with its interval: they share no person."""
    rows = []
    for key, by, value, label in (("cmc", "rank", "rate", "rank {}"), ("open_set", "fpir", "tpir", "TPIR@FPIR={:g}")):
        for row in parts[0][key]:
            found = [next((other for other in part[key] if other[by] == row[by]), None) for part in parts]
            known = [other for other in found if other is not None]
            if len(known) == len(parts):
                rates = [other[value] for other in known]
                interval = of_mean(rates, [Interval(**(other.get("by_identity") or other["interval"])) for other in known])
                mean = {"mean": sum(rates) / len(rates), "interval": asdict(interval), "galleries": rates}
                rows.append({"name": label.format(row[by]), **mean})
    return rows
