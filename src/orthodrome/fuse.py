"""Elementwise work on a tile, compiled to one pass over memory: ``fused(f)`` computes what ``f`` does.

Plain torch reads and writes the tile once per operation, which costs more than the matrix products around it. torch's compiler needs a
C++ compiler on a CPU (or triton on a GPU); without one, ``f`` runs as it is, and a warning says so once. The graph is traced here and
handed to that compiler itself: calls through torch.compile cost a tenth of a millisecond more, each, to find the program.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

Function = Callable[..., Any]

SMALLEST = 2**16
"""Elements of the largest argument from which compiling (a second or two, kept on disk by torch) is worth its while."""

LARGEST_VARIETY = 16
"""Different shapes compiled for one function; what comes after runs as it is."""

OPTIONS = {
    "realize_reads_threshold": 1000,
    "realize_cpu_opcount_threshold": 1000,
    "realize_cpu_acc_reads_threshold": 1000,
    "cpp.enable_floating_point_contract_flag": "fast",
}
"""For torch's compiler, as far as its version knows them: what two loops need is computed in each (kept by the first it would be another
tile in memory), and a product and a sum may be one instruction.
"""

_unavailable: list[str] = []
_compiling = threading.Lock()


def fused(function: Function) -> Function:
    """``function`` of tensors, numbers, None, and lists or dictionaries of these, without gradient; compiled per shape where it pays.

    The function may differentiate inside, and write into its arguments. Its values that are not tensors are constants of what is compiled.
    """
    programs: dict[Any, Function] = {}

    def run(*arguments: Any) -> Any:
        leaves: list[Any] = []
        structure = _flattened(arguments, leaves)
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        if _unavailable or max(tensor.numel() for tensor in tensors) < SMALLEST:
            return function(*arguments)
        # torch compiles a program for a number of threads
        key = (structure, torch.get_num_threads(), *(_description(leaf) for leaf in leaves))
        if key not in programs and len(programs) < LARGEST_VARIETY:
            with _compiling:
                if key not in programs and not _unavailable:
                    programs[key] = _compile(function, arguments)
        return programs[key](*tensors) if key in programs else function(*arguments)

    return run


def _flattened(value: Any, leaves: list[Any]) -> Any:
    """Adds what is no list, tuple or dictionary to ``leaves``, in order; the structure, hashable. Faster than torch's pytree."""
    kind = type(value)
    if kind is dict:
        return tuple(value), tuple([_flattened(part, leaves) for part in value.values()])
    if kind is tuple or kind is list:
        return kind, tuple([_flattened(part, leaves) for part in value])
    leaves.append(value)
    return None


def _restored(structure: Any, leaves: Iterator[Any]) -> Any:
    """What `_flattened` took apart."""
    if structure is None:
        return next(leaves)
    kind, parts = structure
    values = [_restored(part, leaves) for part in parts]
    return kind(values) if isinstance(kind, type) else dict(zip(kind, values, strict=True))


def reason_of(error: Exception) -> str:
    """The first line of what torch.compile says where it fails."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _description(leaf: Any) -> Any:
    return (leaf.shape, leaf.stride(), leaf.dtype, leaf.device) if isinstance(leaf, Tensor) else leaf


def _options() -> dict[str, Any]:
    """`OPTIONS`, those that this version of torch knows."""
    from torch._inductor import config

    places = {name: config.cpp if name.startswith("cpp.") else config for name in OPTIONS}
    return {name: value for name, value in OPTIONS.items() if hasattr(places[name], name.removeprefix("cpp."))}


def _compile(function: Function, arguments: Any) -> Function:
    """A function of the tensors among ``arguments``; ``function`` itself where this machine cannot compile."""
    leaves: list[Any] = []
    structure = _flattened(arguments, leaves)
    places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    results: list[Any] = []

    def of_tensors(*tensors: Tensor) -> list[Any]:
        filled = list(leaves)
        for place, tensor in zip(places, tensors, strict=True):
            filled[place] = tensor
        values: list[Any] = []
        results[:] = [_flattened(function(*_restored(structure, iter(filled))), values)]
        return values

    tensors = [leaves[place].detach() for place in places]
    for place in places:
        leaves[place] = None  # not kept alive by the program
    try:
        from torch._inductor import compile as compile_graph  # takes more than a second

        with torch.no_grad():
            graph = make_fx(of_tensors, tracing_mode="fake", _allow_non_fake_inputs=True)(*tensors)  # runs nothing: it may write
            program: Function = compile_graph(graph, tensors, options=_options())
    except Exception as error:  # whatever a missing or broken compiler raises
        reason = reason_of(error)
        _unavailable.append(reason)
        warnings.warn(
            f"tiles are computed without torch's compiler, at 1.3 to 2 times the time: {reason}. On a CPU it needs a C++ compiler (g++)",
            RuntimeWarning,
            stacklevel=2,
        )
        program = of_tensors

    def run(*tensors: Tensor) -> Any:
        values = program(*tensors)
        return _restored(results[0], iter(values))

    return run
