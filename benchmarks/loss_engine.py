"""What does one engine for every loss cost? Forward and backward (gradients of x and W) of our heads against straight-line torch for
ArcFace, against the same losses of pytorch-metric-learning, and against the three matrix products no such loss can do without.

    python benchmarks/loss_engine.py [--batch 256] [--classes 10000] [--dimension 512] [--rounds 20]

Both sides of every contest take one step in turn, round after round. Before anything is timed, the two sides must agree on the loss.
Memory is the most bytes alive at once during a step, beyond those alive before it (gradients included): the allocations and
releases of torch's allocator, as its profiler records them, summed in order of time. Scratch space inside the matrix library is not
seen. Appends a row for each contest to results/loss_engine.csv.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from statistics import median
from typing import Any

import torch
from pytorch_metric_learning import losses as metric_learning  # type: ignore[import-untyped,import-not-found,unused-ignore]
from torch import Tensor, nn
from torch.nn import functional

from common import append_row, machine
from orthodrome import ProxyHead
from orthodrome.heads.measure import Step, peak_bytes, products_step

Loss = Callable[[Tensor, Tensor], Tensor]
"""Embeddings (B, D), labels (B,) -> the loss."""

PRODUCTS = "three matrix products"
ARCFACE = {"scale": 64.0, "margin": 0.5}


@dataclass(frozen=True)
class Contest:
    """Our ``loss`` against somebody else's."""

    loss: str
    against: str
    ours: Step
    theirs: Step


Pair = tuple[float, float]
"""Ours and theirs."""


@dataclass(frozen=True)
class Result:
    """Seconds by the clock and of the processor, round by round, and peak bytes; ours and theirs."""

    seconds: list[Pair]
    processor: list[Pair]
    bytes: Pair

    def row(self) -> dict[str, str]:
        """Medians of both sides, and median and range of the ratios round by round."""
        ratios = sorted(ours / theirs for ours, theirs in self.seconds)
        ours, theirs = (median(side) for side in zip(*self.seconds, strict=True))
        processor = median(ours / theirs for ours, theirs in self.processor)
        return {
            "time_ratio": f"{median(ratios):.3f}",
            "time_ratio_min": f"{ratios[0]:.3f}",
            "time_ratio_max": f"{ratios[-1]:.3f}",
            "processor_time_ratio": f"{processor:.3f}",
            "our_ms": f"{1e3 * ours:.1f}",
            "their_ms": f"{1e3 * theirs:.1f}",
            "memory_ratio": f"{self.bytes[0] / self.bytes[1]:.3f}",
            "our_mib": f"{self.bytes[0] / 2**20:.1f}",
            "their_mib": f"{self.bytes[1] / 2**20:.1f}",
        }


# ------------------------------------------------------------------------------------------------------ the two sides


def straight_line(x: Tensor, labels: Tensor, proxies: Tensor, *, scale: float, margin: float) -> Tensor:
    """ArcFace as one writes it by hand: normalise, multiply, move the target, cross-entropy."""
    cosines = functional.linear(functional.normalize(x), functional.normalize(proxies))
    target = cosines.gather(1, labels.unsqueeze(1))
    sine = (1 - target * target).clamp_min(1e-7).sqrt()
    moved = target * math.cos(margin) - sine * math.sin(margin)
    moved = torch.where(target < -math.cos(margin), target - margin * math.sin(margin), moved)
    return functional.cross_entropy(scale * cosines.scatter(1, labels.unsqueeze(1), moved), labels)


def step_of(loss: Loss, x: Tensor, labels: Tensor, weight: Tensor) -> Step:
    """One training step of a loss without its optimizer; the gradients are released at its end."""

    def step() -> Tensor:
        value = loss(x, labels)
        value.backward()
        x.grad = weight.grad = None
        return value.detach()

    return step


def ours(x: Tensor, labels: Tensor, proxies: Tensor, name: str, **hyper: Any) -> Step:
    """A ProxyHead on these proxies (C·K, D)."""
    head = ProxyHead(name, len(proxies) // hyper.get("subcenters", 1), x.shape[1], **hyper)
    head.load_state_dict({**head.state_dict(), "weight": proxies})
    return step_of(lambda x, labels: head(x, labels).loss, x, labels, head.weight)


def theirs(x: Tensor, labels: Tensor, proxies: Tensor, loss: Callable[..., nn.Module], **hyper: Any) -> Step:
    """A loss of pytorch-metric-learning on the same proxies; its weight is (D, C·K)."""
    module = loss(num_classes=len(proxies) // hyper.get("sub_centers", 1), embedding_size=x.shape[1], **hyper)
    module.load_state_dict({"W": proxies.T})
    return step_of(module, x, labels, module.get_parameter("W"))


def by_hand(x: Tensor, labels: Tensor, proxies: Tensor) -> Step:
    """The straight line on the same proxies."""
    weight = nn.Parameter(proxies.clone())
    return step_of(lambda x, labels: straight_line(x, labels, weight, **ARCFACE), x, labels, weight)


def contests(batch: int, classes: int, dimension: int) -> list[Contest]:
    """All of them, on the same random embeddings and unit proxies (pytorch-metric-learning's SphereFace keeps their length)."""
    torch.manual_seed(0)
    x = torch.randn(batch, dimension, requires_grad=True)
    y = torch.randint(classes, (batch,))
    w, w3 = (functional.normalize(torch.randn(classes * count, dimension)) for count in (1, 3))
    library = f"pytorch-metric-learning {version('pytorch-metric-learning')}"
    degrees = {"margin": math.degrees(ARCFACE["margin"]), "scale": 64}
    arc, arc3 = ours(x, y, w, "arcface", **ARCFACE), ours(x, y, w3, "subcenter_arcface", **ARCFACE, subcenters=3)
    cos, sphere = ours(x, y, w, "cosface", margin=0.35), ours(x, y, w, "a_softmax", margin=4, annealing_lambda=0.0)
    return [
        Contest("arcface", "straight-line torch", arc, by_hand(x, y, w)),
        Contest("arcface", PRODUCTS, arc, products_step(x.detach(), w)),
        Contest("arcface", library, arc, theirs(x, y, w, metric_learning.ArcFaceLoss, **degrees)),
        Contest("cosface", library, cos, theirs(x, y, w, metric_learning.CosFaceLoss, margin=0.35, scale=64)),
        Contest("a_softmax", library, sphere, theirs(x, y, w, metric_learning.SphereFaceLoss, margin=4, scale=1)),
        Contest("subcenter_arcface", library, arc3,
            theirs(x, y, w3, metric_learning.SubCenterArcFaceLoss, **degrees, sub_centers=3)),
    ]  # fmt: skip


# ---------------------------------------------------------------------------------------------------------- measuring


def check_agreement(contest: Contest) -> None:
    """Two sides that do not compute the same loss are no contest. Raises ValueError."""
    if contest.against == PRODUCTS:
        return
    ours, theirs = float(contest.ours()), float(contest.theirs())
    if not math.isclose(ours, theirs, rel_tol=1e-4):
        raise ValueError(f"{contest.loss} against {contest.against}: the losses differ, {ours} and {theirs}")


def seconds(step: Step) -> Pair:
    """Duration of one step, by the clock and in processor time of all threads, which other work on the machine hardly touches."""
    clock, processor = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - clock, time.process_time() - processor


def measure(all_contests: list[Contest], rounds: int) -> list[Result]:
    """Every contest once a round, ours and theirs in turn, after one round that does not count."""
    results = [Result([], [], (peak_bytes(contest.ours), peak_bytes(contest.theirs))) for contest in all_contests]
    for round_number in range(rounds + 1):
        for contest, result in zip(all_contests, results, strict=True):
            (our_clock, our_processor), (their_clock, their_processor) = seconds(contest.ours), seconds(contest.theirs)
            if round_number:
                result.seconds.append((our_clock, their_clock))
                result.processor.append((our_processor, their_processor))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--classes", type=int, default=10_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--dry", action="store_true", help="append nothing to the results")
    arguments = parser.parse_args()
    size = {"batch": arguments.batch, "classes": arguments.classes, "dimension": arguments.dimension}
    all_contests = contests(**size)
    for contest in all_contests:
        check_agreement(contest)
    print(f"{size}, {arguments.rounds} rounds; {machine()}")
    for contest, result in zip(all_contests, measure(all_contests, arguments.rounds), strict=True):
        row = result.row()
        print(f"{contest.loss} / {contest.against}:", ", ".join(f"{key} {value}" for key, value in row.items()))
        if not arguments.dry:
            sizes = {key: str(value) for key, value in size.items()}
            append_row(
                "loss_engine", {"loss": contest.loss, "against": contest.against, **sizes, "rounds": str(arguments.rounds), **row}
            )


if __name__ == "__main__":
    main()
