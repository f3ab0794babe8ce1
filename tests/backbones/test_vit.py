"""Vision transformers: counts, attention against the plain formula, stochastic depth, masked tokens."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from orthodrome.backbones import create_backbone
from orthodrome.backbones.vit import Attention, MaskedEncoder, StochasticDepth


@pytest.mark.parametrize(("name", "dim", "depth"), [("vit_tiny", 256, 12), ("vit_small", 512, 12), ("vit_base", 512, 24)])
@pytest.mark.parametrize("patch", [8, 16])
def test_parameter_count(name: str, dim: int, depth: int, patch: int) -> None:
    with torch.device("meta"):
        network = create_backbone(name, 512, (112, 96), patch_size=patch)
    tokens = (112 // patch) * (96 // patch)
    embedding = 3 * patch**2 * dim + dim + tokens * dim
    attention = 3 * dim**2 + dim**2 + dim
    perceptron = 4 * dim**2 + 4 * dim + 4 * dim**2 + dim
    norm = 2 * dim
    head = tokens * dim * dim + 2 * dim + dim * 512 + 2 * 512
    expected = embedding + depth * (attention + perceptron + 2 * norm) + norm + head
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


def test_attention_is_the_plain_formula() -> None:
    torch.manual_seed(0)
    attention = Attention(dim=12, heads=3).double()
    tokens = torch.randn(2, 5, 12, dtype=torch.float64)
    queries, keys, values = attention.queries_keys_values(tokens).chunk(3, dim=-1)
    heads = []
    for head in range(3):
        part = slice(4 * head, 4 * head + 4)
        weights = (queries[..., part] @ keys[..., part].transpose(1, 2) / math.sqrt(4)).softmax(-1)
        heads.append(weights @ values[..., part])
    torch.testing.assert_close(attention(tokens), attention.project(torch.cat(heads, -1)))


def test_tokens_are_patches_in_reading_order() -> None:
    torch.manual_seed(0)
    tokens = create_backbone("vit_tiny", 8, (32, 16)).tokens
    images = torch.randn(2, 3, 32, 16)
    found = tokens(images)
    assert found.shape == (2, 8, 256)
    patch = images[:, :, 8:16, 8:16].flatten(1)  # second row, second column: the fourth token
    expected = patch @ tokens.project.weight.flatten(1).T + tokens.project.bias + tokens.positions[:, 3]
    torch.testing.assert_close(found[:, 3], expected, rtol=1e-4, atol=1e-4)


def test_stochastic_depth_drops_whole_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    skip = StochasticDepth(0.25).train()
    dropped = skip(torch.ones(4000, 2, 3))
    per_sample = dropped.flatten(1)
    assert torch.equal(per_sample.amin(1), per_sample.amax(1))
    torch.testing.assert_close(per_sample[:, 0].unique(), torch.tensor([0.0, 4 / 3]))
    assert per_sample.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(skip.eval()(dropped), dropped)


def test_stochastic_depth_rises_linearly_over_the_blocks() -> None:
    with torch.device("meta"):
        network = create_backbone("vit_tiny", 8, 16, stochastic_depth=0.22)
    rates = [module.rate for module in network.modules() if isinstance(module, StochasticDepth)]
    assert rates == pytest.approx([0.02 * block for block in range(12)])


def test_masked_encoder_hides_tokens_and_puts_the_others_back_in_place() -> None:
    torch.manual_seed(0)
    seen = []

    class Spy(nn.Module):
        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            seen.append(tokens.shape[1])
            return tokens

    masked = MaskedEncoder(Spy(), dim=6, ratio=0.3).train()
    tokens = torch.randn(16, 10, 6)
    found = masked(tokens)
    hidden = (found == masked.mask_token).all(-1)
    assert seen == [7]
    assert torch.equal(hidden.sum(1), torch.full((16,), 3))
    assert torch.equal(found[~hidden], tokens[~hidden])
    assert len(hidden.unique(dim=0)) > 1  # each sample draws its own
    assert torch.equal(masked.eval()(tokens), tokens)


def test_mask_ratio_trains_the_mask_token() -> None:
    torch.manual_seed(0)
    network = create_backbone("vit_tiny", 8, 32, mask_ratio=0.25)
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = network(torch.randn(4, 3, 32, 32))
    (embeddings * torch.randn(4, 8)).sum().backward()
    assert network.encoder.mask_token.grad.abs().max() > 0
