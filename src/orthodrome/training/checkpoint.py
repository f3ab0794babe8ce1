"""Checkpoints: everything a killed run needs to go on as if it had not been killed, also on another number of processes.

``checkpoint.pt`` is what rank 0 knows: network, its part of the head and of what the optimizer keeps, position, metrics. Where there are
more processes, it names a file for each of the others, with the rows of the classes only that process holds. Those are written first,
under names of this step, and renamed into place; ``checkpoint.pt`` last: a run killed at any time leaves one that is whole. Nobody
ever holds more than its own classes: who reads maps the files into memory and copies the rows it needs.

torch.distributed.checkpoint is not used: it splits a table as torch.chunk does, which may leave a process without a class, and writes
over the files of the checkpoint before.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from orthodrome.files import write_file
from orthodrome.heads import ProxyHead
from orthodrome.heads.prototypes import shard_of
from orthodrome.training.loop import Learner, Position, check_weights
from orthodrome.training.processes import by_first
from orthodrome.training.random_state import random_state, seed_apart, set_random_state
from orthodrome.types import InputError

FORMAT = "orthodrome-checkpoint-1"

Place = tuple[dict[str, Any], str]
"""A mapping and a key: where in the state of a head or an optimizer a tensor stands."""


def save_checkpoint(path: Path, learner: Learner, position: Position, history: list[dict[str, Any]]) -> Path:
    """Network, head with the state of its loss, optimizer, position in the order of the samples, random state, and the metrics so far.

    Every process of the run must call it. Raises InputError, on all, when a disk is full or not writable, and TrainingDiverged where the
    weights are not finite; the checkpoint before it stays whole.
    """
    learner.team.everywhere(lambda: check_weights(learner, position))
    team, head, optimizer = learner.team, learner.head.state_dict(), learner.optimizer.state_dict()
    others = [f"{path.stem}-step{position.step}-rank{rank}of{team.size}.pt" for rank in range(1, team.size)]
    part = {"format": FORMAT, "random": random_state(learner.device)}

    def write_part() -> None:
        if team.rank:
            rows = {name: mapping[key] for name, (mapping, key) in _places(head, optimizer, learner).items()}
            _write(path.with_name(others[team.rank - 1]), {**part, "rows": rows})

    def write_whole() -> None:
        whole = {"backbone": learner.network.state_dict(), "head": head, "optimizer": optimizer}
        where = {"position": asdict(position), "history": history, "images": learner.images, "order": _order(learner)}
        _write(path, {**part, **whole, **where, "others": others})
        for file in path.parent.glob(f"{path.stem}-step*-rank*of*.pt"):
            if file.name not in others:
                file.unlink()

    team.everywhere(write_part)
    by_first(team, write_whole)
    return path


def load_checkpoint(path: Path, learner: Learner) -> tuple[Position, list[dict[str, Any]]]:
    """Put a checkpoint into ``learner`` and the random generators; returns its position and metrics.

    Raises InputError when a file is missing, is no checkpoint, or belongs to another network, loss or set of images.
    """
    content = _read(path, "a run writes its first one after checkpoint_every steps")
    _check_images(path, content.get("images", learner.images), learner.images)  # earlier versions did not say
    _check_order(path, content.get("order", _order(learner)), _order(learner))
    others = [
        _read(path.with_name(name), f"{path.name} of a run on several processes needs it") for name in content.get("others", [])
    ]
    _load_module(learner.network, content["backbone"], path, "network")
    _take_own_rows(content, [other["rows"] for other in others if other["rows"]], learner, path)
    _load_module(learner.head, content["head"], path, "head")
    _load_optimizer(learner.optimizer, content["optimizer"], path)
    position, rank = Position(**content["position"]), learner.team.rank
    if rank <= len(others):
        set_random_state([content, *others][rank]["random"], learner.device)
    else:
        seed_apart(learner.recipe.seed, rank, position.step)
    return position, list(content["history"])


def _order(learner: Learner) -> dict[str, int]:
    """What of a recipe decides which images the steps to come will see."""
    return {"seed": learner.recipe.seed, "batch_size": learner.recipe.batch_size}


def _check_order(path: Path, before: Mapping[str, int], now: Mapping[str, int]) -> None:
    for key, value in before.items():
        if now[key] != value:
            raise InputError(
                f"{path}: its run has {key} {value}, the recipe now {now[key]}: its position in the order of the images would be another "
                f"one. Set {key} back, or begin a new run"
            )


def _load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any], path: Path) -> None:
    """The moments of the checkpoint; momentum, decay and all other settings as the recipe has them now."""
    settings = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    if [group.keys() for group in settings] != [group.keys() - {"params"} for group in state["param_groups"]]:
        raise InputError(f"{path}: the optimizer of the checkpoint is another one than the recipe's; use the recipe of its run")
    try:
        optimizer.load_state_dict(state)
    except ValueError as error:
        raise InputError(f"{path}: the optimizer of the checkpoint is another one: {error}") from None
    for group, own in zip(optimizer.param_groups, settings, strict=True):
        group.update(own)


def _check_images(path: Path, before: str, now: str) -> None:
    if before != now:
        raise InputError(
            f"{path}: its run was trained on {before}, but the set has {now} now: the order of the images would be another one. "
            "Restore the set and its quarantine list as they were, or begin a new run"
        )


def _places(head: dict[str, Any], optimizer: dict[str, Any], learner: Learner) -> dict[str, Place]:
    """Where in ``head`` and ``optimizer`` the tensors stand that have rows of their own for each class this process holds."""
    order = [id(parameter) for group in learner.optimizer.param_groups for parameter in group["params"]]
    places: dict[str, Place] = {}
    for name in learner.head.class_rows:
        if name in head:
            places[name] = head, name
        state = optimizer["state"].get(order.index(id(learner.head.get_parameter(name))), {})
        kept = [key for key, value in state.items() if isinstance(value, Tensor) and value.ndim]
        places |= {f"{name}/{key}": (state, key) for key in kept}
    return places


def _take_own_rows(content: dict[str, Any], others: list[Mapping[str, Tensor]], learner: Learner, path: Path) -> None:
    """Copy what is needed out of the file: of the rows of classes those this process holds, of the optimizer all the rest."""
    head, places = learner.head, _places(content["head"], content["optimizer"], learner)
    if isinstance(head, ProxyHead) and places:
        first = {name: mapping[key] for name, (mapping, key) in places.items()}
        entries = {name: head.class_rows[name.split("/")[0]] for name in places}
        try:
            rows = shard_of([first, *others], head.classes, num_classes=head.num_classes, entries=entries)
        except InputError as error:
            raise InputError(
                f"{path}: holds another head than the recipe describes: {error}; use the recipe of its run"
            ) from None
        for name, (mapping, key) in places.items():
            mapping[key] = rows[name]
    taken = {(id(mapping), key) for mapping, key in places.values()}
    for state in content["optimizer"]["state"].values():
        state |= {
            key: value.clone() for key, value in state.items() if isinstance(value, Tensor) and (id(state), key) not in taken
        }


def _write(path: Path, content: dict[str, Any]) -> None:
    write_file(path, lambda file: torch.save(content, file))


def _read(path: Path, why: str) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such checkpoint; {why}") from None
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError, LookupError) as error:
        raise InputError(f"{path}: cannot be read as a checkpoint: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path}: not a checkpoint of this version (expected format {FORMAT!r})")
    return content


def _load_module(module: nn.Module, tensors: dict[str, Tensor], path: Path, what: str) -> None:
    expected = module.state_dict()
    for name in [*expected, *tensors]:
        here, there = expected.get(name), tensors.get(name)
        if here is None or there is None or not _fits(here, there):
            raise InputError(
                f"{path}: holds another {what} than the recipe describes: {name!r} is {_shape(there)} in the checkpoint and "
                f"{_shape(here)} in the recipe; use the recipe of the run it comes from"
            )
    module.load_state_dict(tensors)


def _fits(here: Tensor, there: Tensor) -> bool:
    """Of one shape, or to be filled: a memory has no dimension before its first embedding."""
    return here.shape == there.shape or (here.numel() == 0 and here.shape[:1] == there.shape[:1])


def _shape(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else str(tuple(tensor.shape))
