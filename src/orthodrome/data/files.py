"""The reader of sets made of image files: what a folder of identities and a list file both become."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orthodrome.data.decode import Size, decode_image, printable, read_bytes
from orthodrome.data.problems import Place, Problem
from orthodrome.types import Sample


@dataclass(frozen=True, eq=False)
class FileReader:
    """Labelled image files under ``root``: paths, int64 labels (N,) in ``[0, C)``, one class name per label.

    ``ignored`` names the files that were found but are no images by their extension.
    """

    root: Path
    paths: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def sample(self, index: int) -> Sample:
        """Path (relative to the root, printable) and label of one image, without decoding it."""
        return Sample(printable(self.paths[index]), int(self.labels[index]))

    def encoded(self, index: int) -> bytes:
        """The bytes of the file."""
        return read_bytes(self.root / self.paths[index])

    def place(self, index: int) -> Place:
        """The file."""
        return Place(printable(self.root / self.paths[index]))

    def image(self, index: int, size: Size | None = None) -> np.ndarray:
        """The decoded image, uint8 (H, W, 3); ``size`` and errors as `orthodrome.data.decode_image`."""
        return decode_image(self.root / self.paths[index], size)
