"""Elementwise work on a tile, compiled to one pass over memory: ``fused(f)`` computes what ``f`` does.

Plain torch reads and writes the tile once per operation, which costs more than the matrix products around it. torch.compile needs a
C++ compiler on a CPU (or triton on a GPU); without one, ``f`` runs as it is, and a warning says so once.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

Function = Callable[..., Any]

SMALLEST = 2**16
"""Elements of the largest argument from which compiling (a second or two, kept on disk by torch) is worth its while."""

LARGEST_VARIETY = 16
"""Different shapes compiled for one function; what comes after runs as it is."""

_unavailable: list[str] = []
_compiling = threading.RLock()  # torch compiles in one thread at a time


def fused(function: Function) -> Function:
    """``function`` of tensors, numbers, None, and lists or dictionaries of these, without gradient; compiled per shape where it pays.

    The function may differentiate inside. Its values that are not tensors are constants of what is compiled.
    """
    programs: dict[Any, Function] = {}

    def run(*arguments: Any) -> Any:
        leaves, structure = pytree.tree_flatten(arguments)
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        if _unavailable or max(tensor.numel() for tensor in tensors) < SMALLEST:
            return function(*arguments)
        key = (structure, *(_description(leaf) for leaf in leaves))
        with _compiling:
            if key not in programs and len(programs) < LARGEST_VARIETY:
                programs[key] = _compile(function, leaves, structure)
        return programs[key](*tensors) if key in programs else function(*arguments)

    return run


def reason_of(error: Exception) -> str:
    """The first line of what torch.compile says where it fails."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _description(leaf: Any) -> Any:
    return (leaf.shape, leaf.stride(), leaf.dtype, leaf.device) if isinstance(leaf, Tensor) else leaf


def _compile(function: Function, leaves: list[Any], structure: Any) -> Function:
    """A function of the tensors among ``leaves``; ``function`` itself where this machine cannot compile."""
    places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]

    def of_tensors(*tensors: Tensor) -> Any:
        filled = list(leaves)
        for place, tensor in zip(places, tensors, strict=True):
            filled[place] = tensor
        return function(*pytree.tree_unflatten(filled, structure))

    tensors = [leaves[place].detach() for place in places]
    for place in places:
        leaves[place] = None  # not kept alive by the program
    try:
        program = torch.compile(make_fx(of_tensors)(*tensors), dynamic=False)
        program(*tensors)
    except Exception as error:  # whatever a missing or broken compiler raises
        reason = reason_of(error)
        _unavailable.append(reason)
        warnings.warn(
            f"tiles are computed without torch.compile, at 1.3 to 2 times the time: {reason}. On a CPU it needs a C++ compiler (g++)",
            RuntimeWarning,
            stacklevel=2,
        )
        return of_tensors
    return program
