"""Augmentation of uint8 batches, and the step from pixels to the network's input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from orthodrome.data.randomness import Draws
from orthodrome.types import InputError, Preprocessing

Transform = Callable[[np.ndarray, Draws], np.ndarray]
"""uint8 (B, 3, H, W) and the draws of its B images -> the same shape; picklable, leaves its input alone."""


def unchanged(images: np.ndarray, draws: Draws) -> np.ndarray:
    """No augmentation."""
    return images


@dataclass(frozen=True)
class Augmentation:
    """Mirror with probability ``flip``, then shift by up to ±``shift`` pixels each way, edges replicated."""

    flip: float = 0.5
    shift: int = 3

    def __post_init__(self) -> None:
        if not 0 <= self.flip <= 1:
            raise InputError(f"flip is a probability in [0, 1]; got {self.flip}")
        if self.shift < 0:
            raise InputError(f"shift is a number of pixels ≥ 0; got {self.shift}")

    def __call__(self, images: np.ndarray, draws: Draws) -> np.ndarray:
        """Augment uint8 images (B, 3, H, W); what image i gets depends on ``draws`` of its own index only."""
        if self.flip:
            images = horizontal_flip(images, draws.uniform("flip") < self.flip)
        if self.shift:
            down = draws.integers("shift down", -self.shift, self.shift)
            right = draws.integers("shift right", -self.shift, self.shift)
            images = shift_images(images, down, right)
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
