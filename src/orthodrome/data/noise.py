"""Label noise put into a set on purpose, with the truth kept aside: for studies of losses that should bear it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orthodrome.data.decode import printable
from orthodrome.data.encoded import contiguous_labels
from orthodrome.data.protocol import ImageReader
from orthodrome.data.split import Subset
from orthodrome.types import InputError

CLEAN, FLIPPED, OUTLIER = "clean", "flipped", "outlier"


@dataclass(frozen=True, eq=False)
class Noisy:
    """The noisy ``reader``; and of each of its images, (N,), the name of the ``person`` it shows and its ``kind``."""

    reader: Subset
    person: tuple[str, ...]
    kind: tuple[str, ...]

    def truth(self) -> str:
        """Lines ``key<TAB>given<TAB>person<TAB>kind`` under a header."""
        names = self.reader.class_names
        samples = map(self.reader.sample, range(len(self.reader)))
        rows = zip(samples, self.person, self.kind, strict=True)
        fields = ((sample.key, names[sample.label], person, kind) for sample, person, kind in rows)
        return "".join("\t".join(map(printable, row)) + "\n" for row in (("key", "given", "person", "kind"), *fields))


def add_noise(reader: ImageReader, flips: float = 0.0, outliers: float = 0.0, seed: int = 0) -> Noisy:
    """A set in which the share ``flips`` of the images has the label of another, uniformly chosen person of the set (symmetric noise),
    and the share ``outliers`` shows people who are not in the set at all.

    For outliers, people are drawn at random and given up until they have the images that are needed; those images get labels of the
    people who stay, each as likely as any other, and what is left over of the last of them is not used. Shares are of the images of the
    result. Images are grouped by their new label.

    Raises:
        InputError: the shares are none, or leave fewer than two people.
    """
    if not (0 <= flips <= 1 and 0 <= outliers < 1 and flips + outliers <= 1):
        raise InputError(f"flips and outliers are shares of the images, together at most 1; got {flips} and {outliers}")
    generator = np.random.default_rng([seed, 0x6E6F697365])
    given = np.asarray(reader.labels, np.int64)
    strangers = _given_up(given, outliers, generator)
    stays = ~np.isin(given, strangers)
    own, people = contiguous_labels(given[stays])
    if len(people) < 2:
        raise InputError(f"outliers = {outliers} leaves {len(people)} people in the set; ask for fewer")
    inside, outside = np.flatnonzero(stays), np.flatnonzero(~stays)
    wanted = round(len(inside) * outliers / (1 - outliers))
    outside = np.sort(generator.permutation(outside)[:wanted])

    labels = own.astype(np.int64)
    total = len(inside) + len(outside)
    flipped = generator.permutation(len(inside))[: min(round(flips * total), len(inside))]
    labels[flipped] = (labels[flipped] + generator.integers(1, len(people), len(flipped))) % len(people)
    kinds = np.full(len(inside), CLEAN, dtype=object)
    kinds[flipped] = FLIPPED

    indices = np.concatenate([inside, outside])
    labels = np.concatenate([labels, generator.integers(0, len(people), len(outside))])
    kinds = np.concatenate([kinds, np.full(len(outside), OUTLIER, dtype=object)])
    order = np.lexsort([indices, labels])
    names = tuple(reader.class_names[number] for number in people.tolist())
    noisy = Subset(reader, indices[order], relabelled=(labels[order], names))
    person = tuple(reader.class_names[given[index]] for index in indices[order].tolist())
    return Noisy(noisy, person, tuple(kinds[order]))


def _given_up(labels: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    """People whose images, taken from the set, are at least ``share`` of it."""
    people, counts = np.unique(labels, return_counts=True)
    order = generator.permutation(len(people))
    enough = int(np.searchsorted(np.cumsum(counts[order]), share * labels.size)) + 1 if share > 0 else 0
    return people[order[:enough]]
