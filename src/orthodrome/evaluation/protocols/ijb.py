"""IJB-B and IJB-C: templates of images and video frames, verified 1:1 and identified 1:N (Whitelam et al. 2017; Maze et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orthodrome.evaluation.identification import CONVENTIONS, FPIRS, identification, possible_fpirs
from orthodrome.evaluation.listed import find_images, match_rows, text_lines, without_suffix
from orthodrome.evaluation.outcome import Outcome, Result
from orthodrome.evaluation.resolution import possible_fars
from orthodrome.evaluation.roc import roc_summary
from orthodrome.evaluation.scores import scores_of_rows, unit_vectors, usable
from orthodrome.evaluation.templates import WEIGHTINGS, pool
from orthodrome.types import EmbeddingSet, InputError, PathLike, Report

FARS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
RANKS = (1, 5, 10)
WEIGHTING_OPTION = {"weighting": WEIGHTINGS.names()}


@dataclass(frozen=True, eq=False)
class Faces:
    """Every listed face: its id, its template and media (N,), and the detector's score (N,), None without a list of them."""

    ids: tuple[str, ...]
    templates: np.ndarray
    media: np.ndarray
    scores: np.ndarray | None
    source: str

    def where(self, identifier: str) -> str:
        """``file:line`` of a face."""
        return f"{self.source}:{self.ids.index(identifier) + 1}"


@dataclass(frozen=True, eq=False)
class Verification:
    """Pairs of templates: ids (N,) of both, and whether they are of one person."""

    faces: Faces
    first: np.ndarray
    second: np.ndarray
    same: np.ndarray
    source: str


@dataclass(frozen=True, eq=False)
class Identification:
    """Templates and subjects, int64 (T,) each, of every gallery by name and of the probes."""

    faces: Faces
    galleries: Mapping[str, tuple[np.ndarray, np.ndarray]]
    probes: tuple[np.ndarray, np.ndarray]
    source: str


def read_verification(path: PathLike, prefix: str) -> Verification:
    """A folder with ``ijbc_face_tid_mid.txt`` (name, template, media), ``ijbc_template_pair_label.txt`` (template, template, 1 or 0) and,
    for weighting by it, ``ijbc_name_5pts_score.txt`` (name, ten coordinates, score); ``prefix`` is ``ijbb`` or ``ijbc``.

    Raises InputError with ``file:line`` for a malformed line and a template that has no face.
    """
    faces = _read_faces(Path(path), prefix)
    file = Path(path) / f"{prefix}_template_pair_label.txt"
    rows = _integers(file, 3, "pairs of templates")
    wrong = np.flatnonzero((rows[:, 2] != 0) & (rows[:, 2] != 1))
    if wrong.size:
        raise InputError(f"{file}:{wrong[0] + 1}: the label must be 1 (same) or 0; got {rows[wrong[0], 2]}")
    for side in (rows[:, 0], rows[:, 1]):
        _check_templates(file, side, faces)
    return Verification(faces, rows[:, 0], rows[:, 1], rows[:, 2] == 1, str(file))


def read_identification(path: PathLike, prefix: str) -> Identification:
    """The same folder with ``ijbc_1N_gallery_G1.csv``, ``…_G2.csv`` (IJB-B: ``ijbb_1N_gallery_S1.csv``, ``…_S2.csv``) and
    ``ijbc_1N_probe_mixed.csv``: a header, then one line a face that begins ``template,subject``.
    """
    folder = Path(path)
    faces = _read_faces(folder, prefix)
    files = {name: folder / f"{prefix}_1N_gallery_{name}.csv" for name in (("S1", "S2") if prefix == "ijbb" else ("G1", "G2"))}
    galleries = {name: _read_subjects(file, faces) for name, file in files.items()}
    return Identification(faces, galleries, _read_subjects(folder / f"{prefix}_1N_probe_mixed.csv", faces), str(folder))


def face_images(lists: Verification | Identification, root: PathLike) -> dict[str, Path]:
    """The aligned crop of every listed face, ``root/name``."""
    return find_images(lists.faces.ids, root, lists.faces.where)


def verify_templates(embeddings: EmbeddingSet, lists: Verification, *, protocol: str, weighting: str) -> Result:
    """TAR at FAR 10⁻⁶ … 10⁻¹, as far as the impostor pairs resolve it, and EER, of the listed pairs of templates."""
    names, vectors = _templates(embeddings, lists.faces, weighting)
    first, second = (np.searchsorted(names, side) for side in (lists.first, lists.second))
    units = unit_vectors(vectors, tuple(f"template {name}" for name in names.tolist()))
    scores = scores_of_rows(units, units, first, second)
    genuine, impostor = scores[lists.same], scores[~lists.same]
    resolved = possible_fars(len(impostor))
    eer, rows = roc_summary(genuine, impostor, [far for far in FARS if far in resolved])
    metrics: dict[str, Any] = {
        "eer": asdict(eer),
        "tar_at_far": [{**asdict(row), "achieved": row.achieved} for row in rows],
        "counts": {"genuine": len(genuine), "impostor": len(impostor)},
    }
    title = f"{protocol.upper()[:3]}-{protocol.upper()[3:]} 1:1 templates, weighting {weighting}"
    notes = (
        _template_note(weighting),
        "Intervals: Wilson's, which takes comparisons as independent: the list does not name the people.",
    )
    return Outcome(Report(protocol, title, metrics, {"genuine": genuine, "impostor": impostor}, notes))


def identify_templates(embeddings: EmbeddingSet, lists: Identification, *, protocol: str, weighting: str) -> Result:
    """Ranks 1, 5, 10 and TPIR at FPIR 0.01, 0.1 against each gallery alone, and their mean.

    The galleries hold different people: a probe of a person of the other gallery is a non-mate in this one. They are never merged.
    """
    names, vectors = _templates(embeddings, lists.faces, weighting)
    probes, people = lists.probes
    probe_vectors = vectors[np.searchsorted(names, probes)]
    variants: dict[str, Any] = {}
    for name, (templates, subjects) in lists.galleries.items():
        strangers = int((~np.isin(people, subjects)).sum())
        ranks = [rank for rank in RANKS if rank <= len(templates)]
        sides = (probe_vectors, people, vectors[np.searchsorted(names, templates)], subjects)
        variants[name] = identification(*sides, ranks=ranks, fpirs=possible_fpirs(FPIRS, strangers)).metrics()
    metrics = {"mean_over_galleries": _mean(list(variants.values())), "variants": variants}
    title = f"{protocol.upper()[:3]}-{protocol.upper()[3:4]} 1:N templates, weighting {weighting}"
    note = "Each gallery alone; probes of the other's people are non-mates. The mean of the two is the figure to quote."
    return Outcome(Report(protocol, title, metrics, {}, (*CONVENTIONS, note, _template_note(weighting))))


def _templates(embeddings: EmbeddingSet, faces: Faces, weighting: str) -> tuple[np.ndarray, np.ndarray]:
    rows = match_rows(embeddings, faces.ids, faces.where)
    usable(embeddings.vectors, embeddings.ids)  # a zero or NaN embedding is named here, before it hides in a template
    return pool(WEIGHTINGS.get(weighting)(embeddings.vectors[rows], faces.scores), faces.templates, faces.media)


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
    """The mean over galleries of each rate that all of them have."""
    rows = []
    for key, by, value, label in (("cmc", "rank", "rate", "rank {}"), ("open_set", "fpir", "tpir", "TPIR@FPIR={:g}")):
        for row in parts[0][key]:
            found = [next((other[value] for other in part[key] if other[by] == row[by]), None) for part in parts]
            known = [rate for rate in found if rate is not None]
            if len(known) == len(parts):
                rows.append({"name": label.format(row[by]), "mean": sum(known) / len(known), "galleries": known})
    return rows


def _read_faces(folder: Path, prefix: str) -> Faces:
    file = folder / f"{prefix}_face_tid_mid.txt"
    rows = [line.split() for line in text_lines(file, "list of faces, templates and media")]
    for number, row in enumerate(rows, start=1):
        if len(row) != 3 or not (row[1].isdecimal() and _is_integer(row[2])):
            raise InputError(f"{file}:{number}: expected 'name template media'; got {' '.join(row)!r}")
    ids = tuple(without_suffix(name) for name, _, _ in rows)
    numbers = np.array([[int(template), int(media)] for _, template, media in rows], dtype=np.int64)
    score_file = folder / f"{prefix}_name_5pts_score.txt"
    scores = _read_scores(score_file, ids) if score_file.is_file() else None
    return Faces(ids, numbers[:, 0], numbers[:, 1], scores, str(file))


def _read_scores(file: Path, ids: Sequence[str]) -> np.ndarray:
    scores = {}
    for number, line in enumerate(text_lines(file, "list of points and detector scores"), start=1):
        fields = line.split()
        try:
            name, *values = fields
            scores[without_suffix(name)] = list(map(float, values))[10]
        except (ValueError, IndexError):
            raise InputError(f"{file}:{number}: expected 'name', ten coordinates and a score; got {line!r}") from None
    missing = next((identifier for identifier in ids if identifier not in scores), None)
    if missing is not None:
        raise InputError(f"{file}: no score of the face {missing!r}")
    return np.array([scores[identifier] for identifier in ids], dtype=np.float32)


def _read_subjects(file: Path, faces: Faces) -> tuple[np.ndarray, np.ndarray]:
    """Templates, ascending, and their subjects."""
    subjects: dict[int, int] = {}
    for number, line in enumerate(text_lines(file, "list of templates and subjects")[1:], start=2):
        match [field.strip() for field in line.split(",")[:2]]:
            case [template, subject] if template.isdecimal() and subject.isdecimal():
                if subjects.setdefault(int(template), int(subject)) != int(subject):
                    raise InputError(
                        f"{file}:{number}: template {template} has two subjects, {subjects[int(template)]} and {subject}"
                    )
            case _:
                raise InputError(f"{file}:{number}: expected 'template,subject,…'; got {line!r}")
    if not subjects:
        raise InputError(f"{file}: no templates after the header")
    templates = np.array(sorted(subjects), dtype=np.int64)
    _check_templates(file, templates, faces)
    return templates, np.array([subjects[template] for template in templates.tolist()], dtype=np.int64)


def _integers(file: Path, columns: int, what: str) -> np.ndarray:
    rows = [line.split() for line in text_lines(file, f"list of {what}")]
    for number, row in enumerate(rows, start=1):
        if len(row) != columns or not all(map(str.isdecimal, row)):
            raise InputError(f"{file}:{number}: expected {columns} numbers; got {' '.join(row)!r}")
    return np.array(rows, dtype=np.int64)


def _check_templates(file: Path, templates: np.ndarray, faces: Faces) -> None:
    unknown = np.flatnonzero(~np.isin(templates, faces.templates))
    if unknown.size:
        raise InputError(f"{file}: template {templates[unknown[0]]} has no face in {faces.source} ({unknown.size} such entries)")


def _is_integer(field: str) -> bool:
    return field.removeprefix("-").isdecimal()
