"""What does splitting the classes over processes cost, and what travels? `python benchmarks/sharded_head.py [--classes 100000]`

One process with all threads against two processes with one thread each, gloo, the same batch in all (B = 256, D = 512): processor time
of a step, all processes together; the peak of memory of each process beyond its shard of W, the gradient of that and the
embeddings; and the bytes each process hands to collectives in one step, counted where they are called. Rounds alternate between the
two set-ups. Appends a row per loss to results/sharded_head.csv.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, multiprocessing
from torch import distributed as dist

from common import append_row, machine
from orthodrome import ProxyHead
from orthodrome.heads.measure import head_step, peak_bytes
from orthodrome.heads.sharded import Processes

LOSSES = ("arcface", "sv_am_softmax", "sphereface2", "adacos")


def count_bytes(sent: list[int]) -> None:
    """Every tensor handed to a collective is added to ``sent``."""
    for name in ("sum", "gathered"):
        original = getattr(Processes, name)

        def counting(self: Processes, values: Tensor, *rest: Any, original: Any = original) -> Any:
            sent[0] += values.nbytes
            return original(self, values, *rest)

        setattr(Processes, name, counting)


def work(rank: int, world: int, threads: int, folder: str, classes: int, batch: int, dimension: int, rounds: int) -> None:
    """Measure every loss on this process and write the figures down."""
    torch.set_num_threads(threads)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    sent = [0]
    count_bytes(sent)
    figures = {}
    for loss in LOSSES:
        torch.manual_seed(rank)
        head = ProxyHead(loss, classes, dimension, impl="chunked", process_group=dist.group.WORLD if world > 1 else None)
        x, labels = torch.randn(batch // world, dimension, requires_grad=True), torch.randint(classes, (batch // world,))
        step = head_step(head, x, labels)
        step()
        sent[0] = 0
        step()
        bytes_sent = sent[0]
        clock, processor = [], []
        for _ in range(rounds):
            before = time.perf_counter(), time.process_time()
            step()
            clock.append(time.perf_counter() - before[0])
            processor.append(time.process_time() - before[1])
        extra = peak_bytes(step) - head.weight.nbytes - x.nbytes
        figures[loss] = {"seconds": median(clock), "processor": median(processor), "extra": extra, "sent": bytes_sent}
    Path(folder, f"{rank}.json").write_text(json.dumps(figures))
    dist.destroy_process_group()


def run(world: int, threads: int, *sizes: int) -> list[dict[str, dict[str, float]]]:
    """The figures of each process."""
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(work, (world, threads, folder, *sizes), nprocs=world)
        return [json.loads(Path(folder, f"{rank}.json").read_text()) for rank in range(world)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3, help="how often both set-ups are started in turn")
    given = parser.parse_args()
    sizes = given.classes, given.batch, given.dimension, given.rounds
    runs = [(run(1, 2, *sizes)[0], run(2, 1, *sizes)) for _ in range(given.repeats)]
    print(machine())
    for loss in LOSSES:
        work_ratios = sorted(sum(part[loss]["processor"] for part in two) / one[loss]["processor"] for one, two in runs)
        time_ratios = sorted(max(part[loss]["seconds"] for part in two) / one[loss]["seconds"] for one, two in runs)
        one, two = runs[-1]
        row = {
            "loss": loss, "classes": str(given.classes), "batch": str(given.batch), "dimension": str(given.dimension),
            "processor_time_ratio": f"{median(work_ratios):.3f}", "processor_time_ratio_max": f"{work_ratios[-1]:.3f}",
            "time_ratio": f"{median(time_ratios):.3f}", "time_ratio_min": f"{time_ratios[0]:.3f}",
            "time_ratio_max": f"{time_ratios[-1]:.3f}", "one_extra_mib": f"{one[loss]['extra'] / 2**20:.0f}",
            "each_extra_mib": f"{max(part[loss]['extra'] for part in two) / 2**20:.0f}",
            "proxies_mib_each": f"{given.classes * given.dimension * 4 / 2 / 2**20:.0f}",
            "kib_sent_each": f"{two[0][loss]['sent'] / 1024:.0f}",
        }  # fmt: skip
        print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
        append_row("sharded_head", row)


if __name__ == "__main__":
    main()
