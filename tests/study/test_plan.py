"""From a file to cells: order, digests, choices, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orthodrome.study import identity
from orthodrome.study.choose import choices
from orthodrome.study.plan import Plan, load_plan
from orthodrome.types import InputError

ROOT = Path(__file__).parents[2]
Write = Callable[[dict[str, Any]], Path]


def digests(plan: Plan) -> list[str]:
    return [cell.digest for group in plan.groups for cell in plan.cells(group, {})]


def changed(content: dict[str, Any], **groups: Any) -> dict[str, Any]:
    content["groups"][0] |= groups
    return content


PINNED = ["454fb74f061ee9ef", "96fe9e0fd0b3a4cf"]

TUNED = {
    "name": "tune",
    "judge": "held_out",
    "cells": [{"loss": "cosface"}],
    "grid": {"loss.scale": [8, 16], "loss.margin": [0.1, 0.2]},
}


def test_a_digest_is_stable_and_is_that_of_what_changes_the_result(small_study: dict[str, Any], study_file: Write) -> None:
    found = digests(load_plan(study_file(small_study)))
    assert found == PINNED, "committed rows are no longer known: name a new key of recipes or losses in study.identity.LATER"


def test_a_key_that_came_later_leaves_old_cells_what_they_were(
    small_study: dict[str, Any], study_file: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, now = digests(load_plan(study_file(small_study))), identity.LATER
    monkeypatch.setattr(identity, "LATER", {**now, "optimizer.nesterov": False, "loss.margin": 0.1})
    without = digests(load_plan(study_file(small_study)))
    assert not set(before) & set(without)
    monkeypatch.setattr(identity, "LATER", {**now, "optimizer.nesterov": True, "loss.margin": 0.2})
    assert digests(load_plan(study_file(small_study))) == before


@pytest.mark.parametrize(
    ("key", "value"),
    [("name", "other"), ("checkpoint_every", 7), ("log", {"every": 9}), ("device", "cpu"), ("evaluation", {"every": 2})],
)
def test_what_changes_no_result_changes_no_digest(small_study: dict[str, Any], study_file: Write, key: str, value: Any) -> None:
    before = digests(load_plan(study_file(small_study)))
    small_study["recipe"][key] = value
    assert digests(load_plan(study_file(small_study))) == before


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": {"batch_size": 13}},
        {"recipe": {"evaluation": {"flip": "concat"}}},
        {"unseen_images": 2},
        {"resamples": 21},
        {"data_seed": 1},
    ],
)
def test_what_changes_the_result_changes_the_digest(
    small_study: dict[str, Any], study_file: Write, change: dict[str, Any]
) -> None:
    before = digests(load_plan(study_file(small_study)))
    recipe = {**small_study["recipe"], **change.get("recipe", {})}
    after = digests(load_plan(study_file({**small_study, **change, "recipe": recipe})))
    assert not set(before) & set(after)


def test_a_default_spelled_out_is_the_same_cell(small_study: dict[str, Any], study_file: Write) -> None:
    before = digests(load_plan(study_file(small_study)))
    small_study["groups"][0]["cells"][1]["loss"]["gradient"] = "exact"  # cosface's default
    small_study["recipe"]["schedule"]["name"] = "cosine"
    assert digests(load_plan(study_file(small_study))) == before


def test_a_whole_number_is_the_same_with_a_point(small_study: dict[str, Any], study_file: Write) -> None:
    small_study["groups"][0] |= {"cells": [{"loss": "cosface"}], "compare": []}
    before = digests(load_plan(study_file(changed(small_study, grid={"loss.scale": [16]}))))
    assert digests(load_plan(study_file(changed(small_study, grid={"loss.scale": [16.0]})))) == before
    with pytest.raises(InputError, match="twice"):
        load_plan(study_file(changed(small_study, grid={"loss.scale": [16, 16.0]})))


def test_seeds_are_outermost(small_study: dict[str, Any], study_file: Write) -> None:
    plan = load_plan(study_file(changed(small_study, seeds=[1, 2], noise=[0, 0.4])))
    cells = plan.cells(plan.groups[0], {})
    assert [(cell.recipe.seed, cell.variation.noise, cell.name) for cell in cells][:5] == [
        (1, 0.0, "softmax"), (1, 0.0, "cosface"), (1, 0.4, "softmax"), (1, 0.4, "cosface"), (2, 0.0, "softmax"),
    ]  # fmt: skip
    assert plan.count(plan.groups[0]) == 8


def test_the_best_settings_of_a_tuning_group_are_taken(small_study: dict[str, Any], study_file: Write) -> None:
    small_study["groups"][0]["cells"][1] = {"loss": "cosface", "best_of": "tune"}
    small_study["groups"].insert(0, TUNED)
    plan = load_plan(study_file(small_study))
    tuning = plan.cells(plan.groups[0], {})
    assert [cell.name for cell in plan.cells(plan.groups[1], {})] == ["softmax"], "cosface waits"
    rates = [("0.3", "0.2"), ("0.5", "0.2"), ("0.5", "0.1"), ("", "")]
    rows = {
        cell.digest: {"tar_1e-2": tar, "eer": eer, "failed": "" if tar else "diverged"}
        for cell, (tar, eer) in zip(tuning, rates, strict=True)
    }
    assert choices(plan, dict(list(rows.items())[:3])) == {}, "one is still to come"
    chosen = choices(plan, rows)
    assert chosen["tune"] == {"loss.scale": 16, "loss.margin": 0.1}
    cell = plan.cells(plan.groups[1], chosen)[1]
    assert cell.recipe.loss.options == {"scale": 16, "margin": 0.1}
    assert cell.chosen_from == "tune"


def test_of_several_tuned_cells_one_is_named(small_study: dict[str, Any], study_file: Write) -> None:
    tuned = {**TUNED, "cells": [{"loss": "cosface"}, {"loss": "arcface"}]}
    small_study["groups"][0] |= {"cells": [{"loss": "softmax"}, {"loss": "arcface", "best_of": "tune/arcface"}], "compare": []}
    assert load_plan(study_file({**small_study, "groups": [tuned, *small_study["groups"]]}))
    small_study["groups"][0]["cells"][1]["best_of"] = "tune"
    with pytest.raises(InputError, match="needs the name of one"):
        load_plan(study_file({**small_study, "groups": [tuned, *small_study["groups"]]}))


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"sedes": [1]}, r"unknown key 'groups.0.sedes'. Did you mean 'seeds'"),
        ({"cells": []}, "groups.0.cells"),
        ({"seeds": []}, "groups.0.seeds"),
        ({"grid": {"loss.scale": []}}, "the grid is empty: loss.scale has no values"),
        ({"cells": [{"loss": "cosfaec"}]}, "unknown loss 'cosfaec'. Did you mean 'cosface'"),
        ({"cells": [{"loss": {"name": "cosface", "margn": 1}}]}, "no hyper-parameter 'margn'"),
        ({"cells": [{"loss": {"scale": 3}}]}, "a mapping with the key 'name'"),
        ({"cells": [{"loss": "softmax"}, {"loss": "softmax"}]}, "two cells called 'softmax'"),
        ({"seeds": [1, 1]}, "is there twice"),
        ({"cells": [{"loss": "softmax"}, {"name": "again", "loss": "softmax"}]}, "is there twice"),
        ({"set": {"optimizer.lr": 1}}, r"unknown key 'optimizer.lr'"),
        ({"set": {"seed.x": 1}}, "'seed' is a value, not a section"),
        ({"noise": [1.5]}, "noise is a share of the images"),
        ({"identities": [1]}, "identities are at least 2"),
        ({"compare": [["cosface", "arcface"]]}, "compares 'arcface', which is not in it"),
        ({"judge": "held_out", "grid": {}}, "has no grid to choose from"),
        ({"judge": "lfw"}, "groups.0.judge"),
        ({"cells": [{"loss": "softmax", "best_of": "nothing"}]}, "best_of 'nothing' is no tuning group"),
    ],
)
def test_a_wrong_file_is_refused_in_words(
    small_study: dict[str, Any], study_file: Write, groups: dict[str, Any], message: str
) -> None:
    small_study["recipe"]["seed"] = 0
    with pytest.raises(InputError, match=message):
        load_plan(study_file(changed(small_study, **{"compare": [], **groups})))


def test_groups_have_names_of_their_own(small_study: dict[str, Any], study_file: Write) -> None:
    with pytest.raises(InputError, match="two groups are called 'main'"):
        load_plan(study_file({**small_study, "groups": small_study["groups"] * 2}))
    plan = load_plan(study_file(small_study))
    with pytest.raises(InputError, match="no group 'mian'"):
        plan.group("mian")


@pytest.mark.parametrize("text", ["", "[]", "name: x", "{", "name: '../x'\ngroups: []"])
def test_what_is_no_study_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"study\.yaml"):
        load_plan(path)


def test_the_recipe_may_be_a_file_beside_the_study(small_study: dict[str, Any], study_file: Write, tmp_path: Path) -> None:
    import yaml

    inline = digests(load_plan(study_file(small_study)))
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(small_study["recipe"]))
    assert digests(load_plan(study_file({**small_study, "recipe": "base.yaml"}))) == inline


def test_the_first_study_is_sound() -> None:
    plan = load_plan(ROOT / "studies" / "first.yaml")
    assert {group.name[0] for group in plan.groups if group.judge == "test"} == set("abcde")


def test_the_example_of_the_page_is_a_study(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
    path = tmp_path / "example.yaml"
    path.write_text(page.split("```yaml\n")[1].split("```")[0])
    plan = load_plan(path)
    assert [plan.count(group) for group in plan.groups] == [9, 18]
