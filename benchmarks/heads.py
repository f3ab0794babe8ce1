"""How near is a head to the speed of the matrix products, at 10 000, 100 000 and a million classes, and in how much memory?

    python benchmarks/heads.py --classes 10000 100000 1000000 [--batch 256] [--dimension 512]
    python benchmarks/heads.py --trained --classes 100000

For each loss and precision: forward and backward (gradients of x and W) over three plain float32 products of that size, step and
products in turn; the peak of memory beyond W, its gradient and the embeddings; and pytorch-metric-learning's ArcFaceLoss in the same
run. Reduced precision also states its error: of the loss, and the cosine of its gradients with those in float32.

`--trained` measures gradient filtering where it belongs, on a trained state: unit proxies at random, samples around their own at
angles as a trained network has them (cosine 0.72 ± 0.08), one in twenty hard (0.45), one in fifty with another's label. Each
step takes another of a few batches, whose tiles differ in size. Appends rows to results/heads.csv.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from itertools import cycle
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from common import append_row, machine
from orthodrome import ProxyHead
from orthodrome.heads.measure import Step, head_step, in_turn, peak_bytes, products_step
from orthodrome.training.precision import SLOWER, bf16_cost

LOSSES = ("arcface", "sv_am_softmax", "sphereface2")
ROUNDS = {10_000: 21, 100_000: 7, 1_000_000: 3}
FLOORS = (1e-3, 3e-3, 1e-2)

BATCHES = 8

Batch = tuple[Tensor, Tensor]
"""Embeddings (B, D) and labels (B,)."""


@dataclass(frozen=True, eq=False)
class State:
    """Proxies (C, D), and batches that steps take in turn."""

    proxies: Tensor
    batches: tuple[Batch, ...]

    def steps(self, head: Callable[[Tensor, Tensor], Any]) -> Step:
        """A step of ``head`` on the next batch; each has been taken once, so that all sizes of tiles are compiled."""
        steps = [head_step(head, x, labels) for x, labels in self.batches]
        for step in steps:
            step()
        turns = cycle(steps)
        return lambda: next(turns)()


def random_state(classes: int, dimension: int, batch: int) -> State:
    """As training starts."""
    torch.manual_seed(0)
    batches = tuple((torch.randn(batch, dimension, requires_grad=True), torch.randint(classes, (batch,))) for _ in range(BATCHES))
    return State(0.01 * torch.randn(classes, dimension), batches)


def trained_state(classes: int, dimension: int, batch: int) -> State:
    """As it ends, see the top of the file."""
    torch.manual_seed(0)
    proxies = functional.normalize(torch.randn(classes, dimension))
    return State(proxies, tuple(trained_batch(proxies, batch) for _ in range(BATCHES)))


def trained_batch(proxies: Tensor, batch: int) -> Batch:
    """Samples around their own proxies."""
    classes, dimension = proxies.shape
    labels = torch.randint(classes, (batch,))
    cosines = (0.72 + 0.08 * torch.randn(batch)).clamp(0.3, 0.95)
    cosines[: batch // 20] = 0.45
    aside = functional.normalize(torch.randn(batch, dimension))
    own = proxies[labels]
    aside = functional.normalize(aside - (aside * own).sum(dim=1, keepdim=True) * own)
    x = cosines.unsqueeze(1) * own + (1 - cosines**2).sqrt().unsqueeze(1) * aside
    wrong = slice(batch // 20, batch // 20 + batch // 50)
    labels[wrong] = torch.randint(classes, (len(labels[wrong]),))
    return (20 * x).requires_grad_(), labels


def head_of(loss: str, state: State, **options: Any) -> ProxyHead:
    """A head on these proxies. SphereFace2 gets the bias that training has found at the end: −0.3·scale."""
    head = ProxyHead(loss, *state.proxies.shape, init="normal", **options)
    head.weight.data = state.proxies
    return head


def gradients(head: ProxyHead, x: Tensor, labels: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Loss, gradients of x and W."""
    loss = head(x, labels).loss
    return loss.detach(), list(torch.autograd.grad(loss, [x, head.weight]))


def errors(head: ProxyHead, exact: ProxyHead, x: Tensor, labels: Tensor) -> dict[str, str]:
    """Relative error of the loss, smallest cosine of a gradient with the exact one."""
    loss, ours = gradients(head, x, labels)
    expected, theirs = gradients(exact, x, labels)
    cosine = min(float(functional.cosine_similarity(a.flatten(), b.flatten(), dim=0)) for a, b in zip(ours, theirs, strict=True))
    return {"loss_error": f"{float((loss - expected).abs() / expected):.1e}", "gradient_cosine": f"{cosine:.6f}"}


def variants(state: State, trained: bool) -> Iterator[tuple[str, str, ProxyHead, ProxyHead | None]]:
    """Loss, options in words, head, and the exact head it is compared with (None for the exact head itself)."""
    for loss in LOSSES:
        exact = head_of(loss, state, impl="chunked")
        if trained and loss == "sphereface2":
            torch.nn.init.constant_(exact.get_parameter("bias"), -0.3 * exact.spec.hyper["scale"])
        yield loss, "float32", exact, None
        halves = (
            [{"compute_dtype": "bf16"}] if bf16_cost(torch.device("cpu")) <= SLOWER else []
        )  # minutes a step where it is emulated
        options = [{"filter_below": floor} for floor in FLOORS] if trained else halves
        for option in options:
            head = head_of(loss, state, impl="chunked", **option)
            with torch.no_grad():
                for name, value in exact.named_parameters():
                    if value.ndim == 0:
                        head.get_parameter(name).copy_(value)
            words = ", ".join(f"{key} {value}" for key, value in option.items())
            yield loss, words, head, exact


def measured(step: Step, products: Step, rounds: int, owned: int) -> dict[str, str]:
    """Ratios to the products and memory of one step."""
    timing = in_turn(step, products, rounds)
    return {
        "rounds": str(rounds),
        "ratio": f"{timing.ratio:.3f}",
        "ratio_min": f"{timing.ratios[0]:.3f}",
        "ratio_max": f"{timing.ratios[-1]:.3f}",
        "ms": f"{1e3 * median(timing.first):.1f}",
        "products_ms": f"{1e3 * median(timing.second):.1f}",
        "extra_mib": f"{(peak_bytes(step) - owned) / 2**20:.0f}",
    }


def metric_learning(state: State) -> Step:
    """ArcFaceLoss of pytorch-metric-learning on the same proxies."""
    from pytorch_metric_learning.losses import ArcFaceLoss  # type: ignore[import-untyped,import-not-found,unused-ignore]

    classes, dimension = state.proxies.shape
    module = ArcFaceLoss(num_classes=classes, embedding_size=dimension, margin=28.65, scale=64)
    module.load_state_dict({"W": state.proxies.T})
    return state.steps(module)


def report(classes: int, sizes: dict[str, str], loss: str, options: str, row: dict[str, str], dry: bool) -> None:
    """Print and keep one row."""
    row = {"loss_error": "", "gradient_cosine": "", **row}
    print(f"{classes:>9,} {loss:14} {options:20}", ", ".join(f"{key} {value}" for key, value in row.items() if value), flush=True)
    if not dry:
        append_row("heads", {**sizes, "classes": str(classes), "loss": loss, "options": options, **row})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, nargs="+", default=list(ROUNDS))
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--rounds", type=int, help="default: 21, 7 and 3 for the three sizes")
    parser.add_argument("--trained", action="store_true", help="gradient filtering on a trained state")
    parser.add_argument("--dry", action="store_true", help="append nothing to the results")
    given = parser.parse_args()
    print(machine())
    for classes in given.classes:
        rounds = given.rounds or ROUNDS.get(classes, 5)
        state = (trained_state if given.trained else random_state)(classes, given.dimension, given.batch)
        x, proxies = state.batches[0][0], state.proxies
        sizes = {"state": "trained" if given.trained else "random", "batch": str(given.batch), "dimension": str(given.dimension)}
        products, owned = products_step(x.detach(), proxies), proxies.nbytes + x.nbytes
        for loss, options, head, exact in variants(state, given.trained):
            row = errors(head, exact, *state.batches[0]) if exact else {}
            row |= measured(state.steps(head), products, rounds, owned)
            report(classes, sizes, loss, options, row, given.dry)
        if not given.trained:
            name = f"pytorch-metric-learning {version('pytorch-metric-learning')}"
            report(classes, sizes, "arcface", name, measured(metric_learning(state), products, min(rounds, 7), owned), given.dry)


if __name__ == "__main__":
    main()
