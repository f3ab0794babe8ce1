"""One photograph to its crops: read, find faces or look them up, choose, cut, write."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from orthodrome.data.decode import decode_image, printable
from orthodrome.files import write_file
from orthodrome.pipeline.align import TEMPLATES, create_aligner
from orthodrome.pipeline.detect import FACE_RULES
from orthodrome.pipeline.landmarks import NO_FACE, Photograph
from orthodrome.pipeline.photographs import FileState
from orthodrome.types import Aligner, Detector, InputError


@dataclass(frozen=True)
class CropSettings:
    """How crops are made: a template, its size (height, width; None: its own), which faces count, and the quality of the JPEG."""

    template: str = "arcface112"
    size: tuple[int, int] | None = None
    faces: str = "largest"
    quality: int = 95

    def __post_init__(self) -> None:
        FACE_RULES.get(self.faces)
        create_aligner(self.template, self.size)
        if not 1 <= self.quality <= 100:
            raise InputError(f"the quality of a JPEG is in [1, 100]; got {self.quality}")

    @property
    def crop_size(self) -> tuple[int, int]:
        """(height, width) of the crops."""
        return self.size or TEMPLATES.get(self.template).size

    def to_json(self) -> dict[str, Any]:
        """As the landmark file keeps it."""
        return {"template": self.template, "size": list(self.crop_size), "faces": self.faces, "quality": self.quality}


@dataclass(frozen=True, eq=False)
class Task:
    """A photograph to do: its name and what its file is like, the path of its crop without ending, and what is known of it."""

    name: str
    file: FileState
    stem: str
    known: Photograph | None = None


@dataclass(frozen=True, eq=False)
class PhotographAligner:
    """Does one photograph: read, find (or look up), choose, cut, write. Picklable, for worker processes."""

    source: Path
    target: Path
    detector: Detector | None
    aligner: Aligner
    settings: CropSettings

    def __call__(self, task: Task) -> Photograph:
        """What came of it; raises InputError only where a crop cannot be written."""
        try:
            found, crops = self._cut(task)
        except InputError as error:
            reason = str(error).removeprefix(f"{printable(self.source / task.name)}: ")
            return Photograph(task.name, task.file, problem=reason)
        for name, crop in crops.items():
            write_file(self.target / name, crop, sync=False)  # its size is on record, and checked when a run goes on
        return found

    def _cut(self, task: Task) -> tuple[Photograph, dict[str, bytes]]:
        image = decode_image(self.source / task.name)
        size = (image.shape[0], image.shape[1])
        faces = self._faces(image, task.file, task.known).astype(np.float64).round(3)  # as the landmark file keeps them
        if not np.isfinite(faces).all():
            raise InputError("the detector answers with numbers that are not finite")
        if not len(faces):
            return Photograph(task.name, task.file, size, problem=NO_FACE), {}
        chosen = faces[FACE_RULES.get(self.settings.faces)(faces, size)]
        numbers = [f"-{number}" for number in range(1, len(chosen) + 1)] if self.settings.faces == "all" else [""]
        crops = {
            f"{task.stem}{number}.jpg": encode_jpeg(self.aligner(image, face[4:14].reshape(5, 2)), self.settings.quality)
            for number, face in zip(numbers, chosen, strict=True)
        }
        return Photograph(task.name, task.file, size, faces, {name: len(crop) for name, crop in crops.items()}), crops

    def _faces(self, image: np.ndarray, file: FileState, known: Photograph | None) -> np.ndarray:
        if known is None:
            if self.detector is None:
                raise InputError("not in the landmark file")
            return self.detector(image)
        if known.size is None:
            raise InputError(f"{known.problem} (as the landmark file says)")
        if known.size != image.shape[:2]:
            height, width = image.shape[:2]
            raise InputError(f"{width}×{height} pixels now, but {known.size[1]}×{known.size[0]} in the landmark file")
        if known.file.bytes != file.bytes:
            raise InputError(
                f"{file.bytes:,} bytes now, but {known.file.bytes:,} in the landmark file: another photograph of this name"
            )
        return known.faces


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """A JPEG of uint8 (H, W, 3)."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality)
    return buffer.getvalue()
