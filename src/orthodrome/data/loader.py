"""From a reader and a sampler to batches.

A batch is a pure function of (seed, epoch, indices), so it is bit for bit the same with or without the cache
and with any number of workers. The loader only decides where that function runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from orthodrome.data.cache import CacheChoice, decode_many, load_cache, wants_cache
from orthodrome.data.decode import Size
from orthodrome.data.parallel import available_processors, map_in_processes, map_in_thread
from orthodrome.data.protocol import Images
from orthodrome.data.randomness import Draws
from orthodrome.data.samplers import BatchSampler
from orthodrome.data.transforms import Transform, unchanged
from orthodrome.types import Batch, InputError, Progress

Fetch = Callable[[np.ndarray], np.ndarray]
"""Positions in the reader (B,) -> uint8 images (B, 3, H, W)."""

_MOST_WORKERS = 16  # where more is wanted it should be asked for: each worker holds its own decoded batches


@dataclass(frozen=True, eq=False)
class BatchMaker:
    """Makes one batch of (epoch, indices)."""

    fetch: Fetch
    labels: np.ndarray
    augmentation: Transform
    seed: int

    def __call__(self, task: tuple[int, np.ndarray]) -> Batch:
        """Fetch, augment, label."""
        epoch, indices = task
        images = self.augmentation(self.fetch(indices), Draws(self.seed, epoch, indices))
        labels = torch.from_numpy(np.asarray(self.labels[indices], dtype=np.int64))
        return Batch(torch.from_numpy(np.ascontiguousarray(images)), labels, torch.from_numpy(indices.copy()))


@dataclass(frozen=True, eq=False)
class Loader:
    """Batches of a training run; made by `create_loader`.

    ``workers`` processes make them, ``prefetch`` ahead each; with 0 workers a background thread does,
    ``prefetch`` ahead. Where there is a GPU, batches are page-locked.
    """

    make: BatchMaker
    sampler: BatchSampler
    workers: int = 0
    prefetch: int = 2
    start_method: str | None = None

    def __len__(self) -> int:
        return len(self.sampler)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches ``start, start + 1, …`` of one epoch.

        Raises:
            InputError: an image cannot be decoded; the message names the file and the reason.
        """
        tasks = ((epoch, indices) for indices in self.sampler.batches(epoch, start))
        if self.workers:
            made = map_in_processes(self.make, tasks, self.workers, self.prefetch, self.start_method)
        else:
            made = map_in_thread(self.make, tasks, self.prefetch)
        if not torch.cuda.is_available():
            return made
        return map_in_thread(partial(pinned, device=torch.cuda.current_device()), made)


def create_loader(
    reader: Images,
    sampler: BatchSampler,
    size: Size,
    *,
    augmentation: Transform = unchanged,
    seed: int = 0,
    workers: int | None = None,
    prefetch: int = 2,
    cache: CacheChoice = "auto",
    progress: Progress | None = None,
    start_method: str | None = None,
    processes: int = 1,
) -> Loader:
    """A loader of ``reader`` in the order of ``sampler``, images of ``size`` (height, width).

    Args:
        augmentation: for example `Augmentation`; ``seed`` is the seed of its draws.
        workers: decoding processes; None means one per processor, at least one, at most 16.
        prefetch: batches made ahead, by each worker or by the thread.
        cache: keep the decoded set in memory or on disk; see `wants_cache`. It is filled here, with ``progress`` called
            as it goes.
        start_method: of the processes, ``"fork"``, ``"spawn"`` or ``"forkserver"``; None chooses.
        processes: how many on this machine each make a loader of their own, and so share its memory and processors.

    Raises:
        InputError: the sampler is of another set, a count is negative, or (with the cache) an image cannot be
            decoded.
    """
    if sampler.num_samples != len(reader):
        raise InputError(f"the sampler orders {sampler.num_samples} images but the reader has {len(reader)}")
    if workers is None:
        workers = min(max(available_processors() // processes, 1), _MOST_WORKERS)
    if workers < 0 or prefetch < 0:
        raise InputError(f"workers and prefetch must be ≥ 0; got {workers} and {prefetch}")
    if wants_cache(cache, len(reader), size, processes):
        kept = load_cache(reader, size, workers, progress, start_method, on_disk=cache == "disk")
        return Loader(BatchMaker(partial(_take, kept), reader.labels, augmentation, seed), sampler, 0, prefetch)
    decode = partial(decode_many, reader, size)
    return Loader(BatchMaker(decode, reader.labels, augmentation, seed), sampler, workers, prefetch, start_method)


def pinned(batch: Batch, device: int) -> Batch:
    """The batch in page-locked memory, from where it travels to a GPU, number ``device``, while the GPU computes."""
    with torch.cuda.device(device):  # else a thread takes the first, which may be that of another process
        return Batch(batch.images.pin_memory(), batch.labels.pin_memory(), batch.indices)


def _take(images: np.ndarray, indices: np.ndarray) -> np.ndarray:
    return images[indices]
