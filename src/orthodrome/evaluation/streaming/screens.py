"""Screens: fast products that are near the canonical scores, with a bound on how far off they can be.

A screen rounds unit vectors and multiplies what is left of them. For unit vectors a, b and their roundings â, b̂, with δ_a = ‖a − â‖ and
γ = (D + 2)·2⁻²⁴, a product with sums in float32 is off by at most

    e = δ_a + δ_b + δ_a·δ_b + γ·(1 + δ_a)(1 + δ_b) + 2⁻²⁴

(Cauchy–Schwarz for the roundings, Higham, "Accuracy and Stability of Numerical Algorithms", §3.1 for the sum in any order, and half a unit
for the canonical score's own rounding). δ is measured on the vectors at hand, not assumed. Integer sums are exact and keep the bound with
room to spare. Where the sum is rounded once more, to the type of the scores, levels are rounded in the same way before they are compared:
that keeps the order of numbers and costs nothing. What a coarser screen than float32 leaves open is narrowed in float32 (`products_at`).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from orthodrome.evaluation.scores import rounded_once

_SAFETY = 1.001
"""Covers that norms of unit vectors, and the bound itself, are known to a few digits only."""

_ROWS = 1024
"""Rows whose rounding error is measured at a time."""


@dataclass(frozen=True, eq=False)
class Panel:
    """Unit vectors float32 (N, D), the ``factors`` that stand for them, and the largest distance between the two.

    One of the factors counts ``unit``: the vectors are about unit · factors.
    """

    units: np.ndarray
    factors: Tensor
    error: float
    unit: float = 1.0

    def __len__(self) -> int:
        return len(self.units)

    @cached_property
    def doubles(self) -> np.ndarray:
        """The unit vectors in float64, kept: tiles of one panel share them."""
        return self.units.astype(np.float64)

    def part(self, rows: slice) -> Panel:
        """Some of the rows; nothing is copied."""
        if rows.indices(len(self)) == (0, len(self), 1):
            return self
        return replace(self, units=self.units[rows], factors=self.factors[rows])


@dataclass(frozen=True)
class Screen:
    """Products of a floating-point type. ``nothing`` is what a score is set to that belongs to no comparison."""

    name: str
    dtype: torch.dtype
    nothing: float = -2.0

    @property
    def last_rounding(self) -> float:
        """The largest share of itself by which rounding changes a score, twice over."""
        return torch.finfo(self.dtype).eps

    def panel(self, units: np.ndarray) -> Panel:
        """Round ``units``."""
        exact = torch.from_numpy(units)
        factors = exact.to(self.dtype)
        return Panel(units, factors, 0.0 if factors.dtype == exact.dtype else _error(exact, factors, 1.0))

    def products(self, rows: Panel, columns: Panel, which: slice, out: Tensor) -> Tensor:
        """Screened scores of the rows ``which`` with all columns, in the room ``out`` gives."""
        return torch.mm(rows.factors[which], columns.factors.T, out=_shaped(out, rows, columns, which))

    def rounded(self, levels: Tensor) -> Tensor:
        """Levels float64, counted in the scores' unit, as the scores of this screen are rounded."""
        return levels.float().to(self.dtype)

    def works(self, dimension: int) -> bool:
        """Whether this machine makes such products of embeddings of a ``dimension`` at all."""
        return True


@dataclass(frozen=True)
class IntegerScreen(Screen):
    """Products of whole numbers of 8 bits, summed exactly in 32: as many steps of a `Panel.unit` as come nearest."""

    name: str = "int8"
    dtype: torch.dtype = torch.int32
    nothing: float = -(2**31)

    @property
    def last_rounding(self) -> float:
        """None."""
        return 0.0

    def panel(self, units: np.ndarray) -> Panel:
        """Round ``units``, in steps of which the largest component takes the most there are."""
        exact = torch.from_numpy(units)
        unit = max(map(abs, map(float, exact.aminmax()))) / _MOST
        factors = torch.empty(exact.shape, dtype=torch.int8)
        for part, room in zip(exact.split(_ROWS), factors.split(_ROWS), strict=True):
            room.copy_((part / unit).round_())
        return Panel(units, factors, _error(exact, factors, unit), unit)

    def products(self, rows: Panel, columns: Panel, which: slice, out: Tensor) -> Tensor:
        """Screened scores of the rows ``which`` with all columns, in the room ``out`` gives."""
        return torch._int_mm(rows.factors[which], columns.factors.T, out=_shaped(out, rows, columns, which))

    def rounded(self, levels: Tensor) -> Tensor:
        """The whole number at or below each level: whatever lies above it, lies above the level."""
        return levels.floor().clamp(-(2**31) + 1, 2**31 - 1).to(self.dtype)

    def works(self, dimension: int) -> bool:
        """Whether sums of products of the largest numbers come out right.

        On some processors sums of two products overflow, and with one dimension torch 2.13 adds to what is in the room.
        """
        if _MOST**2 * dimension >= 2**31:
            return False
        generator = torch.Generator().manual_seed(0)
        drawn = torch.randint(-_MOST, _MOST + 1, (128, dimension), generator=generator, dtype=torch.int8)
        drawn[32:64], drawn[64:96], drawn[96:] = drawn[32:64].sign() * _MOST, _MOST, -_MOST
        try:
            found = torch._int_mm(drawn, drawn.T, out=torch.ones(128, 128, dtype=torch.int32))
        except (AttributeError, RuntimeError):
            return False
        return torch.equal(found.double(), drawn.double() @ drawn.double().T)


_MOST = 127
"""The largest factor of an `IntegerScreen`."""


def _error(exact: Tensor, factors: Tensor, unit: float) -> float:
    """The largest distance between a row and what stands for it."""
    parts = zip(exact.split(_ROWS), factors.split(_ROWS), strict=True)
    return max(float(torch.sub(part, factor.float(), alpha=unit).norm(dim=1).max()) for part, factor in parts)


def _shaped(out: Tensor, rows: Panel, columns: Panel, which: slice) -> Tensor:
    count = len(range(*which.indices(len(rows))))
    return out[: count * len(columns)].view(count, len(columns))


def bound(rows: Panel, columns: Panel) -> float:
    """e: at most how far a screen's score, before its last rounding, is from the canonical score."""
    return _bound(rows.error, columns.error, rows.units.shape[1])


def _bound(a: float, b: float, dimension: int) -> float:
    gamma = (dimension + 2) * 2.0**-24
    return _SAFETY * (a + b + a * b + gamma * (1 + a) * (1 + b) + 2.0**-24)


BFLOAT16 = Screen("bf16", torch.bfloat16)
FLOAT32 = Screen("fp32", torch.float32)
INT8 = IntegerScreen()


@dataclass(frozen=True)
class Rounding:
    """How scores of a ``screen``, counted in ``unit``, stand to the canonical ones: within ``error``, before the screen's last rounding."""

    screen: Screen
    error: float
    unit: float = 1.0

    def lowest(self, levels: Tensor) -> Tensor:
        """The least that a comparison is screened with whose canonical score reaches ``levels``, float64."""
        return self.screen.rounded((levels - self.error) / self.unit)

    def certain(self, levels: Tensor) -> Tensor:
        """What is screened above this has a canonical score of at least ``levels``, float64."""
        return self.screen.rounded((levels + self.error) / self.unit)

    def at_least(self, screened: Tensor) -> Tensor:
        """The least that the canonical scores may be of comparisons ``screened`` so: float64."""
        scores = screened.double() * self.unit
        return scores - scores.abs() * self.screen.last_rounding - self.error


def rounding(screen: Screen, rows: Panel, columns: Panel) -> Rounding:
    """That of the products of two panels."""
    return Rounding(screen, bound(rows, columns), rows.unit * columns.unit)


def float32_rounding(dimension: int) -> Rounding:
    """That of `products_at` in float32."""
    return Rounding(FLOAT32, _bound(0.0, 0.0, dimension))


def products_at(rows: np.ndarray, columns: np.ndarray, positions: tuple[np.ndarray, np.ndarray]) -> Tensor:
    """Products of rows (A, D) with columns (B, D) at ``positions`` (n,), ascending by row, in the precision of both: (n,)."""
    across, down = map(torch.from_numpy, positions)
    if not len(across):
        return torch.from_numpy(np.empty(0, rows.dtype))
    starts = torch.zeros(len(rows) + 1, dtype=torch.int64)
    starts[1:] = torch.bincount(across, minlength=len(rows)).cumsum(0)
    size = (len(rows), len(columns))
    first, second = torch.from_numpy(rows), torch.from_numpy(columns)
    wanted = torch.sparse_csr_tensor(starts, down, first.new_zeros(len(down)), size, check_invariants=False)
    return torch.sparse.sampled_addmm(wanted, first, second.T, beta=0.0).values()


with warnings.catch_warnings():  # that such tensors are new to torch is said once, and here
    warnings.simplefilter("ignore")
    products_at(np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32), (np.zeros(1, np.int64), np.zeros(1, np.int64)))


def all_canonical(rows: Panel, columns: Panel) -> np.ndarray:
    """Canonical scores float32 (A, B) of two panels, by torch's product: the threads of numpy's would stand in the way of its own."""
    product = torch.from_numpy(rows.doubles) @ torch.from_numpy(columns.doubles).T
    return rounded_once(product.numpy(), rows.units, columns.units)


def holds(screen: Screen, rows: np.ndarray, columns: np.ndarray) -> bool:
    """Whether this machine's products keep the bound, on all unit vectors ``rows`` with all ``columns``.

    They do not where its float32 products are rounded to less than float32 on the way.
    """
    panels = screen.panel(rows), screen.panel(columns)
    exact = torch.from_numpy(all_canonical(*panels)).double()
    screened = screen.products(*panels, slice(0, len(rows)), torch.empty(exact.numel(), dtype=screen.dtype))
    at = np.divmod(np.arange(exact.numel()), len(columns))
    return _within(screened, exact, rounding(screen, *panels)) and (
        screen is FLOAT32 or _within(products_at(rows, columns, at), exact.flatten(), float32_rounding(rows.shape[1]))
    )


def _within(screened: Tensor, exact: Tensor, off: Rounding) -> bool:
    return bool(((screened >= off.lowest(exact)) & (screened <= off.certain(exact))).all())
