"""A small folder of identities made of real image files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def identities(tmp_path: Path) -> Path:
    """Three people with 4, 1 and 5 JPEGs of 20×16 pixels, each a different smooth picture."""
    generator = np.random.default_rng(0)
    root = tmp_path / "faces"
    for person, count in (("ada", 4), ("bob", 1), ("cleo", 5)):
        (root / person).mkdir(parents=True)
        for number in range(count):
            coarse = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            picture = Image.fromarray(coarse).resize((16, 20), Image.Resampling.BILINEAR)
            picture.save(root / person / f"{number}.jpg", quality=95)
    return root
