"""Learning-rate schedules: pure functions of progress. The factor of a step depends on nothing but the step, so resuming needs no state."""

from __future__ import annotations

import math
from collections.abc import Callable

from orthodrome.training.recipe import ScheduleSettings

Schedule = Callable[[int], float]
"""Step, from 0 -> factor of the learning rate, in (0, 1]."""


def _cosine(progress: float, epoch: float, settings: ScheduleSettings) -> float:
    return (1 + math.cos(math.pi * progress)) / 2


def _poly(progress: float, epoch: float, settings: ScheduleSettings) -> float:
    return (1 - progress) ** settings.power


def _step(progress: float, epoch: float, settings: ScheduleSettings) -> float:
    return settings.gamma ** sum(epoch >= milestone for milestone in settings.milestones)


def _constant(progress: float, epoch: float, settings: ScheduleSettings) -> float:
    return 1.0


SHAPES = {"cosine": _cosine, "poly": _poly, "step": _step, "constant": _constant}


def create_schedule(settings: ScheduleSettings, steps_per_epoch: int) -> Schedule:
    """The factor of the learning rate at each step: (step + 1)/(warm-up steps + 1) while warming up, then the shape, at least ``final``."""
    total = settings.epochs * steps_per_epoch
    warmup = round(settings.warmup_epochs * steps_per_epoch)
    shape = SHAPES[settings.name]

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        progress = (step - warmup) / max(1, total - warmup)
        return settings.final + (1 - settings.final) * shape(min(progress, 1.0), step / steps_per_epoch, settings)

    return factor
