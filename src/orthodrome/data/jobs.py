"""What ``orthodrome data`` does with its arguments: each verb as one function of paths."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from orthodrome.data.centres import angles_to_centre
from orthodrome.data.conversion import Progress, convert
from orthodrome.data.decode import printable
from orthodrome.data.integrity import Verification, verify
from orthodrome.data.noise import Noisy, add_noise
from orthodrome.data.problems import Problem, quarantine_file, write_quarantine
from orthodrome.data.protocol import ImageReader
from orthodrome.data.readers import open_reader, open_whole
from orthodrome.data.record_index import RecordFiles, build_idx, index_records
from orthodrome.data.shards import index_shards, shard_paths, shard_sidecar
from orthodrome.data.sidecar import keep_beside
from orthodrome.data.split import Subset, split_identities
from orthodrome.types import EmbeddingSet, InputError


def verify_set(path: Path, workers: int, progress: Progress | None = None) -> Verification:
    """Verify a set and write its quarantine list beside it; where nothing is wrong, an old list is removed."""
    result = verify(open_whole(path), workers, progress)
    place = quarantine_file(path)
    if result.problems:
        write_quarantine(place, result.problems)
    else:
        place.unlink(missing_ok=True)
    return result


def split_set(
    path: Path, target: Path, test_people: int, seed: int, form: str, progress: Progress | None = None
) -> tuple[int, int]:
    """Write ``target/train`` and ``target/test``, which share no person; returns the number of images of each."""
    reader = open_reader(path)
    parts = split_identities(reader.labels, test_people, seed)
    for name, indices in zip(("train", "test"), parts, strict=True):
        if not (target / name).exists():  # of an earlier attempt that was interrupted
            convert(Subset(reader, indices), target / name, form, progress=progress)
    return len(parts[0]), len(parts[1])


def noise_set(
    path: Path, target: Path, flips: float, outliers: float, seed: int, form: str, progress: Progress | None = None
) -> Noisy:
    """Write a noisy copy of a set, with ``truth.tsv`` in it: line i (after the header) is the truth about image i."""
    noisy = add_noise(open_reader(path), flips, outliers, seed)
    convert(noisy.reader, target, form, beside={"truth.tsv": noisy.truth().encode()}, progress=progress)
    return noisy


def clean_set(
    path: Path, target: Path, embeddings: EmbeddingSet, angle: float, form: str, progress: Progress | None = None
) -> tuple[int, int]:
    """Copy a set without the images that are more than ``angle`` degrees from their person's centre; ``dropped.tsv`` lists them.

    Returns how many were kept and dropped. Raises InputError where the embeddings are not of this set, in its order.
    """
    reader = open_reader(path)
    keys = tuple(reader.sample(index).key for index in range(len(reader)))
    if keys != embeddings.ids:
        raise InputError(
            f"the embeddings are of another set than {printable(path)}: embed this one first, orthodrome embed MODEL {path}"
        )
    angles = angles_to_centre(EmbeddingSet(embeddings.vectors, np.asarray(reader.labels, np.int64), keys), trim=angle)
    is_far = angles > angle
    lines = [f"{keys[i]}\t{reader.class_names[reader.sample(i).label]}\t{angles[i]:.1f}" for i in np.flatnonzero(is_far).tolist()]
    dropped = "\n".join(["key\tperson\tdegrees", *lines]) + "\n"
    convert(Subset(reader, np.flatnonzero(~is_far)), target, form, beside={"dropped.tsv": dropped.encode()}, progress=progress)
    return int((~is_far).sum()), int(is_far.sum())


def index_set(path: Path, progress: Progress | None = None) -> tuple[Path, int, tuple[Problem, ...]]:
    """Put the index of a ``.rec`` or of tar shards beside it, and the ``.idx`` too where a ``.rec`` has none.

    Returns where it is, of how many images, and what cannot be used.
    """
    if path.suffix == ".rec":
        return _index_records(RecordFiles(path), progress)
    shards = shard_paths(path)
    made = index_shards(shards, progress)
    keep_beside(shard_sidecar(shards), shards, made)
    return shard_sidecar(shards), len(made.arrays["labels"]), tuple(Problem(**problem) for problem in made.meta["problems"])


def _index_records(files: RecordFiles, progress: Progress | None) -> tuple[Path, int, tuple[Problem, ...]]:
    if not files.records.is_file():
        raise InputError(f"{printable(files.records)}: no such file; expected a .rec or tar shards")
    skipped = [] if files.index.is_file() else build_idx(files)[1]
    made = index_records(files, progress)
    keep_beside(files.sidecar, files.present(), made)
    problems = (Problem(**problem) for problem in made.meta["problems"])
    return files.sidecar, len(made.arrays["labels"]), (*skipped, *problems)


def sample_of(reader: ImageReader, images: int | None, seed: int = 0) -> ImageReader:
    """``images`` random images of a reader, in its order; all of them where that is None or more than there are."""
    if images is None or images >= len(reader):
        return reader
    return Subset(reader, np.sort(np.random.default_rng(seed).permutation(len(reader))[:images]))
