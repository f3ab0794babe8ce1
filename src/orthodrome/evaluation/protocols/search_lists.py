"""Lists of an identification test: who searches, who is enrolled, and strangers that fill the gallery."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from orthodrome.evaluation.listed import find_images, match_rows, people_in_rows, text_lines, without_suffix
from orthodrome.types import EmbeddingSet, InputError, PathLike


@dataclass(frozen=True)
class Listed:
    """Images with their people, in the order of their list: ``ids`` are paths without suffix; ``people`` names, empty for strangers."""

    ids: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    source: str = ""

    def __len__(self) -> int:
        return len(self.ids)

    def without(self, left_out: frozenset[str]) -> Listed:
        """The images whose ids are not among ``left_out``."""
        kept = [pair for pair in zip(self.ids, self.people, strict=True) if pair[0] not in left_out]
        ids, people = zip(*kept, strict=True) if kept else ((), ())
        return Listed(tuple(ids), tuple(people), self.source)


@dataclass(frozen=True)
class SearchLists:
    """``probes`` search in ``gallery`` and ``distractors``; ``failed`` are the images that could not be enrolled."""

    probes: Listed
    gallery: Listed
    distractors: Listed = field(default_factory=Listed)
    failed: frozenset[str] = frozenset()

    def where(self, identifier: str) -> str:
        """The list that names an image, and its place in it."""
        for part in (self.probes, self.gallery, self.distractors):
            if identifier in part.ids:
                return f"{part.source}:{part.ids.index(identifier) + 1}"
        return "the lists"


def read_search_lists(path: PathLike) -> SearchLists:
    """A folder with ``probes.txt`` and ``gallery.txt``, lines ``path person``; and, where there are any, ``distractors.txt``, lines
    ``path``, and ``failures.txt``, the listed paths that could not be enrolled (no face found).

    Raises InputError for a file that is missing, a malformed line, an image that the lists name twice, be it in one of them or in two
    (it would find itself), and a failure no list names.
    """
    folder = Path(path)
    probes, gallery = (read_people(folder / name) for name in ("probes.txt", "gallery.txt"))
    distractors = read_strangers(folder / "distractors.txt") if (folder / "distractors.txt").is_file() else Listed()
    _check_apart(probes, gallery, distractors)
    lists = SearchLists(probes, gallery, distractors)
    if not (folder / "failures.txt").is_file():
        return lists
    failed = read_strangers(folder / "failures.txt")
    known = {*probes.ids, *gallery.ids, *distractors.ids}
    for number, identifier in enumerate(failed.ids, start=1):
        if identifier not in known:
            raise InputError(f"{failed.source}:{number}: {identifier!r} is in none of the lists")
    return SearchLists(probes, gallery, distractors, frozenset(failed.ids))


def read_people(path: PathLike) -> Listed:
    """Lines ``path person``; the person is what stands after the last blank or tab."""
    ids, people = [], []
    for number, line in enumerate(text_lines(path, "list of images and people"), start=1):
        fields = line.rsplit(maxsplit=1)
        if len(fields) != 2:
            raise InputError(f"{path}:{number}: expected 'path person'; got {line!r}")
        ids.append(without_suffix(fields[0].strip()))
        people.append(fields[1])
    return Listed(tuple(ids), tuple(people), str(path))


def read_strangers(path: PathLike) -> Listed:
    """Lines ``path``."""
    ids = tuple(without_suffix(line.strip()) for line in text_lines(path, "list of images"))
    return Listed(ids, ("",) * len(ids), str(path))


def search_images(lists: SearchLists, root: PathLike) -> dict[str, Path]:
    """The files of all listed images that could be enrolled; see `orthodrome.evaluation.listed.find_images`."""
    return find_images(enrolled_ids(lists), root, lists.where)


def enrolled_ids(lists: SearchLists) -> list[str]:
    """The distinct images that have embeddings, probes first."""
    listed = dict.fromkeys((*lists.probes.ids, *lists.gallery.ids, *lists.distractors.ids))
    return [identifier for identifier in listed if identifier not in lists.failed]


@dataclass(frozen=True, eq=False)
class SearchSides:
    """Vectors and integer labels of the enrolled probes and gallery; its last rows are the ``distractors``, of label −1.

    ``lost`` bool (P,): probes whose person's gallery images all failed to enrol. They are compared with all others, but their search is
    among the ``failures``, the mated searches that could not be made. ``stranger_failures``: the non-mated ones.
    """

    probes: np.ndarray
    probe_labels: np.ndarray
    lost: np.ndarray
    gallery: np.ndarray
    gallery_labels: np.ndarray
    distractors: int
    failures: int
    stranger_failures: int

    @property
    def known(self) -> int:
        """How many rows of the gallery have a person: those before the distractors."""
        return len(self.gallery) - self.distractors

    def without_distractors(self) -> SearchSides:
        """The same with a smaller gallery; nothing is copied."""
        return replace(self, gallery=self.gallery[: self.known], gallery_labels=self.gallery_labels[: self.known], distractors=0)


def people_searched(lists: SearchLists, embeddings: EmbeddingSet) -> tuple[str | None, ...]:
    """The person of each embedding, empty for distractors, None for images that are not listed."""
    parts = [part.without(lists.failed) for part in (lists.probes, lists.gallery, lists.distractors)]
    return people_in_rows(
        embeddings, {i: who for part in parts for i, who in zip(part.ids, part.people, strict=True)}, lists.where
    )


def genuine_listed(lists: SearchLists) -> int:
    """Comparisons of a probe with its own person in the gallery, failures to enrol among them."""
    probes, gallery = Counter(lists.probes.people), Counter(lists.gallery.people)
    return sum(count * gallery[person] for person, count in probes.items())


def repeated_images(lists: SearchLists) -> dict[str, str]:
    """``repeated_images``, that some images are listed more than once and count as often; empty where none is."""
    listed = Counter((*lists.probes.ids, *lists.gallery.ids, *lists.distractors.ids))
    again = [identifier for identifier, count in listed.items() if count > 1]
    if not again:
        return {}
    return {
        "repeated_images": f"Images that are listed more than once count as often: {len(again)} such, the first {again[0]!r}."
    }


def failed_images(lists: SearchLists) -> dict[str, dict[str, int]]:
    """How many images of each list ``failed`` of those ``listed``; empty where none did."""
    parts = {"probes": lists.probes, "gallery": lists.gallery, "distractors": lists.distractors}
    return {
        name: {"failed": len(part) - len(part.without(lists.failed)), "listed": len(part)}
        for name, part in parts.items()
        if lists.failed and len(part)
    }


def search_sides(embeddings: EmbeddingSet, lists: SearchLists) -> SearchSides:
    """The listed images' embeddings, people as numbers.

    A mated search fails where the probe was not enrolled, or none of its person's gallery images was; a non-mated one where the probe
    was not enrolled. Raises InputError where a listed
    image has no embedding, unless it is among the failures.
    """
    names = sorted({*lists.probes.people, *lists.gallery.people})
    code = {name: number for number, name in enumerate(names)}
    probes, gallery, distractors = (part.without(lists.failed) for part in (lists.probes, lists.gallery, lists.distractors))
    listed, enrolled = set(lists.gallery.people), set(gallery.people)
    lost = np.array([person in listed and person not in enrolled for person in probes.people], dtype=bool)
    failed = [person in listed for i, person in zip(lists.probes.ids, lists.probes.people, strict=True) if i in lists.failed]
    failures, stranger_failures = int(lost.sum()) + sum(failed), len(failed) - sum(failed)
    rows = match_rows(embeddings, (*probes.ids, *gallery.ids, *distractors.ids), lists.where)
    searching, enrolled_rows = (embeddings.vectors[part] for part in np.split(rows, [len(probes)]))
    labels = [np.array([code[person] for person in part.people], dtype=np.int64) for part in (probes, gallery)]
    gallery_labels = np.append(labels[1], np.full(len(distractors), -1))
    return SearchSides(searching, labels[0], lost, enrolled_rows, gallery_labels, len(distractors), failures, stranger_failures)


def _check_apart(*parts: Listed) -> None:
    places: dict[str, str] = {}
    for part in parts:
        for number, identifier in enumerate(part.ids, start=1):
            place = f"{part.source}:{number}"
            if places.setdefault(identifier, place) != place:
                raise InputError(
                    f"{place}: the image {identifier!r} is listed twice, first in {places[identifier]}; an image can be a probe, in the "
                    "gallery or a distractor, once"
                )
