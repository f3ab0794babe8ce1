"""ω: re-weights the (B,) vector of losses; the mean of what it returns is the loss of the batch."""

from __future__ import annotations

import torch
from torch import Tensor


def keep_all(losses: Tensor) -> Tensor:
    """ω(ℓ) = ℓ."""
    return losses


def focal(losses: Tensor, *, gamma: float) -> Tensor:
    """Focal weighting per sample, (1 − e^{−ℓ})^γ · ℓ: e^{−ℓ} is the probability of the own class (1708.02002).

    Applied to each sample, never to the mean of the batch, as some toolkits do.
    """
    miss = -torch.expm1(-losses)
    return miss.clamp_min(torch.finfo(losses.dtype).tiny) ** gamma * losses


def hard_mining(losses: Tensor, *, keep: float) -> Tensor:
    """Keep the hardest ``max(1, ⌊keep·B⌋)`` samples of the batch; their mean is the loss (OHEM, 1604.03540; SV-Softmax §2)."""
    count = losses.shape[0]
    kept = max(1, int(keep * count + 1e-9))
    hardest = losses.detach().topk(kept).indices
    mask = torch.zeros_like(losses).scatter_(0, hardest, count / kept)
    return losses * mask
