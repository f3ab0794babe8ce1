"""Features in the files of the MegaFace devkit: one file an image, four int32 ``(dim, 1, 4, 5)``, then ``dim`` float32, little endian."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from orthodrome.files import write_file
from orthodrome.types import EmbeddingSet, InputError, PathLike

_TAIL = (1, 4, 5)  # one column, four bytes a number, OpenCV's code of float32


def read_feature(path: PathLike) -> np.ndarray:
    """The feature (dim,) float32 of one file. Raises InputError where the header or the length is wrong."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    header = np.frombuffer(data[:16], dtype="<i4") if len(data) >= 16 else np.empty(0, dtype="<i4")
    if len(header) != 4 or header[0] < 1 or tuple(header[1:].tolist()) != _TAIL:
        raise InputError(f"{path}: not a MegaFace feature: its header must be (dim, 1, 4, 5); got {tuple(header.tolist())}")
    if len(data) != 16 + 4 * int(header[0]):
        raise InputError(
            f"{path}: {header[0]} numbers are announced, which are {16 + 4 * int(header[0])} bytes in all; got {len(data)}"
        )
    return np.frombuffer(data, dtype="<f4", offset=16).astype(np.float32)


def write_feature(feature: np.ndarray, path: PathLike) -> Path:
    """Write a feature (dim,) to one file, whole or not at all."""
    if feature.ndim != 1 or not len(feature):
        raise InputError(f"a feature has shape (dim,), dim ≥ 1; got {feature.shape}")
    header = np.array([len(feature), *_TAIL], dtype="<i4")
    return write_file(Path(path), header.tobytes() + feature.astype("<f4").tobytes())


def read_features(folder: PathLike) -> EmbeddingSet:
    """All features under a folder, laid out as ``facescrub/person/image.png_NAME.bin`` and ``megaface/a/b/image.jpg_NAME.bin``.

    Ids are the paths without ``_NAME.bin``; labels are −1. Raises InputError where there are none, two are of different dimensions, and
    as `read_feature`.
    """
    root = Path(folder)
    files = sorted(root.rglob("*.bin"))
    if not files:
        raise InputError(f"{root}: no feature files (.bin) here")
    features = [read_feature(file) for file in files]
    for file, feature in zip(files, features, strict=True):
        if len(feature) != len(features[0]):
            raise InputError(f"{file}: {len(feature)} numbers, but {files[0]} has {len(features[0])}")
    ids = tuple(file.relative_to(root).as_posix().removesuffix(".bin").rpartition("_")[0] for file in files)
    return EmbeddingSet(np.stack(features), np.full(len(files), -1, np.int64), ids, {"features": str(root.name)})
