"""From five landmarks to an aligned crop: the similarity transform that brings them nearest to a template, and the warp.

Landmarks are (5, 2), (x, y) in pixels, the centre of the first pixel at (0, 0), in this order *as seen in the image*: left eye, right
eye, nose, left and right corner of the mouth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orthodrome.pipeline.opencv import opencv
from orthodrome.registry import Registry, near_matches
from orthodrome.types import InputError


@dataclass(frozen=True, eq=False)
class Template:
    """Where the landmarks go: ``points`` (5, 2) in a crop of ``size`` (height, width)."""

    points: np.ndarray
    size: tuple[int, int]

    def scaled(self, size: tuple[int, int]) -> Template:
        """The template for a crop of another size: coordinates times the ratio of the sides, as insightface scales them.

        Raises InputError where ``size`` has other proportions: a similarity cannot follow them.
        """
        ratio = size[0] / self.size[0]
        if min(size) < 1 or round(self.size[1] * ratio) != size[1]:
            raise InputError(
                f"a crop of {size[0]}×{size[1]} (height×width) has other proportions than the template's {self.size[0]}×{self.size[1]}; "
                "give a height and width in its proportions, or choose another template"
            )
        return Template(self.points * ratio, size)


_ARCFACE = np.array([(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)])

TEMPLATES: Registry[Template] = Registry("template")
TEMPLATES.add("arcface112", Template(_ARCFACE, (112, 112)))
TEMPLATES.add("sphereface96x112", Template(_ARCFACE - (8, 0), (112, 96)))  # named width×height, as the papers do


def check_template(name: str) -> None:
    """Raises InputError unless ``name`` is that of a template, or ``"none"``."""
    if name not in TEMPLATES.names() and name != "none":
        raise InputError(f"unknown template {name!r}.{near_matches(name, TEMPLATES)} 'none' says that crops follow none of them")


_TO_COMPLEX = np.array([1, 1j])


def similarity_transform(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The similarity (2, 3) that brings points ``source`` (N, 2) nearest to ``target`` (N, 2) in the least-squares sense.

    Turn, one scale, shift, no reflection (Umeyama, 1991). With points as complex numbers about their means p, q the answer is
    z = Σ conj(p)·q / Σ |p|², and a point x goes to z·(x − mean of source) + mean of target.

    Raises InputError where all points of ``source`` coincide or one is not finite.
    """
    points, goals = (np.asarray(each, np.float64) @ _TO_COMPLEX for each in (source, target))
    middle, goal = points.mean(), goals.mean()
    p = points - middle
    spread = np.vdot(p, p).real
    if not spread > 0:
        raise InputError(f"landmarks must be finite and not all one point; got {np.asarray(source).tolist()}")
    z = np.vdot(p, goals - goal) / spread
    shift = goal - z * middle
    return np.array([[z.real, -z.imag, shift.real], [z.imag, z.real, shift.imag]])


def warp(image: np.ndarray, transform: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The crop uint8 (*size, 3) of ``image`` (H, W, 3) under a similarity (2, 3) from image to crop: bilinear, black outside.

    Where the crop has less than half the resolution of the image, the image is first reduced by an integer, each pixel the mean of
    those it replaces: bilinear sampling alone would alias.
    """
    cv2 = opencv()
    reduction = int(1 / max(np.hypot(transform[0, 0], transform[1, 0]), 1 / min(image.shape[:2])))
    if reduction > 1:
        height, width = (side // reduction for side in image.shape[:2])
        image = cv2.resize(
            np.ascontiguousarray(image[: height * reduction, : width * reduction]), (width, height), interpolation=cv2.INTER_AREA
        )
        # the centre of pixel x lies at reduction·x + (reduction − 1)/2 of the image before
        shift = transform[:, :2] @ np.full(2, (reduction - 1) / 2) + transform[:, 2]
        transform = np.column_stack([transform[:, :2] * reduction, shift])
    crop: np.ndarray = cv2.warpAffine(np.ascontiguousarray(image), transform, (size[1], size[0]), flags=cv2.INTER_LINEAR)
    return crop


@dataclass(frozen=True, eq=False)
class TemplateAligner:
    """The `orthodrome.types.Aligner` of a template."""

    template: Template

    def __call__(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """Image uint8 (H, W, 3) and landmarks (5, 2) -> crop uint8 (height, width, 3)."""
        return warp(image, similarity_transform(landmarks, self.template.points), self.template.size)


def create_aligner(template: str = "arcface112", size: tuple[int, int] | None = None) -> TemplateAligner:
    """The aligner of a named template, at its own size or scaled to ``size`` (height, width)."""
    row = TEMPLATES.get(template)
    return TemplateAligner(row.scaled(size) if size else row)
