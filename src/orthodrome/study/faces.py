"""The faces of a study: decoded once into a mapped file that all cells and processes share, and varied as a cell asks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orthodrome.data import ImageReader, Problem, Subset, load_cache, split_identities
from orthodrome.data.decode import Size
from orthodrome.data.noise import add_noise
from orthodrome.data.problems import Place
from orthodrome.files import write_file
from orthodrome.study.identity import Variation
from orthodrome.study.locks import waiting_lock
from orthodrome.types import InputError, Progress, Sample


@dataclass(frozen=True, eq=False)
class Decoded:
    """A reader whose images, all of one size, lie decoded in ``images`` uint8 (N, 3, H, W)."""

    reader: ImageReader
    images: np.ndarray

    def __len__(self) -> int:
        return len(self.reader)

    @property
    def labels(self) -> np.ndarray:
        return self.reader.labels

    @property
    def class_names(self) -> Sequence[str]:
        return self.reader.class_names

    @property
    def problems(self) -> Sequence[Problem]:
        return self.reader.problems

    def sample(self, index: int) -> Sample:
        return self.reader.sample(index)

    def place(self, index: int) -> Place:
        return self.reader.place(index)

    def encoded(self, index: int) -> bytes:
        return self.reader.encoded(index)

    def image(self, index: int, size: Size | None = None) -> np.ndarray:
        """uint8 (H, W, 3). Raises InputError for another size than the one decoded."""
        if size is not None and tuple(size) != self.images.shape[2:]:
            raise InputError(f"these images are decoded at {self.images.shape[2:]}; got {size}")
        return self.images[index].transpose(1, 2, 0)


def decoded(reader: ImageReader, size: Size, folder: Path, workers: int, progress: Progress | None = None) -> Decoded:
    """``reader`` decoded at ``size`` (height, width) into a file of ``folder``, or mapped from there where it was done before.

    A process that finds another decoding the same set waits for it. The file is known by the keys of the set and the sizes and times of
    its files, so a changed set is decoded anew.
    """
    path = folder / f"{mark_of(reader, files=True)}-{size[0]}x{size[1]}.npy"
    with waiting_lock(path.with_suffix(".lock")):
        if not path.exists():
            images = load_cache(reader, size, workers, progress)
            write_file(path, lambda file: np.save(file, images))
    return Decoded(reader, np.load(path, mmap_mode="r"))


def mark_of(reader: ImageReader, *, files: bool = False) -> str:
    """16 hexadecimal digits of the keys and labels of a set; with ``files`` also of where its files are, their sizes and times."""
    found = hashlib.sha256()
    places: set[str] = set()
    for index in range(len(reader)):
        sample = reader.sample(index)
        found.update(f"{sample.key}\t{sample.label}\n".encode())
        places.add(reader.place(index).file)
    for place in sorted(places) if files else ():
        status = Path(place).stat()
        found.update(f"{Path(place).resolve()}\t{status.st_size}\t{status.st_mtime_ns}\n".encode())
    return found.hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Faces:
    """What a cell gets of a training set: images to train on, others of the same people (by the same labels), and ``strangers``, whom it
    does not train on; the last two may be None.
    """

    train: ImageReader
    unseen: Subset | None
    strangers: Subset | None


def vary(reader: ImageReader, variation: Variation) -> Faces:
    """The faces of a cell. Who is held out, who stays, which images are unseen and which labels are wrong depends on the variation alone.

    Raises InputError where there are fewer people than asked for.
    """
    people, strangers = np.arange(len(reader)), None
    if variation.held_out:
        people, others = split_identities(reader.labels, variation.held_out, variation.held_out_seed)
        strangers = Subset(reader, others)
    if variation.identities is not None:
        people = people[_some_people(reader.labels[people], variation.identities, variation.seed)]
    hidden = _unseen(reader.labels[people], variation.unseen_images, variation.seed)
    train = Subset(reader, people[~hidden])
    unseen = Subset(reader, people[hidden]) if hidden.any() else None
    if unseen is not None:
        place = {name: number for number, name in enumerate(train.class_names)}
        labels = np.array([place[name] for name in unseen.class_names], np.int64)[unseen.labels]
        unseen = Subset(reader, people[hidden], relabelled=(labels, train.class_names))
    if variation.noise:
        train = add_noise(train, flips=variation.noise, seed=variation.seed).reader
    return Faces(train, unseen, strangers)


def _some_people(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Which images are of the ``count`` people that stay, bool (N,). A smaller count's people are among those of a larger one."""
    people = np.unique(labels)
    if count > len(people):
        raise InputError(f"identities must be at most the {len(people)} people of the set; got {count}")
    order = np.random.default_rng([seed, 0x70656F706C65]).permutation(people)
    return np.isin(labels, order[:count])


def _unseen(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Which images are kept out of training, bool (N,): ``count`` of each person with at least two more."""
    hidden = np.zeros(len(labels), bool)
    if not count:
        return hidden
    order = np.random.default_rng([seed, 0x756E7365656E]).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    ordered = labels[order]
    first = np.searchsorted(ordered, ordered)  # of the person of each image
    images = np.searchsorted(ordered, ordered, side="right") - first
    hidden[order] = (np.arange(len(order)) - first < count) & (images >= count + 2)
    return hidden
