"""Recipes: validated, overridable, the same in YAML and in Python."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel

from orthodrome.training.recipe import Recipe, load_recipe, parse_recipe
from orthodrome.types import InputError

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


def test_defaults_survive_yaml(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(Recipe().to_yaml())
    assert load_recipe(path) == Recipe()


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_are_valid_and_build(path: Path) -> None:
    from orthodrome.backbones import create_backbone
    from orthodrome.losses import get

    recipe = load_recipe(path)
    create_backbone(
        recipe.backbone.name, recipe.backbone.embedding_dim, recipe.data.preprocessing.input_size, **recipe.backbone.options
    )
    get(recipe.loss.name, **recipe.loss.options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"batchsize": 3}, "unknown key 'batchsize'. Did you mean 'batch_size'"),
        ({"optimizer": {"learning_rat": 3}}, "unknown key 'optimizer.learning_rat'. Did you mean 'optimizer.learning_rate'"),
        ({"head": {"conflict": 0.4}}, "unknown key 'head.conflict'. Did you mean 'loss.conflict'?"),
        ({"data": {"width": 0.5}}, "unknown key 'data.width'. Did you mean 'backbone.width'?"),
        ({"epochs": 3}, "unknown key 'epochs'. Did you mean 'schedule.epochs'?"),
        ({"margin": 0.4}, "unknown key 'margin'. Did you mean 'loss.margin'?"),
        ({"batch_size": True}, "batch_size: true and false are no values of this key; got True"),
        ({"optimizer": {"learning_rate": True}}, "optimizer.learning_rate: true and false are no values of this key"),
        ({"batch_size": 0}, "batch_size: Input should be greater than or equal to 1; got 0"),
        ({"precision": "fp8"}, "precision: Input should be 'fp32' or 'bf16'; got 'fp8'"),
        ({"schedule": {"epochs": 2, "warmup_epochs": 2}}, "warmup_epochs must be below epochs"),
        ({"schedule": {"name": "step"}}, "needs milestones"),
    ],
)
def test_mistakes_are_named(content: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as error:
        parse_recipe(content, "here")
    assert message in str(error.value)
    assert str(error.value).startswith("here: ")


def test_overrides_are_yaml_values() -> None:
    recipe = load_recipe(
        None,
        [
            "schedule.epochs=3",
            "loss.margin=0.4",
            "data.size=[112, 96]",
            "data.center_crop=80",
            "deterministic=true",
            "data.cache=false",
        ],
    )
    assert recipe.schedule.epochs == 3
    assert recipe.loss.options == {"margin": 0.4}
    assert recipe.data.height_and_width == (112, 96)
    assert recipe.data.preprocessing.input_size == (80, 80)
    assert recipe.deterministic is True
    assert recipe.data.cache is False


@pytest.mark.parametrize("override", ["epochs", "=3", "name.deeper=1", "schedule.epoch=3"])
def test_wrong_overrides_are_refused(override: str) -> None:
    with pytest.raises(InputError):
        load_recipe(None, ["name=x", override])


def test_file_errors_name_the_file(tmp_path: Path) -> None:
    for name, text in {"bad.yaml": "a: [", "list.yaml": "- 1"}.items():
        (tmp_path / name).write_text(text)
    for name in ("bad.yaml", "list.yaml", "missing.yaml"):
        with pytest.raises(InputError, match=name):
            load_recipe(tmp_path / name)


def documented(model: type[BaseModel], section: str = "") -> list[tuple[str, str]]:
    """(section, word) of every key of a recipe, and of every value where it takes certain words only."""
    found = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += documented(field.annotation, name)
        else:
            found += [(section, name), *((section, word) for word in words(field.annotation))]
    return found


def words(annotation: Any) -> list[str]:
    """The strings of the Literals in an annotation."""
    arguments = get_args(annotation)
    return [word for part in arguments for word in ([part] if get_origin(annotation) is Literal else words(part))]


@pytest.mark.parametrize(("section", "word"), documented(Recipe))
def test_the_page_on_recipes_has_every_key_and_value(section: str, word: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    augmentation = page.partition("## Augmentation")[2].partition("## What")[0]
    tables = {
        "": r"\| top \|.*",
        "data": rf"\| `data` \|.*|{re.escape(augmentation)}",
        "backbone": "backbone: .*",
        "loss": "loss: .*",
    }
    told = "\n".join(re.findall(tables.get(section, rf"\| `{section}` \|.*"), page))
    assert re.search(rf"\b{word}\b", told)
