"""``orthodrome compare-all`` on files: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from orthodrome.data import open_reader
from orthodrome.evaluation import pair_scores, tar_at_far
from orthodrome.pipeline import Model, create_model, save_embeddings
from orthodrome.pipeline.matching import SideFiles, load_sides
from orthodrome.types import EmbeddingSet, InputError, Preprocessing

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def faces(tmp_path: Path) -> EmbeddingSet:
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(20), 6)
    vectors = (generator.normal(size=(20, 12))[labels] + generator.normal(size=(120, 12))).astype(np.float32)
    return EmbeddingSet(vectors, labels, tuple(map(str, range(120))))


@pytest.fixture
def tiny_model() -> Model:
    return create_model("sfnet4", 8, Preprocessing((32, 32)), {"width": 0.125, "batch_norm": True})


def test_one_set(run_cli: Run, faces: EmbeddingSet, tmp_path: Path) -> None:
    save_embeddings(faces, tmp_path / "faces.npz")
    code, out, err = run_cli(
        "compare-all", tmp_path / "faces.npz", "--far", "1e-2", "--roc", "--resamples", "50", "--out", tmp_path / "report"
    )
    assert code == 0, err
    assert "7,140 comparisons; at most" in err
    assert "EER" in out
    every = pair_scores(faces.vectors, faces.labels)
    (expected,) = tar_at_far(every.scores[every.same], every.scores[~every.same], (0.01,))
    metrics = json.loads((tmp_path / "report" / "report.json").read_text())["metrics"]
    assert metrics["tar_at_far"][0]["threshold"] == expected.threshold
    assert metrics["tar_at_far"][0]["accepted_genuine"] == expected.accepted_genuine
    assert (tmp_path / "report" / "roc.png").exists()
    assert '<p class="soft">faces.npz, protocol all-comparisons' in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.parametrize(("rows", "fars"), [(40, []), (120, [1e-3])])
def test_the_roc_needs_no_far(run_cli: Run, faces: EmbeddingSet, rows: int, fars: list[float], tmp_path: Path) -> None:
    """Without --far those count that the impostors resolve: of 40 images none."""
    save_embeddings(EmbeddingSet(faces.vectors[:rows], faces.labels[:rows], faces.ids[:rows]), tmp_path / "faces.npz")
    code, out, err = run_cli("compare-all", tmp_path / "faces.npz", "--roc", "--resamples", "0", "--out", tmp_path / "report")
    assert code == 0, err
    assert "EER" in out
    metrics = json.loads((tmp_path / "report" / "report.json").read_text())["metrics"]
    assert [row["far"] for row in metrics["tar_at_far"]] == fars


def test_two_mapped_sides_with_names_and_groups(run_cli: Run, faces: EmbeddingSet, tmp_path: Path) -> None:
    for name, rows in (("probes", slice(0, 120, 2)), ("gallery", slice(1, 120, 2))):
        np.save(tmp_path / f"{name}.npy", faces.vectors[rows])
        (tmp_path / f"{name}.txt").write_text("".join(f"person {label}\n" for label in faces.labels[rows]))
        (tmp_path / f"{name}-video.txt").write_text("".join(f"{label % 3 - 1}\n" for label in faces.labels[rows]))
    arguments = [
        *("compare-all", tmp_path / "probes.npy", tmp_path / "gallery.npy", "--out", tmp_path / "report", "--resamples", "0"),
        *("--labels", tmp_path / "probes.txt", "--gallery-labels", tmp_path / "gallery.txt"),
        *("--groups", tmp_path / "probes-video.txt", "--gallery-groups", tmp_path / "gallery-video.txt"),
    ]
    code, _, err = run_cli(*arguments)
    assert code == 0, err
    counts = json.loads((tmp_path / "report" / "report.json").read_text())["metrics"]["counts"]
    videos = faces.labels % 3 - 1
    probes, gallery = slice(0, 120, 2), slice(1, 120, 2)
    excluded = (videos[probes, None] == videos[gallery]) & (videos[probes, None] >= 0)
    genuine = (faces.labels[probes, None] == faces.labels[gallery]) & ~excluded
    assert counts == {"genuine": genuine.sum(), "impostor": 3600 - excluded.sum() - genuine.sum(), "excluded": excluded.sum()}


def test_names_mean_the_same_on_both_sides(faces: EmbeddingSet, tmp_path: Path) -> None:
    for name, lines in (("a", ["carol", "ada", "-1"]), ("b", ["bob", "carol", "ada"])):
        np.save(tmp_path / f"{name}.npy", faces.vectors[:3])
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    first, second = load_sides([SideFiles(tmp_path / f"{name}.npy", tmp_path / f"{name}.txt") for name in "ab"])
    assert isinstance(first.vectors, np.memmap)
    assert first.labels[0] == second.labels[1]
    assert first.labels[1] == second.labels[2]
    assert first.labels[2] == -1
    assert second.labels[0] not in first.labels


def test_stored_labels_are_matched_by_name(small_faces: Path, tiny_model: Model, tmp_path: Path) -> None:
    """Each set numbers its people from 0."""
    for name, folders in (("probes", (0, 1)), ("gallery", (1, 2))):
        for person in folders:
            shutil.copytree(small_faces / f"person_{person}", tmp_path / name / f"person_{person}")
        save_embeddings(tiny_model.embed(open_reader(tmp_path / name), workers=0), tmp_path / f"{name}.npz")
    (tmp_path / "gallery.txt").write_text("person_1\n" * 6 + "-1\n" * 6)
    probes = SideFiles(tmp_path / "probes.npz")
    for labels in (None, tmp_path / "gallery.txt"):
        first, second = load_sides([probes, SideFiles(tmp_path / "gallery.npz", labels)])
        assert set(first.labels[6:]) == set(second.labels[:6])
        assert not set(first.labels[:6]) & set(second.labels)


def test_labels_without_names_are_not_matched(faces: EmbeddingSet, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_embeddings(faces, tmp_path / f"{name}.npz")
    with pytest.raises(InputError, match=r"a\.npz: its labels are numbers without names, .* --gallery-labels"):
        load_sides([SideFiles(tmp_path / "a.npz"), SideFiles(tmp_path / "b.npz")])
    np.testing.assert_array_equal(load_sides([SideFiles(tmp_path / "a.npz")])[0].labels, faces.labels)


def test_bad_sides(faces: EmbeddingSet, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", faces.vectors[:3])
    save_embeddings(faces, tmp_path / "b.npz")
    (tmp_path / "a.txt").write_text("ada\nbob\ncarol\n")
    (tmp_path / "short.txt").write_text("ada\n")
    (tmp_path / "broken.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match="no labels in it"):
        load_sides([SideFiles(tmp_path / "a.npy")])
    with pytest.raises(InputError, match=r"b\.npz: its labels are numbers without names"):
        load_sides([SideFiles(tmp_path / "a.npy", tmp_path / "a.txt"), SideFiles(tmp_path / "b.npz")])
    with pytest.raises(InputError, match="for both sides or for neither"):
        load_sides([SideFiles(tmp_path / "a.npy", *[tmp_path / "a.txt"] * 2), SideFiles(tmp_path / "a.npy", tmp_path / "a.txt")])
    with pytest.raises(InputError, match="expected 3 lines"):
        load_sides([SideFiles(tmp_path / "a.npy", tmp_path / "short.txt")])
    with pytest.raises(InputError, match=r"cannot be read as an array .*: it has another form, or holds pickles$"):
        load_sides([SideFiles(tmp_path / "broken.npy", tmp_path / "a.txt")])
    np.savez(tmp_path / "few.npz", vectors=faces.vectors, labels=faces.labels[:5])
    with pytest.raises(InputError, match=r"few\.npz: expected 120 labels, one for each embedding; got labels of shape \(5,\)"):
        load_sides([SideFiles(tmp_path / "few.npz")])


def test_an_embedding_without_a_direction_is_named_with_its_side(run_cli: Run, faces: EmbeddingSet, tmp_path: Path) -> None:
    for name in ("probes", "gallery"):
        np.save(tmp_path / f"{name}.npy", faces.vectors * (np.arange(120) != 7)[:, None] if name == "gallery" else faces.vectors)
    (tmp_path / "people.txt").write_text("".join(f"p{label}\n" for label in faces.labels))
    labels = ("--labels", tmp_path / "people.txt", "--gallery-labels", tmp_path / "people.txt")
    code, _, err = run_cli(
        "compare-all", tmp_path / "probes.npy", tmp_path / "gallery.npy", *labels, "--out", tmp_path / "report"
    )
    assert code == 1
    assert "error: gallery embedding in row 7 is zero" in err


def test_an_interruption_is_told(run_cli: Run, faces: EmbeddingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    save_embeddings(faces, tmp_path / "faces.npz")
    monkeypatch.setattr("orthodrome.evaluation.compare_all", interrupted)
    code, _, err = run_cli("compare-all", tmp_path / "faces.npz", "--out", tmp_path / "report")
    assert code == 130
    assert err.endswith("interrupted\n")


def test_a_report_that_cannot_be_written_is_refused_before_the_count(run_cli: Run, faces: EmbeddingSet, tmp_path: Path) -> None:
    save_embeddings(faces, tmp_path / "faces.npz")
    code, _, err = run_cli("compare-all", tmp_path / "faces.npz", "--out", tmp_path / "faces.npz" / "report")
    assert code == 1
    assert "faces.npz is no folder; name another" in err
    assert "comparisons" not in err


def test_a_far_that_is_none_is_one_line(run_cli: Run, faces: EmbeddingSet, tmp_path: Path) -> None:
    save_embeddings(faces, tmp_path / "faces.npz")
    code, _, err = run_cli("compare-all", tmp_path / "faces.npz", "--far", "one", "--out", tmp_path / "report")
    assert code == 1
    assert "FAR must be a number in (0, 1]; got 'one'" in err
    assert not (tmp_path / "report").exists()


def test_a_folder_of_somebody_else_is_refused_before_anything_is_counted(
    run_cli: Run, faces: EmbeddingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_embeddings(faces, tmp_path / "scores.npz")
    before = (tmp_path / "scores.npz").read_bytes()
    monkeypatch.setattr("orthodrome.evaluation.compare_all", lambda *_, **__: pytest.fail("counted"))
    code, _, err = run_cli("compare-all", tmp_path / "scores.npz", "--far", "1e-2", "--out", tmp_path)
    assert code == 1
    assert "holds scores.npz but no report.json" in err
    assert (tmp_path / "scores.npz").read_bytes() == before
