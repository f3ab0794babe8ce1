"""What does every protocol make of one model? LFW re-cut into the shape of sets that can no longer be had, on embeddings of all its images.

    orthodrome embed … or any toolkit -> lfw.npz with ids name/name_0001
    python benchmarks/protocols_on_lfw.py lfw.npz --pairs pairs.txt --model NAME

The re-cut sets compare among models measured here, never with published figures: identities, images and sizes are LFW's. Appends a row for
each headline figure, with its interval and the seconds it took, to results/protocols_on_lfw.csv.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common import append_row
from orthodrome.evaluation import PROTOCOLS
from orthodrome.pipeline import load_embeddings
from orthodrome.types import EmbeddingSet

People = Mapping[str, list[str]]
Recut = Callable[[EmbeddingSet, People, Path], EmbeddingSet]
"""Writes the lists of a protocol into a folder; returns the embeddings under the ids these lists use."""


def identification(faces: EmbeddingSet, people: People, folder: Path) -> EmbeddingSet:
    """Enrolled: the first image of everybody with two or more. Searching: three others of each, 1,500 strangers. Distractors: the rest."""
    several = [name for name, images in people.items() if len(images) > 1]
    single = [name for name, images in people.items() if len(images) == 1]
    probes = [f"{image} {name}" for name in several for image in people[name][1:4]]
    probes += [f"{people[name][0]} {name}" for name in single[:1500]]
    write(folder / "gallery.txt", [f"{people[name][0]} {name}" for name in several])
    write(folder / "probes.txt", probes)
    write(folder / "distractors.txt", [people[name][0] for name in single[1500:]])
    return faces


def megaface(faces: EmbeddingSet, people: People, folder: Path) -> EmbeddingSet:
    """Probes: 20 people with 30 to 80 images. Distractors: 10,000 images of others, drawn with seed 0."""
    chosen = [name for name, images in people.items() if 30 <= len(images) <= 80][:20]
    others = [image for name, images in people.items() if name not in chosen for image in images]
    drawn = [others[row] for row in np.random.default_rng(0).permutation(len(others))[:10_000]]
    probes = [image for name in chosen for image in people[name]]
    (folder / "facescrub_features_list.json").write_text(json.dumps({"path": probes}))
    (folder / "megaface_features_list.json_10000_1").write_text(json.dumps({"path": [f"lfw/{image}" for image in drawn]}))
    ids = {image: f"facescrub/{image}" for image in probes} | {image: f"megaface/lfw/{image}" for image in drawn}
    return EmbeddingSet(faces.vectors, faces.labels, tuple(ids.get(image, image) for image in faces.ids))


def blufr(faces: EmbeddingSet, people: People, folder: Path) -> EmbeddingSet:
    """Ten trials of BLUFR's shape."""
    write(folder / "images.txt", list(faces.ids))
    return faces


def templates(faces: EmbeddingSet, people: People, folder: Path) -> EmbeddingSet:
    """Of everybody with four images or more: a template of one image and one of the next three, all different media."""
    rows: list[str] = []
    subjects: dict[int, int] = {}
    for subject, images in enumerate(found for found in people.values() if len(found) >= 4):
        for part in (images[:1], images[1:4]):
            subjects[len(subjects) + 1] = subject
            rows += [f"{image} {len(subjects)} {media}" for media, image in enumerate(part)]
    first, second = list(subjects)[::2], list(subjects)[1::2]
    pairs = [f"{a} {b} {int(subjects[a] == subjects[b])}" for a in first for b in second]
    write(folder / "ijbc_face_tid_mid.txt", rows)
    write(folder / "ijbc_template_pair_label.txt", pairs)
    return faces


RECUTS: Mapping[str, tuple[Recut, str]] = {
    "identification": (identification, ""),
    "megaface": (megaface, ""),
    "blufr": (blufr, "images.txt"),
    "ijbc": (templates, ""),
}


def write(path: Path, lines: list[str]) -> None:
    """Lines of text."""
    path.write_text("\n".join(lines) + "\n")


def headlines(metrics: Mapping[str, Any]) -> list[tuple[str, float, str]]:
    """Name, rate and spread of the figures one quotes."""
    if "variants" in metrics:
        return headlines(metrics["variants"]["raw"])
    found = [(row["name"], row["mean"], f"± {row['deviation']:.4f}") for row in metrics.get("trials", ())]
    if "accuracy" in metrics:
        accuracy = metrics["accuracy"]
        found.append(("accuracy", accuracy["mean"], f"± {accuracy['standard_error']:.4f}"))
    kinds = (("tar_at_far", "TAR@FAR={far:g}", "tar"), ("cmc", "rank {rank}", "rate"), ("open_set", "TPIR@FPIR={fpir:g}", "tpir"))
    for key, name, rate in (*kinds, ("rank_by_distractors", "rank 1 among {distractors}", "rate")):
        for row in metrics.get(key, ()):
            spread = row.get("by_identity") or row["interval"]
            found.append((name.format(**row), row[rate], f"{spread['low']:.4f} – {spread['high']:.4f}"))
    return found


def measure(model: str, name: str, faces: EmbeddingSet, lists: Path) -> None:
    """Run one protocol; a line on the terminal and in the results for each headline."""
    protocol = PROTOCOLS.get(name)
    started = time.perf_counter()
    metrics = protocol.run(faces, protocol.read(lists)).to_report().metrics
    seconds = time.perf_counter() - started
    for figure, rate, spread in headlines(metrics):
        print(f"{name:<15} {figure:<20} {rate:.4f}  {spread}  ({seconds:.1f} s in all)", flush=True)
        append_row(
            "protocols_on_lfw",
            {
                "model": model,
                "protocol": name,
                "figure": figure,
                "rate": f"{rate:.5f}",
                "spread": spread,
                "seconds": f"{seconds:.1f}",
            },
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--model", required=True, help="what the embeddings are of, for the results")
    given = parser.parse_args()
    faces = load_embeddings(given.embeddings)
    people: dict[str, list[str]] = {}
    for image in faces.ids:
        people.setdefault(image.split("/")[-2], []).append(image)
    measure(given.model, "lfw", faces, given.pairs)
    for name, (recut, file) in RECUTS.items():
        with tempfile.TemporaryDirectory() as folder:
            measure(given.model, name, recut(faces, people, Path(folder)), Path(folder) / file)


if __name__ == "__main__":
    main()
