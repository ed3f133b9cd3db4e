"""Windows in NumPy, for the few rows of a request: bit for bit what `features.rolling.numba_kernel` compiles.

A window's value depends on the values in it alone, wherever the array begins: sums are kept per block
of `window` steps, aligned to absolute steps, never as a running total. So one online request gives
the same features as training did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.rolling.terms import Statistic
from quantis.types.arrays import Floats, Integers


def rolling(
    values: Floats,
    window: int,
    statistics: tuple[Statistic, ...],
    starts: Integers | None = None,
    ticks: Integers | None = None,
) -> dict[Statistic, Floats]:
    """Statistics of each row and the `window - 1` before it, missing values left out. Shape [rows] each.

    Series lie end to end from `starts` [series + 1]; `ticks` [series] is the absolute step of each
    one's first row. Rows whose window would begin before their series cover what there is of it.
    """
    starts = np.array([0, len(values)]) if starts is None else starts
    ticks = np.zeros(len(starts) - 1, np.int64) if ticks is None else ticks
    place, blocks = _places(window, starts, ticks)
    grid = np.full((blocks, window), np.nan)
    grid.reshape(-1)[place] = values
    out: dict[Statistic, Floats] = {}
    if {"mean", "std"} & set(statistics):
        out |= _moments(grid, statistics)
    if "min" in statistics:
        out["min"] = _lowest(grid)
    if "max" in statistics:
        out["max"] = -_lowest(-grid)
    return {name: out[name].reshape(-1)[place] for name in statistics}


def expanding(values: Floats, carry: Floats) -> dict[Statistic, Floats]:
    """Statistics of each row and all before it. Shape [rows] each.

    `carry` [6] is the count, pivot, sum, squares, lowest and highest value before the first row; it is
    moved on to the last.
    """
    there = ~np.isnan(values)
    if carry[0] == 0 and there.any():
        carry[1] = values[there][0]
    apart = np.where(there, values - carry[1], 0.0)
    total = np.add.accumulate(np.append(carry[2], apart))
    squared = np.add.accumulate(np.append(carry[3], apart * apart))
    count = int(carry[0]) + np.cumsum(there)
    low = np.fmin.accumulate(np.append(carry[4], values))[1:]
    high = np.fmax.accumulate(np.append(carry[5], values))[1:]
    inverse = _inverses(int(count[-1]) if len(count) else 0)
    mean = total[1:] * inverse[count]
    found: dict[Statistic, Floats] = {
        "mean": np.where(count > 0, carry[1] + mean, np.nan),
        "std": _deviation(squared[1:] - total[1:] * mean, count, inverse),
        "min": low,
        "max": high,
    }
    if len(count):
        carry[:] = count[-1], carry[1], total[-1], squared[-1], low[-1], high[-1]
    return found


def _places(window: int, starts: Integers, ticks: Integers) -> tuple[Integers, int]:
    """Where each row lies in blocks end to end, an empty block before every series; the number of blocks."""
    lengths = np.diff(starts)
    lead = ticks % window
    used = (lead + lengths + window - 1) // window + 1
    first = (np.cumsum(used) - used + 1) * window + lead
    return np.repeat(first - starts[:-1], lengths) + np.arange(starts[-1]), int(used.sum())


@dataclass(frozen=True)
class _Half:
    """One side of each window: the mean less `pivot`, a value of that side, and the squared deviations."""

    pivot: Floats  # [blocks, 1]
    count: Integers  # [blocks, window], as what follows
    mean: Floats
    squares: Floats

    @classmethod
    def prefixes(cls, grid: Floats, inverse: Floats) -> _Half:
        """Of each block up to each place."""
        there = grid == grid
        pivot = grid[np.arange(len(grid)), there.argmax(axis=1)][:, None]
        pivot[np.isnan(pivot)] = 0.0
        apart = grid - pivot
        apart[~there] = 0.0
        count = np.add.accumulate(there, axis=1, dtype=np.int64)
        total = np.add.accumulate(apart, axis=1)
        mean = total * inverse[count]
        np.multiply(apart, apart, out=apart)
        squares = np.add.accumulate(apart, axis=1)
        return cls(pivot, count, mean, squares - total * mean)

    @classmethod
    def suffixes_before(cls, grid: Floats, inverse: Floats) -> _Half:
        """Of the block before, from the place after each place on."""
        back = cls.prefixes(grid[:, ::-1], inverse)
        parts = (_before(part) for part in (back.count, back.mean, back.squares))
        return cls(np.roll(back.pivot, 1, axis=0), *parts)


def _before(reversed_prefixes: npt.NDArray[Any], empty: float = 0.0) -> npt.NDArray[Any]:
    out = np.full(reversed_prefixes.shape, empty, reversed_prefixes.dtype)
    out[1:, :-1] = reversed_prefixes[:-1, -2::-1]
    return out


def _moments(grid: Floats, statistics: tuple[Statistic, ...]) -> dict[Statistic, Floats]:
    inverse = _inverses(grid.shape[1])
    low, high = _Half.suffixes_before(grid, inverse), _Half.prefixes(grid, inverse)
    count = low.count + high.count
    apart = (high.pivot - low.pivot) + (high.mean - low.mean)
    share = high.count * inverse[count]
    only_high, only_low = low.count == 0, high.count == 0
    out: dict[Statistic, Floats] = {}
    if "mean" in statistics:
        mean = low.pivot + (low.mean + apart * share)
        np.copyto(mean, low.pivot + low.mean, where=only_low)
        np.copyto(mean, high.pivot + high.mean, where=only_high)
        mean[only_low & only_high] = np.nan
        out["mean"] = mean
    if "std" in statistics:
        squares = (low.squares + high.squares) + (apart * apart) * (share * low.count)
        np.copyto(squares, low.squares, where=only_low)
        np.copyto(squares, high.squares, where=only_high)
        out["std"] = _deviation(squares, count, inverse)
    return out


def _lowest(grid: Floats) -> Floats:
    before = _before(np.fmin.accumulate(grid[:, ::-1], axis=1), np.nan)
    lowest: Floats = np.fmin(before, np.fmin.accumulate(grid, axis=1))
    return lowest


def _deviation(squares: Floats, count: Integers, inverse: Floats) -> Floats:
    """`squares` is used up."""
    squares[squares < 0.0] = 0.0
    squares *= inverse[count - 1]
    squares[count < 2] = np.nan
    return np.sqrt(squares)


def _inverses(longest: int) -> Floats:
    """One over each count up to `longest`, zero of none. Shape [longest + 1]."""
    return np.append(0.0, 1.0 / np.arange(1, longest + 1))
