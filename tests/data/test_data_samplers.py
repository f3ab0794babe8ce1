"""Orders of training: complete, repeatable, resumable; P×K batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orthodrome.data import BatchSampler, EpochSampler, PKSampler, PowerSampler, RankSampler, SequentialSampler
from orthodrome.types import InputError

sizes = st.integers(1, 200)


@given(sizes, sizes, st.integers(0, 2**63 - 1), st.integers(0, 50))
def test_every_image_exactly_once_per_epoch(samples: int, batch: int, seed: int, epoch: int) -> None:
    sampler = EpochSampler(samples, batch, seed, drop_last=False)
    batches = list(sampler.batches(epoch))
    assert len(batches) == len(sampler)
    assert [len(b) for b in batches[:-1]] == [batch] * (len(batches) - 1)
    assert sorted(np.concatenate(batches)) == list(range(samples))


@given(sizes, sizes)
def test_drop_last_gives_full_batches_without_repetition(samples: int, batch: int) -> None:
    if batch > samples:
        with pytest.raises(InputError, match=f"batch_size {batch} is more than the {samples} images"):
            EpochSampler(samples, batch)
        return
    batches = list(EpochSampler(samples, batch).batches(0))
    assert len(batches) == samples // batch
    assert {len(b) for b in batches} == {batch}
    assert len(set(np.concatenate(batches))) == batch * len(batches)


def test_epochs_and_seeds_differ() -> None:
    orders = [tuple(np.concatenate(list(EpochSampler(50, 10, seed).batches(epoch)))) for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(orders)) == 4


@pytest.mark.parametrize(
    "sampler",
    [
        SequentialSampler(23, 5),
        EpochSampler(23, 5, 7),
        EpochSampler(23, 5, 7, drop_last=False),
        PKSampler(np.arange(23) % 6, 2, 2, 7),
        PowerSampler(np.arange(23) % 6, 4, 0.5, 7),
        RankSampler(EpochSampler(23, 5, 7, drop_last=False), 1, 3),
    ],
)
def test_resume_at_any_batch(sampler: BatchSampler) -> None:
    whole = list(sampler.batches(3))
    assert len(whole) == len(sampler)
    for start in range(len(sampler) + 1):
        rest = list(sampler.batches(3, start))
        assert len(rest) == len(whole) - start
        for given_batch, expected in zip(rest, whole[start:], strict=True):
            np.testing.assert_array_equal(given_batch, expected)
    for start in (-1, len(sampler) + 1):
        with pytest.raises(InputError, match=rf"start must be in \[0, {len(sampler)}\].* got {start}"):
            sampler.batches(3, start)


def test_sequential_order() -> None:
    assert [b.tolist() for b in SequentialSampler(5, 2).batches()] == [[0, 1], [2, 3], [4]]


labelled = st.lists(st.integers(0, 30).map(lambda n: 3 * n), min_size=1, max_size=150)


@settings(max_examples=200)
@given(labels=labelled, images=st.integers(1, 6), seed=st.integers(0, 99), epoch=st.integers(0, 99), data=st.data())
def test_pk_batches(labels: list[int], images: int, seed: int, epoch: int, data: st.DataObject) -> None:
    known = np.array(labels)
    identities, counts = np.unique(known, return_counts=True)
    people = data.draw(st.integers(1, identities.size))
    sampler = PKSampler(labels, people, images, seed)
    batches = list(sampler.batches(epoch))
    assert len(batches) == max(1, known.size // (people * images))
    visits = dict.fromkeys(identities.tolist(), 0)
    drawn = np.zeros(known.size, int)
    for batch in batches:
        assert batch.dtype == np.int64
        groups = known[batch].reshape(people, images)
        assert (groups == groups[:, :1]).all(), "images of one identity are neighbours"
        assert len(set(groups[:, 0])) == people, "identities of a batch differ"
        for row in batch.reshape(people, images):
            identity = known[row[0]]
            visits[identity] += 1
            own = counts[identities == identity][0]
            times = np.unique(row, return_counts=True)[1]
            assert len(times) == min(own, images), "as many different images as there are"
            assert times.max() <= -(-images // own), "repeated as evenly as possible"
        np.add.at(drawn, batch, 1)
    assert max(visits.values()) - min(visits.values()) <= 1
    for identity in identities:
        own_drawn = drawn[known == identity]
        assert own_drawn.max() - own_drawn.min() <= 1, "the images of an identity take turns"


def test_pk_is_repeatable_and_varies() -> None:
    sampler = PKSampler(np.repeat(np.arange(10), 8), 4, 4, seed=1)
    first, again, later = (np.stack(list(sampler.batches(epoch))) for epoch in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != later).any()


# ---------------------------------------------------------------------------------------------------------- long tails


@given(labels=labelled, power=st.sampled_from([0.0, 0.5, 1.0]), seed=st.integers(0, 99), data=st.data())
def test_power_batches(labels: list[int], power: float, seed: int, data: st.DataObject) -> None:
    known = np.array(labels)
    batch = data.draw(st.integers(1, known.size))
    sampler = PowerSampler(labels, batch, power, seed)
    batches = list(sampler.batches(3))
    assert [len(b) for b in batches] == [batch] * (known.size // batch)
    drawn = np.bincount(np.concatenate(batches), minlength=known.size)
    identities, counts = np.unique(known, return_counts=True)
    expected = drawn.sum() * counts**power / (counts**power).sum()
    for identity, share in zip(identities, expected, strict=True):
        own = drawn[known == identity]
        assert abs(own.sum() - share) < 1 + 1e-9, "a class gets its share, rounded up or down"
        assert own.max() - own.min() <= 1, "its images take turns"


def test_shares_are_exact_on_average() -> None:
    """3 classes of 1, 4, 25 images and 30 draws: alike 10, 10, 10; by the root 30 · (1, 2, 5)/8; by images 1, 4, 25."""
    labels = np.repeat([0, 1, 2], [1, 4, 25])
    for power, shares in ((0.0, (10, 10, 10)), (0.5, (3.75, 7.5, 18.75)), (1.0, (1, 4, 25))):
        drawn = [
            np.bincount(labels[next(PowerSampler(labels, 30, power, 1).batches(epoch))], minlength=3) for epoch in range(400)
        ]
        np.testing.assert_allclose(np.mean(drawn, axis=0), shares, atol=0.1)


# ---------------------------------------------------------------------------------------------------------------- ranks


@given(samples=sizes, batch=sizes, ranks=st.integers(1, 9), epoch=st.integers(0, 5))
def test_no_image_is_lost_or_doubled_over_ranks(samples: int, batch: int, ranks: int, epoch: int) -> None:
    whole = EpochSampler(samples, batch, 1, drop_last=False)
    parts = [list(RankSampler(whole, rank, ranks).batches(epoch)) for rank in range(ranks)]
    assert {len(part) for part in parts} == {len(whole)}
    for k, expected in enumerate(whole.batches(epoch)):
        np.testing.assert_array_equal(np.concatenate([part[k] for part in parts]), expected)
        sizes_here = [len(part[k]) for part in parts]
        assert max(sizes_here) - min(sizes_here) <= 1


def test_ranks_keep_the_images_of_a_person_together() -> None:
    labels = np.arange(64) % 8
    for batch in RankSampler(PKSampler(labels, 4, 2), 1, 2).batches(0):
        assert np.unique(labels[batch], return_counts=True)[1].tolist() == [2, 2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EpochSampler(0, 1), "at least one image; got 0"),
        (lambda: EpochSampler(5, 0), "batch size of 0"),
        (lambda: EpochSampler(5, 1, seed=-1), "seed must be ≥ 0; got -1"),
        (lambda: SequentialSampler(0, 1), "at least one image"),
        (lambda: PKSampler([0, 0, 1], 3, 1), "people must be at most the 2 identities of the set; got 3"),
        (lambda: PKSampler([0, 1], 2, 0), "batch size of 0"),
        (lambda: PKSampler([], 1, 1), "at least one image"),
        (lambda: PowerSampler([0, 1], 3), "batch_size 3 is more than the 2 images"),
        (lambda: PowerSampler([0, 1], 1, 1.5), r"power lies in \[0, 1\].* got 1\.5"),
        (lambda: RankSampler(SequentialSampler(2, 1), 2, 2), r"rank must be in \[0, 2\).* got 2"),
    ],
)
def test_sampler_errors(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]
