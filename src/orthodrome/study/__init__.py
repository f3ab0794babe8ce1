"""Studies: many training runs judged alike. A grid of cells from one file, run once each, and pages made of their rows.

Start at ``plan.py`` (what a file says) and ``run.py`` (how its cells are run).
"""

from orthodrome.study.plan import Cell, Plan, load_plan

__all__ = ["Cell", "Plan", "load_plan"]
