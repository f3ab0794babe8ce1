"""What every row of the table must do. A new row is tested here the day it appears."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from orthodrome.backbones import BACKBONES, create_backbone, names

LARGE = {"sfnet36", "sfnet64", "iresnet34", "iresnet50", "iresnet100", "vit_small", "vit_base"}
DIM = 32
BATCH = 4

every_name = pytest.mark.parametrize("name", names())
every_trainable_name = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in names()]
)


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def faces(height: int = 32, width: int = 32) -> Tensor:
    return torch.randn(BATCH, 3, height, width)


def loss_of(embeddings: Tensor) -> Tensor:
    """A weighted sum: batch normalisation cannot cancel its gradient as it does a plain sum's."""
    return (embeddings * torch.linspace(-1, 1, embeddings.numel()).view_as(embeddings)).sum()


def state(network: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in network.state_dict().items()}


# ------------------------------------------------------------------------------------------ shapes and dtypes


@every_name
def test_shape(name: str) -> None:
    with torch.device("meta"):
        network = create_backbone(name, DIM, (112, 96))
        embeddings = network(torch.empty(BATCH, 3, 112, 96))
    assert embeddings.shape == (BATCH, DIM)
    assert (network.embedding_dim, network.image_size) == (DIM, (112, 96))


@every_trainable_name
def test_smallest_and_oblong_images(name: str) -> None:
    for size in [(16, 16), (16, 48)]:
        embeddings = create_backbone(name, DIM, size).eval()(faces(*size))
        assert embeddings.shape == (BATCH, DIM)


@every_trainable_name
@pytest.mark.parametrize("size", [(64, 64), (112, 96)])
def test_fresh_network_is_finite_and_tells_images_apart(name: str, size: tuple[int, int]) -> None:
    network = create_backbone(name, DIM, size)
    for module in (network.train(), network.eval()):
        with torch.no_grad():
            embeddings = module(faces(*size))
        assert embeddings.shape == (BATCH, DIM)
        assert embeddings.isfinite().all()
        assert torch.cdist(embeddings, embeddings)[0, 1] > 1e-3


@every_trainable_name
def test_autocast_trains_in_bfloat16_and_answers_in_float32(name: str) -> None:
    network = create_backbone(name, DIM, 32)
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = network(faces())
    assert embeddings.dtype == torch.float32
    loss_of(embeddings).backward()
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", ["sfnet4", "iresnet18", "mobilefacenet", "vit_tiny"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_follows_the_dtype_of_its_weights(name: str, dtype: torch.dtype) -> None:
    network = create_backbone(name, DIM, 32).to(dtype)
    assert network(faces().to(dtype)).dtype == dtype


@every_trainable_name
def test_channels_last_gives_the_same_embeddings(name: str) -> None:
    network = create_backbone(name, DIM, 32).eval()
    images = faces()
    expected = network(images)
    actual = network.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())


# --------------------------------------------------------------------------------------------------- gradient


@every_trainable_name
def test_gradient_reaches_every_parameter(name: str) -> None:
    network = create_backbone(name, DIM, 32)
    loss_of(network(faces())).backward()
    for parameter_name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        # Shifts right before a batch normalisation get an exact zero; weights never do.
        assert parameter.ndim == 1 or parameter.grad.abs().max() > 0, parameter_name


# ------------------------------------------------------------------------------ determinism, copies and state


@every_trainable_name
def test_evaluation_is_deterministic_and_ignores_the_rest_of_the_batch(name: str) -> None:
    network = create_backbone(name, DIM, 32).eval()
    images = faces()
    with torch.no_grad():
        together, again = network(images), network(images)
        alone = network(images[1:2])
    assert torch.equal(together, again)
    torch.testing.assert_close(alone, together[1:2], rtol=1e-3, atol=1e-3 * together.abs().max().item())


@every_trainable_name
def test_seed_copy_and_state_round_trip(name: str) -> None:
    torch.manual_seed(1)
    first = create_backbone(name, DIM, 32).eval()
    torch.manual_seed(1)
    second = create_backbone(name, DIM, 32).eval()
    torch.testing.assert_close(state(first), state(second), rtol=0, atol=0)

    other = create_backbone(name, DIM, 32).eval()
    other.load_state_dict(state(first))
    images = faces()
    expected = first(images)
    assert torch.equal(other(images), expected)
    assert torch.equal(copy.deepcopy(first)(images), expected)


# -------------------------------------------------------------------------------------------------- the table


@every_name
def test_row_says_what_it_is(name: str) -> None:
    row = BACKBONES.get(name)
    assert row.name == name
    assert "arXiv" in row.paper
    assert row.description
    with pytest.raises(TypeError):
        row.options["units"] = ()  # type: ignore[index]


def test_names() -> None:
    assert names() == (
        *("sfnet4", "sfnet10", "sfnet20", "sfnet36", "sfnet64"),
        *("iresnet18", "iresnet34", "iresnet50", "iresnet100"),
        "mobilefacenet",
        *("vit_tiny", "vit_small", "vit_base"),
    )
