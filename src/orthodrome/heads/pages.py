"""Large arrays on huge pages: Linux hands out fresh memory 4 KiB at a time, and the gradient of a million classes takes half a million
such pages at each step.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from functools import cache
from typing import Any

from torch import Tensor

SMALLEST = 2**25
"""Bytes from which an array comes fresh from the system each time; smaller ones are used again by the allocator."""


def on_huge_pages(fresh: Tensor) -> Tensor:
    """``fresh``, not yet written to: the system is asked to back it by huge pages where it can (Linux, memory of the CPU).

    Only advice: without it, or where the system does not follow it, everything works, slower.
    """
    advise = _madvise()
    if advise and fresh.device.type == "cpu" and fresh.nbytes >= SMALLEST:
        start = -(-fresh.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        end = (fresh.data_ptr() + fresh.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
        advise(start, max(end - start, 0), mmap.MADV_HUGEPAGE)
    return fresh


@cache
def _madvise() -> Any:
    """The system's function, None where it has none."""
    if not sys.platform.startswith("linux") or not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    function = getattr(ctypes.CDLL(None), "madvise", None)
    if function is not None:
        function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return function
