"""What a trained head is seen to do: how many classes still press on a sample, and how far its class probabilities can be trusted.

Shapes: B samples, C classes, D embedding dimension.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from orthodrome import sphere
from orthodrome.heads import ProxyHead, engine
from orthodrome.losses.links import SOFTMAX
from orthodrome.types import Rows

BINS = 15


@dataclass(frozen=True)
class Compared:
    """Samples as a head sees them: ``similarity`` (B, C) to every class, ``target`` φ (B, 1) that the loss grants the own class, both
    before the scale; ``logits`` (B, C) without any margin, as one who does not know the label would compute them.
    """

    similarity: Tensor
    target: Tensor
    logits: Tensor


@torch.no_grad()
def compare(head: ProxyHead, embeddings: Tensor, labels: Tensor) -> Compared:
    """Raw embeddings (B, D) of samples with ``labels`` (B,) against all classes of a head, wherever that is; the result is on the CPU."""
    embeddings, labels = embeddings.to(head.weight.device), labels.to(head.weight.device)
    spec, state = head.spec, {**dict(head.named_parameters()), **dict(head.named_buffers())}
    class_bias = state.get("class_bias")
    similarity = engine.similarities(spec, spec.similarity.query(embeddings, state), head.weight, class_bias)
    own = similarity.gather(1, labels.unsqueeze(1))

    def negatives(scale: Tensor | float) -> Tensor:
        return SOFTMAX.partial(engine.without_target(scale * similarity, labels))

    rows = Rows(sphere.norms(embeddings), own, similarity.shape[1], negatives, torch.zeros)
    target, _ = spec.angular(own, own[:, :0], **spec.margins(rows, state))
    plain = sphere.similarity_adjustment(similarity, spec.hyper["t"]) if spec.link.additive and "t" in spec.hyper else similarity
    return Compared(similarity.cpu(), target.cpu(), engine.logits(spec.scale(rows, state), plain, state).cpu())


@torch.no_grad()
def support_vectors(head: ProxyHead, embeddings: Tensor, labels: Tensor) -> tuple[float, float]:
    """Shares of the (sample, other class) pairs with cos θ_j > φ(cos θ_y), and of the samples with at least one: SV-Softmax's support
    vectors, whatever the loss (§3.2 of 1812.11317; h = 1 there). φ is the target of the loss itself, with its margin.
    """
    found = compare(head, embeddings, labels)
    harder = (found.similarity > found.target).scatter(1, labels.unsqueeze(1), False)
    return float(harder.double().sum() / (harder.numel() - len(harder))), float(harder.any(dim=1).double().mean())


@dataclass(frozen=True)
class Calibration:
    """Class probabilities of images that were not trained on.

    ``accuracy``: the most likely class is the right one. ``confidence``: its mean probability; confidence − accuracy is over-confidence.
    ``error``: the expected calibration error, the mean over `BINS` equally full bins of |confidence − accuracy| (after Guo et al.,
    1706.04599). ``cllr``: bits for each (image, class) decision, as `orthodrome.evaluation.cllr`, of the log odds log p/(1 − p) less those
    of the prior, 1 : C − 1.
    """

    images: int
    accuracy: float
    confidence: float
    error: float
    cllr: float


def calibration(head: ProxyHead, embeddings: Tensor, labels: Tensor) -> Calibration:
    """Of softmax over all classes, or of one sigmoid per class for the binary link; logits without margins."""
    found = compare(head, embeddings, labels)
    log_odds = found.logits.double() if head.spec.link.additive else _softmax_log_odds(found.logits.double())
    best, guess = log_odds.max(dim=1)
    confidence, right = torch.sigmoid(best).numpy(), (guess == labels).numpy()
    ratios = log_odds + math.log(log_odds.shape[1] - 1)
    own = torch.zeros_like(ratios, dtype=torch.bool).scatter(1, labels.unsqueeze(1), True)
    cost = torch.nn.functional.softplus(-ratios[own]).mean() + torch.nn.functional.softplus(ratios[~own]).mean()
    return Calibration(
        len(labels),
        float(right.mean()),
        float(confidence.mean()),
        _calibration_error(confidence, right),
        float(cost / (2 * math.log(2))),
    )


def _softmax_log_odds(z: Tensor) -> Tensor:
    """log p/(1 − p) of softmax: z_j − logsumexp of the others, float64 (B, C). 1 − p of the largest is summed, not subtracted."""
    total = torch.logsumexp(z, dim=1, keepdim=True)
    others = total + torch.log(-torch.expm1((z - total).clamp_max(-1e-300)))
    largest = z.argmax(dim=1, keepdim=True)
    others.scatter_(1, largest, torch.logsumexp(z.scatter(1, largest, -torch.inf), dim=1, keepdim=True))
    return z - others


def _calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    order = np.argsort(confidence, kind="stable")
    parts = [part for part in np.array_split(order, BINS) if len(part)]
    return float(sum(len(part) * abs(confidence[part].mean() - right[part].mean()) for part in parts) / len(order))
