"""Lists of pairs in the forms of CFP, AgeDB-30, CALFW and CPLFW. Folds are as published: named by the list or by place in it.

The forms were checked against public readers of the published files, since the files themselves may not be handed on:

* CFP: ``Pair_list_F.txt`` and ``Pair_list_P.txt`` hold ``number path`` lines, numbered from 1; ``Split/FP/01/same.txt`` and
  ``diff.txt``, … ``10``, hold 350 ``a,b`` lines each: a is a number of the frontal list, b of the profile list (FP) or the
  frontal one (FF).
* AgeDB-30: ``left right flag`` lines, 600 for each of 10 folds in turn, flag 1 for the same person.
* CALFW, CPLFW: two lines ``file flag`` for each pair, 3,000 pairs of the same person first, then 3,000 of different people (flag 0).
  In CALFW's list the flag of the first kind is the fold, 1 … 10.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from orthodrome.evaluation.listed import text_lines, without_suffix
from orthodrome.evaluation.pairs import ImagePath, Pairs
from orthodrome.types import InputError, PathLike

FOLDS = 10

_NUMBERED = re.compile(r"(.+)_\d{4}")
_AGEDB = re.compile(r"\d+_(.+)_\d+_[fm]")

Row = tuple[ImagePath, ImagePath, bool, int, int]
"""First image, second image, same person, fold, line number."""


def read_cfp(path: PathLike, kind: str) -> Pairs:
    """CFP's protocol ``kind``, ``"FP"`` (frontal against profile) or ``"FF"``, from its folder ``Protocol`` or the one above.

    Ids are the last three parts of the paths in the lists: ``001/frontal/01``; the person is the first of them. ``lines`` are those of
    ``same.txt`` and ``diff.txt`` in turn, since the list is many files. Raises InputError for a file that is missing or malformed, a
    number that the image lists do not have, a pair whose people contradict the file it stands in, folders other than 1 … 10, and files
    of different lengths.
    """
    root = Path(path)
    root = root / "Protocol" if (root / "Protocol").is_dir() else root
    folder = root / "Split" / kind
    if not folder.is_dir():
        raise InputError(
            f"{path}: no folder Split/{kind} here; expected CFP's folder Protocol, which holds it beside Pair_list_F.txt"
        )
    frontal = _numbered_images(root / "Pair_list_F.txt")
    other = _numbered_images(root / "Pair_list_P.txt") if kind == "FP" else frontal
    rows: list[Row] = []
    for fold, split in enumerate(_fold_folders(folder), start=1):
        for file, same in ((split / "same.txt", True), (split / "diff.txt", False)):
            for number, line in enumerate(text_lines(file, "list of pairs"), start=1):
                first, second = _numbers(f"{file}:{number}", line, frontal, other)
                if (first.name == second.name) != same:
                    raise InputError(
                        f"{file}:{number}: {line.strip()!r} compares {first} with {second}, which contradicts the file's name"
                    )
                rows.append((first, second, same, fold, number))
    _check_equal_files(folder, rows)
    return _pairs(rows, str(folder))


def read_flagged(path: PathLike) -> Pairs:
    """Lines ``left right flag``, flag 1 for the same person and 0 otherwise, in 10 folds of equal size by place: AgeDB-30's list.

    People are read off file names of AgeDB's own form, ``0_MariaCallas_35_f``; other names tell none. Raises InputError with
    ``file:line`` for a malformed line, and where the lines do not divide into 10 folds.
    """
    lines = text_lines(path, "list of pairs")
    size = _fold_size(str(path), len(lines), "lines")
    rows = [_flagged(f"{path}:{number}", line, 1 + (number - 1) // size, number) for number, line in enumerate(lines, start=1)]
    return _pairs(rows, str(path))


def read_two_lines(path: PathLike) -> Pairs:
    """Two lines ``file flag`` for each pair, all pairs of the same person (flag > 0) first: CALFW's and CPLFW's list.

    Fold f holds a tenth of either kind, interleaved, not a tenth of the list, which would hold one kind only: the genuine pairs whose
    flag says f where flags name ten folds, the f-th tenth of them by place where all flags are 1, and the f-th tenth of the impostor
    pairs by place, which the list does not number. Raises InputError with ``file:line`` for a malformed line or two lines of a pair that
    disagree, and where either kind does not divide into 10.
    """
    lines = text_lines(path, "list of pairs")
    if len(lines) % 2:
        raise InputError(f"{path}: two lines make a pair; got {len(lines)} lines")
    parsed = [_file_and_flag(f"{path}:{number}", line) for number, line in enumerate(lines, start=1)]
    halves = list(zip(parsed[::2], parsed[1::2], strict=True))
    for index, ((_, flag), (_, other)) in enumerate(halves):
        if flag != other:
            raise InputError(f"{path}:{2 * index + 2}: the two lines of a pair must have one flag; got {flag} and {other}")
    folds = _interleaved_folds(str(path), np.array([flag for (_, flag), _ in halves]))
    rows = [(a, b, flag > 0, int(folds[i]), 2 * i + 1) for i, ((a, flag), (b, _)) in enumerate(halves)]
    return _pairs(rows, str(path))


def _fold_folders(folder: Path) -> list[Path]:
    """The folders of the folds, 1 … 10."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    numbered = {int(name): folder / name for name in names if name.isdecimal()}
    if len(names) != FOLDS or sorted(numbered) != list(range(1, FOLDS + 1)):
        raise InputError(f"{folder}: expected the folders 01 … {FOLDS}, one for each fold; got {', '.join(names) or 'none'}")
    return [numbered[fold] for fold in sorted(numbered)]


def _check_equal_files(folder: Path, rows: Sequence[Row]) -> None:
    """The same number of pairs of either kind in every fold, as published: a line that was lost or added shows."""
    counts = Counter((fold, same) for _, _, same, fold, _ in rows)
    usual = Counter(counts.values()).most_common(1)[0][0]
    for (fold, same), count in counts.items():
        if count != usual:
            raise InputError(
                f"{folder}: {'same' if same else 'diff'}.txt of fold {fold} has {count} pairs, most other files have {usual}; "
                "a line was lost or added"
            )


def _numbered_images(path: Path) -> dict[int, ImagePath]:
    images = {}
    for number, line in enumerate(text_lines(path, "list of images"), start=1):
        match line.split(maxsplit=1):
            case [position, file] if position.isdecimal() and file.count("/") >= 2:
                identifier = "/".join(without_suffix(file.strip()).split("/")[-3:])
                images[int(position)] = ImagePath(identifier, identifier.split("/")[0])
            case _:
                raise InputError(
                    f"{path}:{number}: expected 'number path', as in '1 ../Data/Images/001/frontal/01.jpg'; got {line!r}"
                )
    return images


def _numbers(where: str, line: str, first: dict[int, ImagePath], second: dict[int, ImagePath]) -> tuple[ImagePath, ImagePath]:
    fields = [field.strip() for field in line.split(",")]
    if len(fields) != 2 or not all(field.isdecimal() for field in fields):
        raise InputError(f"{where}: expected two numbers of images, as in '3,14'; got {line!r}")
    for field, images in zip(fields, (first, second), strict=True):
        if int(field) not in images:
            raise InputError(f"{where}: the list of images has no number {field}; it has {len(images)}")
    return first[int(fields[0])], second[int(fields[1])]


def _flagged(where: str, line: str, fold: int, number: int) -> Row:
    match line.split():
        case [left, right, ("0" | "1") as flag]:
            return _image(left), _image(right), flag == "1", fold, number
        case _:
            raise InputError(f"{where}: expected 'left right flag' with flag 0 or 1; got {line!r}")


def _file_and_flag(where: str, line: str) -> tuple[ImagePath, int]:
    match line.split():
        case [file, flag] if flag.isdecimal():
            return _image(file), int(flag)
        case _:
            raise InputError(f"{where}: expected 'file flag', as in 'Ann_Lee_0001.jpg 1'; got {line!r}")


def _image(file: str) -> ImagePath:
    """The image of a file name, and its person where the name has the form of LFW's or AgeDB's."""
    identifier = without_suffix(file)
    name = identifier.rsplit("/", 1)[-1]
    found = _NUMBERED.fullmatch(name) or _AGEDB.fullmatch(name)
    return ImagePath(identifier, found[1] if found else "")


def _interleaved_folds(path: str, flags: np.ndarray) -> np.ndarray:
    same = flags > 0
    if not same.any() or same.all() or np.any(np.diff(same.astype(int)) > 0):
        raise InputError(
            f"{path}: expected all pairs of the same person (flag > 0) first, then those of different people (flag 0)"
        )
    folds = np.empty(len(flags), dtype=np.int64)
    for kind in (same, ~same):
        size = _fold_size(path, int(kind.sum()), "pairs of the same person" if kind is same else "pairs of different people")
        folds[kind] = 1 + np.arange(kind.sum()) // size
    if len(np.unique(flags[same])) > 1:
        folds[same] = flags[same]
        if not np.array_equal(np.bincount(flags[same])[1:], np.full(FOLDS, same.sum() // FOLDS)):
            raise InputError(f"{path}: flags above 0 must be all 1, or name {FOLDS} folds of equal size, 1 … {FOLDS}")
    return folds


def _fold_size(path: str, count: int, what: str) -> int:
    if count == 0 or count % FOLDS:
        raise InputError(f"{path}: {count} {what} do not divide into {FOLDS} folds; a line was lost or added")
    return count // FOLDS


def _pairs(rows: Sequence[Row], source: str) -> Pairs:
    if not rows:
        raise InputError(f"{source}: no pairs here")
    first, second, same, folds, lines = zip(*rows, strict=True)
    return Pairs(first, second, np.array(same), np.array(folds), np.array(lines), source)
