"""BLUFR on LFW: verification and open-set identification over ten random trials (Liao, Lei, Yi & Li, "A benchmark study of large-scale
unconstrained face recognition", IJCB 2014).

Each trial: all pairs of its test images for the verification rate at FAR 0.1 %; one gallery image for each of 1,000 people, searched by
their other images and by the images of everybody else, for the detection and identification rate (rank 1) at FAR 1 % of the searches of
strangers. Both as mean − standard deviation (ddof = 1) over the trials.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orthodrome.evaluation.identification import OpenSetRate, open_set
from orthodrome.evaluation.listed import find_images, match_rows, text_lines, without_suffix
from orthodrome.evaluation.matlab import load_matlab, matlab_indices, matlab_strings
from orthodrome.evaluation.outcome import Outcome, Result
from orthodrome.evaluation.roc import TarAtFar
from orthodrome.evaluation.searches import search_all
from orthodrome.types import EmbeddingSet, InputError, PathLike, Report

FAR = 1e-3
SEARCH_FAR = 1e-2
TRIALS = 10
PEOPLE, TRAINING_PEOPLE, GALLERY_PEOPLE = 5749, 1500, 1000


@dataclass(frozen=True, eq=False)
class Trial:
    """Positions of images: the ``test`` set, of which one image of some people is the ``gallery`` and all others are ``probes``."""

    test: np.ndarray
    gallery: np.ndarray
    probes: np.ndarray


@dataclass(frozen=True, eq=False)
class BlufrLists:
    """``ids`` (N,) and ``labels`` int64 (N,) of all images, the ``trials``, and whether they are the ``official`` ones."""

    ids: tuple[str, ...]
    labels: np.ndarray
    trials: tuple[Trial, ...]
    official: bool
    source: str

    def where(self, identifier: str) -> str:
        """The list that names the image."""
        return self.source


def read_blufr(path: PathLike) -> BlufrLists:
    """The official ``blufr_lfw_config.mat`` (or a folder that holds it), or a list of images ``name/name_0001``, one a line, from which
    ten trials of the same shape are drawn; these are named "BLUFR-style".

    Raises InputError where the file cannot be read, or an index of it is no image.
    """
    file = Path(path) / "blufr_lfw_config.mat" if Path(path).is_dir() else Path(path)
    if file.suffix == ".mat":
        return _official(file)
    ids = tuple(without_suffix(line.strip()) for line in text_lines(file, "list of images"))
    people = [identifier.split("/")[-2] if "/" in identifier else identifier.rsplit("_", 1)[0] for identifier in ids]
    labels = np.unique(np.array(people), return_inverse=True)[1].astype(np.int64)
    return BlufrLists(ids, labels, draw_trials(labels), False, str(file))


def draw_trials(labels: np.ndarray, trials: int = TRIALS, seed: int = 0) -> tuple[Trial, ...]:
    """Trials of BLUFR's shape over the people of ``labels`` (N,): 1,500 of every 5,749 are left out as its training people, and 1,000 of
    every 5,749, of those with two images or more among the rest, are enrolled with one image each. Drawn by PCG64(``seed``).
    """
    names, counts = np.unique(labels, return_counts=True)
    generator = np.random.Generator(np.random.PCG64(seed))
    left_out, enrolled = (round(len(names) * share / PEOPLE) for share in (TRAINING_PEOPLE, GALLERY_PEOPLE))
    found = []
    for _ in range(trials):
        tested = np.sort(generator.permutation(len(names))[left_out:])
        several = tested[counts[tested] > 1]
        chosen = generator.choice(several, min(enrolled, len(several)), replace=False)
        gallery = np.array(
            [generator.choice(np.flatnonzero(labels == names[person])) for person in np.sort(chosen)], dtype=np.int64
        )
        test = np.flatnonzero(np.isin(labels, names[tested]))
        found.append(Trial(test, gallery, np.setdiff1d(test, gallery)))
    return tuple(found)


def blufr_images(lists: BlufrLists, root: PathLike) -> dict[str, Path]:
    """The images of all trials, under ``root``."""
    return find_images(_used(lists), root, lists.where)


def evaluate_blufr(embeddings: EmbeddingSet, lists: BlufrLists) -> Result:
    """VR at FAR 0.1 % and DIR (rank 1) at FAR 1 % of every trial, and their mean − standard deviation."""
    used = _used(lists)
    rows = dict(zip(used, match_rows(embeddings, used, lists.where).tolist(), strict=True))
    row = np.array([rows.get(identifier, -1) for identifier in lists.ids])
    pairs, searches = zip(*(_trial(embeddings.vectors, row, lists.labels, trial) for trial in lists.trials), strict=True)
    summary = [
        _over_trials(f"VR@FAR={FAR:.1%}", [found.tar for found in pairs]),
        _over_trials(f"DIR@FAR={SEARCH_FAR:.0%}", [found.dir for found in searches]),
    ]
    name = "BLUFR" if lists.official else "BLUFR-style"
    origin = "the official ones" if lists.official else "drawn here in the same shape, seed 0: figures compare among themselves"
    notes = (
        f"Trials: {origin}. VR: TAR over all pairs of a trial's test images, per comparison. DIR: right person at rank 1 and at or above "
        "the threshold that accepts at most ⌊FAR·N⌋ of the N searches of strangers.",
        "μ − σ: mean less standard deviation (ddof = 1) over the trials.",
    )
    details = [_details(number, *both) for number, both in enumerate(zip(pairs, searches, strict=True), start=1)]
    return Outcome(Report("blufr", f"{name}, {len(lists.trials)} trials", {"trials": summary, "each_trial": details}, {}, notes))


def _official(file: Path) -> BlufrLists:
    content = load_matlab(file, ("imageList", "labels", "testIndex", "galIndex", "probIndex"))
    names = [without_suffix(name) for name in matlab_strings(content["imageList"])]
    ids = tuple(f"{name.rsplit('_', 1)[0]}/{name}" for name in names)
    labels = np.asarray(content["labels"]).ravel().astype(np.int64)
    if len(labels) != len(ids):
        raise InputError(f"{file}: {len(ids)} images but {len(labels)} labels")
    parts = [matlab_indices(content[name]) for name in ("testIndex", "galIndex", "probIndex")]
    for index in (indices for part in parts for indices in part):
        if len(index) == 0 or index.min() < 0 or index.max() >= len(ids):
            raise InputError(f"{file}: an index of a trial is not in 1 … {len(ids)}, the images of the list")
    return BlufrLists(ids, labels, tuple(Trial(*trial) for trial in zip(*parts, strict=True)), True, str(file))


def _used(lists: BlufrLists) -> list[str]:
    positions = np.unique(np.concatenate([part for trial in lists.trials for part in (trial.test, trial.gallery, trial.probes)]))
    return [lists.ids[position] for position in positions.tolist()]


def _trial(vectors: np.ndarray, row: np.ndarray, labels: np.ndarray, trial: Trial) -> tuple[TarAtFar, OpenSetRate]:
    from orthodrome.evaluation.streaming import compare_all  # imports torch

    pairs = compare_all(vectors[row[trial.test]], labels[trial.test], fars=(FAR,), resamples=0).rows[0]
    sides = (vectors[row[trial.probes]], labels[trial.probes], vectors[row[trial.gallery]], labels[trial.gallery])
    return pairs, open_set(search_all(*sides), (SEARCH_FAR,))[0]


def _over_trials(name: str, values: Sequence[float]) -> dict[str, Any]:
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"name": name, "mean": float(np.mean(values)), "deviation": deviation, "trials": len(values), "values": list(values)}


def _details(number: int, pairs: TarAtFar, found: OpenSetRate) -> dict[str, Any]:
    return {
        "trial": number,
        "accepted_genuine": pairs.accepted_genuine,
        "genuine": pairs.genuine,
        "accepted_impostor": pairs.accepted_impostor,
        "impostor": pairs.impostor,
        "identified": found.identified,
        "mated": found.mated,
        "accepted_non_mated": found.accepted_non_mated,
        "non_mated": found.non_mated,
    }
