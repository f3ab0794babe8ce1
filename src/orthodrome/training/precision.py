"""Is bfloat16 worth it on this machine? Processors without instructions for it multiply many times slower than in float32."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

SLOWER = 1.3
"""How many times the time of float32 products is worth a warning."""


def precision_warning(precision: str, device: torch.device, cost: Callable[[torch.device], float] | None = None) -> str:
    """Empty, or what to do instead where ``precision`` is "bf16" and its products take longer here than float32's.

    ``cost`` measures how many times as long; by default `bf16_cost`.
    """
    if precision != "bf16":
        return ""
    times = (cost or bf16_cost)(device)
    if times <= SLOWER:
        return ""
    return f"bfloat16 products take {times:.1f} times as long as float32 ones on this machine; add --set precision=fp32"


def bf16_cost(device: torch.device, size: int = 384) -> float:
    """Time of a bfloat16 product of two (size, size) matrices over that of a float32 one; the best of three each."""
    return _seconds(device, torch.bfloat16, size) / _seconds(device, torch.float32, size)


def _seconds(device: torch.device, dtype: torch.dtype, size: int) -> float:
    factor = torch.ones(size, size, dtype=dtype, device=device)
    found = []
    for _ in range(4):  # the first one warms up
        start = time.perf_counter()
        float((factor @ factor)[0, 0])  # waits for the device
        found.append(time.perf_counter() - start)
    return min(found[1:])
