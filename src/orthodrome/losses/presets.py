"""Named settings of a row: what other toolkits and papers mean by the same name, and in one sentence how each departs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orthodrome.registry import Registry


@dataclass(frozen=True)
class Preset:
    """A named setting of a row, and in one sentence how it departs from the row's defaults."""

    row: str
    hyper: Mapping[str, Any]
    departure: str


PRESETS: Registry[Preset] = Registry("preset")
for _name, _preset in {
    "arcface@insightface-2022": Preset("arcface", {"fallback": "none", "gradient": "detached"},
        "since December 2022 the margin is added to the logits in place, where the backward pass never sees it; no fallback"),
    "arcface@insightface-2021": Preset("arcface", {"fallback": "none", "gradient": "exact"},
        "cos(θ + m) differentiated through acos, without a fallback beyond π"),
    "cosface@insightface": Preset("cosface", {"margin": 0.4}, "margin 0.40 instead of 0.35"),
    "cosface@am-softmax": Preset("cosface", {"scale": 30.0}, "scale 30 instead of 64"),
    "cosface@opensphere": Preset("cosface", {"gradient": "detached"}, "the margin is detached: the gradient is that of s·cos"),
    "arcface@opensphere": Preset("arcface", {"fallback": "clamp_theta", "gradient": "detached"},
        "θ + m is clamped to π and the margin is detached"),
    "arcface@pytorch-metric-learning": Preset("arcface", {"margin": 0.4991641660703783},
        "its default margin is given in degrees, 28.6°"),
    "sphereface2@opensphere": Preset("sphereface2", {"gradient": "detached"}, "the row's defaults, which follow it"),
    "sphereface2@wespeaker": Preset("sphereface2",
        {"scale": 32.0, "margin": 0.2, "bias": 0.0, "loss_weight": 32.0, "gradient": "exact"},
        "scale 32, margin 0.2, no loss weight and no division by the scale, bias starts at 0, φ and ν differentiated"),
    "sphereface2@review": Preset("sphereface2", {"lam": 0.6, "scale": 30.0, "t": 5.0}, "λ 0.6, r 30, t 5"),
    "sphereface2@large-scale": Preset("sphereface2", {"lam": 0.8, "scale": 64.0, "margin": 0.5},
        "λ 0.8, r 64, m 0.5 for hundreds of thousands of classes"),
    "sphereface2@A": Preset("sphereface2", {"variant": "A"}, "additive angular margin, m 0.5, loss weight 10"),
    "sphereface2@M": Preset("sphereface2", {"variant": "M"}, "multiplicative angular margin, m 1.7, loss weight 10"),
    "elastic_arcface@plus": Preset("elastic_arcface", {"plus": True}, "the larger margins go to the harder samples, σ 0.0175"),
    "elastic_cosface@plus": Preset("elastic_cosface", {"plus": True}, "the larger margins go to the harder samples, σ 0.02"),
    "sv_am_softmax@faceX-zoo": Preset("sv_am_softmax", {"t": 1.12}, "t 1.12 instead of 1.2"),
    "triplet@facenet": Preset("triplet", {"mining": "semihard", "distance": "squared_euclidean"},
        "squared distances and semi-hard negatives"),
    "triplet@batch-hard": Preset("triplet", {"mining": "batch_hard"},
        "the farthest positive and the nearest negative of each anchor"),
    "circle_pair@authors": Preset("circle_pair", {"variant": "pooled"}, "all pairs of the batch in one term, m 0.25, γ 256"),
    "lifted_structure@original": Preset("lifted_structure", {"variant": "original"},
        "squared hinge for each positive pair, with the negatives of both ends"),
    "uniface@authors": Preset("uniface", {"clamp": True},
        "logits, margin included, are clamped to ±s and have no gradient outside"),
}.items():  # fmt: skip
    PRESETS.add(_name, _preset)
