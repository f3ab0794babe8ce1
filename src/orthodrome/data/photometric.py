"""Augmentation that changes brightness, contrast and colour, and leaves every pixel where it is."""

from __future__ import annotations

import numpy as np

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)[:, None, None]  # ITU-R BT.601


def jitter_colours(images: np.ndarray, brightness: np.ndarray, contrast: np.ndarray, saturation: np.ndarray) -> np.ndarray:
    """Scale brightness, then contrast, then saturation of image i of uint8 (B, 3, H, W) by factors (B,); 1 changes nothing.

    ``x·b``; ``m + c·(x − m)`` with the mean grey value m; ``g + s·(x − g)`` with the grey value g of each pixel: clipped to [0, 255]
    after each, rounded once at the end. AdaFace (arXiv:2204.00964) does the three in random order; here the order is fixed.
    """
    result = np.empty_like(images)
    for i, (b, c, s) in enumerate(zip(brightness.tolist(), contrast.tolist(), saturation.tolist(), strict=True)):
        pixels = _towards(np.float32(0), images[i].astype(np.float32), b)
        pixels = _towards(_grey(pixels).mean(), pixels, c)
        pixels = _towards(_grey(pixels), pixels, s)
        result[i] = np.rint(pixels)
    return result


def _grey(pixels: np.ndarray) -> np.ndarray:
    """(3, H, W) -> (1, H, W)."""
    return (_LUMA * pixels).sum(axis=0, keepdims=True)


def _towards(origin: np.ndarray | np.float32, pixels: np.ndarray, factor: float) -> np.ndarray:
    """``origin + factor·(pixels − origin)``, written so that a factor of 1 is exact."""
    return (np.float32(factor) * pixels + np.float32(1 - factor) * origin).clip(0, 255)
