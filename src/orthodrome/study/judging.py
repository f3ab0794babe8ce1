"""Judging a trained cell: all comparisons of people it has not seen, and what its head makes of unseen images of those it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from orthodrome.data import ImageReader
from orthodrome.evaluation import compare_all
from orthodrome.evaluation.scores import unit_vectors
from orthodrome.heads import ProxyHead
from orthodrome.pipeline.embed import embed_reader
from orthodrome.pipeline.evaluate import ProtocolData, evaluate_embeddings
from orthodrome.pipeline.model import Model
from orthodrome.pipeline.storage import save_embeddings
from orthodrome.study.heads import calibration
from orthodrome.study.resampled import FARS, FIGURES, Distributions, resample
from orthodrome.types import EmbeddingSet

EMBEDDINGS_FILE = "embeddings.npz"

Values = dict[str, str]
"""Columns of a row."""


@dataclass(frozen=True)
class Judgement:
    """Columns of the row of a cell, and its curves by name."""

    values: Values
    curves: Mapping[str, list[Any]]


def judge_strangers(model: Model, reader: ImageReader, flip: str) -> Values:
    """Equal error rate and TAR over all comparisons of held-out people: what tuning chooses by."""
    return rates(embed_reader(model, reader, flip=flip, workers=0))


def judge_test(model: Model, reader: ImageReader, pairs: ProtocolData, folder: Path, flip: str, resamples: int) -> Judgement:
    """All comparisons of the test faces with intervals by identity, and the list of pairs. Keeps the embeddings in ``folder``."""
    embeddings = embed_reader(model, reader, flip=flip, workers=0)
    save_embeddings(embeddings, folder / EMBEDDINGS_FILE)
    values = rates(embeddings)
    units = unit_vectors(embeddings.vectors)
    exact = {figure: float(values[figure]) for figure in values.keys() & set(FIGURES)}
    found, seen = resample(units, embeddings.labels, exact, resamples)
    for figure in values.keys() & set(FIGURES):
        if interval := found.interval(figure):
            values |= {f"{figure}_low": number(interval.low), f"{figure}_high": number(interval.high)}
    curves = {"genuine": seen.genuine.tolist(), "impostor": seen.impostor.tolist(), **found.curves()}
    return Judgement({**values, **_accuracy(embeddings, pairs), **_shapes(embeddings, seen)}, curves)


def rates(embeddings: EmbeddingSet) -> Values:
    """EER, TAR and the counts of all comparisons, exactly; no TAR at a FAR that the set does not resolve."""
    labels = embeddings.labels
    counts = np.unique(labels, return_counts=True)[1]
    impostors = (len(labels) ** 2 - int((counts.astype(np.int64) ** 2).sum())) // 2
    possible = {name: far for name, far in FARS.items() if far * impostors >= 1}
    found = compare_all(embeddings.vectors, labels, fars=list(possible.values()), roc=True, resamples=0)
    assert found.eer is not None
    tars = {name: number(row.tar) for name, row in zip(possible, found.rows, strict=True)}
    return {"eer": number(found.eer.rate), **tars, "genuine": str(found.counts.genuine), "impostor": str(found.counts.impostor)}


def _accuracy(embeddings: EmbeddingSet, pairs: ProtocolData) -> Values:
    metrics: Mapping[str, Any] = evaluate_embeddings(embeddings, pairs).to_report().metrics
    accuracy = metrics["accuracy"]
    values = {"accuracy": number(accuracy["mean"]), "accuracy_error": number(accuracy["standard_error"])}
    if by_identity := accuracy.get("by_identity"):
        values |= {"accuracy_low": number(by_identity["low"]), "accuracy_high": number(by_identity["high"])}
    return values


def _shapes(embeddings: EmbeddingSet, seen: Distributions) -> Values:
    norms = np.linalg.norm(embeddings.vectors.astype(np.float64), axis=1)
    numbers = {
        "genuine_angle": seen.genuine_angle[0],
        "genuine_angle_sd": seen.genuine_angle[1],
        "impostor_angle": seen.impostor_angle[0],
        "impostor_angle_sd": seen.impostor_angle[1],
        "norm": float(norms.mean()),
        "norm_sd": float(norms.std()),
    }
    return {name: f"{value:.4g}" for name, value in numbers.items()}


def judge_head(model: Model, head: torch.nn.Module, unseen: ImageReader | None) -> Values:
    """Calibration of the class probabilities on images that were not trained on; nothing for pair losses, which have no classes."""
    if unseen is None or not isinstance(head, ProxyHead):
        return {}
    found = embed_reader(model, unseen, flip="none", workers=0)
    head.eval()
    result = calibration(head, torch.from_numpy(found.vectors), torch.from_numpy(found.labels))
    return {
        "unseen_images": str(result.images),
        "unseen_accuracy": number(result.accuracy),
        "confidence": number(result.confidence),
        "calibration_error": number(result.error),
        "unseen_cllr": number(result.cllr),
    }


def number(value: float) -> str:
    """Six decimals."""
    return f"{value:.6f}"
