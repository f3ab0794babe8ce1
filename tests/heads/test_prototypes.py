"""Class proxies: first values, more classes, other shards."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from loss_cases import CASES, CLASSES, head_of, inputs

from orthodrome import ProxyHead
from orthodrome.heads.prototypes import SPREAD, class_means, grown, initialize, per_class_entries, resharded, shard
from orthodrome.types import EmbeddingSet, InputError


def embedding_set(labels: list[int], dimension: int = 5, seed: int = 0) -> EmbeddingSet:
    vectors = np.random.default_rng(seed).normal(size=(len(labels), dimension)).astype(np.float32)
    return EmbeddingSet(vectors, np.array(labels), tuple(map(str, range(len(labels)))))


def naive_means(embeddings: EmbeddingSet, num_classes: int) -> np.ndarray:
    units = embeddings.vectors / np.linalg.norm(embeddings.vectors, axis=1, keepdims=True)
    means = np.stack([units[embeddings.labels == label].mean(axis=0) for label in range(num_classes)])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


@given(st.lists(st.integers(-1, 6), max_size=20), st.integers(0, 5))
def test_class_means_are_the_directions_of_the_means(more: list[int], seed: int) -> None:
    embeddings = embedding_set([0, 1, 2, 3, *more], seed=seed)
    np.testing.assert_allclose(class_means(embeddings, range(4)).numpy(), naive_means(embeddings, 4), atol=1e-5)


def test_proxies_of_one_class_stand_aside_of_its_mean() -> None:
    embeddings = embedding_set([0, 0, 1, 1])
    means = torch.as_tensor(naive_means(embeddings, 2)).float()
    proxies = class_means(embeddings, range(2), 3).view(2, 3, 5)
    expected = torch.full((2, 3), 1 / (1 + SPREAD**2) ** 0.5)
    torch.testing.assert_close((proxies * means.unsqueeze(1)).sum(dim=2), expected, rtol=1e-4, atol=1e-4)
    assert len(proxies.flatten(0, 1).unique(dim=0)) == 6


def test_what_has_no_mean_is_named() -> None:
    with pytest.raises(InputError, match="2 of the 4 classes 0 to 3 have no embedding to be initialised from: 1, 3"):
        class_means(embedding_set([0, 2, -1]), range(4))
    opposite = EmbeddingSet(np.array([[1, 0], [-1, 0]], np.float32), np.array([0, 0]), ("a", "b"))
    with pytest.raises(InputError, match="cancel out"):
        class_means(opposite, range(1))
    with pytest.raises(InputError, match="must have 5 dimensions, as the head has; got 3"):
        initialize(ProxyHead("arcface", 2, 5), embedding_set([0, 1], dimension=3))


def test_embeddings_that_are_not_finite_make_no_proxies() -> None:
    broken = embedding_set([0, 0, 1, -1])
    broken.vectors[[1, 3], 2] = np.nan
    with pytest.raises(InputError, match="1 of 4 embeddings are not finite, the first that of '1'"):
        class_means(broken, range(2))
    assert class_means(broken, range(1, 2)).isfinite().all(), "embeddings of other classes are left alone"


def test_first_values_come_from_a_name_or_an_embedding_set() -> None:
    head = ProxyHead("arcface", 2, 5)
    for fill in (lambda: initialize(head, torch.zeros(2, 5)), lambda: grown(head, 4, torch.zeros(2, 5))):
        with pytest.raises(InputError, match=r"an initializer \(normal, xavier\) or an EmbeddingSet says; got Tensor"):
            fill()


def test_initialize_by_name_and_from_embeddings() -> None:
    head = ProxyHead("subcenter_arcface", 400, 5)
    for name, deviation in (("normal", 0.01), ("xavier", (2 / (len(head.weight) + 5)) ** 0.5)):
        initialize(head, name)
        assert float(head.weight.std()) == pytest.approx(deviation, rel=0.05)
    with pytest.raises(InputError, match="xavier"):
        initialize(head, "xavjer")
    head = ProxyHead("arcface", 3, 5)
    initialize(head, embedding_set([0, 1, 2, 2]))
    torch.testing.assert_close(head.weight.detach(), class_means(embedding_set([0, 1, 2, 2]), range(3)))


@pytest.mark.parametrize("case", CASES)
def test_a_grown_head_is_a_bigger_head_with_the_same_state(case: str) -> None:
    small = head_of(case)
    small(*inputs())  # state moves
    before = {name: value.clone() for name, value in small.state_dict().items()}
    bigger = grown(small, CLASSES + 3)
    torch.testing.assert_close(dict(small.state_dict()), before, rtol=0, atol=0)
    reference = head_of(case, classes=CLASSES + 3)
    entries = per_class_entries(small)
    with torch.no_grad():
        for name, value in reference.state_dict().items():
            count = len(before[name]) if name in entries else None
            (value[:count] if count else value).copy_(before[name])
            if name == "weight":
                value[count:] = bigger.weight[count:]
            elif count:
                value[count:] = 0
    assert {name: value.shape for name, value in bigger.state_dict().items()} == {
        name: value.shape for name, value in reference.state_dict().items()
    }
    x, labels = inputs(classes=CLASSES + 3, seed=5)
    for head in (bigger, reference):
        torch.manual_seed(1)
        head.result = head(x, labels)
    torch.testing.assert_close(bigger.result.per_sample, reference.result.per_sample, rtol=1e-12, atol=1e-12)
    assert [name for name, _ in bigger.named_parameters()] == [name for name, _ in small.named_parameters()]


def test_new_classes_from_embeddings() -> None:
    bigger = grown(ProxyHead("arcface", 2, 5), 4, embedding_set([0, 2, 3, 3]))
    torch.testing.assert_close(bigger.weight[2:].detach(), class_means(embedding_set([0, 2, 3, 3]), range(2, 4)))
    with pytest.raises(InputError, match="must be above the 4 of the head; got 4"):
        grown(bigger, 4)


@given(st.integers(1, 30), st.integers(1, 8))
def test_shards_are_all_classes_once(num_classes: int, world: int) -> None:
    if world > num_classes:
        with pytest.raises(InputError, match="each must hold at least one"):
            shard(num_classes, 0, world)
        return
    shards = [shard(num_classes, rank, world) for rank in range(world)]
    assert [label for part in shards for label in part] == list(range(num_classes))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@given(st.integers(4, 20), st.integers(1, 4), st.integers(1, 4))
def test_resharding_there_and_back_changes_nothing(num_classes: int, first: int, second: int) -> None:
    entries = {"weight": 2, "class_bias": 1}
    whole = {"weight": torch.randn(num_classes * 2, 3), "class_bias": torch.randn(num_classes), "scale": torch.tensor(3.0)}
    parts = resharded([whole], first, num_classes=num_classes, entries=entries)
    others = resharded(parts, second, num_classes=num_classes, entries=entries)
    for rank, part in enumerate(others):
        classes = shard(num_classes, rank, second)
        assert torch.equal(part["weight"], whole["weight"][2 * classes.start : 2 * classes.stop])
    (again,) = resharded(others, 1, num_classes=num_classes, entries=entries)
    assert all(torch.equal(again[name], value) for name, value in whole.items())


def test_parts_that_do_not_fit_are_named() -> None:
    good = {"weight": torch.zeros(2, 3), "t": torch.tensor(1.0)}
    for wrong, message in (
        ({**good, "weight": torch.zeros(3, 3)}, "weight of rank 1 must have 2 rows, those of its 2 classes; got 3"),
        ({**good, "t": torch.tensor(2.0)}, "t must be the same on all processes; rank 1 differs"),
        ({"weight": torch.zeros(2, 3)}, "rank 1 has the entries weight; rank 0 has weight, t"),
    ):
        with pytest.raises(InputError, match=message):
            resharded([good, wrong], 1, num_classes=4, entries={"weight": 1})
    with pytest.raises(InputError, match="got none"):
        resharded([], 1, num_classes=4, entries={})
    for world in (0, -1):
        with pytest.raises(InputError, match=f"at least 1; got {world}"):
            resharded([good], world, num_classes=2, entries={"weight": 1})


def test_hooks_of_a_grown_head_are_its_own() -> None:
    head, calls = ProxyHead("cosface", 5, 4), []
    bigger = grown(head, 7)
    bigger.register_forward_hook(lambda *_: calls.append(1))
    head(torch.randn(2, 4), torch.tensor([0, 1]))
    assert not calls
    bigger(torch.randn(2, 4), torch.tensor([0, 6]))
    assert calls
