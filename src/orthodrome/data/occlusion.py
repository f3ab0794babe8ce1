"""Augmentation that hides a part of the face: rectangles, and what is put inside or outside of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orthodrome.data.randomness import Draws

GREY = 128  # what a network that is fed (x − 127.5)/127.5 sees as zero


@dataclass(frozen=True, eq=False)
class Rectangles:
    """One rectangle per image: int64 (B,) ``top`` ≤ y < ``bottom``, ``left`` ≤ x < ``right``; parts outside the image do not count."""

    top: np.ndarray
    left: np.ndarray
    bottom: np.ndarray
    right: np.ndarray

    def mask(self, height: int, width: int) -> np.ndarray:
        """bool (B, 1, height, width): true inside."""
        y, x = np.arange(height)[None, :, None], np.arange(width)[None, None, :]
        top, left, bottom, right = (side[:, None, None] for side in (self.top, self.left, self.bottom, self.right))
        return ((top <= y) & (y < bottom) & (left <= x) & (x < right))[:, None]


def draw_rectangles(
    draws: Draws, size: tuple[int, int], purpose: str, area: tuple[float, float], aspect: tuple[float, float]
) -> Rectangles:
    """Rectangles inside images of ``size`` (height, width): share of the area uniform in ``area``, height over width log-uniform in
    ``aspect``, place uniform. A side that would be longer than the image is cut to it, where the papers draw again.
    """
    height, width = size
    share = area[0] + (area[1] - area[0]) * draws.uniform(f"{purpose} area")
    low, high = np.log(aspect)
    slope = np.exp(low + (high - low) * draws.uniform(f"{purpose} aspect"))
    tall = np.rint(np.sqrt(share * height * width * slope)).clip(1, height).astype(np.int64)
    wide = np.rint(np.sqrt(share * height * width / slope)).clip(1, width).astype(np.int64)
    top = np.floor(draws.uniform(f"{purpose} top") * (height - tall + 1)).astype(np.int64)
    left = np.floor(draws.uniform(f"{purpose} left") * (width - wide + 1)).astype(np.int64)
    return Rectangles(top, left, top + tall, left + wide)


def draw_squares(draws: Draws, size: tuple[int, int], purpose: str, side: int) -> Rectangles:
    """Squares of ``side`` pixels whose centre is any pixel, so that some hang over the edge."""
    top = draws.integers(f"{purpose} y", 0, size[0] - 1) - side // 2
    left = draws.integers(f"{purpose} x", 0, size[1] - 1) - side // 2
    return Rectangles(top, left, top + side, left + side)


def keep_inside(images: np.ndarray, rectangles: Rectangles) -> np.ndarray:
    """Images (B, 3, H, W) with black around the rectangle, which stays where it is: the crop augmentation of AdaFace (2204.00964)."""
    return np.where(rectangles.mask(*images.shape[2:]), images, np.uint8(0))


def fill_inside(images: np.ndarray, rectangles: Rectangles, filling: np.ndarray | int) -> np.ndarray:
    """Images (B, 3, H, W) with the rectangle replaced by ``filling``, uint8 of that shape or one value.

    Noise makes it random erasing (arXiv:1708.04896), grey makes it cut-out (arXiv:1708.04552).
    """
    return np.where(rectangles.mask(*images.shape[2:]), np.asarray(filling, dtype=np.uint8), images)
