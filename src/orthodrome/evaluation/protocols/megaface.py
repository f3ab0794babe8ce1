"""MegaFace: rank 1 at up to a million distractors, and verification at FAR 10⁻⁶ (Kemelmacher-Shlizerman et al., CVPR 2016).

Each probe searches with every other image of its person planted among the distractors in turn. Known errors of the sets are lists of
noise, and there are three conventions about them, reported apart, never mixed: *raw* uses every image; *dropped* leaves noisy probes and
distractors out; *insightface-refined* leaves noisy distractors out and replaces the features of noisy probes by the mean of their
person's clean ones, and so uses labels of the test set.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from orthodrome.evaluation.identification import rates
from orthodrome.evaluation.listed import find_images, match_rows, people_in_rows, text_lines, without_suffix
from orthodrome.evaluation.outcome import Outcome, Result
from orthodrome.evaluation.protocols.search import distractor_rows, growing_sizes
from orthodrome.evaluation.resolution import far_or_lowest, small_counts_warning, unresolved
from orthodrome.evaluation.roc import TarAtFar
from orthodrome.evaluation.scores import scores_of_rows, unit_vectors
from orthodrome.evaluation.searches import matching_rows
from orthodrome.types import EmbeddingSet, InputError, PathLike, Report

FAR = 1e-6
PROBES, DISTRACTORS = "facescrub", "megaface"


@dataclass(frozen=True)
class Noise:
    """Ids of the noisy images that one list of noise names, and a note on how many of its lines do."""

    ids: frozenset[str]
    note: str


@dataclass(frozen=True)
class MegafaceLists:
    """Ids of the ``probes`` and of their ``people``, of the ``distractors``, and of the noisy ones of either, one `Noise` a list."""

    probes: tuple[str, ...]
    people: tuple[str, ...]
    distractors: tuple[str, ...]
    noise: tuple[Noise, ...]
    source: str

    def where(self, identifier: str) -> str:
        """The folder of the lists that name the image."""
        return self.source


def people_probing(lists: MegafaceLists, embeddings: EmbeddingSet) -> tuple[str | None, ...]:
    """The person of each embedding, empty for distractors, None for images that are not listed."""
    people = {**dict.fromkeys(lists.distractors, ""), **dict(zip(lists.probes, lists.people, strict=True))}
    return people_in_rows(embeddings, people, lists.where)


def read_megaface(path: PathLike) -> MegafaceLists:
    """A folder with the probe list ``facescrub_features_list.json``, the largest ``megaface_features_list.json_*_*`` of the devkit, and,
    where there are any, insightface's ``facescrub_noises.txt`` and ``megaface_noises.txt``.

    Lists hold ``{"path": [...]}``, and the probes' also ``"id"``, the people; noise files one file a line (the last field, with the
    folders of it or some of them), lines that begin with # left out. Ids: ``facescrub/person/file``, ``megaface/a/b/file``. Sizes of the
    sweep are the first 10, 100, … of the one distractor list, so that each gallery holds the one before; the devkit's lists of each size
    are other draws. Lists of noise name images of the whole sets; how many of their lines name images of the other lists is noted. Raises
    InputError for a list that is missing or malformed, a list of noise of which no line names a listed image, and ``file:line`` of a
    line that names two.
    """
    folder = Path(path)
    probe_file = folder / "facescrub_features_list.json"
    probes = _features_list(probe_file)
    paths = _ids(PROBES, probes["path"], 2)
    people = [str(person) for person in probes.get("id", [])] or [identifier.split("/")[1] for identifier in paths]
    if len(people) != len(paths):
        raise InputError(f"{probe_file}: {len(paths)} paths but {len(people)} ids")
    sized = sorted(folder.glob("megaface_features_list.json_*"), key=lambda file: int(file.name.split("_")[-2]))
    if not sized:
        raise InputError(f"{folder}: no megaface_features_list.json_SIZE_SET here, the devkit's list of distractors")
    distractors = _ids(DISTRACTORS, _features_list(sized[-1])["path"], 3)
    return MegafaceLists(paths, tuple(people), distractors, _noise(folder, paths, distractors), str(folder))


def megaface_images(lists: MegafaceLists, root: PathLike) -> dict[str, Path]:
    """The images of probes and distractors, ``root/facescrub/…`` and ``root/megaface/…``."""
    return find_images((*lists.probes, *lists.distractors), root, lists.where)


def evaluate_megaface(embeddings: EmbeddingSet, lists: MegafaceLists) -> Result:
    """Rank 1 at 10 … all distractors and TAR at FAR 10⁻⁶ (or the lowest that can be resolved), once for each convention about noise."""
    labels = np.unique(np.array(lists.people), return_inverse=True)[1].astype(np.int64)
    probes, distractors = (
        embeddings.vectors[match_rows(embeddings, ids, lists.where)] for ids in (lists.probes, lists.distractors)
    )
    variants: dict[str, Any] = {"raw": measure(probes, labels, distractors)}
    if lists.noise:
        noisy = frozenset().union(*(part.ids for part in lists.noise))
        clean, clean_distractors = (
            np.array([i not in noisy for i in ids], dtype=bool) for ids in (lists.probes, lists.distractors)
        )
        kept = distractors[clean_distractors]
        variants["dropped"] = measure(probes[clean], labels[clean], kept)
        variants["insightface-refined"] = measure(refined(probes, labels, clean), labels, kept)
    notes = (
        "Rank 1: the planted image of the probe's person scores above every distractor; a tie counts against the probe. Every ordered "
        "pair of two images of one person is a search.",
        "TAR@FAR: genuine are the pairs of two probes of one person, impostor all pairs of a probe and a distractor; per comparison. "
        "Its interval, by identity, keeps the threshold.",
        "raw: every image. dropped: noisy probes and distractors left out. insightface-refined: noisy distractors left out, features of "
        "noisy probes replaced by the mean of their person's clean ones, which uses the labels of the test (without insightface's random "
        "± 0.001).",
        *(part.note for part in lists.noise),
        *(f"{name}: {found['unresolved']}." for name, found in variants.items() if found["unresolved"]),
    )
    return Outcome(
        Report("megaface", f"MegaFace-style, {len(lists.distractors):,} distractors", {"variants": variants}, {}, notes)
    )


def measure(probes: np.ndarray, labels: np.ndarray, distractors: np.ndarray) -> dict[str, Any]:
    """The metrics ``rank_by_distractors``, ``tar_at_far`` and ``unresolved`` of probes (P, D) with labels (P,) among distractors (N, D)."""
    units = unit_vectors(probes)
    first, second = matching_rows(labels, labels)
    searching = first != second
    first, second = first[searching], second[searching]
    if not len(first):
        raise InputError("no two probes are of one person; MegaFace plants another image of the probe's person in the gallery")
    scores = scores_of_rows(units, units, first, second)
    sizes = growing_sizes(len(distractors))
    highest = _highest(probes, distractors, sizes)
    hits = scores[:, None] > highest[first]
    once = first < second
    impostors = len(probes) * len(distractors)
    rows = verification_rows(scores[once], labels[first[once]], probes, distractors)
    return {
        "rank_by_distractors": distractor_rows(sizes, hits, labels[first]),
        "tar_at_far": [{**asdict(row), "achieved": row.achieved} for row in rows],
        "counts": {"genuine": int(once.sum()), "impostor": impostors},
        "unresolved": unresolved("FAR", (FAR,), impostors, "impostor comparisons"),
    }


def verification_rows(genuine: np.ndarray, people: np.ndarray, probes: np.ndarray, distractors: np.ndarray) -> list[TarAtFar]:
    """TAR of the ``genuine`` scores (G,) of ``people`` (G,) at FAR 10⁻⁶ over probes (P, D) × distractors (N, D), or at the lowest FAR
    that these resolve.

    All probes are strangers to all distractors, and `compare_all` counts only where somebody is genuine: the first probe is compared
    with itself besides, kept from the other probes by a group of theirs. That changes no impostor.
    """
    from orthodrome.evaluation.streaming import compare_all  # imports torch

    fars = far_or_lowest(FAR, len(probes) * len(distractors))
    if not fars:
        return []
    first = np.arange(len(probes)) == 0
    nobody = np.full(len(distractors), -1)
    found = compare_all(
        probes,
        np.where(first, 0, 1),
        np.concatenate([distractors, probes[:1]]),
        np.append(nobody, 0),
        fars,
        probe_groups=np.where(first, -1, 0),
        gallery_groups=np.append(nobody, 0),
        resamples=0,  # with these labels there are two people; the interval comes from the genuine pairs
    )
    return [_with_genuine(row, genuine, people) for row in found.rows]


def refined(probes: np.ndarray, labels: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """The probes (P, D) as unit vectors, those not ``clean`` (P,) replaced by the sum of the clean ones of their person."""
    units = unit_vectors(probes)
    result = units.copy()
    for row in np.flatnonzero(~clean).tolist():
        own = clean & (labels == labels[row])
        if not own.any():
            raise InputError(
                f"probe {row} is noisy and no probe of its person is clean; the refined convention has no centre for it"
            )
        result[row] = units[own].sum(axis=0)
    return result


def _with_genuine(row: TarAtFar, genuine: np.ndarray, people: np.ndarray) -> TarAtFar:
    """The row with TAR of these scores; its interval by identity, at the threshold found."""
    hits = genuine >= np.float32(row.threshold)
    tar, accepted, total, interval, spread = rates(hits[:, None], people)[0]
    return replace(
        row,
        tar=tar,
        accepted_genuine=accepted,
        genuine=total,
        interval=spread or interval,
        warning=small_counts_warning(row.accepted_impostor, row.impostor, accepted, total),
    )


def _highest(probes: np.ndarray, distractors: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """The highest score of each probe among the first ``size`` distractors: (P, sizes); each distractor is met once."""
    from orthodrome.evaluation.streaming import top_k  # imports torch

    starts = (0, *sizes[:-1])
    parts = [top_k(probes, distractors[start:end], 1).scores for start, end in zip(starts, sizes, strict=True)]
    return np.maximum.accumulate(np.concatenate(parts, axis=1), axis=1)


def _features_list(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a list of features: {getattr(error, 'strerror', None) or error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("path"), list) or not content["path"]:
        raise InputError(f'{path}: expected {{"path": [...]}} with a path or more')
    return content


def _ids(folder: str, paths: list[Any], parts: int) -> tuple[str, ...]:
    """``folder`` and the last ``parts`` of each path, without suffix."""
    return tuple("/".join([folder, *without_suffix(str(path)).split("/")[-parts:]]) for path in paths)


def _noise(folder: Path, probes: tuple[str, ...], distractors: tuple[str, ...]) -> tuple[Noise, ...]:
    files = {folder / f"{PROBES}_noises.txt": probes, folder / f"{DISTRACTORS}_noises.txt": distractors}
    return tuple(_read_noise(file, known) for file, known in files.items() if file.is_file())


def _read_noise(file: Path, known: tuple[str, ...]) -> Noise:
    numbered = enumerate(text_lines(file, "list of noise"), start=1)
    lines = {number: line.split("\t")[-1].strip() for number, line in numbered if line.strip() and not line.startswith("#")}
    named = {number: without_suffix(name) for number, name in lines.items()}
    images_of = _by_tail(known, frozenset(named.values()))
    found = {number: images_of[name] for number, name in named.items() if name in images_of}
    for number, images in found.items():
        if len(images) > 1:
            raise InputError(
                f"{file}:{number}: {lines[number]!r} names {images[0]!r} and {images[1]!r}; write it with the folders that tell them apart"
            )
    if named and not found:
        first = next(iter(named))
        raise InputError(
            f"{file}: none of its {len(named):,} lines names one of the {len(known):,} listed images, as {known[0]!r}; "
            f"line {first} holds {lines[first]!r}"
        )
    ids = frozenset(images[0] for images in found.values())
    note = f"{file.name}: {len(found):,} of {len(named):,} lines name a listed image; {len(ids):,} of {len(known):,} images are noisy."
    return Noise(ids, note)


def _by_tail(ids: tuple[str, ...], wanted: frozenset[str]) -> dict[str, list[str]]:
    """The distinct ids that end in each wanted name, a path below the folder of their set; names that none ends in are left out."""
    found: dict[str, list[str]] = {}
    for identifier in dict.fromkeys(ids):
        parts = identifier.split("/")[1:]
        for tail in wanted.intersection("/".join(parts[start:]) for start in range(len(parts))):
            found.setdefault(tail, []).append(identifier)
    return found
