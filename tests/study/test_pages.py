"""A study of two cells on the AT&T/ORL faces from its file to its pages; the committed pages; the rule of the verdicts."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from orthodrome.data import orl_faces
from orthodrome.study.evidence import Evidence, evidence, verdict_on
from orthodrome.study.found import Found, differences, read_found
from orthodrome.study.pairs import write_pairs
from orthodrome.study.pictures import pictures
from orthodrome.study.plan import load_plan
from orthodrome.study.render import pages
from orthodrome.study.rows import PAIRS, tables
from orthodrome.study.tuned import tuned_recipes, write_recipes
from orthodrome.study.verdicts import CONTRADICTED, NOT_VISIBLE, SEEN, shown_order, verdict
from orthodrome.training.recipe import load_recipe
from orthodrome.types import InputError

ROOT = Path(__file__).parents[2]
Write = Callable[[dict[str, Any]], Path]

TRAINING_PEOPLE, TEST_PEOPLE, IMAGES = 12, 10, 10


@pytest.fixture(scope="module")
def orl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``train`` and ``test`` of the AT&T/ORL faces as folders, and ``pairs.txt`` of the test people."""
    root = tmp_path_factory.mktemp("orl")
    reader = orl_faces()
    for side, first, count in (("train", 0, TRAINING_PEOPLE), ("test", 30, TEST_PEOPLE)):
        for index in (i for i in range(len(reader)) if first <= reader.labels[i] < first + count):
            name = f"p{reader.labels[index]:02d}"
            (root / side / name).mkdir(parents=True, exist_ok=True)
            number = len(list((root / side / name).iterdir())) + 1
            Image.fromarray(reader.image(index)).save(root / side / name / f"{name}_{number:04d}.png")
    people = [f"p{30 + number}" for number in range(TEST_PEOPLE)]
    lines = ["2\t10"]
    for half in (people[:5], people[5:]):
        lines += [f"{person}\t{a}\t{a + 5}" for person in half for a in (1, 2)]
        lines += [f"{person}\t{a}\t{half[(number + 1) % 5]}\t{a}" for number, person in enumerate(half) for a in (3, 4)]
    (root / "pairs.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def smoke(orl: Path) -> Path:
    """The file of a study of two cells, one of them tuned."""
    import yaml

    recipe = {
        "batch_size": 24,
        "backbone": {"name": "sfnet4", "width": 0.125, "batch_norm": True, "embedding_dim": 16},
        "data": {"size": 32, "shift": 1},
        "optimizer": {"learning_rate": 0.05},
        "schedule": {"epochs": 4},
        "log": {"every": 2},
    }
    tuning = {
        "name": "tune",
        "judge": "held_out",
        "cells": [{"loss": "cosface"}],
        "grid": {"loss.scale": [8, 16]},
        "set": {"schedule.epochs": 1},
    }
    main = {"name": "main", "cells": [{"loss": "softmax"}, {"loss": "cosface", "best_of": "tune"}, {"loss": "triplet"}]}
    main["cells"][2]["set"] = {"data.sampler": "identities", "data.people": 6, "data.images_per_person": 4}  # type: ignore[index]
    study = {
        "name": "smoke", "recipe": recipe, "unseen_images": 1, "held_out": {"identities": 4}, "resamples": 50,
        "groups": [tuning, {**main, "compare": [["cosface", "softmax"]]}],
    }  # fmt: skip
    path = orl / "smoke.yaml"
    path.write_text(yaml.safe_dump(study))
    return path


def found_in(folder: Path, study: Path) -> Found:
    return read_found(load_plan(study), tables(folder / "study.csv"))


def test_a_study_from_its_file_to_its_pages(orl: Path, smoke: Path, run_cli: Callable[..., Any], tmp_path: Path) -> None:
    where = ["--data", orl / "train", "--eval", orl / "test", "--pairs", orl / "pairs.txt", "--threads", "1"]
    files = ["--out", tmp_path / "runs", "--rows", tmp_path / "study.csv"]
    code, _, said = run_cli("study", smoke, *where, *files)
    assert code == 0, said
    code, _, again = run_cli("study", smoke, *where, *files)
    assert (code, again.splitlines()[-1]) == (0, "all 5 cells are done")

    rows = {row["cell"]: row for row in tables(tmp_path / "study.csv").cells.read() if row["judge"] == "test"}
    assert list(rows) == ["softmax", "cosface", "triplet"]
    for row in rows.values():
        assert 0 < float(row["eer"]) < 0.5
        assert (row["genuine"], row["impostor"]) == ("450", "4500")
        assert float(row["eer_low"]) <= float(row["eer"]) <= float(row["eer_high"])
        assert row["steps"] == "16"
    assert rows["cosface"]["chosen_from"] == "tune"
    assert rows["softmax"]["unseen_images"] == str(TRAINING_PEOPLE)
    assert rows["triplet"]["unseen_images"] == "", "without classes there are no probabilities"

    paired = tables(tmp_path / "study.csv").pairs
    before = paired.read()
    shutil.rmtree(tmp_path / "runs")
    paired.path.unlink()
    write_pairs(load_plan(smoke), tables(tmp_path / "study.csv"))
    assert paired.read() == before, "differences are made of the tables alone"
    assert before

    code, shown, _ = run_cli("study", smoke, "--render", *files, "--pages", tmp_path / "pages", "--recipes", tmp_path / "recipes")
    assert code == 0
    names = {path.name for path in (tmp_path / "pages").iterdir()}
    assert names == {
        "smoke.md", "smoke-tuning.md", "smoke-distributions.md", "smoke-main.svg", "smoke-main-similarities.svg"
    }  # fmt: skip
    assert len(shown.splitlines()) == len(names) + 1
    tuned = load_recipe(tmp_path / "recipes" / "smoke" / "cosface.yaml")
    assert str(tuned.loss.options["scale"]) in rows["cosface"]["settings"]
    page = (tmp_path / "pages" / "smoke.md").read_text()
    assert "5 cells are done, 0 are not run." in page
    assert f"{100 * float(rows['cosface']['eer']):.2f}" in page
    for name in re.findall(r"\]\(([^)]+)\)", page):
        assert (tmp_path / "pages" / name).is_file(), name
    found = found_in(tmp_path, smoke)
    assert {**pages(found), **pictures(found)} == {name: (tmp_path / "pages" / name).read_text() for name in names}

    said = evidence(found, [{"order": ["softmax", "cosface"], "group": "main"}, {"overconfident": "softmax", "group": "main"},
                            {"angles": ["softmax", "triplet"], "group": "main"}, {"spread": "tune"}])  # fmt: skip
    assert [one.side is None for one in said] == [False, False, True, True]
    assert said[0].text.startswith(f"EER cosface {100 * float(rows['cosface']['eer']):.2f}, softmax")


def test_a_pair_of_settings_the_study_once_had_is_not_shown(smoke: Path, tmp_path: Path) -> None:
    found = found_in(tmp_path, smoke)
    group = found.plan.groups[1]
    softmax = found.cells(group)[0].digest
    row = dict.fromkeys(PAIRS, "0") | {"figure": "eer", "seeds": "1", "digests_first": softmax, "digests_second": softmax}
    key = ("smoke", "main", "0", "", "cosface", "softmax", "eer")
    now, before = (replace(found, pairs={key: {**row, "digests_first": digest}}) for digest in (softmax, "another"))
    assert [bool(difference.rows) for difference in differences(now, group)] == [True]
    assert [bool(difference.rows) for difference in differences(before, group)] == [False]


def test_what_was_not_run_is_shown_as_such(smoke: Path, tmp_path: Path) -> None:
    found = found_in(tmp_path, smoke)
    rendered = pages(found)
    assert "0 cells are done, 4 are not run, and up to 1 wait for tuning." in rendered["smoke.md"]
    assert "| softmax |  |  | not run |  |  |  |  |" in rendered["smoke.md"]
    assert "| cosface |  |  | not run |  |  |  |  |" in rendered["smoke.md"]
    assert "| cosface | softmax | all |  | not run |  |  |  |" in rendered["smoke.md"]
    assert rendered["smoke-tuning.md"].count("not run") == 2
    assert pictures(found) == {}
    assert evidence(found, [{"order": ["cosface", "softmax"], "group": "main"}]) == []
    assert verdict_on([]) == ""


def test_the_committed_pages_are_the_rendering_of_the_committed_rows() -> None:
    found = read_found(load_plan(ROOT / "studies" / "first.yaml"), tables(ROOT / "benchmarks" / "results" / "study.csv"))
    folder, again = ROOT / "docs" / "study", "run: orthodrome study studies/first.yaml --render"
    for name, text in pages(found).items():
        assert (folder / name).read_text(encoding="utf-8") == text, again
    drawn = pictures(found)
    assert {path.name for path in folder.glob("*.svg")} == set(drawn), again
    import matplotlib as mpl

    for name, text in drawn.items():
        committed = (folder / name).read_text(encoding="utf-8")
        if f"Matplotlib v{mpl.__version__}," in committed:  # another version may draw the same numbers with other strokes
            assert committed == text, again
    recipes = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "recipes" / "first").glob("*.yaml")}
    assert recipes == tuned_recipes(found), again


def test_recipes_that_tuning_chose_can_be_trained(tmp_path: Path) -> None:
    found = read_found(load_plan(ROOT / "studies" / "first.yaml"), tables(ROOT / "benchmarks" / "results" / "study.csv"))
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "old.yaml").write_text("name: of an earlier rendering")
    written = write_recipes(found, tmp_path)
    assert {path.name for path in (tmp_path / "first").iterdir()} == {path.name for path in written} >= {"softmax.yaml"}
    for path in written:
        recipe = load_recipe(path)
        cells = [cell.recipe for group in found.plan.groups for cell in found.cells(group)]
        assert any(recipe == cell.model_copy(update={"name": f"first-{path.stem}"}) for cell in cells)


# ------------------------------------------------------------------------------------------------------------- verdicts


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        ([], ""),
        ([1], SEEN),
        ([-1], CONTRADICTED),
        ([0], NOT_VISIBLE),
        ([1, 0], SEEN),
        ([1, 0, 0], NOT_VISIBLE),
        ([1, 1, -1], NOT_VISIBLE),
        ([-1, -1, 0], CONTRADICTED),
    ],
)
def test_the_rule_of_the_verdicts(sides: list[int], expected: str) -> None:
    assert verdict(sides) == expected
    assert verdict_on([Evidence("", side) for side in sides] + [Evidence("takes no side", None)]) == expected


@pytest.mark.parametrize(
    ("figure", "low", "high", "expected"),
    [
        ("eer", -0.02, -0.01, 1),
        ("eer", 0.01, 0.02, -1),
        ("eer", -0.01, 0.02, 0),
        ("tar_1e-2", 0.01, 0.02, 1),
        ("tar_1e-2", 0.0, 0.02, 0),
    ],
)
def test_an_order_is_shown_where_the_interval_does_not_hold_0(figure: str, low: float, high: float, expected: int) -> None:
    assert shown_order({"figure": figure, "low": str(low), "high": str(high)}) == expected


def test_evidence_that_the_study_cannot_give_is_refused(smoke: Path, tmp_path: Path) -> None:
    found = found_in(tmp_path, smoke)
    with pytest.raises(InputError, match="does not compare 'triplet' with 'softmax'"):
        evidence(found, [{"order": ["triplet", "softmax"], "group": "main"}])
    with pytest.raises(InputError, match="no cell 'arcface'"):
        evidence(found, [{"overconfident": "arcface", "group": "main"}])
    with pytest.raises(InputError, match=r"unknown kind of evidence 'sprade'\. Did you mean 'spread'"):
        evidence(found, [{"sprade": "tune"}])


# ---------------------------------------------------------------------------------------------------- the command line


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "--data is missing"),
        (["--data", "nowhere", "--eval", "x"], "--eval and --pairs go together"),
        (["--data", "nowhere"], "give --eval"),
        (["--data", "nowhere", "--only", "tune"], "nowhere: no such file or folder"),
        (["--data", "nowhere", "--only", "mian"], "no group 'mian'"),
    ],
)
def test_what_cannot_work_is_told_before_the_first_cell(
    smoke: Path, run_cli: Callable[..., Any], given: list[str], message: str
) -> None:
    code, _, said = run_cli("study", smoke, *given)
    assert code == 1
    assert message in said
