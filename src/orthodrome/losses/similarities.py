"""What a tile of proxies yields: cosines, affine logits, or the best of K sub-centres. Always column-local."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from orthodrome.sphere import unit
from orthodrome.types import Similarity, Values


def _unit_query(embeddings: Tensor, state: Mapping[str, Tensor]) -> Tensor:
    return unit(embeddings)


def _raw_query(embeddings: Tensor, state: Mapping[str, Tensor]) -> Tensor:
    return embeddings


def _same(values: Tensor) -> Tensor:
    return values


def cosine(hyper: Values) -> Similarity:
    """⟨x̂, ŵ_j⟩."""
    return Similarity(query=_unit_query, unit_proxies=True, reduce=_same)


def affine(hyper: Values) -> Similarity:
    """W_j·x + b_j: plain softmax, the one row off the sphere."""
    return Similarity(query=_raw_query, unit_proxies=False, reduce=_same, class_bias=True)


def affine_on_sphere(hyper: Values) -> Similarity:
    """W_j·(α·x̂) + b_j: L2-softmax (1703.09507); α is ``scale``, learned where ``learn_scale`` asks for it."""

    def query(embeddings: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        radius = state["scale"].to(embeddings.dtype) if hyper["learn_scale"] else float(hyper["scale"])
        return unit(embeddings) * radius

    return Similarity(query=query, unit_proxies=False, reduce=_same, class_bias=True)


def subcentre(hyper: Values) -> Similarity:
    """max_k ⟨x̂, ŵ_jk⟩ over the K sub-centres of a class; proxies K·j … K·j + K−1 belong to class j (Sub-center
    ArcFace, ECCV 2020).
    """
    count = hyper["subcenters"]
    return Similarity(
        query=_unit_query,
        unit_proxies=True,
        reduce=lambda products: products.unflatten(1, (-1, count)).amax(dim=2),
        per_class=count,
    )
