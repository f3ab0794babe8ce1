"""YouTube Faces: 5,000 pairs of videos in 10 folds (Wolf, Hassner & Maoz, "Face recognition in unconstrained videos", CVPR 2011)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from orthodrome.evaluation.listed import SUFFIXES, text_lines, without_suffix
from orthodrome.evaluation.outcome import Outcome, Result
from orthodrome.evaluation.pairs import ImagePath, Pairs
from orthodrome.evaluation.protocols.verification import with_repeated
from orthodrome.evaluation.scores import score_block, scores_of_rows, unit_vectors
from orthodrome.evaluation.templates import pool
from orthodrome.evaluation.verification import verification
from orthodrome.types import EmbeddingSet, InputError, PathLike

TITLE = "YouTube Faces verification (pairs of videos, features averaged)"


def read_ytf(path: PathLike) -> Pairs:
    """YTF's ``splits.txt``: a header, then lines ``split, pair, first video, second video, same``, videos as ``Name/0``, same 1 or 0.

    The form was checked against a public reader of the file; fields after the fifth are not read. Raises InputError with ``file:line``
    for a malformed line, and where a pair's names contradict it.
    """
    rows = [_pair(f"{path}:{number}", line) for number, line in enumerate(text_lines(path, "list of video pairs")[1:], start=2)]
    if not rows:
        raise InputError(f"{path}: no pairs after the header")
    first, second, same, folds = zip(*rows, strict=True)
    return Pairs(first, second, np.array(same), np.array(folds), np.arange(2, len(rows) + 2), str(path))


def video_frames(pairs: Pairs, root: PathLike) -> dict[str, Path]:
    """Every image file in the folder of every video, ``root/Name/0/*``, by id ``Name/0/frame``.

    Raises InputError naming the line of a video whose folder is missing or holds no image.
    """
    frames: dict[str, Path] = {}
    for video in map(str, pairs.images()):
        folder = Path(root) / video
        files = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES) if folder.is_dir() else []
        if not files:
            raise InputError(f"{pairs.where(video)}: no frames in {folder}")
        frames |= {f"{video}/{file.stem}": file for file in files}
    return frames


def verify_videos(embeddings: EmbeddingSet, pairs: Pairs) -> Result:
    """Both published ways of comparing two videos: their mean features (as the network gives them, not normalised) by the canonical
    score and, as a variant, the mean of the canonical scores of every frame of one with every frame of the other.
    """
    frames = _rows_of_videos(embeddings, pairs)
    number = {video: position for position, video in enumerate(frames)}
    first, second = (np.array([number[str(video)] for video in side]) for side in (pairs.first, pairs.second))
    units = unit_vectors(embeddings.vectors, embeddings.ids)
    rows = list(frames.values())
    means = np.array(
        [score_block(units[rows[a]], units[rows[b]]).mean(dtype=np.float64) for a, b in zip(first, second, strict=True)]
    )
    whole = pool(embeddings.vectors[np.concatenate(rows)], np.repeat(np.arange(len(rows)), list(map(len, rows))))[1]
    whole_units = unit_vectors(whole, tuple(frames))
    averaged, pairwise = (
        verification(scores, pairs.same, pairs.folds, pairs.identities())
        for scores in (scores_of_rows(whole_units, whole_units, first, second), means.astype(np.float32))
    )
    named = replace(averaged.pairs, rows=np.stack([first, second], axis=1), names=np.array(tuple(frames)))
    report = replace(averaged, pairs=named, protocol="ytf", title=TITLE).to_report()
    counts = {"videos": len(frames), "frames": int(sum(map(len, rows)))}
    variants = {"mean of pairwise scores": pairwise.to_report().metrics}
    metrics = {**report.metrics, "video_counts": counts, "variants": variants}
    return Outcome(with_repeated(replace(report, metrics=metrics), pairs))


def _pair(where: str, line: str) -> tuple[ImagePath, ImagePath, bool, int]:
    match [field.strip() for field in line.split(",")]:
        case [split, _, first, second, ("0" | "1") as same, *_] if split.isdecimal() and "/" in first and "/" in second:
            a, b = (ImagePath(video, video.split("/")[0]) for video in (first, second))
        case _:
            raise InputError(f"{where}: expected 'split, pair, Name/0, Name/1, same'; got {line!r}")
    if (a.name == b.name) != (same == "1"):
        raise InputError(f"{where}: the pair is marked {same} but names {a.name!r} and {b.name!r}")
    return a, b, same == "1", int(split)


def _rows_of_videos(embeddings: EmbeddingSet, pairs: Pairs) -> dict[str, np.ndarray]:
    """The rows of the frames of each video, by the two folders before the file name of their ids."""
    videos: Iterable[str] = dict.fromkeys(map(str, chain(pairs.first, pairs.second)))
    rows: dict[str, list[int]] = {video: [] for video in videos}
    for row, identifier in enumerate(embeddings.ids):
        video = "/".join(without_suffix(identifier).split("/")[-3:-1])
        if video in rows:
            rows[video].append(row)
    missing = next((video for video, found in rows.items() if not found), None)
    if missing:
        raise InputError(f"{pairs.where(missing)}: no embedding is of a frame of {missing!r}; expected ids as '{missing}/frame'")
    return {video: np.array(found) for video, found in rows.items()}
