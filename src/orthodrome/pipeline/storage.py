"""EmbeddingSets on disk: one ``.npz`` without pickles, readable by numpy alone; and what other toolkits write."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from orthodrome.files import why_unread, write_file
from orthodrome.pipeline.megaface_features import read_features
from orthodrome.types import EmbeddingSet, InputError, PathLike

NOBODY = "-1"
"""The name of who is not known."""

_INTEGER = re.compile(r"-?[0-9]{1,18}")  # longer ones are names


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


def load_embeddings(path: PathLike, ids: PathLike | None = None, labels: PathLike | None = None) -> EmbeddingSet:
    """Embeddings made by anyone, float32 (N, D).

    * ``.npz``: what `save_embeddings` wrote, or any with ``vectors``, and maybe ``labels``, ``ids``;
    * ``.npy``: an array (N, D);
    * a folder of MegaFace feature files (`orthodrome.pipeline.megaface_features.read_features`).

    ``ids``, ``labels``: text files with a line for each row, which replace those of the file. Labels are whole numbers, or names, which
    are numbered in sorted order; -1 is nobody's among names too. Missing labels are −1, missing ids are positions. Raises InputError for a
    file that is missing, damaged, pickled, or holds something else (labels that are fractions, say), and where the lines are not as many
    as the rows.
    """
    found = read_features(path) if Path(path).is_dir() else _from_arrays(path, _read_arrays(path))
    count = len(found)
    return EmbeddingSet(
        found.vectors,
        found.labels if labels is None else _codes(np.array(read_lines(labels, count))),
        found.ids if ids is None else tuple(read_lines(ids, count)),
        found.meta,
    )


def holds_embeddings(path: PathLike) -> bool:
    """Whether a path is one that `load_embeddings` reads, rather than a model."""
    return Path(path).suffix in (".npz", ".npy") or (Path(path) / "facescrub").is_dir()


def _from_arrays(path: PathLike, arrays: dict[str, np.ndarray]) -> EmbeddingSet:
    if "vectors" not in arrays:
        raise InputError(f"{path}: no array 'vectors' in it; it has {', '.join(arrays) or 'nothing'}")
    vectors = arrays["vectors"]
    if vectors.dtype.kind not in "fiu" or vectors.ndim != 2:
        raise InputError(f"{path}: embeddings must be real numbers of shape (N, D); got {vectors.dtype} {vectors.shape}")
    labels = arrays.get("labels", np.full(len(vectors), -1, np.int64))
    if labels.dtype.kind not in "iuU":
        raise InputError(
            f"{path}: labels must be whole numbers or names; got {labels.dtype}: convert them, or give a text file of them"
        )
    for name in ("labels", "ids"):
        if name in arrays and arrays[name].shape != (len(vectors),):
            raise InputError(
                f"{path}: expected {len(vectors)} {name}, one for each embedding; got {name} of shape {arrays[name].shape}"
            )
    ids = tuple(str(name) for name in arrays.get("ids", np.arange(len(vectors))))
    codes = _codes(labels) if labels.dtype.kind == "U" else labels.astype(np.int64)
    return EmbeddingSet(vectors.astype(np.float32), codes, ids, _meta(path, arrays))


def _meta(path: PathLike, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    try:
        meta = json.loads(str(arrays.get("meta", "{}")))
    except ValueError:
        meta = None
    if not isinstance(meta, dict):
        raise InputError(
            f"{path}: 'meta' must be a JSON object as text; got {str(arrays['meta'])[:80]!r}: leave it out or name it otherwise"
        )
    return meta


def read_lines(path: PathLike, count: int) -> list[str]:
    """The ``count`` lines of a text file, stripped. Raises InputError where it cannot be read, has more or fewer, or a blank one."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").rstrip("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as lines of text: {getattr(error, 'strerror', None) or error}") from None
    if len(lines) != count:
        raise InputError(f"{path}: expected {count} lines, one for each embedding; got {len(lines)}")
    stripped = [line.strip() for line in lines]
    if "" in stripped:
        raise InputError(
            f"{path}:{stripped.index('') + 1}: a blank line, which names nothing; every embedding needs a line of its own"
        )
    return stripped


def _codes(labels: np.ndarray) -> np.ndarray:
    """Labels as text (N,) -> int64 (N,)."""
    if all(_INTEGER.fullmatch(label) for label in labels.flat):
        return labels.astype(np.int64)
    return codes_of(labels, np.unique(labels[labels != NOBODY]))


def codes_of(names: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The place of each of ``names`` among the sorted ``known``, −1 for `NOBODY`: int64."""
    return np.where(names == NOBODY, -1, np.searchsorted(known, names)).astype(np.int64)


def _read_arrays(path: PathLike) -> dict[str, np.ndarray]:
    try:
        stored = np.load(path, allow_pickle=False)
        if isinstance(stored, np.ndarray):
            return {"vectors": stored}
        with stored:
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"{path}: cannot be read as embeddings (.npz or .npy without pickles): {why_unread(error)}") from None
