"""Advice to the system changes where an array lies, never what it holds."""

from __future__ import annotations

import mmap

import pytest
import torch

from orthodrome.heads import pages

Calls = list[tuple[int, int, int]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What would be told to the system, with arrays of any size taken for large."""
    told: Calls = []
    monkeypatch.setattr(pages, "SMALLEST", 1)
    monkeypatch.setattr(pages, "_madvise", lambda: lambda *arguments: told.append(arguments))
    return told


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="no huge pages on this system")
@pytest.mark.parametrize("count", [1, 1023, 1024, 5000, 1_000_003])
def test_advice_stays_within_the_array(calls: Calls, count: int) -> None:
    fresh = torch.empty(count)
    assert pages.on_huge_pages(fresh) is fresh
    ((start, length, advice),) = calls
    assert start % mmap.PAGESIZE == length % mmap.PAGESIZE == 0
    assert length == 0 or fresh.data_ptr() <= start <= start + length <= fresh.data_ptr() + fresh.nbytes
    assert advice == mmap.MADV_HUGEPAGE


def test_small_arrays_and_other_devices_are_left_alone(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    pages.on_huge_pages(torch.empty(1000, device="meta"))
    monkeypatch.setattr(pages, "SMALLEST", 2**25)
    pages.on_huge_pages(torch.empty(1000))
    assert calls == []


def test_a_system_without_advice_is_no_hindrance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "SMALLEST", 1)
    monkeypatch.setattr(pages, "_madvise", lambda: None)
    assert pages.on_huge_pages(torch.empty(1000)).shape == (1000,)


def test_the_array_can_be_used() -> None:
    values = pages.on_huge_pages(torch.empty(pages.SMALLEST // 4 + 7)).fill_(2)
    assert float(values.sum(dtype=torch.float64)) == 2 * values.numel()
