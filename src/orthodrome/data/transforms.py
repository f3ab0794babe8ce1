"""Augmentation of uint8 batches, one table of steps, and the way from pixels to the network's input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from orthodrome.data.geometric import (
    FILTERS,
    enlarge_windows,
    horizontal_flip,
    lower_resolution,
    shift_images,
    turn_and_zoom,
)
from orthodrome.data.occlusion import GREY, draw_rectangles, draw_squares, fill_inside, keep_inside
from orthodrome.data.photometric import jitter_colours
from orthodrome.data.randomness import Draws
from orthodrome.types import InputError, Preprocessing

Transform = Callable[[np.ndarray, Draws], np.ndarray]
"""uint8 (B, 3, H, W) and the draws of its B images -> the same shape; picklable, leaves its input alone."""

Strengths = Mapping[str, float]


def unchanged(images: np.ndarray, draws: Draws) -> np.ndarray:
    """No augmentation."""
    return images


# ------------------------------------------------------------------------------------- what the images of a batch draw


def _flip(images: np.ndarray, draws: Draws, strength: Strengths) -> np.ndarray:
    return horizontal_flip(images, draws.uniform("flip") < strength["flip"])


def _shift(images: np.ndarray, draws: Draws, strength: Strengths) -> np.ndarray:
    reach = int(strength["shift"])
    return shift_images(images, draws.integers("shift down", -reach, reach), draws.integers("shift right", -reach, reach))


def _turn_and_zoom(images: np.ndarray, draws: Draws, strength: Strengths) -> np.ndarray:
    angles = strength["rotate"] * (2 * draws.uniform("rotate") - 1)
    factors = 1 + strength["zoom"] * (2 * draws.uniform("zoom") - 1)
    return turn_and_zoom(images, np.deg2rad(angles), factors)


def _random_crop(images: np.ndarray, draws: Draws, strength: Strengths) -> np.ndarray:
    shares = 1 - strength["random_crop"] * draws.uniform("random crop")
    return enlarge_windows(images, shares, draws.uniform("random crop down"), draws.uniform("random crop right"))


def _cutout(images: np.ndarray, draws: Draws, strength: Strengths) -> np.ndarray:
    size = (images.shape[2], images.shape[3])
    squares = draw_squares(draws, size, "cutout", round(strength["cutout"] * min(size)))
    return fill_inside(images, squares, GREY)


def _sometimes(name: str, change: Transform, images: np.ndarray, draws: Draws, strength: Strengths) -> np.ndarray:
    """``change`` of each image with probability ``strength[name]``."""
    chosen = np.flatnonzero(draws.uniform(name) < strength[name])
    result = images.copy()
    if chosen.size:
        result[chosen] = change(images[chosen], draws.of(chosen))
    return result


def _black_around(images: np.ndarray, draws: Draws) -> np.ndarray:
    size = (images.shape[2], images.shape[3])
    return keep_inside(images, draw_rectangles(draws, size, "crop", (0.2, 1.0), (3 / 4, 4 / 3)))


def _colours(images: np.ndarray, draws: Draws) -> np.ndarray:
    names = ("brightness", "contrast", "saturation")
    return jitter_colours(images, *(0.5 + draws.uniform(name) for name in names))


def _low_resolution(images: np.ndarray, draws: Draws) -> np.ndarray:
    last = len(FILTERS) - 1
    down, up = draws.integers("resolution down", 0, last), draws.integers("resolution up", 0, last)
    return lower_resolution(images, 0.2 + 0.8 * draws.uniform("resolution"), down, up)


def _erase(images: np.ndarray, draws: Draws) -> np.ndarray:
    size = (images.shape[2], images.shape[3])
    noise = draws.bytes("erase noise", images[0].size).reshape(images.shape)
    return fill_inside(images, draw_rectangles(draws, size, "erase", (0.02, 0.4), (0.3, 1 / 0.3)), noise)


# ------------------------------------------------------------------------------------------------------------ the table


@dataclass(frozen=True)
class Strength:
    """A key of the recipe: what its number is, and the range it may have; 0 always means: leave this out."""

    meaning: str
    high: float
    includes_high: bool = True

    def check(self, name: str, value: float) -> None:
        """Raises InputError outside the range."""
        if not (0 <= value < self.high or (self.includes_high and value == self.high)):
            limit = f"in [0, {self.high:g}{']' if self.includes_high else ')'}" if np.isfinite(self.high) else "≥ 0"
            raise InputError(f"{name} is {self.meaning} {limit}; got {value}")


STRENGTHS: Mapping[str, Strength] = {
    "flip": Strength("a probability", 1),
    "shift": Strength("a number of pixels", np.inf),
    "rotate": Strength("a number of degrees", 180),
    "zoom": Strength("a share", 1, includes_high=False),
    "random_crop": Strength("a share", 1, includes_high=False),
    "crop": Strength("a probability", 1),
    "photometric": Strength("a probability", 1),
    "low_resolution": Strength("a probability", 1),
    "erase": Strength("a probability", 1),
    "cutout": Strength("a share", 1),
}

Step = Callable[[np.ndarray, Draws, Strengths], np.ndarray]

STEPS: tuple[tuple[tuple[str, ...], Step], ...] = (
    (("flip",), _flip),
    (("shift",), _shift),
    (("rotate", "zoom"), _turn_and_zoom),
    (("random_crop",), _random_crop),
    (("crop",), partial(_sometimes, "crop", _black_around)),
    (("photometric",), partial(_sometimes, "photometric", _colours)),
    (("low_resolution",), partial(_sometimes, "low_resolution", _low_resolution)),
    (("erase",), partial(_sometimes, "erase", _erase)),
    (("cutout",), _cutout),
)
"""In the order they are done: the strengths a step reads (all 0: it is left out), and the step."""


@dataclass(frozen=True)
class Augmentation:
    """What is done to training images (B, 3, H, W), in the order of the fields; 0 leaves a step out.

    - ``flip``: mirror with this probability. ``shift``: by up to ± this many pixels each way. ``rotate``: by up to ± this many degrees
      and ``zoom``: by a factor of 1 ± this, both about the centre. Edges are replicated.
    - ``random_crop``: a window of 1 to 1 − this of the sides, anywhere, enlarged to the whole.
    - ``crop``, ``photometric``, ``low_resolution``: probabilities of the three augmentations of AdaFace (arXiv:2204.00964, which takes
      0.2 for each): black around a part of 20 to 100 % of the area; brightness, contrast and saturation by factors in [0.5, 1.5]; down
      to 20 to 100 % of the sides and up again.
    - ``erase``: probability of random erasing (arXiv:1708.04896): 2 to 40 % of the area becomes noise.
    - ``cutout``: side of a grey square (arXiv:1708.04552), as a share of the shorter side of the image.
    """

    flip: float = 0.5
    shift: int = 3
    rotate: float = 0.0
    zoom: float = 0.0
    random_crop: float = 0.0
    crop: float = 0.0
    photometric: float = 0.0
    low_resolution: float = 0.0
    erase: float = 0.0
    cutout: float = 0.0

    def __post_init__(self) -> None:
        for name, strength in STRENGTHS.items():
            strength.check(name, getattr(self, name))

    def __call__(self, images: np.ndarray, draws: Draws) -> np.ndarray:
        """Augment uint8 images (B, 3, H, W); what image i gets depends on ``draws`` of its own index only."""
        strength = vars(self)
        for names, step in STEPS:
            if any(strength[name] for name in names):
                images = step(images, draws, strength)
        return images


def to_network_input(
    images: Tensor,
    preprocessing: Preprocessing,
    dtype: torch.dtype = torch.float32,
    channels_last: bool = False,
) -> Tensor:
    """``(x − mean) / std`` of uint8 images (B, 3, H, W), or of their middle, computed in float32 on the device of the images.

    Raises:
        InputError: the images are not uint8 (B, 3, H, W) of the size the model was made for.
    """
    expected = (3, *preprocessing.size)
    if images.dtype != torch.uint8 or tuple(images.shape[1:]) != expected:
        raise InputError(f"images must be uint8 (B, *{expected}); got {images.dtype} {tuple(images.shape)}")
    height, width = preprocessing.input_size
    top, left = (preprocessing.size[0] - height) // 2, (preprocessing.size[1] - width) // 2
    layout = torch.channels_last if channels_last else torch.contiguous_format
    pixels = images[:, :, top : top + height, left : left + width].to(torch.float32, memory_format=layout)
    return pixels.sub_(preprocessing.mean).div_(preprocessing.std).to(dtype)
