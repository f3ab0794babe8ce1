"""A small folder of identities made of real image files, and small record files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orthodrome.data.recordio import record_bytes


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


@pytest.fixture
def make_records(tmp_path: Path) -> Callable[..., Path]:
    """Write payloads into ``set/train.rec`` with an ``.idx`` of keys 0, 1, … (None: without one) and a ``property``."""

    def make(payloads: Sequence[bytes], keys: Sequence[int] | None = (), classes: int | None = None) -> Path:
        folder = tmp_path / "set"
        folder.mkdir(exist_ok=True)
        records = [record_bytes(payload) for payload in payloads]
        offsets = np.cumsum([0, *map(len, records)]).tolist()
        (folder / "train.rec").write_bytes(b"".join(records))
        if keys is not None:
            rows = zip(keys or range(len(records)), offsets, strict=False)
            (folder / "train.idx").write_text("".join(f"{key}\t{offset}\n" for key, offset in rows))
        if classes is not None:
            (folder / "property").write_text(f"{classes},20,16\n")
        return folder

    return make
