"""Embeddings of ten classes of handwritten digits, trained in seconds under any proxy loss. Needs scikit-learn for the images.

Every cloud starts from the same network, trained by plain softmax for :data:`START` steps: on a circle a class cannot pass its
neighbour without harm, so that from a random start the order of the classes, and not the loss, decides what is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from orthodrome import sphere
from orthodrome.heads.proxy import ProxyHead
from orthodrome.types import InputError

CLASSES = 10
START, STEPS = 100, 300
RATE = 0.01


@dataclass(frozen=True)
class Recipe:
    """One training: the title of its picture, the loss, and the hyper-parameters that suit few dimensions and ten classes."""

    title: str
    loss: str
    hyper: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Digits:
    """Images float32 (N, 64) with values in [0, 1] and labels int64 (N,), for training and for testing."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


Part = tuple[np.ndarray, np.ndarray]
"""Embeddings (N, D) and labels (N,)."""


@dataclass(frozen=True)
class Cloud:
    """What one training made: embeddings of training and of test images, proxies (10, D), class biases (10,), which may be zeros."""

    title: str
    train: Part
    test: Part
    proxies: np.ndarray
    class_bias: np.ndarray


def nothing(head: ProxyHead) -> None:
    """Leave the head as it is."""


def load_digits() -> Digits:
    """The 1,797 images of 8 × 8 pixels that ship with scikit-learn: 70 % of each class for training, the others for testing.

    Raises InputError where scikit-learn is missing.
    """
    try:
        from sklearn import datasets, model_selection
    except ImportError:
        raise InputError('the digit images need scikit-learn: pip install "orthodrome[plots]"') from None
    images, labels = datasets.load_digits(return_X_y=True)
    parts = model_selection.train_test_split(images / 16, labels, test_size=0.3, stratify=labels, random_state=0)
    train_images, test_images = (torch.as_tensor(part, dtype=torch.float32) for part in parts[:2])
    train_labels, test_labels = (torch.as_tensor(part, dtype=torch.int64) for part in parts[2:])
    return Digits((train_images, train_labels), (test_images, test_labels))


def network(dimension: int) -> nn.Module:
    """Two hidden layers of 128 units: (N, 64) -> (N, dimension). Batch norm keeps small dimensions from collapsing."""
    return nn.Sequential(
        nn.Linear(64, 128), nn.PReLU(), nn.Linear(128, 128), nn.PReLU(), nn.BatchNorm1d(128), nn.Linear(128, dimension)
    )  # fmt: skip


def train_clouds(
    recipes: Mapping[str, Recipe], dimension: int, *, start: int = START, steps: int = STEPS, seed: int = 0
) -> dict[str, Cloud]:
    """The cloud of each recipe, by its name."""
    digits = load_digits()
    return {name: train_cloud(digits, recipe, dimension, start=start, steps=steps, seed=seed) for name, recipe in recipes.items()}


def train_cloud(
    digits: Digits,
    recipe: Recipe,
    dimension: int,
    *,
    start: int = START,
    steps: int = STEPS,
    seed: int = 0,
    prepare: Callable[[ProxyHead], None] = nothing,
) -> Cloud:
    """Train ``start`` steps by softmax, then ``steps`` by the recipe; each step takes all training images. torch's generator is left alone.

    ``prepare`` may change the head before its first step, for example the initial centres of the center loss.
    """
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(seed)
        model, first = network(dimension), ProxyHead("softmax", CLASSES, dimension)
        descend(model, first, digits.train, start)
        head = ProxyHead(recipe.loss, CLASSES, dimension, **recipe.hyper)
        head.load_state_dict(first.state_dict(), strict=False)
        prepare(head)
        descend(model, head, digits.train, steps)
    return _cloud(recipe.title, digits, model, head)


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread: sums of the same order, so the same picture on any number of cores, and faster for so small a network."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def descend(model: nn.Module, head: ProxyHead, batch: tuple[Tensor, Tensor], steps: int) -> None:
    """Adam with cosine decay on one batch."""
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        head(model(batch[0]), batch[1]).loss.backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def _cloud(title: str, digits: Digits, model: nn.Module, head: ProxyHead) -> Cloud:
    model.eval()
    embedded = [(model(images).numpy(), labels.numpy()) for images, labels in (digits.train, digits.test)]
    affine = head.spec.similarity.class_bias
    proxies = head.weight.detach() if affine else sphere.unit(head.weight.detach())
    bias = head.get_parameter("class_bias").detach().numpy() if affine else np.zeros(CLASSES)
    return Cloud(title, embedded[0], embedded[1], proxies.numpy(), bias)


# --------------------------------------------------------------------------------------------------- numbers of a cloud


def unit(vectors: np.ndarray) -> np.ndarray:
    """Each row divided by its length."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def class_means(part: Part) -> np.ndarray:
    """Mean of the embeddings of each class, (10, D)."""
    vectors, labels = part
    return np.stack([vectors[labels == digit].mean(axis=0) for digit in range(CLASSES)])


def accuracy(cloud: Cloud, part: Part) -> float:
    """Share of embeddings whose most similar proxy is their own."""
    vectors, labels = part
    return float(np.mean((vectors @ cloud.proxies.T + cloud.class_bias).argmax(axis=1) == labels))


def spread(part: Part) -> tuple[float, float]:
    """In degrees: mean angle between an embedding and the mean direction of its class, and the smallest angle between two such means."""
    vectors, labels = unit(part[0]), part[1]
    means = unit(class_means((vectors, labels)))
    within = np.degrees(np.arccos(np.clip((vectors * means[labels]).sum(axis=1), -1, 1))).mean()
    cosines = (means @ means.T)[np.triu_indices(CLASSES, 1)]
    return float(within), float(np.degrees(np.arccos(np.clip(cosines.max(), -1, 1))))


def sizes(part: Part) -> tuple[float, float]:
    """In the embedding's own units: root mean square distance to the mean of the class, and the smallest distance between two means."""
    vectors, labels = part
    means = class_means(part)
    within = np.sqrt(np.square(vectors - means[labels]).sum(axis=1).mean())
    apart = np.linalg.norm(means[:, None] - means[None], axis=2)[np.triu_indices(CLASSES, 1)]
    return float(within), float(apart.min())
