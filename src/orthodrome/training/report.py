"""What a run tells as it goes: a line of log each so many steps, a bar on the terminal, the evaluation after an epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import Progress

from orthodrome.pipeline.model import Model
from orthodrome.training.loop import Learner, Position
from orthodrome.training.telemetry import Board, JsonLines, Speed, say
from orthodrome.types import LossOutput

LOG_FILE = "log.jsonl"

Evaluate = Callable[[Model], dict[str, Any]]
"""A model -> metrics in plain JSON, with the headline under ``"summary"``."""


Observe = Callable[[Learner], dict[str, Any]]
"""A learner after an epoch -> what to log of it; leaves it as it is."""


@dataclass(frozen=True)
class AfterEpoch:
    """What is asked after epochs: ``evaluate`` where it is due, ``observe`` after each."""

    evaluate: Evaluate | None = None
    observe: Observe | None = None


class Report(Protocol):
    """Told of every step and every epoch; ``history`` is what the evaluations have found."""

    history: list[dict[str, Any]]

    def step(self, position: Position, output: LossOutput, images: int) -> None: ...

    def epoch(self, position: Position) -> None: ...

    def close(self) -> None: ...


class Silence:
    """The report of every process but the first."""

    def __init__(self) -> None:
        self.history: list[dict[str, Any]] = []

    def step(self, position: Position, output: LossOutput, images: int) -> None:
        """Nothing."""

    def epoch(self, position: Position) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class FullReport:
    """Log, bar, TensorBoard and evaluations of one run."""

    def __init__(
        self,
        learner: Learner,
        model: Model,
        folder: Path,
        after: AfterEpoch,
        history: list[dict[str, Any]],
        console: Console,
        bar: Progress,
        steps_per_epoch: int,
        start: Position,
    ) -> None:
        self.learner, self.model, self.after = learner, model, after
        self.history, self.console, self.bar = history, console, bar
        self.log = JsonLines(folder / LOG_FILE, start.step, start.epoch)
        self.board = Board(folder / "tensorboard") if learner.recipe.log.tensorboard else None
        self.speed, self.epoch_speed = Speed(), Speed()
        total = learner.recipe.schedule.epochs * steps_per_epoch
        self.task = bar.add_task("training", total=total, completed=start.step, loss=float("nan"), speed=0.0)

    def step(self, position: Position, output: LossOutput, images: int) -> None:
        """After each step of ``images``: count, log now and then."""
        self.speed.count(images)
        self.epoch_speed.count(images)
        if position.step % self.learner.recipe.log.every == 0:
            self._log_step(position, output)
        self.bar.update(self.task, completed=position.step)

    def _log_step(self, position: Position, output: LossOutput) -> None:
        speed = self.speed.read()
        loss = float(output.loss.detach())
        scalars = {name: float(value) for name, value in output.stats.items()}
        scalars |= {"loss": loss, "learning_rate": self.learner.optimizer.param_groups[0]["lr"], "images_per_second": speed}
        self.log.write(step=position.step, epoch=position.epoch, **scalars)
        if self.board:
            self.board.write(position.step, scalars)
        self.bar.update(self.task, loss=loss, speed=speed)

    def epoch(self, position: Position) -> None:
        """After each epoch: one line, and the evaluation where it is due."""
        recipe = self.learner.recipe
        line = f"epoch {position.epoch}/{recipe.schedule.epochs}  {self.epoch_speed.read():.0f} images/s"
        due = position.epoch % recipe.evaluation.every == 0 or position.epoch == recipe.schedule.epochs
        if self.after.evaluate and due:
            metrics = self.after.evaluate(self.model)
            self.history.append({"step": position.step, "epoch": position.epoch, **metrics})
            self.log.write(step=position.step, epoch=position.epoch, evaluation=metrics)
            line += f"  {metrics.get('summary', '')}"
        if self.after.observe:
            self.log.write(step=position.step, epoch=position.epoch, observed=self.after.observe(self.learner))
        say(self.console, line)
        self.speed, self.epoch_speed = Speed(), Speed()

    def close(self) -> None:
        """Flush TensorBoard."""
        if self.board:
            self.board.close()
