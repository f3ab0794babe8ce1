"""Every proxy loss in every named form, and small inputs for them. A new row of the table is tested the day it appears."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from orthodrome import ProxyHead, losses
from orthodrome.heads import engine
from orthodrome.types import LossSpec, Rows

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "l2_softmax learned": ("l2_softmax", {"learn_scale": True}),
    "normface learned": ("normface", {"learn_scale": True}),
    **{f"a_softmax m={m}": ("a_softmax", {"margin": m}) for m in (1, 2, 3)},
    "a_softmax fixed scale": ("a_softmax", {"scale": 30.0, "annealing_lambda": 0.0}),
    "sphereface_r v0": ("sphereface_r", {"version": "v0", "margin": 1.7}),
    "sphereface_r v2": ("sphereface_r", {"version": "v2"}),
    "sphereface_r soft": ("sphereface_r", {"feature_norm": "soft"}),
    **{f"arcface {fallback}": ("arcface", {"fallback": fallback}) for fallback in ("clamp_theta", "cos", "none")},
    "arcface easy": ("arcface", {"easy_margin": True}),
    "combined all": ("combined_margin", {"m1": 0.9, "m2": 0.4, "m3": 0.15}),
    "combined clamp": ("combined_margin", {"m1": 1.2, "m2": 0.4, "m3": 0.15, "fallback": "clamp_theta"}),
    "adacos fixed": ("adacos", {"mode": "fixed"}),
    "mining_margin focal arcface": ("mining_margin", {"base": "arcface", "mining": "focal"}),
    **{f"{row} fixed": (row, {"variant": "fixed"}) for row in ("sv_softmax", "sv_a_softmax", "sv_am_softmax", "sv_arc_softmax")},
    "sphereface2 balanced": ("sphereface2", {"lam": "balanced"}),
    "sphereface2 two margins": ("sphereface2", {"margin_p": 0.3, "margin_n": 0.1, "gradient": "exact"}),
    "uniface clamp": ("uniface", {"clamp": True}),
    "arcface conflict": ("arcface", {"conflict": 0.3}),
    "adacos conflict": ("adacos", {"conflict": 0.2}),
    "sphereface2 conflict": ("sphereface2", {"conflict": 0.1}),
    "arcface composed": ("arcface", {"mining": "focal", "center": 0.01, "inter_class": 0.1}),
}

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in losses.proxy_names()},
    **{name: (name, {}) for name in losses.PRESETS if losses.PRESETS.get(name).row in losses.proxy_names()},
    **VARIANTS,
}

CLASSES, DIMENSION, BATCH = 6, 5, 8


def spec_of(case: str, **hyper: Any) -> LossSpec:
    """The loss of a case."""
    name, given = CASES[case]
    return losses.proxy_loss(name, **{**given, **hyper})


def head_of(case: str, classes: int = CLASSES, dtype: torch.dtype = torch.float64, **hyper: Any) -> ProxyHead:
    """A head of a case, its proxies of ordinary size and its centres away from zero."""
    name, given = CASES[case]
    torch.manual_seed(0)
    head = ProxyHead(name, classes, DIMENSION, **{**given, **hyper})
    torch.nn.init.normal_(head.weight)
    return head.to(dtype)


def inputs(
    batch: int = BATCH, classes: int = CLASSES, dtype: torch.dtype = torch.float64, seed: int = 1
) -> tuple[Tensor, Tensor]:
    """Embeddings with norms from about 5 to 40, and labels."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(batch, DIMENSION, generator=generator, dtype=torch.float64) * torch.linspace(3, 15, batch).unsqueeze(
        1
    )
    labels = torch.randint(classes, (batch,), generator=generator)
    return embeddings.to(dtype).requires_grad_(), labels


def rows_of(embeddings: Tensor, target: Tensor, classes: int = CLASSES) -> Rows:
    """What a margin function sees."""
    return Rows(
        norms=embeddings.norm(dim=1, keepdim=True),
        target=target,
        num_classes=classes,
        negatives=lambda scale: torch.zeros(len(embeddings)),
        draw=lambda shape: torch.zeros(shape, dtype=embeddings.dtype),
    )


def angular_of(head: ProxyHead, embeddings: Tensor, cos_y: Tensor, cos: Tensor) -> tuple[Tensor, Tensor]:
    """φ and ν of a head at given cosines."""
    values = head.spec.margins(rows_of(embeddings, cos_y), dict(head.named_buffers()))
    return head.spec.angular(cos_y, cos, **values)


def cosines(columns: int = 40, seed: int = 2) -> tuple[Tensor, Tensor]:
    """Target cosines (B, 1) and others (B, columns), over all of (−1, 1)."""
    generator = torch.Generator().manual_seed(seed)
    cos_y = torch.linspace(-0.97, 0.97, BATCH, dtype=torch.float64).unsqueeze(1)
    cos = torch.rand(BATCH, columns, generator=generator, dtype=torch.float64) * 1.98 - 0.99
    return cos_y.requires_grad_(), cos.requires_grad_()


def similarities(head: ProxyHead, embeddings: Tensor, proxies: Tensor) -> Tensor:
    """(B, M) of a tile of proxies, without the class bias, which is indexed by class."""
    return engine.similarities(head.spec, head.spec.similarity.query(embeddings, dict(head.named_parameters())), proxies, None)
