"""Elementwise work on a tile, compiled to one pass over memory: ``fused(f)`` computes what ``f`` does.

Plain torch reads and writes the tile once per operation, which costs more than the matrix products around it. torch.compile needs a
C++ compiler on a CPU (or triton on a GPU); without one, ``f`` runs as it is, and a warning says so once.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


class _Turns:
    """Any number of threads run compiled programs, or one compiles: torch traces for the whole process, and programs refuse to run then."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._to_compile = 0

    @contextmanager
    def run(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._to_compile)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    @contextmanager
    def compile(self) -> Iterator[None]:
        with self._changed:
            self._to_compile += 1
            try:
                self._changed.wait_for(lambda: not self._running)
                yield
            finally:
                self._to_compile -= 1
                self._changed.notify_all()


_turns = _Turns()


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
        key = (structure, *_compiled_for(), *(_description(leaf) for leaf in leaves))
        if key not in programs and len(programs) < LARGEST_VARIETY:
            with _turns.compile():
                if key not in programs and not _unavailable:
                    programs[key] = _compile(function, leaves, structure)
        if key not in programs:
            return function(*arguments)
        with _turns.run():
            return programs[key](*tensors)

    return run


def reason_of(error: Exception) -> str:
    """The first line of what torch.compile says where it fails."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _compiled_for() -> tuple[Any, ...]:
    """What torch compiles a program anew for, wherever it is run then."""
    return torch.get_num_threads(), torch.is_grad_enabled()


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
