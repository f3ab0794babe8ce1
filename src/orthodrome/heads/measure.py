"""What a head costs: time beside the matrix products it cannot do without, and memory. Behind ``orthodrome bench head``."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from orthodrome.heads.proxy import ProxyHead
from orthodrome.types import InputError

Step = Callable[[], Tensor]
"""Forward and backward; returns the loss."""

OPTIMIZER_ARRAYS = {"none": 0, "sgd": 2, "adamw": 4}
"""Arrays of the size of the proxies in a step of an optimizer: moments that it keeps (SGD with momentum 1, AdamW 2), and intermediate
results of torch's step (with weight decay 1, and 2).
"""


@dataclass(frozen=True)
class Timing:
    """Seconds of two steps, taken in turn, round by round."""

    first: tuple[float, ...]
    second: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """First over second, ascending."""
        return tuple(sorted(a / b for a, b in zip(self.first, self.second, strict=True)))

    @property
    def ratio(self) -> float:
        """The median ratio."""
        return median(self.ratios)


@dataclass(frozen=True)
class HeadCost:
    """``seconds`` of forward and backward (median) and its ``ratio`` to the products; ``extra_bytes`` at the peak beyond proxies, their
    gradient and embeddings. ``flops``: of the three products, a second, for the head (with the classes it compares: those drawn, where it
    samples) and for the ``products`` alone.
    """

    seconds: float
    ratio: float
    lowest: float
    highest: float
    extra_bytes: int
    flops: float
    products_flops: float


def measure_head(loss: str, num_classes: int, embedding_dim: int, batch: int, *, rounds: int = 5, **options: Any) -> HeadCost:
    """Forward and backward of ``ProxyHead(loss, num_classes, embedding_dim, **options)`` on random embeddings, beside x·Wᵀ, G·W, Gᵀ·x.

    A step of each before anything is timed (the head may compile), then ``rounds`` of each in turn. Raises InputError as the head does.
    """
    if rounds < 1 or batch < 1:
        raise InputError(f"batch and rounds must be at least 1; got batch={batch}, rounds={rounds}")
    torch.manual_seed(0)
    head = ProxyHead(loss, num_classes, embedding_dim, **options)
    x, labels = torch.randn(batch, embedding_dim, requires_grad=True), torch.randint(num_classes, (batch,))
    step, products = head_step(head, x, labels), products_step(x.detach(), head.weight.detach())
    compared, gradient_bytes = gradient_of(head, x.detach(), labels)
    timing = in_turn(step, products, rounds)
    seconds, of_products = median(timing.first), median(timing.second)
    work, all_work = (6.0 * batch * numbers for numbers in (compared, head.weight.numel()))
    extra = peak_bytes(step) - gradient_bytes - x.nbytes
    ratios = timing.ratios
    return HeadCost(seconds, timing.ratio, ratios[0], ratios[-1], max(extra, 0), work / seconds, all_work / of_products)


def gradient_of(head: ProxyHead, x: Tensor, labels: Tensor) -> tuple[int, int]:
    """How many numbers and bytes the gradient of the proxies has; that of a head that samples holds the rows it has drawn."""
    head(x, labels).loss.backward()
    gradient = head.weight.grad
    assert gradient is not None
    head.zero_grad(set_to_none=True)
    if not gradient.is_sparse:
        return gradient.numel(), gradient.nbytes
    rows = gradient.coalesce()
    return rows.values().numel(), rows.values().nbytes + rows.indices().nbytes


def head_step(head: Callable[[Tensor, Tensor], Any], x: Tensor, labels: Tensor) -> Step:
    """One training step of a head without its optimizer; the gradients are released at its end."""
    parameters = [x, *head.parameters()] if isinstance(head, torch.nn.Module) else [x]

    def step() -> Tensor:
        output = head(x, labels)
        loss: Tensor = output if isinstance(output, Tensor) else output.loss
        loss.backward()
        for parameter in parameters:
            parameter.grad = None
        return loss.detach()

    return step


def products_step(x: Tensor, proxies: Tensor) -> Step:
    """x·Wᵀ and, as on the way back, G·W and Gᵀ·x."""

    @torch.no_grad()
    def step() -> Tensor:
        cosines = x @ proxies.T
        dx, dw = cosines @ proxies, cosines.T @ x
        return dx[0, 0] + dw[0, 0]

    return step


def in_turn(first: Step, second: Step, rounds: int) -> Timing:
    """Both once for nothing, then ``rounds`` of each in turn, so that a drifting clock hits both."""
    first(), second()
    pairs = [(_seconds(first), _seconds(second)) for _ in range(rounds)]
    return Timing(tuple(a for a, _ in pairs), tuple(b for _, b in pairs))


def _seconds(step: Step) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def peak_bytes(step: Step) -> int:
    """The most bytes alive at once that the step has allocated, gradients included.

    Allocations and releases of torch's allocator, as its profiler records them, summed in order of time. Scratch space inside the
    matrix library is not seen.
    """
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
            step()
        profiler.export_chrome_trace(str(trace))
        events = [event for event in json.loads(trace.read_text())["traceEvents"] if event["name"] == "[memory]"]
    alive = peak = 0
    for event in sorted(events, key=lambda event: event["ts"]):
        alive += event["args"]["Bytes"]
        peak = max(peak, alive)
    return peak


def head_memory(
    num_classes: int, embedding_dim: int, batch: int, *, processes: int = 1, optimizer: str = "sgd", per_class: int = 1
) -> int:
    """Bytes a training step needs for the head on each process, in float32; ``batch`` is that of all processes together.

        4·⌈C/R⌉·K·D·(2 + A) + 4·B·D·(3 + 2·K) + 128 MiB

    Proxies, their gradient and the A arrays of an optimizer's step (`OPTIMIZER_ARRAYS`: "none", "sgd" with momentum and weight decay,
    "adamw"), split over R processes; the gathered embeddings, their directions and gradients, the proxies of their own classes and the
    gradient of these; the tiles. Raises InputError for an unknown optimizer.

    >>> round(head_memory(1_000_000, 512, 1024) / 2**30, 1)
    7.8
    """
    if optimizer not in OPTIMIZER_ARRAYS:
        raise InputError(f"optimizer must be one of {', '.join(OPTIMIZER_ARRAYS)}; got {optimizer!r}")
    shard = -(-num_classes // processes)
    of_classes = 4 * shard * per_class * embedding_dim * (2 + OPTIMIZER_ARRAYS[optimizer])
    return of_classes + 4 * batch * embedding_dim * (3 + 2 * per_class) + 2**27


def largest_head(
    memory: float, embedding_dim: int, batch: int, *, processes: int = 1, optimizer: str = "sgd", per_class: int = 1
) -> int:
    """The most classes whose :func:`head_memory` stays within ``memory`` bytes on each process; 0 where none do."""
    fixed, of_one_each = (
        head_memory(count, embedding_dim, batch, processes=processes, optimizer=optimizer, per_class=per_class)
        for count in (0, processes)
    )
    return max(0, int((memory - fixed) // (of_one_each - fixed)) * processes)
