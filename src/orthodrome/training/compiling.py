"""The network compiled by torch.compile, where a recipe says so."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from orthodrome.fuse import reason_of
from orthodrome.types import InputError


def compiled(network: nn.Module, device: torch.device) -> nn.Module:
    """``network`` with its elementwise layers fused into few passes over memory, sharing its weights; its first step takes a while.

    Raises InputError where this machine cannot compile.
    """
    _require_compiler(device)
    return cast("nn.Module", torch.compile(network, dynamic=False))


def _require_compiler(device: torch.device) -> None:
    """A small program is compiled first: a missing compiler is told in one line, and before images are decoded."""
    try:
        torch.compile(_probe)(torch.ones(64, device=device))
    except Exception as error:  # whatever a missing or broken compiler raises
        needed = "triton" if device.type == "cuda" else "a C++ compiler (g++)"
        raise InputError(
            f"compile: true, and torch.compile does not work here: {reason_of(error)}. It needs {needed}; or train without it: "
            "--set compile=false"
        ) from None


def _probe(values: torch.Tensor) -> torch.Tensor:
    return values.cos() + 1
