"""The lists of IJB-B and IJB-C: faces with their templates and media, pairs of templates, galleries and probes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orthodrome.evaluation.listed import text_lines, without_suffix
from orthodrome.types import InputError, PathLike


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

    def repeated(self) -> tuple[tuple[int, int], ...]:
        """Line numbers (first, again) of the pairs that are listed more than once, whichever template stands first."""
        pairs = np.stack([np.minimum(self.first, self.second), np.maximum(self.first, self.second)], axis=1)
        order = np.lexsort((pairs[:, 1], pairs[:, 0]))  # stable: within a pair in the order of the list
        again = np.r_[False, (pairs[order[1:]] == pairs[order[:-1]]).all(axis=1)]
        heads = order[np.maximum.accumulate(np.where(again, 0, np.arange(len(order))))]
        found = sorted(zip((order[again] + 1).tolist(), (heads[again] + 1).tolist(), strict=True))
        return tuple((head, line) for line, head in found)


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

    Raises InputError with ``file:line`` for a malformed line, a score that is not finite and a template that has no face.
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
            score = list(map(float, values))[10]
        except (ValueError, IndexError):
            raise InputError(f"{file}:{number}: expected 'name', ten coordinates and a score; got {line!r}") from None
        if not math.isfinite(score):
            raise InputError(f"{file}:{number}: the detector's score must be a finite number; got {fields[11]!r} of {name!r}")
        scores[without_suffix(name)] = score
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
