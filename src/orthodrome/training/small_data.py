"""Every loss on 30 people with 10 images each: what a row's defaults, made for tens of thousands of identities, need changed.

The network, its input and its schedule are those of the quickstart. What is not listed in ``SMALL_DATA`` stays as the row has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orthodrome import losses
from orthodrome.training.quickstart import RECIPE
from orthodrome.training.recipe import Recipe, parse_recipe
from orthodrome.types import InputError

IMAGES_PER_PERSON = 3
"""Of one person in a batch of a pair loss: two positives for every anchor, and as many other people as a batch can hold."""

OPTIMIZER = {"name": "sgd", "learning_rate": 0.05, "weight_decay": 5e-4}
SHIFT = 6
"""SGD and shift are the same for all rows; the quickstart itself has moved on to AdamW and ±8 pixels."""

# To give the own class a probability of 0.999 at cos θ = 1, the others at 0, takes a scale of about ln(C · 999): 10 for 30 classes,
# where the defaults of 64 are made for 10⁵. A larger scale than needed makes all but the hardest sample weightless.
SCALE = {"scale": 16.0}

# 300 images of 30 people hardly fill the sphere; half the published margin, or less, is one that the network can reach for strangers too.
ANGLE = {**SCALE, "margin": 0.2}
COSINE = {**SCALE, "margin": 0.2}

# A run has a few hundred steps. λ = max(5, 1000/(1 + 0.12·step)) would still stand near 30 at its end, and ψ would never be seen:
# it starts where the published annealing ends.
ANNEALED = {"annealing_lambda": 5.0}

# One positive against 29 negatives: (C − 1)/C makes both sides weigh the same, where 0.7 leaves the negatives 12 times heavier; with r = 1
# the least loss would then be that of a collapse (see DOES_NOT_LEARN).
BALANCED = {"lam": "balanced"}

SMALL_DATA: Mapping[str, Mapping[str, Any]] = {
    "softmax": {},
    "l2_softmax": {},
    "modified_softmax": {},
    "normface": SCALE,
    "a_softmax": ANNEALED,
    "sphereface_r": {"scale": 16.0},
    "cosface": COSINE,
    "arcface": ANGLE,
    "combined_margin": {**SCALE, "m2": 0.15, "m3": 0.1},  # both margins halved, as above
    "adacos": {},
    "hm_softmax": SCALE,
    "f_softmax": SCALE,
    "mining_margin": COSINE,
    "sv_softmax": SCALE,
    "sv_a_softmax": {**SCALE, **ANNEALED},
    "sv_am_softmax": COSINE,
    "sv_arc_softmax": ANGLE,
    "curricularface": ANGLE,
    # margins around 0.2; λ_g as much smaller as the scale, so that the reward for the norm keeps its share
    "magface": {**SCALE, "l_margin": 0.15, "u_margin": 0.3, "lambda_g": 9.0},
    "adaface": COSINE,
    "elastic_arcface": ANGLE,
    "elastic_cosface": COSINE,
    "subcenter_arcface": {**ANGLE, "subcenters": 2},  # ten images of a person do not fill three sub-centres
    "circle_proxy": {"scale": 32.0},  # its own weights, up to 1.25, multiply the scale once more
    "center": {},
    "sphereface2": {**BALANCED, "margin": 0.2},
    "uniface": COSINE,
    "sphereface2_naive": {},
    "sphereface2_b": BALANCED,
    # without margin and bias its boundary is cos θ = 0, and at r = 40 a sample is done with at cos θ = 0.1: a smaller r goes on pulling
    # (changed after a first run on this split ended at 13.8 %)
    "sphereface2_e": {**BALANCED, "scale": 8.0},
    "sphereface2_a": {
        **BALANCED,
        "scale": 8.0,
        "margin": 0.2,
    },  # r as in the stage before: 40 ended at raw pixels, 10.2 and 16.8 %
    "sphereface2_bias": {**BALANCED, "scale": 8.0, "margin": 0.2},
    "contrastive": {},
    "triplet": {},
    "n_pair": {},
    # plain distances reach from 0 to 2 only, and their logsumexp is nearly flat (12.7 % after 40 epochs, above raw pixels)
    "lifted_structure": {"distance": "squared_euclidean"},
    "nt_xent": {},
    "supcon": {},
    "circle_pair": {},
}
"""Hyper-parameters of each loss where they depart from its defaults; ``learning_rate`` is that of the optimizer."""

DOES_NOT_LEARN: Mapping[str, str] = {
    "sphereface2_naive": "the least loss is a collapse. With r = 1, no λ and no bias, 29 negatives outweigh the one positive: all "
    "embeddings in one point and all proxies opposite cost 29·ζ(−1) + ζ(1) = 10.4 a sample, classes as far apart as 30 can be cost "
    "ζ(−1) + 29·ζ(−1/29) = 19.9. It is the stage that λ (`sphereface2_b`) mends.",
}
"""Losses that no setting of theirs makes learn on this data, and why."""


def small_data_recipe(name: str, *, seed: int = 0, epochs: int | None = None) -> Recipe:
    """Network, input and schedule of the quickstart with the loss ``name`` and its settings of ``SMALL_DATA``.

    A pair loss gets batches of identities, as many images in all as the others. ``epochs``: None keeps the quickstart's; fewer
    shorten its warm-up in proportion. Raises InputError for a loss without settings here.
    """
    if name not in SMALL_DATA:
        raise InputError(f"{name!r} has no settings for small data; known: {', '.join(SMALL_DATA)}")
    settings = dict(SMALL_DATA[name])
    optimizer = dict(OPTIMIZER)
    if "learning_rate" in settings:
        optimizer["learning_rate"] = settings.pop("learning_rate")
    changes = {"name": f"small-data-{name}", "seed": seed, "loss": {"name": name, **settings}, "optimizer": optimizer}
    return parse_recipe({**RECIPE, **changes, "data": _data(name), "schedule": _schedule(epochs)}, "small data")


def _section(name: str) -> dict[str, Any]:
    return dict(RECIPE.get(name, {}))  # type: ignore[call-overload]


def _data(name: str) -> dict[str, Any]:
    data = {**_section("data"), "shift": SHIFT}
    if name not in losses.pair_names():
        return data
    people = parse_recipe(RECIPE, "quickstart").batch_size // IMAGES_PER_PERSON
    return {**data, "sampler": "identities", "people": people, "images_per_person": IMAGES_PER_PERSON}


def _schedule(epochs: int | None) -> dict[str, Any]:
    schedule = _section("schedule")
    if epochs is None:
        return schedule
    warmup = schedule.get("warmup_epochs", 0) * min(1, epochs / schedule["epochs"])
    return {**schedule, "epochs": epochs, "warmup_epochs": warmup}
