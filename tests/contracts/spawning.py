"""Several processes for a test: forked, joined by gloo, each returning a value."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist
from torch import multiprocessing


def spawn(worker: Callable[..., Any], world: int, folder: Path) -> list[Any]:
    """What ``worker(rank, world)`` returns on each of ``world`` processes."""
    multiprocessing.start_processes(_enter, (worker, world, str(folder), sys.path), nprocs=world, start_method="fork")
    return [pickle.loads((folder / f"{rank}").read_bytes()) for rank in range(world)]


def _enter(rank: int, worker: Callable[..., Any], world: int, folder: str, path: list[str]) -> None:
    sys.path[:] = path
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    Path(folder, f"{rank}").write_bytes(pickle.dumps(worker(rank, world)))
    dist.destroy_process_group()
