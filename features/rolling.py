"""Lags and rolling statistics over series laid end to end, without a loop over series.

A window's value depends on the values in it alone, bit for bit, wherever the array begins: sums
are taken as a fixed tree over powers of two, not as a running total. So one online request gives
the same features as training did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Statistic = Literal["mean", "std", "min", "max"]


@dataclass(frozen=True)
class Extremes:
    """Smallest and largest value of the rows that each entry covers; NaN where all are missing."""

    low: Floats
    high: Floats

    @classmethod
    def of(cls, values: Floats) -> Extremes:
        return cls(values, values)

    def after(self, earlier: Extremes) -> Extremes:
        return Extremes(np.fmin(earlier.low, self.low), np.fmax(earlier.high, self.high))

    def moved(self, rows: int) -> Extremes:
        return Extremes(moved(self.low, rows), moved(self.high, rows))

    def statistic(self, name: Statistic) -> Floats:
        return self.low if name == "min" else self.high


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared deviations of the rows covered, merged as by Chan et al. (1979)."""

    count: Floats
    mean: Floats
    squares: Floats

    @classmethod
    def of(cls, values: Floats) -> Moments:
        there = ~np.isnan(values)
        return cls(there.astype(np.float64), np.where(there, values, 0.0), np.zeros(len(values)))

    def after(self, earlier: Moments) -> Moments:
        count = earlier.count + self.count
        share = self.count / np.maximum(count, 1.0)
        apart = self.mean - earlier.mean
        squares = earlier.squares + self.squares + apart * apart * share * earlier.count
        return Moments(count, earlier.mean + apart * share, squares)

    def moved(self, rows: int) -> Moments:
        return Moments(*(moved(part, rows, 0.0) for part in (self.count, self.mean, self.squares)))

    def statistic(self, name: Statistic) -> Floats:
        """Mean, or the sample standard deviation; NaN where too little is there."""
        if name == "mean":
            return np.where(self.count > 0, self.mean, np.nan)
        return np.sqrt(np.where(self.count > 1, self.squares, np.nan) / np.maximum(self.count - 1, 1.0))


Cover = TypeVar("Cover", Extremes, Moments)


def rolling(values: Floats, window: int, statistics: tuple[Statistic, ...]) -> dict[Statistic, Floats]:
    """Statistics of each row and the `window - 1` before it, missing values left out. Shape [rows] each.

    Rows whose window would begin before the array cover what there is of it.
    """
    out: dict[Statistic, Floats] = {}
    if {"mean", "std"} & set(statistics):
        moments = _cover(Moments.of(values), window)
        out |= {name: moments.statistic(name) for name in statistics if name in ("mean", "std")}
    if {"min", "max"} & set(statistics):
        extremes = _cover(Extremes.of(values), window)
        out |= {name: extremes.statistic(name) for name in statistics if name in ("min", "max")}
    return out


def _cover(single: Cover, window: int) -> Cover:
    """What the last `window` rows hold, by doubling: about log2(window) merges."""
    cover, size = single, 1
    for bit in bin(window)[3:]:
        cover, size = cover.after(cover.moved(size)), 2 * size
        if bit == "1":
            cover, size = single.after(cover.moved(1)), size + 1
    return cover


def moved(values: Floats, rows: int, fill: float = np.nan) -> Floats:
    """Values `rows` later. Shape as `values`."""
    out = np.full(len(values), fill)
    if rows < len(values):
        out[rows:] = values[: len(values) - rows]
    return out
