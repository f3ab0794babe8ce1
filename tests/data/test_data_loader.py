"""The loader: the same batches however they are made, and errors that stay one line."""

from __future__ import annotations

import errno
import os
import threading
from contextlib import nullcontext
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from orthodrome.data import (
    Augmentation,
    EpochSampler,
    MemoryReader,
    PKSampler,
    SequentialSampler,
    available_memory,
    cache,
    cache_bytes,
    create_loader,
    load_cache,
    open_reader,
    parallel,
    wants_cache,
)
from orthodrome.data.parallel import map_in_processes
from orthodrome.types import Batch, InputError

SIZE = (12, 8)


def same(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(getattr(a, part), getattr(b, part))
        for a, b in zip(first, second, strict=True)
        for part in ("images", "labels", "indices")
    )


def batches(root: Path, epoch: int = 2, start: int = 0, batch: int = 3, **options: object) -> list[Batch]:
    reader = open_reader(root)
    sampler = EpochSampler(len(reader), batch, seed=5, drop_last=False)
    loader = create_loader(reader, sampler, SIZE, augmentation=Augmentation(), seed=5, **options)  # type: ignore[arg-type]
    assert len(loader) == len(sampler)
    return list(loader.batches(epoch, start))


def test_what_a_batch_holds(identities: Path) -> None:
    reader = open_reader(identities)
    loader = create_loader(reader, SequentialSampler(10, 4), SIZE, workers=0, cache=False)
    made = list(loader.batches(0))
    assert [len(b.labels) for b in made] == [4, 4, 2]
    for batch in made:
        assert (batch.images.dtype, batch.labels.dtype, batch.indices.dtype) == (torch.uint8, torch.int64, torch.int64)
        assert batch.images.shape == (len(batch.labels), 3, *SIZE)
        assert batch.images.is_contiguous()
        for image, label, index in zip(batch.images, batch.labels, batch.indices, strict=True):
            assert label == reader.labels[index]
            np.testing.assert_array_equal(image.permute(1, 2, 0), reader.image(int(index), SIZE))


def test_bit_identical_with_any_number_of_workers_and_with_the_cache(identities: Path) -> None:
    plain = batches(identities, workers=0, cache=False)
    assert same(plain, batches(identities, workers=1, cache=False))
    assert same(plain, batches(identities, workers=2, cache=False, prefetch=1))
    assert same(plain, batches(identities, workers=0, cache=True))
    assert same(plain, batches(identities, workers=2, cache=True, prefetch=0))
    assert same(plain, batches(identities, workers=2, cache="disk"))
    assert not same(plain, batches(identities, epoch=3, workers=0, cache=False))


def test_spawned_workers_make_the_same_batches(identities: Path) -> None:
    spawned = batches(identities, workers=1, cache=False, start_method="spawn")
    assert same(batches(identities, workers=0, cache=False), spawned)


@pytest.mark.parametrize("options", [{"workers": 2, "cache": False}, {"workers": 0, "cache": True}])
def test_resume_in_the_middle_of_an_epoch(identities: Path, options: dict[str, object]) -> None:
    whole = batches(identities, **options)
    assert same(whole[2:], batches(identities, start=2, **options))


def test_augmentation_of_an_image_does_not_depend_on_its_batch(identities: Path) -> None:
    by_index = {}
    for size in (1, 3, 10):
        for batch in batches(identities, batch=size, workers=0, cache=False):
            for image, index in zip(batch.images, batch.indices.tolist(), strict=True):
                assert torch.equal(by_index.setdefault(index, image), image)
    assert len(by_index) == 10


@pytest.mark.parametrize("options", [{"workers": 2, "cache": False}, {"workers": 1, "cache": True}])
def test_global_random_state_is_left_alone(identities: Path, options: dict[str, object]) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    batches(identities, **options)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    "options",
    [
        {"workers": 0, "cache": False},
        {"workers": 2, "cache": False},
        {"workers": 2, "cache": True},
        {"workers": 0, "cache": True},
    ],
)
def test_a_damaged_image_stops_with_file_and_reason(identities: Path, options: dict[str, object]) -> None:
    bad = identities / "cleo" / "2.jpg"
    bad.write_bytes(bad.read_bytes()[:-200])
    with pytest.raises(InputError) as caught:
        batches(identities, **options)
    assert str(caught.value).startswith(f"{bad}: the image is damaged: ")
    assert "\n" not in str(caught.value)


def test_good_batches_before_the_damaged_one_are_delivered(identities: Path) -> None:
    (identities / "cleo" / "4.jpg").write_text("not a picture")
    loader = create_loader(open_reader(identities), SequentialSampler(10, 3), SIZE, workers=2, cache=False)
    stream = loader.batches(0)
    assert [len(b.labels) for b in islice(stream, 3)] == [3, 3, 3]
    with pytest.raises(InputError, match=r"4\.jpg: not an image"):
        next(stream)


def test_pk_batches_through_the_loader(identities: Path) -> None:
    reader = open_reader(identities)
    loader = create_loader(reader, PKSampler(reader.labels, 3, 2), SIZE, workers=0)
    for batch in loader.batches(0):
        assert torch.unique(batch.labels, return_counts=True)[1].tolist() == [2, 2, 2]


def test_stopping_early_leaves_no_thread(identities: Path) -> None:
    before = threading.active_count()
    loader = create_loader(open_reader(identities), SequentialSampler(10, 1), SIZE, workers=0)
    stream = loader.batches(0)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_thread_works_ahead_and_in_order() -> None:
    done: list[int] = []
    stream = parallel.map_in_thread(lambda task: done.append(task) or task, range(10), ahead=3)
    assert next(stream) == 0
    assert list(stream) == list(range(1, 10))
    assert done == list(range(10))


# ---------------------------------------------------------------------------------------------------------------- cache


def test_cache_reports_progress_and_equals_the_reader(identities: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_CHUNK", 4)
    reader = open_reader(identities)
    calls: list[tuple[int, int]] = []
    kept = load_cache(reader, SIZE, workers=2, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(4, 10), (8, 10), (10, 10)]
    assert kept.dtype == np.uint8
    assert kept.nbytes == cache_bytes(10, SIZE)
    for index in range(10):
        np.testing.assert_array_equal(kept[index].transpose(1, 2, 0), reader.image(index, SIZE))


def test_cache_is_chosen_by_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = cache_bytes(1000, (64, 64))
    for free, auto in ((4 * needed, True), (4 * needed - 1, False), (None, False)):
        monkeypatch.setattr(cache, "available_memory", lambda free=free: free)
        assert wants_cache("auto", 1000, (64, 64)) is auto
        assert wants_cache(False, 1000, (64, 64)) is False
        assert wants_cache(True, 1000, (64, 64)) is True
        assert wants_cache("auto", 250, (64, 64), processes=4) is auto, "four processes keep one each"
    monkeypatch.setattr(cache, "available_memory", lambda: needed - 1)
    with pytest.raises(InputError, match="does not fit"):
        wants_cache(True, 1000, (64, 64))
    with pytest.raises(InputError, match="cache must be 'auto', 'disk', True or False; got 'yes'"):
        wants_cache("yes", 1, (1, 1))  # type: ignore[arg-type]


def test_cache_on_disk_leaves_no_file_and_asks_for_room(
    identities: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    reader = open_reader(identities)
    kept = load_cache(reader, SIZE, workers=0, on_disk=True)
    assert isinstance(kept, np.memmap)
    np.testing.assert_array_equal(kept, load_cache(reader, SIZE, workers=0))
    assert not list((tmp_path / "temporary").iterdir())
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 100}))
    with pytest.raises(InputError, match=r"does not fit in the 0\.0 GiB free in .*temporary; set TMPDIR"):
        load_cache(reader, SIZE, workers=0, on_disk=True)


def test_cache_on_disk_is_reserved_before_it_is_written(
    identities: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several processes may see the same free room; a write through the map of one that has none would end in SIGBUS."""
    asked: list[int] = []

    def full(descriptor: int, offset: int, length: int) -> None:
        asked.append(length)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match=r"does not fit in the .* free in .*; set TMPDIR .*\(No space left on device\)"):
        load_cache(open_reader(identities), SIZE, workers=0, on_disk=True)
    assert asked == [cache_bytes(10, SIZE)]


def test_batches_are_pinned_where_there_is_a_gpu(identities: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = batches(identities, workers=0)
    moved: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 5)
    devices: list[int] = []
    monkeypatch.setattr(torch.cuda, "device", lambda device: devices.append(device) or nullcontext())
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: moved.append(tensor.numel()) or tensor)
    assert same(plain, batches(identities, workers=0))
    assert len(moved) == 2 * len(plain), "images and labels of each batch"
    assert devices == [5] * len(plain), "on the GPU of this process, not on the first"


@pytest.mark.parametrize(("processors", "processes", "workers"), [(8, 1, 8), (64, 1, 16), (64, 8, 8), (2, 8, 1)])
def test_processes_of_a_machine_share_its_processors(
    processors: int, processes: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orthodrome.data.loader.available_processors", lambda: processors)
    reader = MemoryReader(np.zeros((4, 2, 2, 3), np.uint8), [0, 0, 1, 1])
    assert create_loader(reader, SequentialSampler(4, 1), (2, 2), cache=False, processes=processes).workers == workers


def test_workers_do_not_hear_signals_to_the_group_of_their_caller() -> None:
    """torchrun signals whole groups; a worker that dies of it would tear a step apart."""
    groups = set(map_in_processes(lambda task: os.getpgrp(), range(4), workers=2, start_method="fork"))
    assert len(groups) == 2
    assert os.getpgrp() not in groups


def test_available_memory_reads_the_system_and_its_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (available_memory() or 2**20) >= 2**20
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  9 kB\nMemAvailable:    2048 kB\n")
    assert cache._meminfo(str(meminfo)) == 2048 * 1024
    assert cache._meminfo(str(tmp_path / "none")) is None
    monkeypatch.setattr(cache, "_CONTAINERS", ((str(tmp_path), "memory.max", "memory.current"),))
    monkeypatch.setattr(cache, "_meminfo", lambda: 1000)
    (tmp_path / "memory.current").write_text("500\n")
    (tmp_path / "memory.stat").write_text("anon 300\ninactive_file 150\nactive_file 50\n")
    for text, expected in (("max\n", 1000), ("600\n", 250), ("300\n", 0), ("5000\n", 1000)):
        (tmp_path / "memory.max").write_text(text)
        assert available_memory() == expected, "the limit less what is used and not given back"
    (tmp_path / "memory.max").write_text("600")
    (tmp_path / "memory.stat").write_text("inactive_file 0\ntotal_inactive_file 350\n")
    assert available_memory() == 450, "cgroup 1"


# --------------------------------------------------------------------------------------------------------------- errors


def test_wrong_arguments() -> None:
    reader = MemoryReader(np.zeros((4, 2, 2, 3), np.uint8), [0, 0, 1, 1])
    with pytest.raises(InputError, match="orders 5 images but the reader has 4"):
        create_loader(reader, SequentialSampler(5, 1), (2, 2))
    for wrong in ({"workers": -1}, {"prefetch": -1}):
        with pytest.raises(InputError, match="must be ≥ 0"):
            create_loader(reader, SequentialSampler(4, 1), (2, 2), **wrong)  # type: ignore[arg-type]
    loader = create_loader(reader, SequentialSampler(4, 1), (2, 2), workers=0)
    with pytest.raises(InputError, match=r"start must be in \[0, 4\]"):
        loader.batches(0, 5)
