"""Open-set splits and parts of a set."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthodrome.data import MemoryReader, Subset, split_identities
from orthodrome.types import InputError, Reader


@given(
    labels=st.lists(st.integers(0, 12), min_size=2, max_size=60).filter(lambda values: len(set(values)) > 1),
    seed=st.integers(0, 2**40),
    data=st.data(),
)
def test_split_is_disjoint_complete_and_repeatable(labels: list[int], seed: int, data: st.DataObject) -> None:
    people = len(set(labels))
    held_out = data.draw(st.integers(1, people - 1))
    train, test = split_identities(labels, held_out, seed)
    train_people, test_people = ({labels[i] for i in part} for part in (train, test))
    assert not train_people & test_people
    assert len(test_people) == held_out
    assert sorted([*train, *test]) == list(range(len(labels)))
    again = split_identities(labels, held_out, seed)
    np.testing.assert_array_equal(train, again[0])
    np.testing.assert_array_equal(test, again[1])


def test_seed_changes_the_people() -> None:
    labels = np.repeat(np.arange(40), 10)
    chosen = {tuple(np.unique(labels[split_identities(labels, 10, seed)[1]])) for seed in range(5)}
    assert len(chosen) == 5


def test_order_of_images_does_not_change_the_people() -> None:
    labels = np.repeat(np.arange(40), 3)
    shuffled = np.random.default_rng(0).permutation(labels)
    first = np.unique(labels[split_identities(labels, 10, 3)[1]])
    np.testing.assert_array_equal(first, np.unique(shuffled[split_identities(shuffled, 10, 3)[1]]))


@pytest.mark.parametrize("count", [0, 3, -1])
def test_split_must_leave_people_on_both_sides(count: int) -> None:
    with pytest.raises(InputError, match=rf"must be in \[1, 2\] .* got {count}"):
        split_identities([0, 1, 2], count)


def test_subset_relabels_and_keeps_names() -> None:
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    whole = MemoryReader(images, [3, 0, 2, 3, 1], ("a", "b", "c", "d"), tuple("vwxyz"))
    part = Subset(whole, np.array([3, 2, 0]))
    assert isinstance(part, Reader)
    assert part.class_names == ("c", "d")
    assert part.labels.tolist() == [1, 0, 1]
    assert [part.sample(i).key for i in range(3)] == ["y", "x", "v"]
    assert part.image(1)[0, 0, 0] == 2
    assert Subset(part, [1]).class_names == ("c",)  # type: ignore[arg-type]
    assert pickle.loads(pickle.dumps(part)).labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize("index", [5, -1])
def test_subset_outside_the_reader(index: int) -> None:
    whole = MemoryReader(np.zeros((5, 2, 2, 3), np.uint8), [0] * 5)
    with pytest.raises(InputError, match=rf"in \[0, 5\); got {index} at position 1"):
        Subset(whole, np.array([0, index]))
