"""Augmentation that moves pixels: mirror, shift, turn, zoom, crop. Pure functions of uint8 images (B, 3, H, W), each image on its own."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch.nn import functional


def horizontal_flip(images: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """Mirror the images (B, 3, H, W) where ``mirrored`` (B,) is true, left to right."""
    result = images.copy()
    result[mirrored] = images[mirrored, :, :, ::-1]
    return result


def shift_images(images: np.ndarray, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Move image i of (B, 3, H, W) by ``down[i]`` and ``right[i]`` pixels; what moves in repeats the edge.

    ``result[i, :, y, x] = images[i, :, clip(y − down[i]), clip(x − right[i])]``
    """
    reach = int(max(np.abs(down).max(initial=0), np.abs(right).max(initial=0)))
    height, width = images.shape[2:]
    padded = np.pad(images, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="edge")
    result = np.empty_like(images)
    for i, (top, left) in enumerate(zip((reach - down).tolist(), (reach - right).tolist(), strict=True)):
        result[i] = padded[i, :, top : top + height, left : left + width]
    return result


def turn_and_zoom(images: np.ndarray, angles: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Turn image i of uint8 (B, 3, H, W) clockwise by ``angles[i]`` radians and enlarge it by ``factors[i]``, about the centre.

    Bilinear; what lies outside repeats the edge. Each image is computed on its own, so that batches do not matter.
    """
    height, width = images.shape[2:]
    down = torch.arange(height, dtype=torch.float32) - (height - 1) / 2
    right = torch.arange(width, dtype=torch.float32) - (width - 1) / 2
    cos = torch.from_numpy(np.cos(angles) / factors).float()[:, None, None]
    sin = torch.from_numpy(np.sin(angles) / factors).float()[:, None, None]
    y, x = down[None, :, None], right[None, None, :]
    source = torch.stack([(cos * x + sin * y) * (2 / width), (cos * y - sin * x) * (2 / height)], dim=3)
    pixels = torch.from_numpy(images).float()
    turned = functional.grid_sample(pixels, source, mode="bilinear", padding_mode="border", align_corners=False)
    return turned.round().clamp(0, 255).to(torch.uint8).numpy()


def enlarge_windows(images: np.ndarray, shares: np.ndarray, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Cut a window out of image i of uint8 (B, 3, H, W) and enlarge it to H×W, bilinear: a random crop, the aspect ratio kept.

    The window has ``shares[i]`` ∈ (0, 1] of height and width; ``down[i]``, ``right[i]`` ∈ [0, 1] place it from the top left corner to
    the bottom right one.
    """
    height, width = images.shape[2:]
    result = np.empty_like(images)
    for i, (share, y, x) in enumerate(zip(shares.tolist(), down.tolist(), right.tolist(), strict=True)):
        top, left = y * (1 - share) * height, x * (1 - share) * width
        box = (left, top, left + share * width, top + share * height)
        result[i] = _resized(images[i], (height, width), Image.Resampling.BILINEAR, box)
    return result


FILTERS = tuple(Image.Resampling[name] for name in ("NEAREST", "BOX", "BILINEAR", "BICUBIC", "LANCZOS"))


def lower_resolution(images: np.ndarray, ratios: np.ndarray, down: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Sample image i of uint8 (B, 3, H, W) down to ``ratios[i]`` ∈ (0, 1] of its sides and up again: detail is lost, the size stays.

    ``down[i]`` and ``up[i]`` say by which of the `FILTERS`. As AdaFace does (arXiv:2204.00964, low-resolution augmentation), there with
    OpenCV's filters, of which the bilinear and bicubic ones alias when they shrink; Pillow's do not.
    """
    height, width = images.shape[2:]
    result = np.empty_like(images)
    for i, ratio in enumerate(ratios.tolist()):
        small = (max(1, round(ratio * height)), max(1, round(ratio * width)))
        shrunk = _resized(images[i], small, FILTERS[down[i]])
        result[i] = _resized(shrunk, (height, width), FILTERS[up[i]])
    return result


def _resized(
    image: np.ndarray,
    size: tuple[int, int],
    resampling: Image.Resampling,
    box: tuple[float, float, float, float] | None = None,
) -> np.ndarray:
    """(3, H, W) -> (3, *size), of the part ``box`` (left, top, right, bottom)."""
    picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    return np.asarray(picture.resize((size[1], size[0]), resampling, box)).transpose(2, 0, 1)
