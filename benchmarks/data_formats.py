"""What does a form of a set cost beside decoding? Random access of 112×112 JPEGs, and front-to-back reading, from .rec, folder, tars.

    python benchmarks/data_formats.py [--data SET] [--images 1000] [--gigabytes 1]

Per process, no workers. Random access: the images of a set in random order through the reader, decoded, over decoding the same bytes
already in memory; and without decoding, as reads per second. Decoding: ours over Pillow's alone. Reading: all records of a large .rec
(without decoding) over reading the file in blocks of 4 MiB. Verifying: `data verify` in one process over decoding. Processor time, in
turn, several rounds; the files are in the system's cache, so that the figures are of the code and not of the disk. Without --data, faces
are random JPEGs of 112×112. Appends a row to results/data_formats.csv.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from common import append_row, machine
from orthodrome.data import ImageReader, Subset, convert, decode_image, open_reader
from orthodrome.data.integrity import verify
from orthodrome.data.recordio import pack_image, record_bytes, stream_records
from training_throughput import random_faces

FORMS = ("rec", "folder", "webdataset")
_BLOCK = 4 * 2**20


def seconds(action: Callable[[], object]) -> float:
    """Processor time of one call, the system's part included: on a shared machine others take turns in wall time."""
    start = time.process_time()
    action()
    return time.process_time() - start


def in_turn(rounds: int, baseline: Callable[[], object], actions: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Time of ``baseline`` over that of each action, round by round; and under ``""`` the seconds of the baseline."""
    ratios: dict[str, list[float]] = {name: [] for name in ("", *actions)}
    for _ in range(rounds):
        for name, action in actions.items():
            before = seconds(baseline)
            ratios[""].append(before)
            ratios[name].append(before / seconds(action))
    return ratios


def decode_all(reader: ImageReader, order: list[int]) -> None:
    """Decode the images of a reader in an order."""
    for index in order:
        reader.image(index)


def decode_by_pillow(images: list[bytes]) -> None:
    """Decode encoded images, the usual way."""
    for image in images:
        np.array(Image.open(io.BytesIO(image)).convert("RGB"))


def read_all(reader: ImageReader, order: list[int]) -> None:
    """Fetch the encoded bytes only."""
    for index in order:
        reader.encoded(index)


def large_records(path: Path, images: list[bytes], gigabytes: float) -> Path:
    """A record file of this size, of the images again and again."""
    records = [record_bytes(pack_image(i, i, image)) for i, image in enumerate(images)]
    block = b"".join(records)
    with path.open("wb") as file:
        while file.tell() < gigabytes * 2**30:
            file.write(block)
    return path


def read_blocks(path: Path) -> int:
    """The whole file, front to back."""
    with path.open("rb") as file:
        return sum(len(block) for block in iter(lambda: file.read(_BLOCK), b""))


def scan(path: Path) -> None:
    """Every record of a file."""
    deque(stream_records(path), maxlen=0)


def shown(name: str, ratios: list[float]) -> str:
    """Median and spread."""
    ordered = sorted(ratios)
    return f"{name:<38} {ordered[len(ordered) // 2]:.3f}  ({ordered[0]:.3f}–{ordered[-1]:.3f})"


def measure(source: ImageReader, folder: Path, rounds: int, gigabytes: float) -> dict[str, list[float]]:
    """All ratios by name, and speeds."""
    readers = {}
    for form in FORMS:
        convert(source, folder / form, form)
        readers[form] = open_reader(folder / form)
    order = np.random.default_rng(0).permutation(len(source)).tolist()
    in_memory = [source.encoded(i) for i in range(len(source))]

    def decode() -> None:
        for index in order:
            decode_image(in_memory[index])

    for reader in readers.values():
        read_all(reader, order)  # into the system's cache
    accesses = in_turn(rounds, decode, {form: partial(decode_all, reader, order) for form, reader in readers.items()})
    verifying = in_turn(rounds, decode, {"verify": lambda: verify(readers["rec"])})
    by_pillow = in_turn(rounds, decode, {"pillow": lambda: decode_by_pillow(in_memory)})
    found = {f"{form}_decode_over_memory": accesses[form] for form in FORMS} | {"verify_over_decode": verifying["verify"]}
    found["decode_time_over_pillow"] = by_pillow["pillow"]
    found["decodes_per_second"] = [len(order) / one for one in accesses[""]]
    for form, reader in readers.items():
        found[f"{form}_reads_per_second"] = [len(order) / seconds(partial(read_all, reader, order)) for _ in range(rounds)]
    large = large_records(folder / "large.rec", in_memory, gigabytes)
    read_blocks(large)
    scans = in_turn(rounds, lambda: read_blocks(large), {"scan": lambda: scan(large)})
    size = large.stat().st_size / 2**30
    return found | {"scan_over_read": scans["scan"], "read_gib_per_second": [size / one for one in scans[""]]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        source = open_reader(arguments.data or random_faces(root / "faces"))
        part = Subset(source, np.arange(min(arguments.images, len(source))))
        found = measure(part, root, arguments.rounds, arguments.gigabytes)
        size = float(np.mean([len(part.encoded(i)) for i in range(100)]))
    for name, values in found.items():
        print(shown(name, values))
    print(machine())
    row = {"images": str(len(part)), "mean_bytes": f"{size:.0f}"}
    for name, values in found.items():
        ordered = sorted(values)
        row[name] = f"{ordered[len(ordered) // 2]:.4g}"
        if "_over_" in name:
            row |= {f"{name}_min": f"{ordered[0]:.4g}", f"{name}_max": f"{ordered[-1]:.4g}"}
    append_row("data_formats", row)


if __name__ == "__main__":
    main()
