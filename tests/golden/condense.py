"""Makes the small golden files of this folder from the full ones: ``python tests/golden/condense.py FOLDER``, where FOLDER holds
``losses.npz``, ``losses.json``, ``losses_reference.npz`` and ``losses_reference.json``.

Values and gradients to the embeddings are kept as they are; the gradient to the proxies, (C, D), by its products with two fixed
directions, (C,) and (D,): a wrong entry shows in both, in a tenth of the room.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
NAMES = ("losses", "losses_reference")


def directions(classes: int, dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """Two fixed vectors without zeros or repetitions: (D,) and (C,)."""
    return np.cos(1 + np.arange(dimension)), np.sin(1 + np.arange(classes))


def projections(gradient: np.ndarray) -> np.ndarray:
    """(C, D) -> (C + D,): dW·u and v·dW."""
    right, left = directions(*gradient.shape)
    return np.concatenate([gradient @ right, left @ gradient])


def condense(folder: Path, name: str) -> None:
    """Write the small npz and the json without the values, which are in the npz."""
    full = dict(np.load(folder / f"{name}.npz"))
    small = {key: projections(value) if key.endswith("/dW") else value for key, value in full.items()}
    np.savez_compressed(HERE / f"{name}.npz", **small)
    cases = json.loads((folder / f"{name}.json").read_text())
    kept = {case: {"loss": row["loss"], "hyper": row["hyper"]} for case, row in cases.items()}
    (HERE / f"{name}.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    for golden in NAMES:
        condense(Path(sys.argv[1]), golden)
