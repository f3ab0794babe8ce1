"""What every backbone asks of its arguments and its input. What does not pass raises InputError."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

from torch import Tensor

from orthodrome.types import InputError

STRIDE = 16  # every family halves the crop four times, or cuts it into patches that divide 16


def parse_image_size(image_size: int | Sequence[int]) -> tuple[int, int]:
    """``112`` or ``(112, 96)`` -> (height, width) in pixels, both positive multiples of 16.

    >>> parse_image_size(112)
    (112, 112)
    >>> parse_image_size((20, 96))
    Traceback (most recent call last):
    ...
    orthodrome.types.InputError: image_size must be divisible by 16; got (20, 96). Nearest: (16, 96), (32, 96)
    """
    height, width = _pair(image_size)
    if min(height, width) < 1 or height % STRIDE or width % STRIDE:
        raise InputError(
            f"image_size must be divisible by {STRIDE}; got ({height}, {width}). "
            f"Nearest: {', '.join(str(size) for size in nearest_sizes(height, width))}"
        )
    return height, width


def nearest_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """The valid sizes just below and just above (height, width); one size where they are the same."""
    below = (_multiple_below(height), _multiple_below(width))
    above = (_multiple_above(height), _multiple_above(width))
    return [below] if below == above else [below, above]


def parse_embedding_dim(embedding_dim: int) -> int:
    """An integer ≥ 2: on a sphere of one dimension there are only two points."""
    dim = _integer(embedding_dim)
    if dim is None or dim < 2:
        raise InputError(f"embedding_dim must be an integer of at least 2; got {embedding_dim!r}")
    return dim


def require_positive(name: str, value: float) -> float:
    """A finite number above 0."""
    if not _is_number(value) or not 0 < value < math.inf:
        raise InputError(f"{name} must be a positive number; got {value!r}")
    return float(value)


def require_rate(name: str, value: float) -> float:
    """A probability in [0, 1)."""
    if not _is_number(value) or not 0 <= value < 1:
        raise InputError(f"{name} must be a number in [0, 1); got {value!r}")
    return float(value)


def require_flag(name: str, value: bool) -> bool:
    """True or False; words such as "no" would silently count as true."""
    if not isinstance(value, bool):
        raise InputError(f"{name} must be True or False; got {value!r}")
    return value


def require_divisor(name: str, value: int, image_size: tuple[int, int]) -> int:
    """A positive integer that divides the height and the width."""
    divisor = _integer(value)
    if divisor is None or divisor < 1 or any(length % divisor for length in image_size):
        valid = [n for n in range(1, min(image_size) + 1) if not any(length % n for length in image_size)]
        raise InputError(f"{name} must divide the image size {image_size}; got {value!r}. Valid: {valid}")
    return divisor


def require_images(images: Tensor, image_size: tuple[int, int]) -> None:
    """Floating-point images (B, 3, H, W) of the size the network was built for."""
    if images.ndim != 4 or tuple(images.shape[1:]) != (3, *image_size):
        height, width = image_size
        raise InputError(
            f"images must have shape (B, 3, {height}, {width}); got {tuple(images.shape)}. "
            "Resize the crops or create the backbone with their image_size"
        )
    if not images.is_floating_point():
        raise InputError(f"images must be floating point, scaled as (x − mean) / std; got {images.dtype}")


def _pair(image_size: int | Sequence[int]) -> tuple[int, int]:
    pair = image_size if isinstance(image_size, Sequence) else (image_size, image_size)
    lengths = [length for length in map(_integer, pair) if length is not None]
    if len(pair) != 2 or len(lengths) != 2:
        raise InputError(f"image_size must be an integer or two integers (height, width); got {image_size!r}")
    return lengths[0], lengths[1]


def _integer(value: object) -> int | None:
    """``value`` as an int where it is one (numpy's included), else None: True and 2.0 are none."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _multiple_below(length: int) -> int:
    return max(STRIDE, length // STRIDE * STRIDE)


def _multiple_above(length: int) -> int:
    return max(STRIDE, math.ceil(length / STRIDE) * STRIDE)
