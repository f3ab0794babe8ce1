"""Paired comparison against a plain loop and scipy; runs read back from disk, refused where their pairs differ."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest, chi2

from orthodrome.evaluation import (
    ScoredPairs,
    System,
    VerificationReport,
    compare_runs,
    compare_systems,
    equal_error_rate,
    mcnemar,
    read_report,
    tar_at_far,
    verification,
    write_report,
)
from orthodrome.evaluation.sections import section
from orthodrome.types import InputError

PEOPLE = 40


def evaluated(noise: float, seed: int = 0, folds: int = 4, pairs: int = 60) -> VerificationReport:
    """A system that adds noise of its own to pairs that are the same, and equally hard, for every system; folds share no person."""
    random = np.random.default_rng(0)
    same = np.tile(np.arange(pairs) % 2 == 0, folds)
    fold = np.repeat(np.arange(folds), pairs)
    people = random.integers(0, PEOPLE // folds, (folds * pairs, 2))
    step = 1 + people[:, 1] % (PEOPLE // folds - 1)
    people[:, 1] = np.where(same, people[:, 0], (people[:, 0] + step) % (PEOPLE // folds))
    people += PEOPLE // folds * fold[:, None]
    hard = random.normal(size=len(same))
    scores = (1.5 * same + hard + noise * np.random.default_rng(seed).normal(size=len(same))).astype(np.float32)
    found = verification(scores, same, fold, people)
    names = np.array([f"image{i}" for i in range(2 * len(same))])
    return replace(found, pairs=replace(found.pairs, rows=np.arange(2 * len(same)).reshape(-1, 2), names=names))


def system(report: VerificationReport) -> System:
    return System(report.pairs, report.folds)


def test_differences_are_those_of_the_reports_and_their_signs_are_right() -> None:
    good, bad = evaluated(0.1), evaluated(2.0, seed=1)
    found = compare_systems(system(good), system(bad))
    rows = {row.name: row for row in found.differences}
    assert list(rows) == ["accuracy", "EER", "TAR@FAR=10 %", "TAR@FAR=1 %"]
    assert (rows["accuracy"].a, rows["accuracy"].b) == pytest.approx((good.accuracy, bad.accuracy), abs=1e-15)
    assert (rows["EER"].a, rows["EER"].b) == (good.eer.rate, bad.eer.rate)
    assert (rows["TAR@FAR=10 %"].a, rows["TAR@FAR=10 %"].b) == (good.tar_at_far[0].tar, bad.tar_at_far[0].tar)
    assert rows["accuracy"].better == rows["EER"].better == "a"
    assert rows["accuracy"].difference > 0 > rows["EER"].difference
    swapped = {row.name: row for row in compare_systems(system(bad), system(good)).differences}
    assert swapped["accuracy"].better == swapped["EER"].better == "b"
    assert swapped["EER"].interval.low == pytest.approx(-rows["EER"].interval.high)


def test_intervals_equal_a_loop_over_resampled_people() -> None:
    """Draw people, repeat each pair as often as it then occurs, and measure both systems on the repeated scores."""
    a, b = evaluated(0.1), evaluated(0.6, seed=1)
    found = {row.name: row.interval for row in compare_systems(system(a), system(b), resamples=300).differences}
    codes, same = a.pairs.identities, a.pairs.same
    values: dict[str, list[float]] = {"EER": [], "TAR@FAR=10 %": []}
    generator = np.random.Generator(np.random.PCG64(0))
    for _ in range(300):
        drawn = np.bincount(generator.integers(0, PEOPLE, PEOPLE), minlength=PEOPLE)
        times = np.where(same, drawn[codes[:, 0]], drawn[codes[:, 0]] * drawn[codes[:, 1]])
        halves = [(np.repeat(r.pairs.scores[same], times[same]), np.repeat(r.pairs.scores[~same], times[~same])) for r in (a, b)]
        values["EER"].append(equal_error_rate(*halves[0]).rate - equal_error_rate(*halves[1]).rate)
        values["TAR@FAR=10 %"].append(tar_at_far(*halves[0], [0.1])[0].tar - tar_at_far(*halves[1], [0.1])[0].tar)
    for name, drawn in values.items():
        assert (found[name].low, found[name].high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=1e-12)


def test_pairing_makes_the_interval_narrower_than_two_apart() -> None:
    """Both systems fail on the same hard pairs: that uncertainty is common and must cancel."""
    a, b = evaluated(0.1), evaluated(0.2, seed=1)
    (eer,) = (row for row in compare_systems(system(a), system(b)).differences if row.name == "EER")
    apart = np.hypot(*(r.eer.interval.high - r.eer.interval.low for r in (a, b)))
    assert eer.interval.high - eer.interval.low < 0.6 * apart


def test_a_system_against_itself_shows_nothing() -> None:
    report = evaluated(0.5)
    found = compare_systems(system(report), system(report))
    assert all(row.difference == row.interval.low == row.interval.high == 0 and not row.better for row in found.differences)
    assert found.mcnemar is not None
    assert (found.mcnemar.only_a, found.mcnemar.only_b, found.mcnemar.p_value) == (0, 0, 1)


def test_without_people_pairs_are_resampled_and_the_method_says_so() -> None:
    unknown = [
        System(replace(report.pairs, identities=None), report.folds) for report in (evaluated(0.1), evaluated(0.5, seed=1))
    ]
    assert compare_systems(*unknown).differences[0].interval.method == "bootstrap by pair (1000 resamples)"
    known = compare_systems(system(evaluated(0.1)), system(evaluated(0.5, seed=1)))
    assert known.differences[0].interval.method == "bootstrap by identity (1000 resamples)"


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (9, 3), (3, 9), (5, 5), (300, 340)])
def test_mcnemar_is_the_exact_binomial_test(only_a: int, only_b: int) -> None:
    right_a = np.repeat([True, False, True, False], [only_a, only_b, 20, 4])
    right_b = np.repeat([False, True, True, False], [only_a, only_b, 20, 4])
    found = mcnemar(right_a, right_b)
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert (found.only_a, found.only_b, found.method) == (only_a, only_b, "exact binomial")
    assert found.p_value == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_many_discordant_pairs_is_the_corrected_chi_square() -> None:
    right_a = np.repeat([True, False], [700, 620])
    found = mcnemar(right_a, ~right_a)
    assert found.p_value == pytest.approx(chi2.sf((80 - 1) ** 2 / 1320, 1))
    assert found.method.startswith("χ²")
    exact = binomtest(700, 1320).pvalue
    assert found.p_value == pytest.approx(exact, rel=0.03)
    assert mcnemar(np.repeat([True, False], 600), np.repeat([False, True], 600)).p_value == 1


def changed(pairs: ScoredPairs, name: str, position: int) -> ScoredPairs:
    array = np.array(getattr(pairs, name))
    other = {"same": np.logical_not, "folds": lambda _: "9", "identities": lambda people: people + 1, "rows": lambda _: [0, 3]}
    array[position] = other[name](array[position])
    return replace(pairs, **{name: array})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("same", r"kind \(genuine or impostor\) of pair 7 is False in one and True in the other"),
        ("folds", r"the fold of pair 7 is 0 in one and 9 in the other"),
        ("identities", r"the people of pair 7 is \[\d+, \d+\] in one and"),
        ("rows", r"pair 7 is image14 – image15 in one and image0 – image3 in the other"),
    ],
)
def test_the_first_difference_of_the_pairs_is_named(name: str, message: str) -> None:
    report = evaluated(0.1)
    with pytest.raises(InputError, match=message):
        compare_systems(system(report), System(changed(changed(report.pairs, name, 7), name, 11), report.folds))


def test_pairs_that_cannot_be_compared() -> None:
    report = evaluated(0.1)
    with pytest.raises(InputError, match="240 and 239 of them"):
        compare_systems(system(report), System(report.pairs.take(np.arange(239)), report.folds))
    with pytest.raises(InputError, match="only one knows the people"):
        compare_systems(system(report), System(replace(report.pairs, identities=None), report.folds))
    with pytest.raises(InputError, match="only one knows the images"):
        compare_systems(system(report), System(replace(report.pairs, rows=None, names=None), report.folds))
    with pytest.raises(InputError, match="no threshold is known for fold '0'"):
        System(report.pairs, report.folds[1:]).decided_rightly()


def test_images_may_be_numbered_differently() -> None:
    report = evaluated(0.1)
    names = report.pairs.names
    assert names is not None
    renumbered = replace(report.pairs, rows=len(names) - 1 - report.pairs.rows, names=names[::-1])
    assert compare_systems(system(report), System(renumbered, report.folds)).differences[0].difference == 0


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two run folders, each with one evaluation; without pictures, which take seconds and are tested elsewhere."""
    monkeypatch.setattr(section, "_figures", lambda: (None, ""))
    for name, noise, seed in (("good", 0.1, 0), ("bad", 2.0, 1)):
        write_report(evaluated(noise, seed).to_report(), tmp_path / name / "evaluation-lfw")
    return tmp_path / "good", tmp_path / "bad"


def test_runs_are_read_back_as_they_were_written(runs: tuple[Path, Path]) -> None:
    whole = evaluated(0.1)
    for place in (runs[0], runs[0] / "evaluation-lfw", runs[0] / "evaluation-lfw" / "report.json"):
        report = read_report(place)
        assert report.metrics["eer"]["rate"] == whole.eer.rate
        for name, array in whole.pairs.series().items():
            np.testing.assert_array_equal(report.series[name], array)


def test_a_new_report_has_nothing_of_the_one_before(runs: tuple[Path, Path]) -> None:
    folder, report = runs[0] / "evaluation-lfw", evaluated(0.1).to_report()
    (folder / "mine.txt").write_text("stays")
    (folder / "roc.png").write_bytes(b"of a report with pictures")
    write_report(replace(report, series={}), folder)
    assert read_report(folder).series == {}
    assert {file.name for file in folder.iterdir()} == {"report.json", "report.html", "mine.txt"}


def test_the_command_prints_and_writes_the_comparison(runs: tuple[Path, Path], tmp_path: Path, run_cli: Callable) -> None:
    code, printed, _ = run_cli("compare-runs", *runs, "--out", tmp_path / "page")
    assert code == 0
    assert "accuracy: A is better than B by" in printed
    html = (tmp_path / "page" / "report.html").read_text(encoding="utf-8")
    assert f"{runs[0]} against {runs[1]}" in html
    assert "McNemar&#x27;s test: " in html
    stored = json.loads((tmp_path / "page" / "report.json").read_text(encoding="utf-8"))
    (comparison,) = stored["comparisons"]
    expected = compare_systems(system(evaluated(0.1)), system(evaluated(2.0, seed=1)))
    assert [row["difference"] for row in comparison["differences"]] == [row.difference for row in expected.differences]
    assert expected.mcnemar is not None
    assert comparison["mcnemar"]["p_value"] == expected.mcnemar.p_value


def test_the_command_refuses(runs: tuple[Path, Path], tmp_path: Path, run_cli: Callable) -> None:
    good, bad = runs
    write_report(evaluated(0.1, pairs=50).to_report(), tmp_path / "other")
    write_report(evaluated(0.1).to_report(), good / "evaluation-pairs")
    for arguments, message in (
        ([bad], "two different runs or more"),
        ([bad, bad], "two different runs or more"),
        ([bad, tmp_path / "other"], "cannot be compared: the two runs hold different pairs: 240 and 200 of them"),
        ([bad, tmp_path / "nothing"], "must be a report.json"),
        ([bad, good], "it holds evaluation-lfw, evaluation-pairs"),
    ):
        code, _, said = run_cli("compare-runs", *arguments, "--out", tmp_path / "page")
        assert code == 1
        assert message in said
    assert not (tmp_path / "page").exists()


def test_stored_pairs_without_ids_are_not_matched_by_their_place(runs: tuple[Path, Path]) -> None:
    """Anybody may write such reports; from Python the order may be vouched for."""
    for folder, noise in zip(runs, (0.1, 2.0), strict=True):
        report = evaluated(noise)
        nameless = replace(report, pairs=replace(report.pairs, rows=None, names=None))
        write_report(nameless.to_report(), folder / "evaluation-lfw")
    with pytest.raises(InputError, match="does not say which images its pairs are of"):
        compare_runs(runs)


def test_files_that_are_not_what_they_should_be(runs: tuple[Path, Path], tmp_path: Path) -> None:
    folder = runs[0] / "evaluation-lfw"
    np.savez(folder / "scores.npz", genuine=np.array([{"a": 1}], dtype=object), impostor=np.ones(2))
    with pytest.raises(InputError, match=r"cannot read the scores .*scores\.npz"):  # a pickle inside is not loaded
        read_report(folder)
    (folder / "scores.npz").unlink()
    with pytest.raises(InputError, match=r"was written with scores\.npz, which is gone; evaluate it again"):
        compare_runs([folder, runs[1]])
    for content in (
        '{"systems": {}}',
        "[]",
        "{",
        '{"protocol": "x", "title": "x", "notes": [], "metrics": {"folds": [{"fold": "1"}]}}',
    ):
        (folder / "report.json").write_text(content)
        with pytest.raises(InputError, match="is not the report of one evaluation"):
            read_report(folder)
