"""Identification against naive loops, and counts known by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orthodrome.evaluation import canonical_scores
from orthodrome.evaluation.identification import identification, identification_of
from orthodrome.evaluation.searches import search_all
from orthodrome.types import InputError


def tied(seed: int, count: int) -> np.ndarray:
    """Vectors with few distinct directions, so that scores tie."""
    return np.random.default_rng(seed).integers(-1, 2, (count, 3)).astype(np.float32) + np.float32([2, 0, 0])


def naive_scores(probes: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    return np.array([[canonical_scores(p[None], g[None])[0] for g in gallery] for p in probes])


def angle(degrees: float) -> list[float]:
    return [float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))]


GALLERY, GALLERY_LABELS = np.array([angle(0), angle(40), angle(80)]), np.array([1, 2, 3])


@pytest.mark.parametrize(("side", "row", "kind"), [("probes", 3, "probe"), ("gallery", 2, "gallery embedding")])
@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_bad_embedding_is_named_by_its_row_as_it_was_given(side: str, row: int, kind: str, value: float) -> None:
    """Not by its row among the mated probes, or among the gallery's mates."""
    given = {"probes": np.array([angle(d) for d in (10, 60, 5, 35)]), "gallery": GALLERY.copy()}
    given[side][row] = value
    with pytest.raises(InputError, match=f"{kind} in row {row} "):
        search_all(given["probes"], np.array([8, 9, 1, 2]), given["gallery"], GALLERY_LABELS)


def test_counts_known_by_hand() -> None:
    """Probe at 5° is of person 1 (rank 1); at 35° of person 1 (rank 2); at 50° of person 1 (rank 3); at 10° and 60° of strangers."""
    probes = np.array([angle(d) for d in (5, 35, 50, 10, 60)])
    report = identification(probes, np.array([1, 1, 1, 8, 9]), GALLERY, GALLERY_LABELS, ranks=(1, 2, 3), fpirs=(0.5,))
    assert [(p.hits, p.searches) for p in report.cmc] == [(1, 3), (2, 3), (3, 3)]
    # strangers' best: cos 10° and cos 20°; one of two may pass, so the threshold lies just above cos 20°: mates pass at 5° only
    row = report.open_set[0]
    assert (row.accepted_non_mated, row.non_mated, row.accepted_mated, row.mated, row.identified) == (1, 2, 1, 3, 1)
    assert row.threshold == np.nextafter(np.float32(np.cos(np.radians(20))), np.float32(2))
    assert (row.tpir, row.fnir, row.achieved) == pytest.approx((1 / 3, 2 / 3, 0.5))


def test_a_tie_with_a_stranger_counts_against_the_probe() -> None:
    gallery = np.array([[1.0, 0.0], [0.0, 1.0]])
    report = identification([[1.0, 1.0]], np.array([0]), gallery, np.array([0, 1]), ranks=(1, 2))
    assert [point.hits for point in report.cmc] == [0, 1]


def test_the_best_of_several_own_images_counts_and_they_are_not_ahead_of_each_other() -> None:
    gallery = np.array([angle(0), angle(0), angle(60), angle(30)])
    report = identification([angle(1)], np.array([4]), gallery, np.array([4, 4, 4, 7]), ranks=(1,))
    assert report.rank(1).hits == 1


def test_accepted_at_rank_2_is_tpir_but_not_dir() -> None:
    probes = np.array([angle(35), angle(200), angle(200)])
    report = identification(probes, np.array([1, 9, 9]), GALLERY, GALLERY_LABELS, ranks=(1,), fpirs=(0.5,))
    assert (report.open_set[0].accepted_mated, report.open_set[0].identified) == (1, 0)
    assert (report.open_set[0].tpir, report.open_set[0].dir) == (1.0, 0.0)


def test_non_mates_are_never_errors_of_the_cmc() -> None:
    probes = np.array([angle(5), angle(45), angle(75)])
    report = identification(probes, np.array([1, 77, 78]), GALLERY, GALLERY_LABELS, ranks=(1,), fpirs=(0.5,))
    assert (report.rank(1).hits, report.rank(1).searches) == (1, 1)


def test_failures_to_enrol_are_searches_that_found_nobody() -> None:
    probes, labels = np.array([angle(5), angle(41), angle(10)]), np.array([1, 2, 9])
    clean = identification(probes, labels, GALLERY, GALLERY_LABELS, ranks=(1,), fpirs=())
    failed = identification(
        np.vstack([probes, probes[2:]]), np.array([1, 2, 9, 9]), GALLERY, GALLERY_LABELS, ranks=(1, 3), fpirs=(0.5,), failures=2
    )
    assert (clean.rank(1).rate, failed.rank(1).rate, failed.rank(3).rate) == (1.0, 0.5, 0.5)
    assert failed.open_set[0].mated == 4
    assert failed.to_report().metrics["failures_to_enrol"] == 2
    assert "failures to enrol 2" in failed.summary()


def test_failures_of_strangers_have_no_candidate_and_count() -> None:
    """One of two strangers failed: at FPIR 0.5 the other may be accepted, so every mate that was enrolled is."""
    probes, labels = np.array([angle(5), angle(41), angle(10)]), np.array([1, 2, 9])
    found = identification(probes, labels, GALLERY, GALLERY_LABELS, ranks=(1,), fpirs=(0.5,), failures=1, stranger_failures=1)
    row = found.open_set[0]
    assert (row.accepted_non_mated, row.non_mated, row.accepted_mated, row.mated) == (1, 2, 2, 3)
    assert found.to_report().metrics["failures_to_enrol"] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fpirs": (0.1,)}, r"FPIR 0.1 needs ≥ 1/FPIR non-mated searches; got 2"),
        ({"fpirs": (1,)}, "FPIR must lie between 0 and 1; got 1"),
        ({"ranks": (0,)}, r"ranks count from 1; got 0"),
        ({"failures": -1}, "failures are numbers of searches"),
        ({"probe_labels": np.array([1, 8])}, r"probe labels must be integers of shape \(3,\)"),
        ({"probe_labels": np.array([1, 8, -1])}, "probe 2 has label -1"),
        ({"probe_labels": np.array([7, 8, 9])}, "no probe has its person in the gallery"),
        ({"gallery_labels": np.array(["a", "b", "c"])}, "gallery labels must be integers"),
    ],
)
def test_identification_refuses(change: dict[str, object], message: str) -> None:
    given: dict[str, object] = {
        "probes": np.array([angle(5), angle(10), angle(20)]),
        "probe_labels": np.array([1, 8, 9]),
        "gallery": GALLERY,
        "gallery_labels": GALLERY_LABELS,
        "ranks": (1,),
        "fpirs": (0.5,),
    } | change
    with pytest.raises(InputError, match=message):
        identification(**given)  # type: ignore[arg-type]


@given(seed=st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_ranks_and_open_set_are_those_of_a_loop(seed: int) -> None:
    random = np.random.default_rng(seed)
    probes, gallery = tied(seed, 20), tied(seed + 7, 15)
    labels, gallery_labels = random.integers(0, 8, 20), random.integers(0, 5, 15)
    scores = naive_scores(probes, gallery)
    mated = np.isin(labels, gallery_labels)
    if not mated.any() or mated.all():
        return
    searches = search_all(probes, labels, gallery, gallery_labels)
    own = [row[gallery_labels == label].max() for row, label in zip(scores[mated], labels[mated], strict=True)]
    ranks = [
        1 + (row[gallery_labels != label] >= best).sum()
        for row, label, best in zip(scores[mated], labels[mated], own, strict=True)
    ]
    np.testing.assert_array_equal(searches.mate_scores, own)
    np.testing.assert_array_equal(searches.ahead + 1, ranks)
    strangers = scores[~mated].max(axis=1)
    np.testing.assert_array_equal(searches.stranger_scores, strangers)
    row = identification_of(searches, ranks=(1,), fpirs=(0.99,)).open_set[0] if len(strangers) > 1 else None
    if row:
        allowed = int(0.99 * len(strangers))
        assert row.accepted_non_mated == (strangers >= row.threshold).sum() <= allowed
        lower = np.nextafter(np.float32(row.threshold), np.float32(-2))
        assert (strangers >= lower).sum() > allowed  # the smallest such threshold
        assert row.accepted_mated == (np.array(own) >= row.threshold).sum()


def test_intervals_by_identity_move_all_searches_of_a_person_together() -> None:
    """One person of two has all the errors: a bootstrap by search would be narrow, by person it reaches from 0 to 1."""
    gallery = np.array([angle(0), angle(90)])
    probes = np.array([angle(1)] * 20 + [angle(1)] * 20)
    report = identification(probes, np.repeat([0, 1], 20), gallery, np.array([0, 1]), ranks=(1,))
    spread = report.rank(1).by_identity
    assert spread is not None
    assert (spread.low, spread.high) == (0.0, 1.0)
    assert report.rank(1).interval.low > 0.3


def test_a_rate_of_one_has_wilsons_interval_not_a_bootstrap_of_no_width() -> None:
    probes = np.array([angle(1), angle(41), angle(200), angle(201)])
    report = identification(probes, np.array([1, 2, 8, 9]), GALLERY, GALLERY_LABELS, ranks=(1,), fpirs=(0.5,))
    assert report.rank(1).by_identity is None
    assert report.rank(1).interval.low < 1
    assert report.open_set[0].tpir == 1.0
    assert report.open_set[0].interval.low < 1
