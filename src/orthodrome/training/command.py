"""What ``orthodrome train`` does with its arguments: checks all of them before anything is trained."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from orthodrome.data import ImageReader, open_reader
from orthodrome.data.readers import FORMS
from orthodrome.evaluation.outcome import headline
from orthodrome.pipeline.evaluate import ProtocolData, evaluate_model, protocol_images
from orthodrome.pipeline.model import Model
from orthodrome.training.processes import Team, first_before_others
from orthodrome.training.recipe import Recipe, load_recipe, read_yaml
from orthodrome.training.report import Evaluate
from orthodrome.training.run import INPUTS_FILE, RECIPE_FILE, RunResult, check_unused, train
from orthodrome.training.telemetry import counting
from orthodrome.types import InputError


def start_run(
    recipe_file: Path | None,
    data: Path | None,
    evaluate_on: Path | None,
    pairs: Path | None,
    protocol: str | None,
    overrides: Sequence[str],
    out: Path | None,
    team: Team,
) -> RunResult:
    """A new run. Raises InputError for anything that cannot work, before the first image is read."""

    def checked() -> tuple[Recipe, Path, ProtocolData | None]:
        if data is None:
            raise InputError(f"--data is missing: {FORMS}")
        recipe = load_recipe(recipe_file, overrides)
        where = _protocol_data(protocol, evaluate_on, pairs)
        if out:
            check_unused(out)
        return recipe, data, where

    recipe, where_from, where = team.everywhere(checked)
    folder = out or team.from_first(run_folder(recipe.name))
    return _run(recipe, where_from, where, folder, team)


def run_folder(name: str) -> Path:
    """``runs/NAME-TIME`` under the current directory."""
    return Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def resume_run(folder: Path, other_options: Sequence[str], team: Team) -> RunResult:
    """Go on with a run from its last checkpoint, on the data it was started with."""

    def checked() -> tuple[Recipe, Path, ProtocolData | None]:
        if other_options:
            raise InputError(f"--resume takes recipe and data from the run; leave out {', '.join(other_options)}")
        if not (folder / RECIPE_FILE).is_file() or not (folder / INPUTS_FILE).is_file():
            raise InputError(f"{folder}: no run here; expected a run folder with {RECIPE_FILE} and {INPUTS_FILE}")
        inputs = read_yaml(folder / INPUTS_FILE)
        if "data" not in inputs:
            raise InputError(
                f"{folder / INPUTS_FILE} does not say where the data is: the run was started from Python or by quickstart; "
                "go on with it from Python, by train(…, resume=True)"
            )
        evaluation = inputs.get("evaluation")
        where = ProtocolData(evaluation["protocol"], Path(evaluation["data"]), Path(evaluation["pairs"])) if evaluation else None
        return load_recipe(folder / RECIPE_FILE), Path(inputs["data"]), where

    return _run(*team.everywhere(checked), folder, team, resume=True)


def _run(recipe: Recipe, data: Path, where: ProtocolData | None, folder: Path, team: Team, *, resume: bool = False) -> RunResult:
    reader = first_before_others(team, lambda: _open(data, recipe, team))
    evaluate = team.everywhere(lambda: _evaluation(recipe, where))
    return train(recipe, reader, folder, evaluate=evaluate, resume=resume, inputs=_inputs(data, where), team=team)


def _open(data: Path, recipe: Recipe, team: Team) -> ImageReader:
    with counting(Console(stderr=True, quiet=team.rank > 0), "indexing") as progress:
        return open_reader(data, recipe.data.quarantine, progress)


def _protocol_data(protocol: str | None, data: Path | None, pairs: Path | None) -> ProtocolData | None:
    if (data is None) != (pairs is None):
        raise InputError("--eval and --pairs go together: the folder of images and the list of pairs")
    if data is not None and pairs is not None:
        return ProtocolData(protocol or "lfw", data, pairs)
    if protocol:
        raise InputError(
            f"--protocol {protocol} says how to evaluate, but not on what: give --eval and --pairs too, or leave it out"
        )
    return None


def _evaluation(recipe: Recipe, where: ProtocolData | None) -> Evaluate | None:
    if where is None:
        return None
    protocol_images(where)  # a wrong list or a missing image ends the run here, not after hours of training

    def evaluate(model: Model) -> dict[str, Any]:
        report = evaluate_model(model, where, flip=recipe.evaluation.flip)
        metrics = dict(report.to_report().metrics)
        return {"summary": f"{where.protocol} {headline(metrics)}", "protocol": where.protocol, **metrics}

    return evaluate


def _inputs(data: Path, where: ProtocolData | None) -> dict[str, Any]:
    evaluation = None
    if where:
        evaluation = {"protocol": where.protocol, "data": str(where.data.resolve()), "pairs": str(where.lists.resolve())}
    return {"data": str(data.resolve()), "evaluation": evaluation}
