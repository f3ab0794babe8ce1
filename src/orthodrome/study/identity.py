"""What a cell is: a digest of all that changes its result, so that none is run twice and no old row is taken for another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from orthodrome import losses
from orthodrome.training.recipe import Recipe

PROTOCOL = 1
"""Changed when cells are judged in another way, so that old rows are not taken for new ones."""

SAME_RESULT = ("name", "checkpoint_every", "log", "device", "compile", "evaluation.every", "data.workers", "data.cache")
"""Keys of a recipe that change no result beyond rounding."""

LATER: Mapping[str, Any] = {"head.sharded": True, "sync_batch_norm": False, "data.center_crop": None}
"""Keys that recipes or losses (``loss.key``) have got since rows were first written, with the value that is as if they were not there:
left out of the digest where they have it, so that old rows stay known.
"""


@dataclass(frozen=True)
class Variation:
    """What of the training set a cell sees: ``identities`` people (None: all), a share ``noise`` of their images with the label of
    another, ``unseen_images`` of each kept out; ``held_out`` people, drawn by ``held_out_seed``, are left out before (0: none).
    """

    noise: float = 0.0
    identities: int | None = None
    unseen_images: int = 0
    held_out: int = 0
    held_out_seed: int = 0
    seed: int = 0


def digest(recipe: Recipe, variation: Variation, judge: str, resamples: int) -> str:
    """16 hexadecimal digits of recipe, loss with its defaults, data and judgement."""
    described = recipe.model_dump(mode="json")
    described["loss"] = {"name": recipe.loss.name, **losses.get(recipe.loss.name, **recipe.loss.options).hyper}
    for key in SAME_RESULT:
        _section(described, key).pop(_last(key))
    for key, value in LATER.items():
        if _section(described, key).get(_last(key), value) == value:
            _section(described, key).pop(_last(key), None)
    content = {"recipe": described, "data": asdict(variation), "judge": judge, "resamples": resamples, "protocol": PROTOCOL}
    return hashlib.sha256(json.dumps(_plain(content), sort_keys=True, default=str).encode()).hexdigest()[:16]


def _plain(content: Any) -> Any:
    """The same with 3.0 written as 3, which is the same setting."""
    if isinstance(content, Mapping):
        return {key: _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    return int(content) if isinstance(content, float) and content.is_integer() else content


def _section(described: dict[str, Any], key: str) -> dict[str, Any]:
    for parent in key.split(".")[:-1]:
        described = described[parent]
    return described


def _last(key: str) -> str:
    return key.rpartition(".")[2]
