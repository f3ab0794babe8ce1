"""The training loop: one, readable from top to bottom. What happens around it (logs, checkpoints, evaluation) hangs on its events."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from orthodrome.data import Loader, to_network_input
from orthodrome.heads import PairHead, ProxyHead
from orthodrome.heads.sharded import SharedError
from orthodrome.training.optim import clip_gradients, set_learning_rate
from orthodrome.training.processes import Alone, Team
from orthodrome.training.recipe import Recipe
from orthodrome.training.schedules import Schedule
from orthodrome.types import Batch, LossOutput, Preprocessing


@dataclass(frozen=True)
class Position:
    """Where a run is: finished epochs, finished batches of the current one, finished steps in all."""

    epoch: int = 0
    batch: int = 0
    step: int = 0

    def after_batch(self) -> Position:
        """One step further."""
        return Position(self.epoch, self.batch + 1, self.step + 1)

    def next_epoch(self) -> Position:
        """At the start of the next epoch."""
        return Position(self.epoch + 1, 0, self.step)


@dataclass(frozen=True)
class Learner:
    """What learns: network, head, optimizer and schedule, and the processes that do it together.

    ``backbone`` is the network as the loop calls it; where there are several processes it averages their gradients. ``images`` says by
    their number and labels on which set: a run goes on only on that.
    """

    network: nn.Module
    backbone: nn.Module
    head: ProxyHead | PairHead
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    preprocessing: Preprocessing
    recipe: Recipe
    device: torch.device
    images: str
    team: Team = field(default_factory=Alone)


class Events(Protocol):
    """What the loop tells the outside world. ``step`` returns False to stop the run after this step."""

    def step(self, position: Position, output: LossOutput, images: int) -> bool: ...

    def epoch(self, position: Position) -> None: ...


class TrainingDiverged(SharedError):
    """The loss became NaN or infinite, which all processes know."""


def fit(learner: Learner, loader: Loader, position: Position, events: Events) -> Position:
    """Train from ``position`` to the last epoch of the recipe, or until an event asks to stop; returns where it ended."""
    while position.epoch < learner.recipe.schedule.epochs:
        next_batch = partial(next, loader.batches(position.epoch, start=position.batch))
        for _ in range(position.batch, len(loader)):
            output = train_step(learner, learner.team.everywhere(next_batch), position)
            position = position.after_batch()
            if not events.step(position, output, loader.sampler.batch_size):
                return position
        position = position.next_epoch()
        events.epoch(position)
    return position


def train_step(learner: Learner, batch: Batch, position: Position) -> LossOutput:
    """Forward, loss, backward, step. Raises TrainingDiverged before a loss that is not finite can reach the weights."""
    recipe = learner.recipe
    set_learning_rate(learner.optimizer, recipe.optimizer.learning_rate * learner.schedule(position.step))
    learner.optimizer.zero_grad(set_to_none=True)  # before the head, which may compute its gradient on the way there
    embeddings, labels = learner.team.everywhere(lambda: embed(learner, batch, position))
    output = learner.head(embeddings.float(), labels)
    if not torch.isfinite(output.loss):
        raise TrainingDiverged(_diagnosis(learner, embeddings, f"became {output.loss.item()}", position))

    output.loss.backward()
    rows = [learner.head.get_parameter(name) for name in learner.head.class_rows]
    clip_gradients(learner.optimizer, recipe.optimizer.clip_norm, rows, learner.team.total)
    learner.optimizer.step()
    return output


def embed(learner: Learner, batch: Batch, position: Position) -> tuple[Tensor, Tensor]:
    """Embeddings (B, D) of a batch, with gradient, and its labels (B,). Raises TrainingDiverged where they are not finite."""
    images = batch.images.to(learner.device, non_blocking=True)
    labels = batch.labels.to(learner.device, non_blocking=True)
    pixels = to_network_input(images, learner.preprocessing, channels_last=learner.recipe.channels_last)
    with autocast(learner.device, learner.recipe.precision):
        embeddings = learner.backbone(pixels)
    if not torch.isfinite(embeddings).all():
        raise TrainingDiverged(_diagnosis(learner, embeddings, "was not computed", position))
    return embeddings, labels


def autocast(device: torch.device, precision: str) -> Any:
    """Products in bfloat16 where the recipe asks for it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def check_weights(learner: Learner, position: Position) -> None:
    """Raises TrainingDiverged, naming the first, where a parameter of network or head is not finite."""
    for part in (learner.network, learner.head):
        for name, parameter in part.named_parameters():
            if parameter.numel() and not torch.isfinite(torch.stack(parameter.detach().aminmax())).all():  # no array of its size
                rate = learner.recipe.optimizer.learning_rate * learner.schedule(position.step)
                raise TrainingDiverged(
                    f"{name} is not finite after step {position.step}, with learning rate {rate:.3g}: the gradient of the last step was "
                    f"not, although the loss was. {_advice(rate)}"
                )


def _diagnosis(learner: Learner, embeddings: torch.Tensor, outcome: str, position: Position) -> str:
    rate = learner.recipe.optimizer.learning_rate * learner.schedule(position.step)
    if torch.isfinite(embeddings).all():
        cause = f"the embeddings are finite (largest norm {embeddings.norm(dim=1).max():.3g}): the proxies or the loss' scale ran away"
    else:
        rows = (~torch.isfinite(embeddings)).any(dim=1).sum()
        cause = f"{int(rows)} of {len(embeddings)} embeddings are not finite: the network's weights ran away"
    return (
        f"loss {learner.recipe.loss.name} {outcome} at step {position.step + 1} (epoch {position.epoch + 1}) "
        f"with learning rate {rate:.3g}; {cause}. {_advice(rate)}"
    )


def _advice(rate: float) -> str:
    return (
        f"Most likely the learning rate is too high: lower it (--set optimizer.learning_rate={rate / 3:.2g}), warm up "
        "(--set schedule.warmup_epochs=1) or clip (--set optimizer.clip_norm=5), and start anew; or change recipe.yaml in the folder of "
        "the run and go on from its last checkpoint (--resume)"
    )
