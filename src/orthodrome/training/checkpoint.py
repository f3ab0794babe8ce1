"""Checkpoints: everything a killed run needs to go on as if it had not been killed. Written beside and renamed."""

from __future__ import annotations

import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from orthodrome.files import write_file
from orthodrome.training.loop import Learner, Position
from orthodrome.types import InputError

FORMAT = "orthodrome-checkpoint-1"


def save_checkpoint(path: Path, learner: Learner, position: Position, history: list[dict[str, Any]]) -> Path:
    """Network, head with the state of its loss, optimizer, position in the order of the samples, random state, and the metrics so far.

    Raises InputError when the disk is full or not writable; the checkpoint before it stays whole.
    """
    content = {
        "format": FORMAT,
        "backbone": learner.backbone.state_dict(),
        "head": learner.head.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "position": asdict(position),
        "random": random_state(),
        "history": history,
    }
    return write_file(path, lambda file: torch.save(content, file))


def load_checkpoint(path: Path, learner: Learner) -> tuple[Position, list[dict[str, Any]]]:
    """Put a checkpoint into ``learner`` and the random generators; returns its position and metrics.

    Raises InputError when the file is missing, is no checkpoint, or belongs to another network, loss or set of classes.
    """
    content = _read(path)
    _load_module(learner.backbone, content["backbone"], path, "network")
    _load_module(learner.head, content["head"], path, "head")
    try:
        learner.optimizer.load_state_dict(content["optimizer"])
    except ValueError as error:
        raise InputError(f"{path}: the optimizer of the checkpoint is another one: {error}") from None
    set_random_state(content["random"])
    return Position(**content["position"]), list(content["history"])


def random_state() -> dict[str, Any]:
    """State of torch's generators (the order of samples and their augmentation depend on seed and position alone)."""
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []}


def set_random_state(state: dict[str, Any]) -> None:
    """Put back what `random_state` returned."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


def _read(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such checkpoint; a run writes its first one after checkpoint_every steps") from None
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError, LookupError) as error:
        raise InputError(f"{path}: cannot be read as a checkpoint: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path}: not a checkpoint of this version (expected format {FORMAT!r})")
    return content


def _load_module(module: nn.Module, tensors: dict[str, torch.Tensor], path: Path, what: str) -> None:
    expected = module.state_dict()
    for name in [*expected, *tensors]:
        here, there = expected.get(name), tensors.get(name)
        if here is None or there is None or here.shape != there.shape:
            raise InputError(
                f"{path}: holds another {what} than the recipe describes: {name!r} is {_shape(there)} in the checkpoint and "
                f"{_shape(here)} in the recipe; use the recipe of the run it comes from"
            )
    module.load_state_dict(tensors)


def _shape(tensor: torch.Tensor | None) -> str:
    return "absent" if tensor is None else str(tuple(tensor.shape))
