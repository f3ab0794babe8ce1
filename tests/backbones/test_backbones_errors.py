"""Every wrong argument or input ends in an InputError that says what was given and what would do."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orthodrome.backbones import create_backbone, names, option_names
from orthodrome.backbones.checks import nearest_sizes, parse_image_size
from orthodrome.types import InputError


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "iresnet5"}, "unknown backbone 'iresnet5'. Did you mean 'iresnet50'"),
        ({"widht": 0.5}, "unknown option 'widht' of backbone 'sfnet4'. Did you mean 'width'?"),
        ({"units": (1, 1, 1, 1)}, "unknown option 'units' of backbone 'sfnet4'. Known: batch_norm, width."),
        ({"name": "mobilefacenet", "width": 2}, "of backbone 'mobilefacenet'. It has no options."),
        ({"image_size": (100, 90)}, "divisible by 16; got (100, 90). Nearest: (96, 80), (112, 96)"),
        ({"image_size": 8}, "got (8, 8). Nearest: (16, 16)"),
        ({"image_size": 0}, "got (0, 0). Nearest: (16, 16)"),
        ({"image_size": (-16, 32)}, "got (-16, 32). Nearest: (16, 32)"),
        ({"image_size": (112, 112, 3)}, "two integers (height, width); got (112, 112, 3)"),
        ({"image_size": (112.0, 96)}, "two integers (height, width); got (112.0, 96)"),
        ({"image_size": "112"}, "two integers (height, width); got '112'"),
        ({"image_size": None}, "two integers (height, width); got None"),
        ({"embedding_dim": 1}, "embedding_dim must be an integer of at least 2; got 1"),
        ({"embedding_dim": 64.0}, "embedding_dim must be an integer of at least 2; got 64.0"),
        ({"embedding_dim": True}, "embedding_dim must be an integer of at least 2; got True"),
        ({"width": 0}, "width must be a positive number; got 0"),
        ({"width": -0.5}, "width must be a positive number; got -0.5"),
        ({"width": float("nan")}, "width must be a positive number; got nan"),
        ({"width": float("inf")}, "width must be a positive number; got inf"),
        ({"width": "half"}, "width must be a positive number; got 'half'"),
        ({"batch_norm": "no"}, "batch_norm must be True or False; got 'no'"),
        ({"name": "iresnet18", "dropout": 1.0}, "dropout must be a number in [0, 1); got 1.0"),
        ({"name": "vit_tiny", "stochastic_depth": -0.1}, "stochastic_depth must be a number in [0, 1)"),
        ({"name": "vit_tiny", "mask_ratio": 1}, "mask_ratio must be a number in [0, 1); got 1"),
        ({"name": "vit_tiny", "patch_size": 9}, "patch_size must divide the image size (112, 112); got 9"),
        ({"name": "vit_tiny", "patch_size": 0}, "got 0. Valid: [1, 2, 4, 7, 8, 14, 16, 28, 56, 112]"),
    ],
)
def test_wrong_argument(arguments: dict, message: str) -> None:
    with torch.device("meta"), pytest.raises(InputError, match=re.escape(message)):
        create_backbone(**{"name": "sfnet4", **arguments})


@pytest.mark.parametrize("name", names())
def test_wrong_image_shape(name: str) -> None:
    with torch.device("meta"):
        network = create_backbone(name, 8, 64)
        for shape in [(2, 3, 64, 48), (2, 1, 64, 64), (3, 64, 64), (2, 64, 64, 3)]:
            message = f"images must have shape (B, 3, 64, 64); got {shape}"
            with pytest.raises(InputError, match=re.escape(message)):
                network(torch.empty(shape))


def test_undecoded_bytes_are_refused() -> None:
    network = create_backbone("sfnet4", 8, 16, width=0.1)
    with pytest.raises(InputError, match=r"floating point.*got torch\.uint8"):
        network(torch.zeros(2, 3, 16, 16, dtype=torch.uint8))


@pytest.mark.parametrize("size", [112, np.int64(112), (112, 112), [112, 112], (np.int32(112), 112)])
def test_spellings_of_a_size(size: object) -> None:
    parsed = parse_image_size(size)  # type: ignore[arg-type]
    assert parsed == (112, 112)
    assert [type(length) for length in parsed] == [int, int]


@given(st.integers(1, 600), st.integers(1, 600))
def test_nearest_sizes_are_valid_and_near(height: int, width: int) -> None:
    for size in nearest_sizes(height, width):
        assert parse_image_size(size) == size
        assert all(abs(new - old) < 16 for new, old in zip(size, (height, width), strict=True))


def test_option_names() -> None:
    assert option_names("sfnet20") == ("width", "batch_norm")
    assert option_names("iresnet50") == ("dropout",)
    assert option_names("mobilefacenet") == ()
    assert option_names("vit_tiny") == ("patch_size", "stochastic_depth", "mask_ratio")
    with pytest.raises(InputError, match="Did you mean 'vit_tiny'"):
        option_names("vit_tini")
