"""EmbeddingSets on disk: one ``.npz`` without pickles, readable by numpy alone."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from orthodrome.files import write_file
from orthodrome.types import EmbeddingSet, InputError, PathLike


def save_embeddings(embeddings: EmbeddingSet, path: PathLike) -> Path:
    """Write ``vectors`` (N, D) float32, ``labels`` (N,), ``ids`` (N,) and ``meta`` (JSON) to an ``.npz``, whole or not at all."""
    path = Path(path)
    if path.suffix != ".npz":
        raise InputError(f"embeddings are written to .npz files; got {path}")
    arrays: dict[str, Any] = {
        "vectors": embeddings.vectors.astype(np.float32),
        "labels": embeddings.labels.astype(np.int64),
        "ids": np.array(embeddings.ids, dtype=np.str_),
        "meta": np.array(json.dumps(dict(embeddings.meta))),
    }
    return write_file(path, lambda file: np.savez(file, **arrays))


def load_embeddings(path: PathLike) -> EmbeddingSet:
    """Read what `save_embeddings` wrote, or any ``.npz`` with ``vectors``; missing labels are −1, missing ids are positions.

    Raises InputError for a file that is missing, damaged, pickled, or holds something else.
    """
    arrays = _read_arrays(path)
    if "vectors" not in arrays:
        raise InputError(f"{path}: no array 'vectors' in it; it has {', '.join(arrays) or 'nothing'}")
    count = len(arrays["vectors"])
    labels = arrays.get("labels", np.full(count, -1, np.int64))
    ids = tuple(str(name) for name in arrays.get("ids", np.arange(count)))
    meta = json.loads(str(arrays["meta"])) if "meta" in arrays else {}
    return EmbeddingSet(arrays["vectors"].astype(np.float32), labels.astype(np.int64), ids, meta)


def _read_arrays(path: PathLike) -> dict[str, np.ndarray]:
    try:
        stored = np.load(path, allow_pickle=False)
        if isinstance(stored, np.ndarray):
            raise InputError(f"{path}: a single array; expected an .npz with 'vectors'")
        with stored:
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except InputError:
        raise
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"{path}: cannot be read as embeddings (.npz without pickles): {error}") from None
