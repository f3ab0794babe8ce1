"""PairHead: batches without anything to compare, dtypes, gradients, memory, and what it refuses."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from orthodrome import InputError, PairHead, ProxyHead, losses

FORMS = [*losses.pair_names(), *(name for name in losses.PRESETS if losses.PRESETS.get(name).row in losses.pair_names())]
LABELS = torch.tensor([0, 0, 1, 1, 2, 2, 2, 7])


def embeddings(count: int = 8, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (4 * torch.randn(count, 5, generator=generator, dtype=torch.float64)).to(dtype).requires_grad_()


@pytest.mark.parametrize("name", FORMS)
def test_output(name: str) -> None:
    output = PairHead(name)(embeddings(), LABELS)
    assert output.per_sample.shape == (8,)
    torch.testing.assert_close(output.loss, output.per_sample.mean())
    assert output.stats["positive_pairs"] == 10
    assert output.stats["negative_pairs"] == 64 - 8 - 10


@pytest.mark.parametrize("labels", [torch.arange(8), torch.zeros(8, dtype=torch.int64)], ids=["no positives", "no negatives"])
@pytest.mark.parametrize("name", FORMS)
def test_nothing_to_compare_is_zero_with_a_zero_gradient(name: str, labels: torch.Tensor) -> None:
    x = embeddings()
    output = PairHead(name)(x, labels)
    output.loss.backward()
    assert x.grad.isfinite().all()
    compares_single_pairs = name in ("contrastive", "supcon")  # contrastive needs either, SupCon only positives
    if not compares_single_pairs:
        assert output.loss == 0
        assert not x.grad.any()


@pytest.mark.parametrize("name", FORMS)
def test_not_finite_embeddings_are_named_and_not_remembered(name: str) -> None:
    head, x = PairHead(name, memory=20), embeddings().detach()
    head(x, LABELS)
    before = {key: value.clone() for key, value in head.state_dict().items()}
    x[3, 1] = torch.nan
    with pytest.raises(InputError, match="row 3 is not"):
        head(x, LABELS)
    torch.testing.assert_close(dict(head.state_dict()), before)


@pytest.mark.parametrize("memory", [0, 5])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", FORMS)
def test_finite_at_every_corner(name: str, dtype: torch.dtype, memory: int) -> None:
    x = embeddings().detach()
    corners = {
        "identical": (torch.ones(8, 5), LABELS),
        "opposite": (torch.cat([x[:4], -x[:4]]), torch.arange(8) % 4),
        "zero": (torch.zeros(8, 5), LABELS),
        "one": (x[:1], LABELS[:1]),
        "large": (x * 1000, LABELS),
    }
    head = PairHead(name, memory=memory)
    for corner, (vectors, labels) in corners.items():
        vectors = vectors.to(dtype).requires_grad_()
        loss = head(vectors, labels).loss
        loss.backward()
        assert loss.isfinite(), corner
        assert vectors.grad.isfinite().all(), corner


@pytest.mark.parametrize("name", [name for name in FORMS if not name.startswith("circle")])
def test_gradcheck(name: str) -> None:
    head = PairHead(name)
    assert torch.autograd.gradcheck(lambda x: head(x, LABELS).loss, (embeddings(),))


def test_circle_weights_are_constants() -> None:
    """One positive and one negative pair: ∂ℓ/∂c = sigmoid(N − P)·γ·(−α_p, α_n), nothing from the slope of α."""
    x = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, -0.8]], dtype=torch.float64, requires_grad=True)
    spec = losses.pair_loss("circle_pair")
    closeness = spec.closeness(x, x).detach().requires_grad_()
    positives = torch.tensor([[0, 1, 0]] + [[0, 0, 0]] * 2, dtype=torch.bool)
    negatives = torch.tensor([[0, 0, 1]] + [[0, 0, 0]] * 2, dtype=torch.bool)
    spec.losses(closeness, positives, negatives).mean().backward()
    c_p, c_n, m, scale = 0.8, 0.6, 0.4, 80.0
    alpha_p, alpha_n = 1 + m - c_p, c_n + m
    push = torch.sigmoid(torch.tensor(scale * (alpha_n * (c_n - m) - alpha_p * (c_p - 1 + m)), dtype=torch.float64))
    expected = torch.tensor([0, -push * scale * alpha_p, push * scale * alpha_n], dtype=torch.float64)
    torch.testing.assert_close(closeness.grad[0], expected)


@pytest.mark.parametrize("name", FORMS)
def test_order_of_the_batch_and_names_of_identities_do_not_matter(name: str) -> None:
    x, order = embeddings().detach(), torch.tensor([3, 1, 7, 0, 5, 2, 6, 4])
    head = PairHead(name)
    plain = head(x, LABELS)
    torch.testing.assert_close(head(x[order], LABELS[order]).per_sample, plain.per_sample[order])
    torch.testing.assert_close(head(x, 100 - LABELS).per_sample, plain.per_sample)


@pytest.mark.parametrize("name", FORMS)
def test_lengths_do_not_matter(name: str) -> None:
    x, head = embeddings().detach(), PairHead(name)
    lengths = torch.linspace(0.1, 9, 8, dtype=torch.float64).unsqueeze(1)
    torch.testing.assert_close(head(x * lengths, LABELS).loss, head(x, LABELS).loss)


@pytest.mark.parametrize("name", FORMS)
def test_a_saved_memory_goes_on_identically(name: str) -> None:
    head = PairHead(name, memory=10)
    for seed in range(2):
        head(embeddings(seed=seed), LABELS)
    resumed = PairHead(name, memory=10)
    resumed.load_state_dict(copy.deepcopy(head.state_dict()))
    pickled = pickle.loads(pickle.dumps(head))
    for seed in (2, 3):
        loss = head(embeddings(seed=seed), LABELS).loss
        assert torch.equal(resumed(embeddings(seed=seed), LABELS).loss, loss)
        assert torch.equal(pickled(embeddings(seed=seed), LABELS).loss, loss)


def test_memory_is_a_ring_filled_in_training_only() -> None:
    head = PairHead("supcon", memory=10)
    x = embeddings().detach()
    head(x, LABELS)
    assert torch.equal(head.memory_vectors[:8], x)
    assert head.memory_labels.tolist() == [*LABELS.tolist(), -1, -1]
    head.eval()
    before = copy.deepcopy(head.state_dict())
    output = head(x, LABELS)
    assert output.stats["positive_pairs"] == 10, "at evaluation the memory is not a key"
    assert all(torch.equal(before[key], value) for key, value in head.state_dict().items())
    head.train()
    head(2 * x, LABELS + 1)
    assert head.memory_labels.tolist() == [2, 2, 3, 3, 3, 8, 2, 7, 1, 1]
    assert int(head.memory_next) == 6


def test_a_batch_larger_than_the_memory_leaves_its_last_embeddings() -> None:
    head = PairHead("supcon", memory=3)
    x = embeddings().detach()
    head(x, LABELS)
    assert sorted(head.memory_labels.tolist()) == sorted(LABELS[-3:].tolist())


def test_the_memory_gets_no_gradient_and_the_batch_does() -> None:
    head = PairHead("nt_xent", memory=8)
    first, second = embeddings(seed=0), embeddings(seed=1)
    head(first, LABELS)
    head(second, LABELS).loss.backward()
    assert first.grad is None
    assert second.grad.any()


def test_memory_of_another_dimension_is_refused() -> None:
    head = PairHead("nt_xent", memory=8)
    head(embeddings(), LABELS)
    with pytest.raises(InputError, match="dimension 5; got 3"):
        head(embeddings()[:, :3], LABELS)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32], ids=str)
def test_labels_of_any_integer_dtype(dtype: torch.dtype) -> None:
    head = PairHead("triplet")
    assert torch.equal(head(embeddings(), LABELS.to(dtype)).loss, head(embeddings(), LABELS).loss)


def test_wrong_input_is_named() -> None:
    head, labels = PairHead("triplet"), LABELS.clone()
    labels[2] = -1
    with pytest.raises(InputError, match="labels must be at least 0; got -1 at position 2"):
        head(embeddings(), labels)
    with pytest.raises(InputError, match="integers"):
        head(embeddings(), LABELS.float())
    with pytest.raises(InputError, match=r"shape \(8,\)"):
        head(embeddings(), LABELS[:3])
    with pytest.raises(InputError, match="shape"):
        head(embeddings()[0], LABELS)
    with pytest.raises(InputError, match="memory must be"):
        PairHead("triplet", memory=-1)


def test_each_head_points_to_the_other() -> None:
    with pytest.raises(InputError, match="PairHead"):
        ProxyHead("triplet", 4, 5)
    with pytest.raises(InputError, match="ProxyHead"):
        PairHead("arcface")
    with pytest.raises(InputError, match="base of mining_margin"):
        ProxyHead("mining_margin", 4, 5, base="triplet")
    assert set(losses.names()) == {*losses.proxy_names(), *losses.pair_names()}
    assert {losses.get(name).name for name in losses.names()} == set(losses.names())
