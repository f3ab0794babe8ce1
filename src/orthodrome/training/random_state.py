"""The state of torch's random generators, which draw for dropout, random margins and sampled classes.

The order of the samples and their augmentation do not depend on it, but on seed and position alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def random_state(device: torch.device) -> dict[str, Any]:
    """State of the generators of this process: of the CPU, and of ``device`` where that is a GPU."""
    return {"cpu": torch.get_rng_state(), "cuda": [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []}


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Put back what `random_state` returned."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"][0], device)


def seed_apart(seed: int, rank: int, step: int = 0) -> None:
    """Random numbers of its own for each process; rank 0 keeps those that a process alone would draw."""
    if rank:
        torch.manual_seed(int(np.random.SeedSequence([seed, rank, step]).generate_state(1)[0]))
