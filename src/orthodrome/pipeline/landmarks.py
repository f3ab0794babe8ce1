"""What was found in each photograph, one JSON object a line: the memory of an alignment that is interrupted, or done again.

The first line says how it was made, the others are photographs in any order; of two about one photograph the later counts. Lines are
appended as photographs are finished, so that after a kill at most the last one is torn; a torn last line is no line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from orthodrome.data.decode import printable
from orthodrome.files import write_file
from orthodrome.pipeline.detect import NO_FACES
from orthodrome.pipeline.photographs import FileState
from orthodrome.types import InputError

FORMAT = "orthodrome-landmarks-1"
NO_FACE = "no face was found"


@dataclass(frozen=True, eq=False)
class Photograph:
    """One photograph: ``name`` is its path under the source, ``file`` what the file was like, ``size`` (height, width) upright.

    ``faces`` (F, 15) as a detector gives them, best score first; ``crops`` are paths under the target with the sizes of the files in
    bytes. Where there is no crop, ``problem`` says why; ``size`` is None where it could not be read.
    """

    name: str
    file: FileState
    size: tuple[int, int] | None = None
    faces: np.ndarray = field(default_factory=NO_FACES.copy)
    crops: Mapping[str, int] = field(default_factory=dict)
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values; coordinates to a thousandth of a pixel."""
        faces = self.faces.astype(np.float64).round(3).tolist()
        values = {"photograph": self.name, **vars(self.file), "size": self.size, "faces": faces}
        return {**values, "crops": dict(self.crops)} | ({"problem": self.problem} if self.problem else {})


@dataclass(frozen=True)
class Landmarks:
    """The content of a landmark file: how it was made, and photographs by name."""

    settings: Mapping[str, Any]
    photographs: Mapping[str, Photograph]


def read_landmarks(path: Path) -> Landmarks:
    """What `write_landmarks` and `appending` wrote.

    Raises:
        InputError: no such file, another one, or a line that is no photograph, by its number.
    """
    try:
        lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last line end is torn, or empty
    except OSError as error:
        raise InputError(f"{printable(path)}: the landmark file cannot be read: {error.strerror or error}") from None
    header = _object(lines[0]) if lines else {}
    if header.get("format") != FORMAT:
        raise InputError(f"{printable(path)}: not a landmark file; expected the landmarks.jsonl that `orthodrome align` writes")
    photographs: dict[str, Photograph] = {}
    for number, line in enumerate(lines[1:], start=2):
        try:
            photograph = _photograph(_object(line))
        except (KeyError, TypeError, ValueError, OverflowError):
            raise InputError(
                f"{printable(path)}:{number}: not a line about a photograph; restore the file or remove the line"
            ) from None
        photographs[photograph.name] = photograph
    return Landmarks(header["settings"], photographs)


def write_landmarks(path: Path, landmarks: Landmarks) -> None:
    """The whole file, photographs sorted by name."""
    photographs = (landmarks.photographs[name] for name in sorted(landmarks.photographs))
    write_file(path, b"".join(_lines(landmarks.settings, photographs)))


@contextmanager
def appending(path: Path) -> Iterator[BinaryIO]:
    """A landmark file opened for `append`."""
    try:
        with path.open("ab", buffering=0) as file:
            yield file
    except OSError as error:
        raise InputError(f"cannot write {printable(path)}: {error.strerror or error}; the same command goes on") from error


def append(file: BinaryIO, photograph: Photograph) -> None:
    """One line, whole or torn at the end of the file."""
    file.write(_line(photograph.to_json()))


def _lines(settings: Mapping[str, Any], photographs: Iterable[Photograph]) -> Iterator[bytes]:
    yield _line({"format": FORMAT, "settings": dict(settings)})
    for photograph in photographs:
        yield _line(photograph.to_json())


def _line(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, allow_nan=False).encode("ascii") + b"\n"  # escapes carry names that are not UTF-8


def _object(line: bytes) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _photograph(values: Mapping[str, Any]) -> Photograph:
    faces = np.array(values["faces"], dtype=np.float64).reshape(-1, 15)
    if not np.isfinite(faces).all():
        raise ValueError("not finite")
    size = values["size"]
    if size is not None:
        height, width = size
        size = (int(height), int(width))
    name, crops, problem = values["photograph"], dict(values["crops"]), values.get("problem", "")
    if not all(isinstance(text, str) for text in (name, problem, *crops)):
        raise TypeError("not text")
    modified = values.get("modified")  # files of earlier versions have none
    file = FileState(int(values["bytes"]), None if modified is None else int(modified))
    return Photograph(name, file, size, faces, crops, problem)
