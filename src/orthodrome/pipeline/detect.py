"""Finding faces and their five landmarks, and which of them counts."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from orthodrome.data.decode import printable
from orthodrome.pipeline.models import file_sha256
from orthodrome.pipeline.opencv import opencv
from orthodrome.registry import Registry
from orthodrome.types import InputError

NO_FACES = np.zeros((0, 15), np.float32)


@dataclass(frozen=True)
class YuNet:
    """The `orthodrome.types.Detector` of YuNet (Wu, Peng & Yu, 2023) through OpenCV.

    ``sides``: photographs are looked at with their longer side reduced to the first of these; where no face is found, the others are
    tried in turn, larger for small faces, smaller for one that fills the photograph. Nothing is ever enlarged. A photograph whose
    shorter side is below ``small`` gets a black border of ``border`` pixels: it may be a crop, and the network wants to see around a
    face. ``score`` is the least that counts as a face, ``overlap`` the intersection over union above which two boxes are one face.
    """

    weights: Path
    score: float = 0.6
    overlap: float = 0.3
    sides: tuple[int, ...] = (640, 1280, 320)
    small: int = 160
    border: int = 20

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Faces of uint8 (H, W, 3) RGB, best score first: float32 (F, 15), box x, y, width, height, landmarks as
        `orthodrome.pipeline.align` orders them, score; in pixels of ``image``. Boxes may reach beyond it.
        """
        longest = max(image.shape[:2])
        for side in dict.fromkeys(min(side, longest) for side in self.sides):
            faces = self._detect(image, side / longest)
            if len(faces):
                return faces
        return NO_FACES

    def described(self) -> dict[str, Any]:
        """What decides the result: the content of the weights, and the settings."""
        settings = {
            "score": self.score,
            "overlap": self.overlap,
            "sides": list(self.sides),
            "small": self.small,
            "border": self.border,
        }
        return {"sha256": file_sha256(self.weights), **settings}

    def _detect(self, image: np.ndarray, ratio: float) -> np.ndarray:
        cv2 = opencv()
        size = tuple(max(1, round(side * ratio)) for side in image.shape[1::-1])
        seen = image if ratio == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        border = self.border if min(size) < self.small else 0
        if border:
            seen = cv2.copyMakeBorder(seen, border, border, border, border, cv2.BORDER_CONSTANT)
        network = _network(self.weights, self.score, self.overlap, os.getpid())
        network.setInputSize(seen.shape[1::-1])
        found = network.detect(cv2.cvtColor(seen, cv2.COLOR_RGB2BGR))[1]
        if found is None:
            return NO_FACES
        return _to_photograph(found[np.argsort(-found[:, 14], kind="stable")], border, np.array(image.shape[1::-1]) / size)


def _to_photograph(faces: np.ndarray, border: int, scale: np.ndarray) -> np.ndarray:
    """Boxes and landmarks (F, 15) of the picture the network saw in pixels of the photograph; the centre of pixel (0, 0) is (0, 0)."""
    result = faces.astype(np.float64)
    points = result[:, 4:14].reshape(-1, 5, 2)
    points[:] = (points - border + 0.5) * scale - 0.5
    result[:, :2] = (result[:, :2] - border + 0.5) * scale - 0.5
    result[:, 2:4] *= scale
    return result.astype(np.float32)


@lru_cache(maxsize=4)
def _network(weights: Path, score: float, overlap: float, process: int) -> Any:
    """One network per process: it holds buffers that a fork must not share."""
    cv2 = opencv()
    logging = cv2.utils.logging
    level = logging.setLogLevel(logging.LOG_LEVEL_ERROR)  # OpenCV 5 warns that it ignores a default of its own
    try:
        return cv2.FaceDetectorYN.create(str(weights), "", (320, 320), score, overlap, 5000)
    except cv2.error as error:
        raise InputError(f"{printable(weights)}: not the weights of a YuNet detector (ONNX): {error.err or error}") from None
    finally:
        logging.setLogLevel(level)


FaceRule = Callable[[np.ndarray, tuple[int, int]], np.ndarray]
"""Faces (F, 15), best score first, of an image of (height, width) -> the positions of those that count."""


def _largest(faces: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.argsort(-faces[:, 2] * faces[:, 3], kind="stable")[:1]


def _central(faces: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    centres = faces[:, :2] + faces[:, 2:4] / 2 - (np.array(size[::-1]) - 1) / 2
    return np.argsort(np.hypot(*centres.T), kind="stable")[:1]


FACE_RULES: Registry[FaceRule] = Registry("face rule")
FACE_RULES.add("largest", _largest)
FACE_RULES.add("central", _central)
FACE_RULES.add("all", lambda faces, size: np.arange(len(faces)))
