"""Images to embeddings: one pass of a model over a set, with the mirror image joined as asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from orthodrome.data import Images, MemoryReader, SequentialSampler, SourceReader, create_loader, printable
from orthodrome.registry import Registry
from orthodrome.types import EmbeddingSet, ImageSource, InputError, PathLike, Progress

FLIPS: Registry[Callable[[Tensor, Tensor], Tensor]] = Registry("flip")
FLIPS.add("sum", lambda straight, mirrored: straight + mirrored)
FLIPS.add("concat", lambda straight, mirrored: torch.cat([straight, mirrored], dim=1))


class Embedder(Protocol):
    """What turns pixels into embeddings: a `Model`, or an `OnnxModel`."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images it takes."""

    @property
    def meta(self) -> Mapping[str, Any]:
        """Where it comes from."""

    def vectors(self, images: Tensor) -> Tensor:
        """uint8 RGB images (B, 3, H, W) -> float32 embeddings (B, D), in evaluation mode."""


def embed_images(model: Embedder, images: Any, **how: Any) -> EmbeddingSet:
    """Embed a uint8 array (N, H, W, 3), a path, a sequence of paths, a mapping id -> path, or a reader; see `embed_reader` for ``how``.

    Paths and arrays have no labels (−1). Ids are the paths as given, or positions.

    Raises InputError for anything else, and for a path that stands twice: it would be the id of two embeddings.
    """
    if isinstance(images, np.ndarray):
        return _unlabelled(embed_reader(model, MemoryReader(images, np.zeros(len(images), np.int64)), **how))
    if isinstance(images, Mapping):
        return embed_files(model, images, **how)
    if isinstance(images, Images):
        return embed_reader(model, images, **how)
    paths = [images] if isinstance(images, PathLike) else images
    if isinstance(paths, Sequence) and all(isinstance(path, PathLike) for path in paths):
        return embed_files(model, _by_name(paths), **how)
    raise InputError(
        "images to embed are a uint8 array (N, H, W, 3), a path, a list of paths, a mapping id -> path, or a reader; "
        f"got {type(images).__name__}: stack arrays and tensors into one array, open a set by open_reader"
    )


def _by_name(paths: Sequence[PathLike]) -> dict[str, ImageSource]:
    files: dict[str, ImageSource] = {printable(path): Path(path) for path in paths}
    if len(files) < len(paths):
        twice = next(name for name, count in Counter(map(printable, paths)).items() if count > 1)
        raise InputError(f"{twice} is given twice; give every image once")
    return files


def embed_files(model: Embedder, files: Mapping[str, ImageSource], **how: Any) -> EmbeddingSet:
    """Embed images by id, each a file, encoded bytes or pixels; labels are −1."""
    if not files:
        raise InputError("no images to embed")
    return embed_reader(model, SourceReader(tuple(files), tuple(files.values())), **how)


def embed_reader(
    model: Embedder,
    reader: Images,
    *,
    flip: str = "sum",
    batch_size: int = 256,
    workers: int | None = None,
    progress: Progress | None = None,
) -> EmbeddingSet:
    """Embed every image of ``reader``, in its order: float32 raw embeddings, labels and keys of the reader.

    ``flip``: ``"sum"`` adds the embedding of the mirror image, ``"concat"`` puts it beside, ``"none"`` leaves it out. Runs in
    evaluation mode and float32.

    Raises InputError for an image that cannot be decoded and for an embedding that is not finite, both named.
    """
    if flip != "none":
        FLIPS.get(flip)
    sampler = SequentialSampler(len(reader), min(batch_size, len(reader)))
    loader = create_loader(reader, sampler, model.size, workers=workers, cache=False)
    parts = []
    for batch in loader.batches(0):
        parts.append(_embed_batch(model, batch.images, flip))
        if progress:
            progress(min(len(parts) * sampler.batch_size, len(reader)), len(reader))
    ids = tuple(reader.sample(i).key for i in range(len(reader)))
    vectors = np.concatenate(parts)
    _check_finite(vectors, ids)
    return EmbeddingSet(vectors, np.asarray(reader.labels), ids, {"flip": flip, **_people(reader), **model.meta})


def _embed_batch(model: Embedder, images: Tensor, flip: str) -> np.ndarray:
    embeddings = model.vectors(images)
    if flip != "none":
        embeddings = FLIPS.get(flip)(embeddings, model.vectors(images.flip(3)))
    return embeddings.numpy()


def _people(reader: Images) -> dict[str, list[str]]:
    """The names of the labels, by which sets are matched; none where all are mere numbers, which say nothing about another set."""
    names = list(reader.class_names)
    return {} if all(name.isdecimal() and name == str(int(name)) for name in names) else {"class_names": names}


def _check_finite(vectors: np.ndarray, ids: tuple[str, ...]) -> None:
    wrong = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if wrong.size:
        raise InputError(
            f"the embedding of {ids[wrong[0]]} is not finite ({wrong.size} of {len(ids)}): the model's weights are damaged"
        )


def _unlabelled(embeddings: EmbeddingSet) -> EmbeddingSet:
    return EmbeddingSet(embeddings.vectors, np.full(len(embeddings), -1, np.int64), embeddings.ids, embeddings.meta)
