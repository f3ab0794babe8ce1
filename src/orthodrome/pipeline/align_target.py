"""The folder of crops between runs: what an earlier one left there, and what is still to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from orthodrome.data.decode import printable
from orthodrome.files import TORN
from orthodrome.pipeline.align_photograph import Task
from orthodrome.pipeline.landmarks import Landmarks, Photograph, read_landmarks, write_landmarks
from orthodrome.pipeline.photographs import FileState
from orthodrome.types import InputError

LANDMARK_FILE = "landmarks.jsonl"


def check_apart(source: Path, target: Path) -> None:
    one, other = source.resolve(), target.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise InputError(
            f"{printable(target)}: crops must not be written among the photographs ({printable(source)}); choose a folder apart"
        )


def open_target(target: Path, settings: Mapping[str, Any]) -> Landmarks:
    """What an earlier run left, with its landmark file ready to be appended to; a new one where there is nothing."""
    path = target / LANDMARK_FILE
    if path.exists() and path.stat().st_size:
        before = read_landmarks(path)
        _check_settings(target, before.settings, settings)
        _remove_torn_crops(target)
    elif target.exists() and (not target.is_dir() or any(entry != path for entry in target.iterdir())):
        raise InputError(f"{printable(target)}: holds something else than the crops of an earlier run; choose a new folder")
    else:
        before = Landmarks(settings, {})
    write_landmarks(path, before)  # without a torn last line
    return before


def _check_settings(target: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    old, new = dict(_flat(before)), dict(_flat(now))
    differing = [f"{key}: {old.get(key)}, now {new.get(key)}" for key in old | new if old.get(key) != new.get(key)]
    if differing:
        raise InputError(
            f"{printable(target)}: begun with other settings ({'; '.join(differing)}); choose another folder. With "
            f"--landmarks {printable(target / LANDMARK_FILE)} its faces need not be found again"
        )


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from ((f"{key} {inner}", content) for inner, content in value.items())
        else:
            yield key, value


def _remove_torn_crops(target: Path) -> None:
    """What `write_file` had beside the crops when the run before was killed."""
    for path in target.rglob(".*.part"):
        if TORN.fullmatch(path.name):
            path.unlink(missing_ok=True)


def tasks_of(
    found: Mapping[str, FileState],
    stems: Mapping[str, str],
    before: Mapping[str, Photograph],
    known: Mapping[str, Photograph] | None,
    target: Path,
) -> tuple[list[Task], dict[str, Photograph]]:
    """What is to do, and what is finished; files that were known by their size only are from now on known by their time too."""
    tasks, finished = [], {}
    for name, file in found.items():
        earlier = before.get(name)
        if earlier is not None and not (earlier.file.may_be(file) and earlier.crops):
            earlier = None
        if earlier is not None and known and name in known and not np.array_equal(earlier.faces, known[name].faces):
            earlier = None  # the landmarks have been corrected
        if earlier is not None and all(_file_size(target / crop) == length for crop, length in earlier.crops.items()):
            finished[name] = replace(earlier, file=file)
        else:
            tasks.append(Task(name, file, stems[name], known.get(name) if known is not None else earlier))
    return tasks, finished


def remove_other_crops(target: Path, before: Photograph | None, now: Photograph) -> None:
    """Remove crops of what a photograph was before it was replaced: of faces that are no longer in it."""
    for crop in (before.crops.keys() if before else set()) - now.crops.keys():
        (target / crop).unlink(missing_ok=True)


def _file_size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
