"""All comparisons, streamed: every count is that of brute force on canonical scores, whatever the screen, the tiles or the processes."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from orthodrome import fuse
from orthodrome.evaluation import canonical_scores, compare_all, equal_error_rate, pair_scores, streaming_memory, tar_at_far
from orthodrome.evaluation.scores import score_block, unit_vectors
from orthodrome.evaluation.streaming import compare, passes, pilot, resampling, tiles
from orthodrome.evaluation.streaming.passes import mark_of
from orthodrome.evaluation.streaming.screens import BFLOAT16, FLOAT32, INT8, bound, holds
from orthodrome.evaluation.streaming.sides import comparison, side
from orthodrome.evaluation.streaming.tallies import Tally
from orthodrome.types import InputError

FARS = (1e-4, 1e-3, 1e-2, 0.1, 0.5, 1.0)

counted = partial(compare_all, resamples=0)


def people(seed: int, count: int, dimension: int, classes: int, coarse: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Noisy points around centres; ``coarse`` ones lie on a grid, so that many scores tie."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, count)
    vectors = generator.normal(size=(classes, dimension))[labels] + 1.5 * generator.normal(size=(count, dimension))
    return (np.round(vectors) if coarse else vectors).astype(np.float32) + np.float32(0.25), labels


def brute_force(probes: np.ndarray, labels: np.ndarray, gallery: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores = score_block(unit_vectors(probes), unit_vectors(gallery))
    same = labels[:, None] == others
    return scores[same], scores[~same]


def assert_same_counts(found: Any, genuine: np.ndarray, impostor: np.ndarray, fars: tuple[float, ...] = FARS) -> None:
    for ours, theirs in zip(found.rows, tar_at_far(genuine, impostor, fars), strict=True):
        for name in ("far", "threshold", "accepted_genuine", "genuine", "accepted_impostor", "impostor", "tar", "warning"):
            assert getattr(ours, name) == getattr(theirs, name), name
    for threshold, genuines, impostors in zip(
        found.roc.thresholds, found.roc.accepted_genuine, found.roc.accepted_impostor, strict=True
    ):
        assert genuines == np.count_nonzero(genuine >= np.float32(threshold))
        assert impostors == np.count_nonzero(impostor >= np.float32(threshold))


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of 64 × 96 and panels of 128 probes, so that small sets have many, with ragged ends."""
    monkeypatch.setattr(tiles, "TILE_ROWS", 64)
    monkeypatch.setattr(tiles, "TILE_COLUMNS", 96)
    monkeypatch.setattr(tiles, "_panel_rows", lambda dimension: 128)


@pytest.mark.parametrize("screen", ["fp32", "bf16", "int8", "auto"])
def test_within_one_set(screen: str, small_tiles: None) -> None:
    vectors, labels = people(0, 431, 16, 30)
    every = pair_scores(vectors, labels)
    found = counted(vectors, labels, fars=FARS, roc=True, screen=screen)
    assert_same_counts(found, every.scores[every.same], every.scores[~every.same])
    eer = equal_error_rate(every.scores[every.same], every.scores[~every.same])
    assert found.eer is not None
    assert found.eer.rate == pytest.approx(eer.rate, rel=1e-12)
    assert (found.eer.threshold, found.eer.far, found.eer.frr) == (eer.threshold, eer.far, eer.frr)
    assert found.counts.counted == len(every)


@pytest.mark.parametrize("screen", ["fp32", "bf16", "int8"])
def test_probes_against_a_gallery(screen: str, small_tiles: None) -> None:
    probes, labels = people(1, 200, 16, 20)
    gallery, others = people(2, 333, 16, 40)
    found = counted(probes, labels, gallery, others, FARS, roc=True, screen=screen)
    assert_same_counts(found, *brute_force(probes, labels, gallery, others))


def test_planted_ties_at_the_threshold_are_counted(small_tiles: None) -> None:
    """Half of all comparisons have one of a handful of scores: a rule that is off by one rounding would move thousands."""
    generator = np.random.default_rng(3)
    vectors = generator.choice([-1.0, 1.0], size=(300, 8)).astype(np.float32)
    labels = np.arange(300) // 2
    every = pair_scores(vectors, labels)
    for screen in ("fp32", "bf16", "int8"):
        found = counted(vectors, labels, fars=FARS, roc=True, screen=screen)
        assert_same_counts(found, every.scores[every.same], every.scores[~every.same])


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(12, 90),
    dimension=st.integers(1, 9),
    classes=st.integers(2, 9),
    coarse=st.booleans(),
    screen=st.sampled_from(["fp32", "bf16", "int8"]),
)
def test_any_small_set(seed: int, count: int, dimension: int, classes: int, coarse: bool, screen: str) -> None:
    assume(dimension > 1 or screen != "int8")
    vectors, labels = people(seed, count, dimension, classes, coarse)
    labels[:2], labels[2:4] = 0, 1
    every = pair_scores(vectors, labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "TILE_ROWS", 16)
        patch.setattr(tiles, "TILE_COLUMNS", 24)
        found = counted(vectors, labels, fars=(0.1, 1.0), screen=screen, roc=True)
    assert_same_counts(found, every.scores[every.same], every.scores[~every.same], (0.1, 1.0))


def test_the_cut_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, labels = people(4, 500, 24, 25)
    found = []
    for rows, columns in ((64, 64), (96, 160), (1024, 4096)):
        monkeypatch.setattr(tiles, "TILE_ROWS", rows)
        monkeypatch.setattr(tiles, "TILE_COLUMNS", columns)
        result = counted(vectors, labels, fars=FARS, roc=True)
        found.append((result.rows, result.eer, [array.tolist() for array in vars(result.roc).values()]))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("long", [False, True])
def test_threads_do_not_matter(long: bool, small_tiles: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the work on a tile is compiled."""
    monkeypatch.setattr(compare, "LONG", 0 if long else compare.LONG)
    monkeypatch.setattr(fuse, "SMALLEST", 0)
    vectors, labels = people(4, 384, 16, 40)
    alone = counted(vectors, labels, fars=FARS, roc=True)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        shared = counted(vectors, labels, fars=FARS, roc=True)
    finally:
        torch.set_num_threads(before)
    assert shared.rows == alone.rows
    assert shared.eer == alone.eer
    for name in ("thresholds", "accepted_genuine", "accepted_impostor"):
        np.testing.assert_array_equal(getattr(shared.roc, name), getattr(alone.roc, name))


def test_processes_do_not_matter(small_tiles: None, tmp_path: Path) -> None:
    vectors, labels = people(5, 400, 16, 40)
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    one = counted(vectors, labels, fars=FARS, roc=True)
    two = counted(mapped, labels, fars=FARS, roc=True, workers=2)
    assert one.rows == two.rows
    assert one.eer == two.eer


@pytest.mark.parametrize("how", ["mapped", "in Fortran's order", "edited in memory", "a view", "in memory"])
def test_other_processes_read_the_same_embeddings(how: str, tmp_path: Path) -> None:
    vectors, labels = people(5, 300, 16, 40)
    np.save(tmp_path / "vectors.npy", np.asfortranarray(vectors) if how == "in Fortran's order" else vectors)
    given = np.load(tmp_path / "vectors.npy", mmap_mode="c" if how == "edited in memory" else "r")
    if how == "edited in memory":
        given[7] = 3.0
    if how == "a view":
        given = given[::-1]
    if how == "in memory":
        given = vectors
    mapped = passes._as_file(side(given, labels, None, "probe"), tmp_path / "copy").vectors.open()  # type: ignore[attr-defined]
    np.testing.assert_array_equal(mapped, given)
    assert (tmp_path / "copy").exists() == (how != "mapped")


def test_groups_are_left_out(small_tiles: None) -> None:
    """Frames of one video are not compared with each other, whether of one person or of two."""
    probes, labels = people(6, 150, 12, 10)
    gallery, others = people(7, 210, 12, 10)
    generator = np.random.default_rng(8)
    groups, other_groups = generator.integers(-1, 12, 150), generator.integers(-1, 12, 210)
    scores = score_block(unit_vectors(probes), unit_vectors(gallery))
    left_out = (groups[:, None] == other_groups) & (groups[:, None] >= 0)
    same = labels[:, None] == others
    found = counted(probes, labels, gallery, others, FARS, probe_groups=groups, gallery_groups=other_groups, roc=True)
    assert found.counts.excluded == left_out.sum()
    assert_same_counts(found, scores[same & ~left_out], scores[~same & ~left_out])


def test_distractors_are_unlike_everyone(small_tiles: None) -> None:
    probes, labels = people(9, 100, 12, 10)
    gallery, others = people(10, 150, 12, 10)
    others[50:] = -1
    found = counted(probes, labels, gallery, others, (1e-3, 0.1))
    assert_same_counts(found, *brute_force(probes, labels, gallery, np.where(others < 0, -2, others)), (1e-3, 0.1))


def test_a_band_that_missed_is_widened(monkeypatch: pytest.MonkeyPatch, small_tiles: None) -> None:
    """With a pilot that sees next to nothing the first bands are wrong; the answer is not."""
    monkeypatch.setattr(compare, "DEVIATIONS", 0.0)
    monkeypatch.setattr(pilot, "SAMPLE", (100, 100))
    vectors, labels = people(11, 300, 16, 30, coarse=False)
    every = pair_scores(vectors, labels)
    found = counted(vectors, labels, fars=FARS, roc=True)
    assert_same_counts(found, every.scores[every.same], every.scores[~every.same])
    assert "1 pass" not in found.notes[0]


def test_the_first_bands_nearly_always_hold() -> None:
    vectors, labels = people(12, 3000, 32, 300, coarse=False)
    found = counted(vectors, labels, fars=(1e-5, 1e-4, 1e-3), roc=True)
    assert "1 pass" in found.notes[0]


@pytest.mark.parametrize("screen", [FLOAT32, BFLOAT16, INT8], ids=lambda screen: screen.name)
@pytest.mark.parametrize("dimension", [3, 128, 512])
def test_screens_keep_their_bound(screen: Any, dimension: int) -> None:
    generator = np.random.default_rng(13)
    rows, columns = (unit_vectors(generator.normal(size=(size, dimension)) ** 3) for size in (200, 300))
    assert holds(screen, rows, np.concatenate([columns, rows]))


def test_the_bound_is_not_met_by_chance() -> None:
    """Products rounded to bfloat16 break the bound of float32, so the check can fail."""
    generator = np.random.default_rng(14)
    units = unit_vectors(generator.normal(size=(300, 64)))
    panel = FLOAT32.panel(units)
    rounded = torch.from_numpy(units).bfloat16().float()
    off = (rounded @ rounded.T - torch.from_numpy(score_block(units, units))).abs().max()
    assert float(off) > 10 * bound(panel, panel)


@pytest.mark.parametrize("far", [0.1, 0.01])
def test_the_threshold_of_equal_errors_is_of_the_data(far: float) -> None:
    vectors, labels = np.ones((40, 8), np.float32), np.arange(40) // 4
    found = compare_all(vectors, labels, fars=(far,), roc=True, resamples=0)
    every = pair_scores(vectors, labels)
    expected = equal_error_rate(every.scores[every.same], every.scores[~every.same])
    assert found.eer is not None
    assert (found.eer.rate, found.eer.threshold) == (expected.rate, expected.threshold)


def test_ties_beyond_what_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "ALL_HELD", 0)
    monkeypatch.setattr(resampling, "MOST", 1000)
    vectors = np.ones((100, 4), np.float32)
    found = compare_all(vectors, np.arange(100) // 4, fars=(0.01,), resamples=10)
    assert "too many scores are tied to be held" in found.notes[-1]


def test_a_state_is_of_every_embedding(tmp_path: Path) -> None:
    vectors, labels = people(7, 2600, 8, 300, coarse=False)
    problem = comparison(side(vectors, labels, None, "probe"), None)
    changed = vectors.copy()
    changed[1] += 1
    other = comparison(side(changed, labels, None, "probe"), None)
    assert mark_of(problem, tiles.plan(problem), "x") != mark_of(other, tiles.plan(other), "x")


@pytest.mark.parametrize("dimension", [2, 63, 512])
def test_integers_near_their_steps(dimension: int) -> None:
    """Levels that fall on a whole number of steps, or a rounding beside one: what reaches them is never lost, what does not, never sure."""
    generator = np.random.default_rng(21)
    rows, columns = (unit_vectors(generator.integers(-3, 4, size=(50, dimension)) + 0.25) for _ in range(2))
    panels = INT8.panel(rows), INT8.panel(columns)
    screened = INT8.products(*panels, slice(0, 50), torch.empty(50 * 50, dtype=torch.int32))
    exact, unit = torch.from_numpy(score_block(rows, columns)).double(), panels[0].unit * panels[1].unit
    assert torch.equal(screened.double(), panels[0].factors.double() @ panels[1].factors.double().T)
    error = bound(*panels)
    for level in [*exact.flatten()[::97], screened[0, 0].double() * unit]:
        assert (exact[screened > INT8.rounded((level + error) / unit)] >= level).all()
        assert (screened[exact >= level] >= INT8.rounded((level - error) / unit)).all()


def test_integers_take_any_level() -> None:
    ends = INT8.rounded(torch.tensor([-np.inf, -1.5, 2.0, np.inf], dtype=torch.float64))
    assert ends.tolist() == [-(2**31) + 1, -2, 2, 2**31 - 1]
    assert INT8.nothing < ends.min()


def test_integers_whose_sums_overflow_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on processors that multiply numbers without a sign by numbers with one, and add two products in 16 bits."""
    vectors, labels = people(3, 40, 8, 10, coarse=False)

    def saturating(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        products = (a.int() + 128).unsqueeze(2) * b.int().unsqueeze(0)
        two = torch.nn.functional.pad(products, (0, 0, 0, a.shape[1] % 2)).unflatten(1, (-1, 2)).sum(dim=2)
        return out.copy_(two.clamp(-(2**15), 2**15 - 1).sum(dim=1) - 128 * b.int().sum(dim=0))

    assert INT8.works(8)
    monkeypatch.setattr(torch, "_int_mm", saturating)
    assert not INT8.works(8)
    with pytest.raises(InputError, match="screen='auto'"):
        compare_all(vectors, labels, fars=(0.1,), screen="int8")
    monkeypatch.delattr(torch, "_int_mm")
    assert not INT8.works(8)
    assert compare_all(vectors, labels, fars=(0.1,), resamples=0).rows


def test_integers_of_too_many_dimensions_are_not_used() -> None:
    assert not INT8.works(133_153)


def test_closed_form_on_the_sphere() -> None:
    """Cosines of uniform unit vectors in D dimensions: (1 + s)/2 follows a Beta law, so the threshold of a FAR is known."""
    from scipy.stats import beta

    dimension, count = 8, 4000
    vectors = np.random.default_rng(15).normal(size=(count, dimension)).astype(np.float32)
    labels = np.arange(count) // 2
    for row in counted(vectors, labels, fars=(1e-4, 1e-3, 1e-2, 0.1)).rows:
        law = beta((dimension - 1) / 2, (dimension - 1) / 2)
        assert law.sf((1 + row.threshold) / 2) == pytest.approx(row.far, rel=0.12)


INTERRUPTED = """
import signal, sys
import numpy as np
from orthodrome.evaluation import compare_all
from orthodrome.evaluation.streaming import passes, tiles
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that runs the tests in its background has them ignore it
tiles.TILE_ROWS, tiles.TILE_COLUMNS, passes.JOB, passes.SAVE_SECONDS = 64, 64, 1, 0.0
data = np.load(sys.argv[1])
def progress(done, total):
    print(done, total, flush=True)
    if done > total // 3:
        __import__("time").sleep(60)
compare_all(data["vectors"], data["labels"], fars=(1e-3, 1e-2), roc=True, resamples=0, state=sys.argv[2], progress=progress)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_count_goes_on(how: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, labels = people(16, 600, 16, 60)
    np.savez(tmp_path / "set.npz", vectors=vectors, labels=labels)
    state = tmp_path / "state.npz"
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "set.npz"), str(state)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        done, total = map(int, line.split())
        if done > total // 3:
            break
    time.sleep(0.2)
    process.send_signal(how)
    process.wait(timeout=30)
    assert state.exists()
    monkeypatch.setattr(tiles, "TILE_ROWS", 64)
    monkeypatch.setattr(tiles, "TILE_COLUMNS", 64)
    steps: list[int] = []
    found = counted(vectors, labels, fars=(1e-3, 1e-2), roc=True, state=state, progress=lambda done, total: steps.append(done))
    assert steps[0] > 0
    assert found.rows == counted(vectors, labels, fars=(1e-3, 1e-2), roc=True).rows
    assert not state.exists()


ENDLESS = """
import signal, sys, time
import numpy as np
from orthodrome.evaluation import compare_all
from orthodrome.evaluation.streaming import passes, tiles
count = passes._count_there
def endless(units):
    time.sleep(0 if units[0][1].start == 0 else 60)
    return count(units)
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    passes._count_there, tiles.TILE_COLUMNS, passes.JOB = endless, 64, 1
    data = np.load(sys.argv[1])
    def progress(done, total):
        print(done, flush=True)
    compare_all(data["vectors"], data["labels"], fars=(1e-2,), resamples=0, workers=2, state=sys.argv[2], progress=progress)
"""


def test_an_interrupted_count_of_several_processes_ends_at_once_and_keeps_what_they_found(tmp_path: Path) -> None:
    vectors, labels = people(16, 300, 16, 30)
    np.savez(tmp_path / "set.npz", vectors=vectors, labels=labels)
    (tmp_path / "endless.py").write_text(ENDLESS)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "endless.py"), str(tmp_path / "set.npz"), str(tmp_path / "state.npz")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
    )
    assert process.stdout is not None
    assert any(int(line) > 0 for line in process.stdout)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=30)  # and the processes that inherited its output with it
    assert process.stdout.read() == ""
    with np.load(tmp_path / "state.npz") as state:
        assert state["done"].tolist() == [True, *[False] * 4]


def test_a_count_interrupted_while_it_is_merged_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_tiles: None
) -> None:
    monkeypatch.setattr(passes, "JOB", 1)
    vectors, labels = people(16, 300, 16, 30)
    state, calls, add = tmp_path / "state.npz", [], Tally.__add__

    def interrupted(self: Tally, other: Tally) -> Tally:
        calls.append(other)
        if len(calls) == 6:  # the impostors of the third job
            raise KeyboardInterrupt
        return add(self, other)

    with monkeypatch.context() as patch:
        patch.setattr(Tally, "__add__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            counted(vectors, labels, fars=(1e-2,), roc=True, state=state)
    found = counted(vectors, labels, fars=(1e-2,), roc=True, state=state)
    whole = counted(vectors, labels, fars=(1e-2,), roc=True)
    assert (found.rows, found.eer) == (whole.rows, whole.eer)


@pytest.mark.parametrize("stopped_in", [2, 4])
def test_a_count_stopped_in_any_pass_goes_on(
    stopped_in: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_tiles: None
) -> None:
    """The second pass for bands that missed, and the pass for intervals by identity: what was counted before is kept."""
    monkeypatch.setattr(passes, "JOB", 1)
    monkeypatch.setattr(compare, "DEVIATIONS", 0.0)
    monkeypatch.setattr(pilot, "SAMPLE", (100, 100))
    vectors, labels = people(11, 160, 16, 20, coarse=False)
    count = partial(compare_all, vectors, labels, fars=FARS[2:], roc=True, resamples=20)
    passes_begun: list[int] = []
    state = tmp_path / "state.npz"

    def interrupt(done: int, total: int) -> None:
        passes_begun.extend([total] * (done == 0))
        if len(passes_begun) == stopped_in and done > 2 * total // 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        count(state=state, progress=interrupt)
    steps: list[float] = []
    found = count(state=state, progress=lambda done, total: steps.append(done / total))
    assert steps[: stopped_in - 1] == [1.0] * (stopped_in - 1)
    assert steps[stopped_in - 1] > (0.3 if stopped_in == 2 else -1)  # intervals begin anew
    assert "in 3 passes" in found.notes[0]
    assert found.rows == count().rows
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("threads", [1, 3])
def test_progress_advances_within_a_job(threads: int, small_tiles: None) -> None:
    """A set of one job: told of each of its tiles, and of as many comparisons as are passed over."""
    vectors, labels = people(16, 300, 16, 30)
    told: list[tuple[int, int]] = []
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        counted(vectors, labels, fars=(1e-2,), progress=lambda done, total: told.append((done, total)))
    finally:
        torch.set_num_threads(before)
    (total,) = {total for _, total in told}
    steps = [done for done, _ in told]
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (0, total)
    assert 300 * 299 // 2 <= total < 300 * 300  # tiles below the diagonal are not passed over
    assert len(set(steps)) > 10
    assert max(np.diff(steps)) <= 64 * 96


def test_jobs_share_their_panel_of_probes(monkeypatch: pytest.MonkeyPatch, small_tiles: None) -> None:
    """So that jobs of a few seconds, which can be saved and told of, cost nothing more: 150 probes are two panels."""
    monkeypatch.setattr(passes, "JOB", 1)
    probes, labels = people(6, 150, 12, 10)
    gallery, others = people(7, 400, 12, 10)
    loaded: list[int] = []
    original = tiles.load

    def load(of: Any, rows: slice, *rest: Any) -> Any:
        loaded.append(len(of))
        return original(of, rows, *rest)

    monkeypatch.setattr(tiles, "load", load)
    counted(probes, labels, gallery, others, (0.1,))
    assert (loaded.count(150), loaded.count(400)) == (2, 2 * 5)


def test_a_state_that_cannot_be_written_is_refused_first(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    vectors, labels = people(17, 60, 8, 6)
    with pytest.raises(InputError, match="file is no folder"):
        counted(vectors, labels, fars=(0.1,), state=tmp_path / "file" / "state.npz")


def test_a_state_of_another_comparison_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_tiles: None) -> None:
    monkeypatch.setattr(passes, "JOB", 1)
    vectors, labels = people(17, 300, 16, 30)
    state = tmp_path / "state.npz"

    def interrupt(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        counted(vectors, labels, fars=(1e-2,), state=state, progress=interrupt)
    with pytest.raises(InputError, match="state of another comparison"):
        counted(vectors + 1, labels, fars=(1e-2,), state=state)
    state.write_bytes(b"no archive")
    with pytest.raises(InputError, match="cannot be read as the state of a comparison: it has another form"):
        counted(vectors, labels, fars=(1e-2,), state=state)
    np.savez(state, vectors=vectors)
    with pytest.raises(InputError, match="no state of a comparison, but another file; name another"):
        counted(vectors, labels, fars=(1e-2,), state=state)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fars": (1e-9,)}, "needs ≥ 1/FAR"),
        ({"fars": ()}, "nothing is asked for"),
        ({"probe_labels": np.zeros(60, int)}, "genuine and impostor comparisons"),
        ({"probe_labels": np.arange(60)}, "genuine and impostor comparisons"),
        ({"probe_labels": np.arange(59)}, r"shape \(60,\)"),
        ({"probe_labels": np.full(60, -1)}, "unlike everyone"),
        ({"screen": "fp64"}, "unknown screen"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"resamples": 1}, "resamples must be at least 2"),
        ({"gallery_labels": np.arange(60)}, "need a gallery"),
        ({"gallery": np.ones((5, 3)), "gallery_labels": np.arange(5)}, "one dimension"),
        ({"gallery": np.ones((5, 8))}, "gallery_labels"),
    ],
)
def test_bad_input(change: dict[str, Any], message: str) -> None:
    vectors, labels = people(18, 60, 8, 6)
    given: dict[str, Any] = {"probes": vectors, "probe_labels": labels, "fars": (0.1,)}
    with pytest.raises(InputError, match=message):
        counted(**{**given, **change})


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_the_row_of_a_bad_embedding_is_named(value: float) -> None:
    vectors, labels = people(19, 60, 8, 6)
    vectors[41] = value
    with pytest.raises(InputError, match="row 41"):
        counted(vectors, labels, fars=(0.1,))


def test_all_scores_equal() -> None:
    vectors, labels = np.ones((40, 4), np.float32), np.arange(40) // 4
    found = counted(vectors, labels, fars=(0.1, 1.0), roc=True)
    assert [row.accepted_impostor for row in found.rows] == [0, found.counts.impostor]
    assert found.eer is not None
    assert found.eer.rate == 0.5


@pytest.mark.parametrize("dimension", [128, 512, 700, 1024, 2048, 4096])
@pytest.mark.parametrize("threads", [1, 8, 12, 64])
def test_memory_is_stated_and_bounded(dimension: int, threads: int) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        assert streaming_memory(dimension, 274_000) <= streaming_memory(dimension, 10**9) < 2**30
    finally:
        torch.set_num_threads(before)


def test_threshold_is_the_next_number_above_the_first_rejected_impostor() -> None:
    """Worked out by hand: cosines 1, 0.6, 0 and −1 among four people in the plane."""
    angle = math.acos(0.6)
    vectors = np.array([[1, 0], [1, 0], [math.cos(angle), math.sin(angle)], [0, 1], [-1, 0]], np.float32)
    (row,) = counted(vectors, np.array([0, 0, 1, 2, 3]), fars=(0.3,)).rows
    scores = canonical_scores(vectors[[0, 1, 2]], vectors[[2, 2, 3]])
    assert (row.accepted_impostor, row.impostor, row.tar) == (1, 9, 1.0)  # sin of the angle, 0.8, is the highest; then 0.6 twice
    assert row.threshold == float(np.nextafter(scores[0], np.float32(np.inf)))


@pytest.mark.parametrize("all_held", [0, compare.ALL_HELD])
def test_intervals_by_identity_are_those_of_all_scores(all_held: int, small_tiles: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where only the highest impostors are held; the weight of the others is known without them."""
    monkeypatch.setattr(compare, "ALL_HELD", all_held)
    vectors, labels = people(20, 300, 16, 40, coarse=False)
    every = pair_scores(vectors, labels)
    kinds = [(every.scores[kind], every.identities[kind]) for kind in (every.same, ~every.same)]
    (genuine, pairs), (impostor, others) = kinds
    found = compare_all(vectors, labels, fars=(1e-3, 0.02), roc=True)
    for ours, theirs in zip(found.rows, tar_at_far(genuine, impostor, (1e-3, 0.02), pairs, others), strict=True):
        assert ours.interval == theirs.interval
    assert found.eer is not None
    assert found.eer.interval == equal_error_rate(genuine, impostor, pairs, others).interval


def test_intervals_by_identity_between_two_sides_with_groups_and_distractors(small_tiles: None) -> None:
    """Against a loop over the resamples that weighs every comparison."""
    probes, labels = people(21, 120, 12, 15, coarse=False)
    gallery, others = people(22, 160, 12, 15, coarse=False)
    others[100:] = -1
    generator = np.random.default_rng(23)
    groups, other_groups = generator.integers(-1, 30, 120), generator.integers(-1, 30, 160)
    found = compare_all(probes, labels, gallery, others, (0.01,), probe_groups=groups, gallery_groups=other_groups)
    scores = score_block(unit_vectors(probes), unit_vectors(gallery))
    kept = ~((groups[:, None] == other_groups) & (groups[:, None] >= 0))
    same = labels[:, None] == others
    tars = []
    for drawn in np.random.Generator(np.random.PCG64(0)).integers(0, 15, size=(1000, 15)):
        times = np.append(np.bincount(drawn, minlength=15), 1)  # a distractor is there once, always
        weights = times[labels][:, None] * np.where(same, 1, times[others])
        (impostors, heavy), (genuines, light) = ((scores[kind], weights[kind]) for kind in (~same & kept, same & kept))
        order = np.argsort(-impostors, kind="stable")
        first_rejected = np.argmax(np.cumsum(heavy[order]) > np.floor(0.01 * heavy.sum()))
        tars.append(light[genuines > impostors[order][first_rejected]].sum() / light.sum())
    assert found.rows[0].interval.low == pytest.approx(np.quantile(tars, 0.025), abs=1e-12)
    assert found.rows[0].interval.high == pytest.approx(np.quantile(tars, 0.975), abs=1e-12)


def one_bad_person(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ten people of whom one is blurred: resamples without, and with many copies of that one are far apart."""
    generator = np.random.default_rng(seed)
    labels = np.arange(100) % 10
    blur = np.where(labels == 0, 3.0, 0.5)[:, None]
    return (generator.normal(size=(10, 16))[labels] + blur * generator.normal(size=(100, 16))).astype(np.float32), labels


@pytest.mark.parametrize("seed", [0, 1])
def test_intervals_of_few_people_are_those_of_all_scores(seed: int) -> None:
    """A resample whose crossing or threshold lies far below that of all people is neither clipped nor left out."""
    vectors, labels = one_bad_person(seed)
    every = pair_scores(vectors, labels)
    kinds = [(every.scores[kind], every.identities[kind]) for kind in (every.same, ~every.same)]
    (genuine, pairs), (impostor, others) = kinds
    found = compare_all(vectors, labels, fars=(1e-2,), roc=True)
    assert found.eer is not None
    assert found.eer.interval == equal_error_rate(genuine, impostor, pairs, others).interval
    assert found.rows[0].interval == tar_at_far(genuine, impostor, (1e-2,), pairs, others)[0].interval
    assert found.eer.interval.high > 2 * found.eer.rate


def test_where_resamples_fall_below_what_is_held_the_intervals_are_wilsons(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, labels = one_bad_person(0)
    monkeypatch.setattr(compare, "ALL_HELD", 0)
    monkeypatch.setattr(compare, "MARGIN", 2)
    both, alone = compare_all(vectors, labels, fars=(1e-2,), roc=True), compare_all(vectors, labels, fars=(1e-2,))
    assert both.eer is not None
    assert (both.eer.interval.method, alone.rows[0].interval.method) == ("Wilson", "Wilson")
    assert "Intervals of EER are Wilson's" in both.notes[-1]
    assert alone.notes[-1].endswith("too many resamples of people leave it open.")


def test_one_person_against_distractors() -> None:
    vectors, _ = people(25, 100, 12, 10)
    gallery_labels = np.where(np.arange(60) < 10, 0, -1)
    found = compare_all(vectors[:40], np.zeros(40, int), vectors[40:], gallery_labels, (0.01,))
    assert found.rows[0].interval.method == "Wilson"
    assert "two people or more" in found.notes[-1]


def test_where_too_many_scores_would_be_held_the_intervals_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, labels = people(24, 300, 16, 40, coarse=False)
    monkeypatch.setattr(compare, "ALL_HELD", 0)
    monkeypatch.setattr(compare, "MOST_HELD", 2000)
    found = compare_all(vectors, labels, fars=(1e-3, 0.1))
    assert [row.interval.method.split(" (")[0] for row in found.rows] == ["bootstrap by identity", "Wilson"]
    assert "Intervals of FAR 0.1 are Wilson's" in found.notes[-1]
    found = compare_all(vectors, labels, fars=(1e-3,), roc=True)
    assert "Intervals of EER are Wilson's" in found.notes[-1]
