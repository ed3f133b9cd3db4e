"""Windows in NumPy, for the few rows of a request: bit for bit the results of `features.rolling.numba_kernel`.

A window's value depends only on the values in it, wherever the array begins: sums are kept per block
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
    first_steps: Integers | None = None,
) -> dict[Statistic, Floats]:
    """Return statistics of each row and the `window - 1` before it, without missing values. Shape [rows] each.

    Series lie end to end from `starts` [series + 1]; `first_steps` [series] is the absolute step index
    of each one's first row. A window that would begin before its series has only the rows of the series.
    """
    starts = np.array([0, len(values)]) if starts is None else starts
    first_steps = np.zeros(len(starts) - 1, np.int64) if first_steps is None else first_steps
    positions, blocks = _block_positions(window, starts, first_steps)
    grid = np.full((blocks, window), np.nan)
    grid.reshape(-1)[positions] = values
    out: dict[Statistic, Floats] = {}
    if {"mean", "std"} & set(statistics):
        out |= _mean_and_std(grid, statistics)
    if "min" in statistics:
        out["min"] = _lowest(grid)
    if "max" in statistics:
        out["max"] = -_lowest(-grid)
    return {name: out[name].reshape(-1)[positions] for name in statistics}


def expanding(values: Floats, carry: Floats) -> dict[Statistic, Floats]:
    """Return statistics of each row and all before it. Shape [rows] each.

    `carry` [6] is the count, pivot, sum, squares, lowest and highest value before the first row; it is
    advanced to the last.
    """
    observed = ~np.isnan(values)
    if carry[0] == 0 and observed.any():
        carry[1] = values[observed][0]
    deviations = np.where(observed, values - carry[1], 0.0)
    total = np.add.accumulate(np.append(carry[2], deviations))
    squared = np.add.accumulate(np.append(carry[3], deviations * deviations))
    count = int(carry[0]) + np.cumsum(observed)
    low = np.fmin.accumulate(np.append(carry[4], values))[1:]
    high = np.fmax.accumulate(np.append(carry[5], values))[1:]
    inverse = _inverses(int(count[-1]) if len(count) else 0)
    mean = total[1:] * inverse[count]
    statistics: dict[Statistic, Floats] = {
        "mean": np.where(count > 0, carry[1] + mean, np.nan),
        "std": _deviation(squared[1:] - total[1:] * mean, count, inverse),
        "min": low,
        "max": high,
    }
    if len(count):
        carry[:] = count[-1], carry[1], total[-1], squared[-1], low[-1], high[-1]
    return statistics


def _block_positions(window: int, starts: Integers, first_steps: Integers) -> tuple[Integers, int]:
    """Return each row's position in blocks end to end, and the number of blocks. Shape [rows].

    An empty block is before each series, so that its first block has a previous one without values.
    """
    lengths = np.diff(starts)
    lead = first_steps % window
    used = (lead + lengths + window - 1) // window + 1
    first = (np.cumsum(used) - used + 1) * window + lead
    return np.repeat(first - starts[:-1], lengths) + np.arange(starts[-1]), int(used.sum())


@dataclass(frozen=True)
class _WindowPart:
    """The part of each window in a block: its mean less `pivot`, a value of it, and its squared deviations."""

    pivot: Floats  # [blocks, 1]
    count: Integers  # [blocks, window]
    mean: Floats  # [blocks, window]
    squares: Floats  # [blocks, window]

    @classmethod
    def prefixes(cls, grid: Floats, inverse: Floats) -> _WindowPart:
        """Return the part of each block up to each position."""
        observed = grid == grid  # False where NaN
        pivot = grid[np.arange(len(grid)), observed.argmax(axis=1)][:, None]
        pivot[np.isnan(pivot)] = 0.0
        deviations = grid - pivot
        deviations[~observed] = 0.0
        count = np.add.accumulate(observed, axis=1, dtype=np.int64)
        total = np.add.accumulate(deviations, axis=1)
        mean = total * inverse[count]
        np.multiply(deviations, deviations, out=deviations)
        squares = np.add.accumulate(deviations, axis=1)
        return cls(pivot, count, mean, squares - total * mean)

    @classmethod
    def previous_suffixes(cls, grid: Floats, inverse: Floats) -> _WindowPart:
        """Return the part of the previous block that follows each position."""
        backward = cls.prefixes(grid[:, ::-1], inverse)
        parts = (_previous_suffixes(part) for part in (backward.count, backward.mean, backward.squares))
        return cls(np.roll(backward.pivot, 1, axis=0), *parts)


def _previous_suffixes(reversed_prefixes: npt.NDArray[Any], empty: float = 0.0) -> npt.NDArray[Any]:
    shifted = np.full(reversed_prefixes.shape, empty, reversed_prefixes.dtype)
    shifted[1:, :-1] = reversed_prefixes[:-1, -2::-1]
    return shifted


def _mean_and_std(grid: Floats, statistics: tuple[Statistic, ...]) -> dict[Statistic, Floats]:
    """Merge the two parts of each window by Chan et al. (1979). Shape [blocks, window] each."""
    inverse = _inverses(grid.shape[1])
    low, high = _WindowPart.previous_suffixes(grid, inverse), _WindowPart.prefixes(grid, inverse)
    count = low.count + high.count
    difference = (high.pivot - low.pivot) + (high.mean - low.mean)
    share = high.count * inverse[count]
    only_high, only_low = low.count == 0, high.count == 0
    results: dict[Statistic, Floats] = {}
    if "mean" in statistics:
        mean = low.pivot + (low.mean + difference * share)
        np.copyto(mean, low.pivot + low.mean, where=only_low)
        np.copyto(mean, high.pivot + high.mean, where=only_high)
        mean[only_low & only_high] = np.nan
        results["mean"] = mean
    if "std" in statistics:
        squares = (low.squares + high.squares) + (difference * difference) * (share * low.count)
        np.copyto(squares, low.squares, where=only_low)
        np.copyto(squares, high.squares, where=only_high)
        results["std"] = _deviation(squares, count, inverse)
    return results


def _lowest(grid: Floats) -> Floats:
    """Return the minimum of each window. Shape [blocks, window]."""
    previous = _previous_suffixes(np.fmin.accumulate(grid[:, ::-1], axis=1), np.nan)
    lowest: Floats = np.fmin(previous, np.fmin.accumulate(grid, axis=1))
    return lowest


def _deviation(squares: Floats, count: Integers, inverse: Floats) -> Floats:
    """Return standard deviations from squared deviations, in place of `squares`."""
    squares[squares < 0.0] = 0.0
    squares *= inverse[count - 1]
    squares[count < 2] = np.nan
    return np.sqrt(squares)


def _inverses(largest: int) -> Floats:
    """Return 1 / count for each count up to `largest`, 0 for no value. Shape [largest + 1]."""
    return np.append(0.0, 1.0 / np.arange(1, largest + 1))
