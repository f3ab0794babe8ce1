"""What ``orthodrome data`` does with its arguments: each verb as one function of paths."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orthodrome.data.centres import angles_to_centre
from orthodrome.data.conversion import convert, digest_of
from orthodrome.data.decode import printable
from orthodrome.data.integrity import Verification, verify
from orthodrome.data.noise import Noisy, add_noise
from orthodrome.data.problems import BUDGET, Problem, quarantine_file, write_quarantine
from orthodrome.data.protocol import ImageReader
from orthodrome.data.readers import open_reader, open_whole
from orthodrome.data.record_index import RecordFiles, build_idx, index_records
from orthodrome.data.records import record_file
from orthodrome.data.shards import index_shards, shard_paths, shard_sidecar
from orthodrome.data.sidecar import keep_beside
from orthodrome.data.split import Subset, split_identities
from orthodrome.files import write_file
from orthodrome.types import EmbeddingSet, InputError, Progress


@dataclass(frozen=True, eq=False)
class Copying:
    """From which set to which new folder, in a ``form`` of `WRITERS`, leaving out up to the share ``budget`` of what cannot be used."""

    source: Path
    target: Path
    form: str
    budget: float = BUDGET
    progress: Progress | None = None

    def open(self) -> ImageReader:
        """The reader of the source. Raises InputError where the target lies in it: it would be a part of the set from then on."""
        if self.source.resolve() in self.target.resolve().parents:
            raise InputError(
                f"{printable(self.target)} lies in the set it is made of, {printable(self.source)}; choose a folder apart"
            )
        return open_reader(self.source, self.budget, self.progress)

    def write(self, reader: ImageReader, part: str = "", **how: Any) -> None:
        """What is made of it, into the target or a ``part`` of it; ``how`` as `convert` takes it."""
        convert(reader, self.target / part, self.form, progress=self.progress, **how)


def verify_set(path: Path, workers: int, progress: Progress | None = None) -> Verification:
    """Verify a set, whatever its quarantine list says."""
    return verify(open_whole(path), workers, progress)


def quarantine(path: Path, result: Verification) -> Path | None:
    """Write the quarantine list of a set beside it and return its place; where nothing is wrong, an old list is removed."""
    place = quarantine_file(path)
    if result.problems:
        write_quarantine(place, result.problems)
        return place
    place.unlink(missing_ok=True)
    return None


def split_set(copying: Copying, test_people: int, seed: int) -> tuple[Subset, Subset]:
    """Write ``target/train`` and ``target/test``, which share no person; ``target/split.json`` keeps how they were drawn.

    Raises InputError where ``target`` is finished, or holds a part that was drawn otherwise or from the set as it was before it changed:
    people would be in both.
    """
    reader, target = copying.open(), copying.target
    parts = {
        name: Subset(reader, indices)
        for name, indices in zip(("train", "test"), split_identities(reader.labels, test_people, seed), strict=True)
    }
    drawn = {
        "set": printable(copying.source.resolve()),
        "digest": digest_of(reader),
        "test_people": test_people,
        "seed": seed,
        "form": copying.form,
        "held_out": list(parts["test"].class_names),
    }
    waiting = _waiting(target, parts, drawn)
    for name in waiting:
        copying.write(parts[name], name)
    return parts["train"], parts["test"]


def _waiting(target: Path, parts: Iterable[str], drawn: Mapping[str, Any]) -> list[str]:
    """Which parts are still to write, once it is certain that those in ``target`` were ``drawn`` alike."""
    record, plain = target / "split.json", json.dumps(drawn, indent=2).encode()
    waiting = [name for name in parts if not (target / name).exists()]
    if not waiting:
        raise InputError(f"{printable(target)} holds both parts already; remove it or choose another name")
    if len(waiting) == 1 and not (record.is_file() and record.read_bytes() == plain):
        raise InputError(
            f"{printable(target)} holds a part that was drawn otherwise, or from the set before it changed; "
            "remove it or choose another name"
        )
    write_file(record, plain)
    return waiting


def noise_set(copying: Copying, flips: float, outliers: float, seed: int) -> Noisy:
    """Write a noisy copy of a set, with ``truth.tsv`` in it: line i (after the header) is the truth about image i."""
    noisy = add_noise(copying.open(), flips, outliers, seed)
    copying.write(noisy.reader, beside={"truth.tsv": noisy.truth().encode()})
    return noisy


def clean_set(copying: Copying, embeddings: EmbeddingSet, angle: float) -> tuple[Subset, int]:
    """Copy a set without the images that are more than ``angle`` degrees from their person's centre; ``dropped.tsv`` lists them.

    Returns what was kept, and how many were dropped. Raises InputError where the embeddings are not of this set, in its order.
    """
    reader = copying.open()
    keys = tuple(reader.sample(index).key for index in range(len(reader)))
    if keys != embeddings.ids:
        raise InputError(
            f"the embeddings are of another set than {printable(copying.source)}: embed this one first, "
            f"orthodrome embed MODEL {copying.source}"
        )
    angles = angles_to_centre(EmbeddingSet(embeddings.vectors, np.asarray(reader.labels, np.int64), keys), trim=angle)
    is_far = angles > angle
    names = reader.class_names
    rows = [f"{keys[i]}\t{printable(names[reader.labels[i]])}\t{angles[i]:.1f}" for i in np.flatnonzero(is_far).tolist()]
    dropped = "\n".join(["key\tperson\tdegrees", *rows]) + "\n"
    kept = Subset(reader, np.flatnonzero(~is_far))
    copying.write(kept, beside={"dropped.tsv": dropped.encode()})
    return kept, len(rows)


def index_set(path: Path, progress: Progress | None = None) -> tuple[Path, int, tuple[Problem, ...]]:
    """Put the index of a ``.rec`` or of tar shards beside it, and the ``.idx`` too where a ``.rec`` has none.

    Returns where it is, of how many images, and what cannot be used.
    """
    if path.suffix == ".rec" or (path.is_dir() and next(path.glob("*.rec"), None)):
        return _index_records(RecordFiles(record_file(path)), progress)
    shards = shard_paths(path)
    made = index_shards(shards, progress)
    keep_beside(shard_sidecar(shards), shards, made)
    return shard_sidecar(shards), len(made.arrays["labels"]), tuple(Problem(**problem) for problem in made.meta["problems"])


def _index_records(files: RecordFiles, progress: Progress | None) -> tuple[Path, int, tuple[Problem, ...]]:
    if not files.records.is_file():
        raise InputError(f"{printable(files.records)}: no such file; expected a .rec or tar shards")
    if not files.index.is_file():
        build_idx(files)
    made = index_records(files, progress)
    keep_beside(files.sidecar, files.present(), made)
    return files.sidecar, len(made.arrays["labels"]), tuple(Problem(**problem) for problem in made.meta["problems"])


def sample_of(reader: ImageReader, images: int | None, seed: int = 0) -> ImageReader:
    """``images`` random images of a reader, in its order; all of them where that is None or more than there are."""
    if images is None or images >= len(reader):
        return reader
    return Subset(reader, np.sort(np.random.default_rng(seed).permutation(len(reader))[:images]))
