"""From the file of a study to its cells: each a recipe as run, a variation of the data and a way of judging, known by a digest."""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orthodrome import losses
from orthodrome.registry import near_matches
from orthodrome.study.identity import Variation, digest
from orthodrome.study.settings import HELD_OUT, TEST, CellSettings, GroupSettings, StudySettings, read_settings
from orthodrome.training.recipe import Recipe, parse_recipe, set_key
from orthodrome.types import InputError


@dataclass(frozen=True)
class Cell:
    """One training run and its judgement. ``settings``: what the grid and ``best_of`` set, by dotted key."""

    group: str
    name: str
    recipe: Recipe
    variation: Variation
    judge: str
    settings: Mapping[str, Any]
    chosen_from: str
    digest: str

    @property
    def title(self) -> str:
        """For the terminal."""
        varied = [f"{key.rpartition('.')[2]} {value}" for key, value in self.settings.items()]
        varied += [f"noise {self.variation.noise:g}"] * (self.variation.noise > 0)
        varied += [f"{self.variation.identities} people"] * (self.variation.identities is not None)
        return f"{self.group}: {', '.join([self.name, *varied, f'seed {self.recipe.seed}'])}"


Choices = Mapping[str, Mapping[str, Any]]
"""The best settings, by dotted key, of tuning cells that are done: by ``group/cell``, and by ``group`` where it has one cell."""


@dataclass(frozen=True)
class Plan:
    """A study: its settings and base recipe, checked. `cells` resolves those whose tuning is done."""

    path: Path
    settings: StudySettings
    base: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def groups(self) -> tuple[GroupSettings, ...]:
        return tuple(self.settings.groups)

    def group(self, name: str) -> GroupSettings:
        """Raises InputError, with near matches, for one that is not there."""
        for group in self.groups:
            if group.name == name:
                return group
        raise InputError(f"{self.path}: no group {name!r}.{near_matches(name, [group.name for group in self.groups])}")

    def count(self, group: GroupSettings) -> int:
        """How many cells a group has, known or not."""
        return sum(1 for _ in _product(group))

    def cells(self, group: GroupSettings, choices: Choices) -> tuple[Cell, ...]:
        """The cells of a group whose settings are known: all but those whose ``best_of`` is not among ``choices``."""
        found = []
        for cell, values, noise, identities, seed in _product(group):
            if cell.best_of is not None and cell.best_of not in choices:
                continue
            chosen = dict(choices[cell.best_of]) if cell.best_of else {}
            recipe = self._recipe(group, cell, {**chosen, **cell.set, **values}, seed)
            variation = self._variation(group, noise, identities)
            settings = {**chosen, **values}
            identity = digest(recipe, variation, group.judge, self.settings.resamples if group.judge == TEST else 0)
            found.append(Cell(group.name, cell.title, recipe, variation, group.judge, settings, cell.best_of or "", identity))
        return tuple(found)

    def _recipe(self, group: GroupSettings, cell: CellSettings, over: Mapping[str, Any], seed: int) -> Recipe:
        where = f"{self.path}: group {group.name!r}, {cell.title}"
        content = copy.deepcopy(dict(self.base))
        _set_all(content, group.set, where)
        content["loss"] = cell.section
        _set_all(content, over, where)
        content["seed"] = seed
        recipe = parse_recipe(content, where)
        try:
            losses.get(recipe.loss.name, **recipe.loss.options)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        return recipe

    def _variation(self, group: GroupSettings, noise: float, identities: int | None) -> Variation:
        settings = self.settings
        held_out = (settings.held_out.identities, settings.held_out.seed) if group.judge == HELD_OUT else (0, 0)
        return Variation(noise, identities, settings.unseen_images, *held_out, settings.data_seed)


def load_plan(path: Path) -> Plan:
    """The study of a YAML file, every cell of it checked as far as it is known before tuning.

    Raises InputError for a wrong file, keys, values or losses, for two groups of one name, two cells of a group that are the same,
    ``best_of`` a group that tunes nothing or comes later, and ``compare`` names that are not in the group.
    """
    settings, base = read_settings(path)
    plan = Plan(path, settings, base)
    if twice := _repeated(group.name for group in plan.groups):
        raise InputError(f"{path}: two groups are called {twice!r}")
    tuned: dict[str, Mapping[str, Any]] = {}
    for group in plan.groups:
        _check_references(path, group, tuned)
        cells = plan.cells(group, tuned)
        if twice := _repeated(cell.digest for cell in cells):
            same = next(cell for cell in cells if cell.digest == twice)
            raise InputError(f"{path}: the cell '{same.title}' is there twice; give each loss, setting and seed once")
        if group.judge == HELD_OUT:
            tuned |= named_choices(group, {cell.name: cell.settings for cell in cells})
    return plan


def named_choices(group: GroupSettings, by_cell: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """What ``best_of`` may name of a tuning group."""
    found = {f"{group.name}/{name}": settings for name, settings in by_cell.items()}
    if len(group.cells) == 1 and by_cell:
        found[group.name] = next(iter(by_cell.values()))
    return found


def _product(group: GroupSettings) -> Iterable[tuple[CellSettings, dict[str, Any], float, int | None, int]]:
    """Seeds outermost, so that every loss has run once before one runs twice."""
    axes = [[(key, value) for value in values] for key, values in group.grid.items()]
    for seed, noise, identities, cell in itertools.product(group.seeds, group.noise, group.identities, group.cells):
        for values in itertools.product(*axes):
            yield cell, dict(values), noise, identities, seed


def _check_references(path: Path, group: GroupSettings, tuned: Mapping[str, object]) -> None:
    if twice := _repeated(cell.title for cell in group.cells):
        raise InputError(f"{path}: group {group.name!r} has two cells called {twice!r}; give each a name")
    for cell in group.cells:
        if cell.best_of is not None and cell.best_of not in tuned:
            raise InputError(
                f"{path}: group {group.name!r}, {cell.title}: best_of {cell.best_of!r} is no tuning group (judge: {HELD_OUT}) before it, "
                f"or has several cells and needs the name of one: group/cell."
                f"{near_matches(cell.best_of, tuned)}"
            )
    if group.judge == HELD_OUT and not group.grid:
        raise InputError(f"{path}: group {group.name!r} is judged on held-out people but has no grid to choose from")
    names = {cell.title for cell in group.cells}
    for name in itertools.chain.from_iterable(group.compare):
        if name not in names:
            raise InputError(f"{path}: group {group.name!r} compares {name!r}, which is not in it.{near_matches(name, names)}")


def _set_all(content: dict[str, Any], values: Mapping[str, Any], where: str) -> None:
    for key, value in values.items():
        set_key(content, key, copy.deepcopy(value), where)


def _repeated(values: Iterable[str]) -> str | None:
    return next((value for value, count in Counter(values).items() if count > 1), None)
