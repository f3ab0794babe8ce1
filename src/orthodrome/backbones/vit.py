"""Vision transformers for face crops, as insightface has them (Dosovitskiy et al. 2021, arXiv 2010.11929).

The crop is cut into patches and each becomes a token with a learned position; pre-norm blocks of attention
and a ReLU6 perceptron follow. There is no class token: all tokens, flattened, go through Linear, BN,
Linear, BN.

Departure: insightface cuts 112×112 into 12×12 patches of 9 pixels a side and never looks at the last 4 rows
and columns. Here patches must tile the crop; they have 8 pixels a side unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from orthodrome.backbones.checks import require_divisor, require_images, require_rate
from orthodrome.backbones.layers import full_precision

PERCEPTRON_RATIO = 4
INITIAL_STD = 0.02


def vit(
    embedding_dim: int,
    image_size: tuple[int, int],
    *,
    token_dim: int,
    depth: int,
    heads: int,
    patch_size: int = 8,
    stochastic_depth: float = 0.05,
    mask_ratio: float = 0.0,
) -> VisionTransformer:
    """Vision transformer of ``depth`` blocks with ``heads`` heads on tokens of ``token_dim`` dimensions.

    ``patch_size`` in pixels divides the height and the width. ``stochastic_depth`` in [0, 1) is the
    probability that a sample skips a branch of the last block; it rises linearly from 0 in the first.
    ``mask_ratio`` in [0, 1) is the share of tokens hidden from the blocks while training (on WebFace42M
    insightface takes 0 for tiny and small, 0.05 for base).
    """
    patch = require_divisor("patch_size", patch_size, image_size)
    last_rate = require_rate("stochastic_depth", stochastic_depth)
    mask_ratio = require_rate("mask_ratio", mask_ratio)
    rates = [last_rate * block / max(1, depth - 1) for block in range(depth)]
    encoder: nn.Module = nn.Sequential(*(Block(token_dim, heads, rate) for rate in rates), nn.LayerNorm(token_dim))
    if mask_ratio > 0:
        encoder = MaskedEncoder(encoder, token_dim, mask_ratio)
    return VisionTransformer(embedding_dim, image_size, PatchTokens(image_size, patch, token_dim), encoder)


class VisionTransformer(nn.Module):
    """Images (B, 3, H, W) -> embeddings (B, D): tokens, encoder, feature head. Built by `vit`."""

    def __init__(self, embedding_dim: int, image_size: tuple[int, int], tokens: PatchTokens, encoder: nn.Module) -> None:
        super().__init__()
        self.embedding_dim = embedding_dim
        self.image_size = image_size
        self.tokens = tokens
        self.encoder = encoder
        self.embed = nn.Sequential(*_feature_head(tokens.count, tokens.dim, embedding_dim))
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        require_images(images, self.image_size)
        return full_precision(self.encoder(self.tokens(images)).flatten(1), self.embed)


class PatchTokens(nn.Module):
    """Images (B, 3, H, W) -> tokens (B, T, E): a linear map of each patch plus its learned position."""

    def __init__(self, image_size: tuple[int, int], patch_size: int, dim: int) -> None:
        super().__init__()
        self.count = (image_size[0] // patch_size) * (image_size[1] // patch_size)
        self.dim = dim
        self.project = nn.Conv2d(3, dim, patch_size, stride=patch_size)
        self.positions = nn.Parameter(torch.zeros(1, self.count, dim))
        nn.init.trunc_normal_(self.positions, std=INITIAL_STD)

    def forward(self, images: Tensor) -> Tensor:
        return self.project(images).flatten(2).transpose(1, 2) + self.positions


class Block(nn.Module):
    """Pre-norm transformer block: ``x + attention(norm(x))``, then ``x + perceptron(norm(x))``."""

    def __init__(self, dim: int, heads: int, skip_rate: float) -> None:
        super().__init__()
        inner = PERCEPTRON_RATIO * dim
        self.attention = nn.Sequential(nn.LayerNorm(dim), Attention(dim, heads))
        self.perceptron = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, inner), nn.ReLU6(), nn.Linear(inner, dim))
        self.skip = StochasticDepth(skip_rate)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.skip(self.attention(tokens))
        return tokens + self.skip(self.perceptron(tokens))


class Attention(nn.Module):
    """Multi-head self-attention, softmax(q kᵀ / √d) v per head, without bias on q, k and v."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries_keys_values = nn.Linear(dim, 3 * dim, bias=False)
        self.project = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        split = self.queries_keys_values(tokens).unflatten(-1, (3, self.heads, -1))  # (B, T, 3, heads, d)
        queries, keys, values = split.permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(queries, keys, values)  # (B, heads, T, d)
        return self.project(mixed.transpose(1, 2).flatten(2))


class StochasticDepth(nn.Module):
    """Huang et al. (arXiv 1603.09382): while training, drop the branch of a sample with probability ``rate``.

    The branches that stay are scaled by 1/(1 − rate), which keeps the expectation.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return branch
        kept = torch.rand(branch.shape[0], 1, 1, device=branch.device) >= self.rate
        return branch * kept / (1 - self.rate)


class MaskedEncoder(nn.Module):
    """While training, hide a random ``ratio`` of each sample's tokens from ``encoder``.

    After it a learned token stands in their place.
    """

    def __init__(self, encoder: nn.Module, dim: int, ratio: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.ratio = ratio
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        nn.init.normal_(self.mask_token, std=INITIAL_STD)

    def forward(self, tokens: Tensor) -> Tensor:
        if not self.training:
            return self.encoder(tokens)
        batch, count, _ = tokens.shape
        visible = max(1, int(count * (1 - self.ratio)))
        order = torch.rand(batch, count, device=tokens.device).argsort(dim=1)
        encoded = self.encoder(_take(tokens, order[:, :visible]))
        hidden = self.mask_token.to(encoded.dtype).expand(batch, count - visible, -1)
        return _take(torch.cat([encoded, hidden], dim=1), order.argsort(dim=1))


def _take(tokens: Tensor, positions: Tensor) -> Tensor:
    """tokens (B, T, E), positions (B, K) -> (B, K, E)."""
    return tokens.gather(1, positions.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


def _feature_head(count: int, dim: int, embedding_dim: int) -> Iterator[nn.Module]:
    """insightface's head; each linear layer is without bias because batch normalisation follows it."""
    for features, outputs in ((count * dim, dim), (dim, embedding_dim)):
        yield nn.Linear(features, outputs, bias=False)
        yield nn.BatchNorm1d(outputs, eps=2e-5)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=INITIAL_STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
