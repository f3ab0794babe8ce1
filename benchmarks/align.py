"""Does `orthodrome align` keep up with its detector? Photographs/s of the whole (read, decode, find, align, encode, write) over those
of the bare detector on the same photographs, decoded and in memory, in as many processes.

    python benchmarks/align.py PHOTOGRAPHS --weights yunet_n_320_320.onnx [--processes 2] [--side 640]

With ``--side`` the photographs are first resized to that longer side and stored as JPEGs of quality 90: what is beside the detector
(opening, encoding the crop, writing it) does not grow with a photograph, so small ones are the hardest for this figure.

Both are timed in turn, several times; the ratio of each pair is what counts. Each process is started before its clock: what is timed of
both is a run with workers that are there, from the second photograph of each on. Appends a row to results/align.csv.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from common import append_row, machine
from orthodrome.data.decode import decode_image
from orthodrome.data.parallel import map_in_processes
from orthodrome.pipeline.align_folder import align_folder
from orthodrome.pipeline.detect import YuNet
from orthodrome.pipeline.models import find_weights
from orthodrome.pipeline.opencv import opencv
from orthodrome.pipeline.photographs import find_photographs


@dataclass(frozen=True, eq=False)
class BareDetector:
    """Detects in photographs that are in memory."""

    detector: YuNet
    images: Sequence[np.ndarray]

    def __call__(self, index: int) -> int:
        """The number of faces."""
        return len(self.detector(self.images[index]))


class Rate:
    """Counts per second, from the ``first`` item on: processes have started by then."""

    def __init__(self, first: int) -> None:
        self.first, self.start, self.end, self.count = first, 0.0, 0.0, 0

    def tick(self, *_: Any) -> None:
        """One more is done."""
        self.count += 1
        self.end = time.perf_counter()
        if self.count == self.first:
            self.start = self.end

    @property
    def per_second(self) -> float:
        """Items a second after the first ones."""
        return (self.count - self.first) / (self.end - self.start)


def bare(detector: YuNet, images: Sequence[np.ndarray], processes: int, first: int) -> float:
    """Photographs/s of the detector alone."""
    rate = Rate(first)
    for _ in map_in_processes(BareDetector(detector, images), range(len(images)), processes, prefetch=4):
        rate.tick()
    return rate.per_second


def whole(source: Path, detector: YuNet, processes: int, first: int) -> float:
    """Photographs/s of the alignment of a folder, into a new one."""
    rate = Rate(first)
    with tempfile.TemporaryDirectory() as folder:
        align_folder(source, Path(folder) / "crops", detector, workers=processes, progress=rate.tick)
    return rate.per_second


def resized(source: Path, target: Path, side: int) -> Path:
    """The photographs of ``source`` with this longer side, under the same names."""
    for name in find_photographs(source):
        picture = Image.fromarray(decode_image(source / name))
        ratio = side / max(picture.size)
        path = (target / name).with_suffix(".jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.resize((round(picture.width * ratio), round(picture.height * ratio))).save(path, quality=90)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--side", type=int, help="resize photographs to this longer side first")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photographs = arguments.photographs
        measure(resized(photographs, Path(folder), arguments.side) if arguments.side else photographs, arguments)


def measure(photographs: Path, arguments: argparse.Namespace) -> None:
    """Both in turn, and the row."""
    detector = YuNet(find_weights("yunet", arguments.weights))
    names = list(find_photographs(photographs))
    images = [decode_image(photographs / name) for name in names]
    opencv().setNumThreads(1)
    first = 8 * arguments.processes
    sides: tuple[Callable[[], float], ...] = (
        lambda: whole(photographs, detector, arguments.processes, first),
        lambda: bare(detector, images, arguments.processes, first),
    )
    rates = [tuple(side() for side in sides) for _ in range(arguments.rounds)]
    ratios = sorted(aligned / detected for aligned, detected in rates)
    aligned, detected = (sorted(side) for side in zip(*rates, strict=True))
    middle = len(ratios) // 2
    print(
        f"align {aligned[middle]:.0f} photographs/s, bare detector {detected[middle]:.0f} photographs/s (medians of {len(ratios)})"
    )
    print(f"ratio {ratios[middle]:.3f}, from {ratios[0]:.3f} to {ratios[-1]:.3f}; {machine()}")
    append_row(
        "align",
        {
            "photographs": str(len(names)),
            "side": str(median(max(image.shape) for image in images)),
            "processes": str(arguments.processes),
            "align_per_second": f"{aligned[middle]:.1f}",
            "detector_per_second": f"{detected[middle]:.1f}",
            "ratio": f"{ratios[middle]:.3f}",
            "ratio_min": f"{ratios[0]:.3f}",
            "ratio_max": f"{ratios[-1]:.3f}",
        },
    )


if __name__ == "__main__":
    main()
