"""Identification protocols: lists of probes and a gallery; TinyFace; and the scale of Trillion Pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from orthodrome.evaluation.identification import CONVENTIONS, FPIRS, RANKS, rates, resolved_metrics
from orthodrome.evaluation.intervals import wilson
from orthodrome.evaluation.listed import SUFFIXES, without_suffix
from orthodrome.evaluation.matlab import load_matlab, matlab_strings
from orthodrome.evaluation.outcome import Outcome, Result
from orthodrome.evaluation.protocols.search_lists import (
    Listed,
    SearchLists,
    SearchSides,
    failed_images,
    genuine_listed,
    read_search_lists,
    repeated_images,
    search_sides,
)
from orthodrome.evaluation.resolution import far_or_lowest, small_counts_warning, unresolved
from orthodrome.evaluation.roc import TarAtFar
from orthodrome.evaluation.searches import Searches, matching_rows, search_all
from orthodrome.types import EmbeddingSet, InputError, PathLike, Progress, Report

TRILLION_FAR = 1e-9
TRILLION_FPIR = 1e-3
TINYFACE_RANKS = (1, 5, 20)


def identify(embeddings: EmbeddingSet, lists: SearchLists) -> Result:
    """CMC and open set of the listed probes against gallery and distractors, and rank 1 at a growing number of distractors."""
    sides = search_sides(embeddings, lists)
    metrics = {**_search(sides, RANKS, FPIRS), "failed_images": failed_images(lists)}
    return Outcome(Report("identification", "Identification", metrics, {}, _notes(metrics)))


def identify_tinyface(embeddings: EmbeddingSet, lists: SearchLists) -> Result:
    """TinyFace: ranks 1, 5 and 20 among the gallery and all distractors, and without them as a variant."""
    sides = search_sides(embeddings, lists)
    metrics = {**_search(sides, TINYFACE_RANKS, ()), "failed_images": failed_images(lists), **repeated_images(lists)}
    alone = _search(sides.without_distractors(), TINYFACE_RANKS, ())
    title = f"TinyFace identification, {len(lists.distractors):,} distractors"
    return Outcome(Report("tinyface", title, {**metrics, "variants": {"without distractors": alone}}, {}, _notes(metrics)))


def identify_at_scale(embeddings: EmbeddingSet, lists: SearchLists, progress: Progress | None = None) -> Result:
    """Trillion-Pairs-style: TPIR at FPIR 10⁻³, and TAR of all probes × all gallery at FAR 10⁻⁹, or at the lowest that can be resolved."""
    from orthodrome.evaluation.streaming import compare_all  # imports torch

    sides = search_sides(embeddings, lists)
    metrics = {**_search(sides, (1,), (TRILLION_FPIR,), progress), "failed_images": failed_images(lists)}
    labels = sides.gallery_labels
    impostors = len(labels) * len(sides.probes) - len(matching_rows(sides.probe_labels, labels)[0])
    fars = far_or_lowest(TRILLION_FAR, impostors)
    rows = compare_all(sides.probes, sides.probe_labels, sides.gallery, labels, fars, progress=progress).rows if fars else ()
    made = len(labels) * len(sides.probes) - impostors
    lost = genuine_listed(lists) - made
    metrics["tar_at_far"] = [{**asdict(row), "achieved": row.achieved} for row in (_with_lost(row, lost) for row in rows)]
    metrics["counts"] = {"genuine": made + lost, "impostor": impostors}
    left_out = (metrics["unresolved"], unresolved("FAR", (TRILLION_FAR,), impostors, "impostor comparisons"))
    metrics["unresolved"] = "; ".join(filter(None, left_out))
    title = "Trillion-Pairs-style identification and verification"
    return Outcome(Report("trillion-pairs", title, metrics, {}, _notes(metrics)))


def _with_lost(row: TarAtFar, lost: int) -> TarAtFar:
    """The row with so many genuine comparisons more, which no threshold accepts."""
    if not lost:
        return row
    genuine = row.genuine + lost
    return replace(
        row,
        tar=row.accepted_genuine / genuine,
        genuine=genuine,
        interval=wilson(row.accepted_genuine, genuine),
        warning=small_counts_warning(row.accepted_impostor, row.impostor, row.accepted_genuine, genuine),
    )


def read_tinyface(path: PathLike) -> SearchLists:
    """TinyFace's ``Testing_Set``: ``gallery_match_img_ID_pairs.mat`` (``gallery_set``, ``gallery_ids``),
    ``probe_img_ID_pairs.mat`` (``probe_set``, ``probe_ids``) and the folder ``Gallery_Distractor``; or a folder as `read_search_lists`
    takes it. Ids: ``Probe/…``, ``Gallery_Match/…``, ``Gallery_Distractor/…``.

    The names in the files were checked against public readers of them. Needs scipy.
    """
    folder = Path(path) / "Testing_Set" if (Path(path) / "Testing_Set").is_dir() else Path(path)
    if (folder / "probes.txt").is_file():
        return read_search_lists(folder)
    probes = _tinyface_list(folder / "probe_img_ID_pairs.mat", "probe_set", "probe_ids", "Probe")
    gallery = _tinyface_list(folder / "gallery_match_img_ID_pairs.mat", "gallery_set", "gallery_ids", "Gallery_Match")
    strangers = folder / "Gallery_Distractor"
    if not strangers.is_dir():
        raise InputError(f"{strangers}: no such folder; TinyFace's distractors are the images in it")
    ids = tuple(f"{strangers.name}/{file.stem}" for file in sorted(strangers.iterdir()) if file.suffix in SUFFIXES)
    return SearchLists(probes, gallery, Listed(ids, ("",) * len(ids), str(strangers)))


def growing_sizes(distractors: int) -> tuple[int, ...]:
    """10, 100, … as far as there are distractors, and all of them."""
    return tuple(dict.fromkeys([*(10**power for power in range(1, len(str(distractors)))), distractors])) if distractors else ()


def _search(sides: SearchSides, ranks: Sequence[int], fpirs: Sequence[float], progress: Progress | None = None) -> dict[str, Any]:
    """Metrics of one search of all probes, those not ``lost``, in gallery and distractors."""
    searching = ~sides.lost
    probes = sides.probes[searching], sides.probe_labels[searching]
    searches = search_all(*probes, sides.gallery, sides.gallery_labels, sides.failures, sides.stranger_failures, progress)
    return {**resolved_metrics(searches, ranks, fpirs), "rank_by_distractors": _by_distractors(sides, searches, progress)}


def _notes(metrics: Mapping[str, Any]) -> tuple[str, ...]:
    """The conventions, what could not be resolved, and what is listed twice."""
    told = (f"{metrics['unresolved']}." if metrics["unresolved"] else "", metrics.get("repeated_images", ""))
    return (*CONVENTIONS, *filter(None, told))


def _by_distractors(sides: SearchSides, searches: Searches, progress: Progress | None) -> list[dict[str, Any]]:
    """Rank 1 among the gallery and the first 10, 100, … distractors of their list, in one pass over them."""
    from orthodrome.evaluation.streaming import count_at_or_above  # imports torch

    sizes = growing_sizes(sides.distractors)
    if not sizes:
        return []
    mated, distractors = np.isin(sides.probe_labels, sides.gallery_labels), sides.gallery[sides.known :]
    counts = count_at_or_above(sides.probes[mated], searches.mate_scores, distractors, sizes, progress=progress)
    ahead = searches.ahead[:, None] - counts[:, -1:] + counts
    hits = np.concatenate([ahead == 0, np.zeros((searches.failures, len(sizes)), dtype=bool)])
    return distractor_rows(sizes, hits, searches.people())


def distractor_rows(sizes: Sequence[int], hits: np.ndarray, people: np.ndarray) -> list[dict[str, Any]]:
    """The metric ``rank_by_distractors`` from ``hits`` bool (N, sizes) of the searches of ``people`` (N,)."""
    return [
        {
            "distractors": size,
            "rate": rate,
            "hits": count,
            "searches": total,
            "interval": asdict(spread or interval),
        }
        for size, (rate, count, total, interval, spread) in zip(sizes, rates(hits, people), strict=True)
    ]


def _tinyface_list(path: Path, images: str, people: str, folder: str) -> Listed:
    content = load_matlab(path, (images, people))
    ids = tuple(f"{folder}/{without_suffix(name)}" for name in matlab_strings(content[images]))
    labels = tuple(str(int(label)) for label in np.asarray(content[people]).ravel())
    if len(ids) != len(labels):
        raise InputError(f"{path}: {len(ids)} images but {len(labels)} people")
    return Listed(ids, labels, str(path))
