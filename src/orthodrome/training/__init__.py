"""Training: typed recipes, one readable loop, checkpoints, logs."""

from orthodrome.training.recipe import Recipe, load_recipe
from orthodrome.training.run import RunResult, train

__all__ = ["Recipe", "RunResult", "load_recipe", "train"]
