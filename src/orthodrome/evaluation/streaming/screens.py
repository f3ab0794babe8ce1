"""Screens: fast products that are near the canonical scores, with a bound on how far off they can be.

A screen rounds unit vectors to its type, multiplies them with sums in float32 and rounds the sum to its type. For unit vectors a, b and
their roundings â, b̂, with δ_a = ‖a − â‖ and γ = (D + 2)·2⁻²⁴, the sum before the last rounding is off by at most

    e = δ_a + δ_b + δ_a·δ_b + γ·(1 + δ_a)(1 + δ_b) + 2⁻²⁴

(Cauchy–Schwarz for the roundings, Higham, "Accuracy and Stability of Numerical Algorithms", §3.1 for the sum in any order, and half a unit
for the canonical score's own rounding). δ is measured on the vectors at hand, not assumed. The last rounding keeps the order of numbers,
so it costs nothing: levels are rounded in the same way before they are compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from orthodrome.evaluation.scores import score_block

_SAFETY = 1.001
"""Covers that norms of unit vectors, and the bound itself, are known to a few digits only."""


@dataclass(frozen=True, eq=False)
class Panel:
    """Unit vectors float32 (N, D), their roundings, and the largest distance between the two."""

    units: np.ndarray
    factors: Tensor
    error: float

    def __len__(self) -> int:
        return len(self.units)


@dataclass(frozen=True)
class Screen:
    """A type of products."""

    name: str
    dtype: torch.dtype

    def panel(self, units: np.ndarray) -> Panel:
        """Round ``units``."""
        exact = torch.from_numpy(units)
        factors = exact.to(self.dtype)
        if factors.dtype == exact.dtype:
            return Panel(units, factors, 0.0)
        error = max(
            float((exact[at : at + 1024] - factors[at : at + 1024].float()).norm(dim=1).max())
            for at in range(0, len(units), 1024)
        )
        return Panel(units, factors, error)

    def products(self, rows: Panel, columns: Panel, which: slice, out: Tensor) -> Tensor:
        """Screened scores of the rows ``which`` with all columns, in the room ``out`` gives."""
        factors = rows.factors[which]
        room = out[: len(factors) * len(columns)].view(len(factors), len(columns))
        return torch.mm(factors, columns.factors.T, out=room)

    def rounded(self, level: float) -> float:
        """A level as the scores of this screen are rounded."""
        return float(torch.tensor(level, dtype=torch.float64).to(self.dtype)) if np.isfinite(level) else level


def bound(rows: Panel, columns: Panel) -> float:
    """e: at most how far the sum of a screen is from the canonical score."""
    gamma = (rows.units.shape[1] + 2) * 2.0**-24
    a, b = rows.error, columns.error
    return _SAFETY * (a + b + a * b + gamma * (1 + a) * (1 + b) + 2.0**-24)


BFLOAT16 = Screen("bf16", torch.bfloat16)
FLOAT32 = Screen("fp32", torch.float32)


def holds(screen: Screen, rows: np.ndarray, columns: np.ndarray) -> bool:
    """Whether this machine's products keep the bound, on all unit vectors ``rows`` with all ``columns``.

    They do not where its float32 products are rounded to less than float32 on the way.
    """
    panels = screen.panel(rows), screen.panel(columns)
    exact = torch.from_numpy(score_block(rows, columns)).double()
    screened = screen.products(*panels, slice(0, len(rows)), torch.empty(exact.numel(), dtype=screen.dtype))
    lowest, highest = ((exact + sign * bound(*panels)).float().to(screen.dtype) for sign in (-1, 1))
    return bool(((screened >= lowest) & (screened <= highest)).all())
