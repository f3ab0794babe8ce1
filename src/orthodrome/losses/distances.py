"""How close two embeddings are, for the pair losses: larger is closer, so that one formula serves similarities and distances.

``(queries (B, D), keys (M, D)) -> closeness (B, M)``. All are of unit vectors, as the losses here live on the sphere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from orthodrome import sphere
from orthodrome.registry import Registry


@dataclass(frozen=True)
class Distance:
    """``closeness`` of queries to keys, and the ``sign`` that turns a margin of the published formula into a closeness.

    A margin on a similarity is a closeness (sign +1); a margin on a distance d is the closeness −d (sign −1).
    """

    closeness: Callable[[Tensor, Tensor], Tensor]
    sign: float


def euclidean(queries: Tensor, keys: Tensor) -> Tensor:
    """−‖x̂ − k̂‖, in [−2, 0]. From differences, not from √(2 − 2·cos), which has no digits left between near neighbours."""
    return -torch.cdist(sphere.unit(queries), sphere.unit(keys), compute_mode="donot_use_mm_for_euclid_dist")


def squared_euclidean(queries: Tensor, keys: Tensor) -> Tensor:
    """−‖x̂ − k̂‖² = 2·cos − 2, in [−4, 0] (FaceNet, 1503.03832)."""
    return 2 * sphere.cosine(queries, keys) - 2


COSINE = Distance(sphere.cosine, 1.0)
EUCLIDEAN = Distance(euclidean, -1.0)
SQUARED_EUCLIDEAN = Distance(squared_euclidean, -1.0)

DISTANCES: Registry[Distance] = Registry("distance")
for _distance, *_names in (
    (COSINE, "cosine", "cosine similarity"),
    (EUCLIDEAN, "euclidean", "euclidean of unit vectors"),
    (SQUARED_EUCLIDEAN, "squared_euclidean", "squared euclidean of unit vectors"),
):
    for _name in _names:
        DISTANCES.add(_name, _distance)
