"""Augmentation of uint8 batches, and the step from pixels to the network's input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from orthodrome.data.randomness import Draws
from orthodrome.types import InputError, Preprocessing

Transform = Callable[[np.ndarray, Draws], np.ndarray]
"""uint8 (B, 3, H, W) and the draws of its B images -> the same shape; picklable, leaves its input alone."""


def unchanged(images: np.ndarray, draws: Draws) -> np.ndarray:
    """No augmentation."""
    return images


@dataclass(frozen=True)
class Augmentation:
    """Mirror with probability ``flip``, shift by up to ±``shift`` pixels each way, turn by up to ±``rotate`` degrees and zoom by a
    factor of up to 1 ± ``zoom``, both about the centre. Edges are replicated.
    """

    flip: float = 0.5
    shift: int = 3
    rotate: float = 0.0
    zoom: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.flip <= 1:
            raise InputError(f"flip is a probability in [0, 1]; got {self.flip}")
        if self.shift < 0:
            raise InputError(f"shift is a number of pixels ≥ 0; got {self.shift}")
        if not 0 <= self.rotate <= 180:
            raise InputError(f"rotate is a number of degrees in [0, 180]; got {self.rotate}")
        if not 0 <= self.zoom < 1:
            raise InputError(f"zoom is a share in [0, 1); got {self.zoom}")

    def __call__(self, images: np.ndarray, draws: Draws) -> np.ndarray:
        """Augment uint8 images (B, 3, H, W); what image i gets depends on ``draws`` of its own index only."""
        if self.flip:
            images = horizontal_flip(images, draws.uniform("flip") < self.flip)
        if self.shift:
            down = draws.integers("shift down", -self.shift, self.shift)
            right = draws.integers("shift right", -self.shift, self.shift)
            images = shift_images(images, down, right)
        if self.rotate or self.zoom:
            angles = self.rotate * (2 * draws.uniform("rotate") - 1)
            factors = 1 + self.zoom * (2 * draws.uniform("zoom") - 1)
            images = turn_and_zoom(images, np.deg2rad(angles), factors)
        return images


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


def to_network_input(
    images: Tensor,
    preprocessing: Preprocessing,
    dtype: torch.dtype = torch.float32,
    channels_last: bool = False,
) -> Tensor:
    """``(x − mean) / std`` of uint8 images (B, 3, H, W), computed in float32 on the device of the images.

    Raises:
        InputError: the images are not uint8 (B, 3, H, W) of the size the model was made for.
    """
    expected = (3, *preprocessing.size)
    if images.dtype != torch.uint8 or tuple(images.shape[1:]) != expected:
        raise InputError(f"images must be uint8 (B, *{expected}); got {images.dtype} {tuple(images.shape)}")
    layout = torch.channels_last if channels_last else torch.contiguous_format
    pixels = images.to(torch.float32, memory_format=layout)
    return pixels.sub_(preprocessing.mean).div_(preprocessing.std).to(dtype)
