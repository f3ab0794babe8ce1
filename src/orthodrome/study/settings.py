"""The file of a study, typed: an unknown key is an error with the nearest valid one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from orthodrome.registry import near_matches
from orthodrome.training.recipe import read_yaml
from orthodrome.types import InputError

HELD_OUT, TEST = "held_out", "test"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HeldOut(_Section):
    """People of the training set that tuning cells do not see and are judged on; every other cell trains on them too."""

    identities: int = Field(200, ge=2)
    seed: int = Field(0, ge=0)


class CellSettings(_Section):
    """One loss of a group: ``loss`` as in a recipe (a name, or a mapping with hyper-parameters).

    ``best_of`` lays the best settings of a tuning group over it (of ``group/cell`` where that has several cells), ``set`` further keys of
    the recipe over those (``optimizer.learning_rate``).
    ``name`` is what tables call it; by default the loss.
    """

    loss: str | dict[str, Any]
    name: str = ""
    best_of: str | None = None
    set: dict[str, Any] = {}

    @model_validator(mode="after")
    def _named(self) -> CellSettings:
        if isinstance(self.loss, dict) and not isinstance(self.loss.get("name"), str):
            raise ValueError("loss is a name, or a mapping with the key 'name'")
        return self

    @property
    def section(self) -> dict[str, Any]:
        """The section ``loss`` of a recipe."""
        return {"name": self.loss} if isinstance(self.loss, str) else dict(self.loss)

    @property
    def title(self) -> str:
        """The name, or the loss."""
        return self.name or str(self.section["name"])


class GroupSettings(_Section):
    """Cells that belong together: each of ``cells`` × each value of ``grid`` × noise × identities × seeds, in this order.

    ``judge``: ``test`` (the faces of ``--eval``), or ``held_out`` people of the training set: a tuning group. ``set``: keys of the recipe
    for all its cells. ``noise``: share of the training images given the label of another person. ``identities``: people trained on; null
    for all. ``compare``: pairs of names whose difference is asked for.
    """

    name: str = Field(min_length=1)
    about: str = ""
    judge: Literal["test", "held_out"] = "test"
    cells: list[CellSettings] = Field(min_length=1)
    set: dict[str, Any] = {}
    grid: dict[str, list[Any]] = {}
    seeds: list[int] = Field([1], min_length=1)
    noise: list[float] = Field([0.0], min_length=1)
    identities: list[int | None] = Field([None], min_length=1)
    compare: list[tuple[str, str]] = []

    @field_validator("grid")
    @classmethod
    def _no_empty_axis(cls, grid: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for key, values in grid.items():
            if not values:
                raise ValueError(f"the grid is empty: {key} has no values")
        return grid

    @field_validator("noise")
    @classmethod
    def _shares(cls, noise: list[float]) -> list[float]:
        if not all(0 <= share < 1 for share in noise):
            raise ValueError("noise is a share of the images, at least 0 and below 1")
        return noise

    @field_validator("identities")
    @classmethod
    def _people(cls, identities: list[int | None]) -> list[int | None]:
        if not all(count is None or count >= 2 for count in identities):
            raise ValueError("identities are at least 2, or null for all")
        return identities


class StudySettings(_Section):
    """A study. ``recipe`` is a file beside the study's, or the settings of a recipe themselves.

    ``data_seed`` draws subsets, noise and what is unseen, the same for all losses. ``unseen_images`` of each person are kept out of
    training, where that leaves two, to judge class probabilities on. ``resamples`` of the people make the intervals.
    """

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9_.-]+$")
    title: str = ""
    about: str = ""
    recipe: str | dict[str, Any] = {}
    data_seed: int = Field(0, ge=0)
    unseen_images: int = Field(0, ge=0)
    held_out: HeldOut = HeldOut()
    resamples: int = Field(1000, ge=2)
    groups: list[GroupSettings] = Field(min_length=1)


def read_settings(path: Path) -> tuple[StudySettings, dict[str, Any]]:
    """The settings of a file and the base recipe. Raises InputError for all that is wrong with it at once, keys named."""
    content = read_yaml(path)
    try:
        settings = StudySettings.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{path}: " + "; ".join(map(_explain, error.errors()))) from None
    base = settings.recipe
    return settings, dict(base) if isinstance(base, dict) else read_yaml(path.parent / base)


def _explain(problem: Any) -> str:
    location = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        return f"unknown key {location!r}.{near_matches(str(problem['loc'][-1]), _KEYS)}"
    return f"{location or 'study'}: {problem['msg'].removeprefix('Value error, ')}; got {problem['input']!r}"


_KEYS = sorted({key for model in (StudySettings, GroupSettings, CellSettings, HeldOut) for key in model.model_fields})
