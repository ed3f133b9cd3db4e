"""The operations of a feature spec on one column, run compiled or, for few rows, in NumPy.

Loading machine code takes about a second, and compiling it, once per machine, about ten. So a request
never does either: both paths give the same bits, and only panels of many rows are worth the code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from features.rolling.numpy_kernel import expanding, rolling
from features.rolling.terms import Difference, Expanding, Lag, LagTransform, Statistic, TrailingWindow
from quantis.types.arrays import Floats, Integers, Mask

COMPILED_FROM = 500_000
"""Rows from which the compiled pass is used: NumPy takes about a tenth of a second for as many."""
_LAG, _TRAILING, _EXPANDING, _DIFFERENCE = range(4)
_STATISTICS: tuple[Statistic, ...] = ("mean", "std", "min", "max")


def operations(transforms: Sequence[tuple[LagTransform, Sequence[int]]]) -> Integers:
    """Encode transforms, each with its columns' rows in the output, as integers. Shape [operations, 7].

    An operation is its kind, its offset, its window or period, and the output rows of the mean (or of
    the only column), the standard deviation, the minimum and the maximum, -1 for none.
    """
    return np.array([_operation(transform, rows) for transform, rows in transforms], np.int64).reshape(-1, 7)


def _operation(transform: LagTransform, rows: Sequence[int]) -> list[int]:
    if isinstance(transform, Lag):
        return [_LAG, transform.steps, 0, rows[0], -1, -1, -1]
    if isinstance(transform, Difference):
        return [_DIFFERENCE, transform.offset, transform.period, rows[0], -1, -1, -1]
    assert isinstance(transform, TrailingWindow | Expanding), f"{type(transform)} needs the clock"
    row_of = dict(zip(transform.statistics, rows, strict=True))
    columns = [row_of.get(name, -1) for name in _STATISTICS]
    if isinstance(transform, TrailingWindow):
        return [_TRAILING, transform.offset, transform.window, *columns]
    return [_EXPANDING, transform.offset, 0, *columns]


def initial_carry(ops: Integers, series: int) -> Floats:
    """Return the state of expanding statistics before any value. Shape [operations, series, 6]."""
    carry = np.zeros((len(ops), series, 6))
    carry[:, :, 4:] = np.nan  # minimum and maximum
    return carry


def use_compiled(rows: int) -> bool:
    """Return True if so many rows are worth loading the machine code."""
    return rows >= COMPILED_FROM


def run(
    values: Floats,
    starts: Integers,
    first_steps: Integers,
    ops: Integers,
    out: Floats,
    *,
    carry: Floats | None = None,
    first_row: int = 0,
) -> None:
    """Fill the rows of `out` [columns, rows] that `ops` names, for series end to end from `starts` [series + 1].

    `first_steps` [series] is the absolute step index of each one's first row; `carry` holds the
    expanding statistics before row `first_row` of each series and is advanced to its end.
    """
    carry = initial_carry(ops, len(first_steps)) if carry is None else carry
    if use_compiled(len(values)):
        from features.rolling import numba_kernel

        numba_kernel.run(read_only(values), starts, first_steps, first_row, ops, out, carry)
        return
    steps = np.arange(len(values)) - np.repeat(starts[:-1], np.diff(starts))  # within the series, [rows]
    for number, (kind, offset, window, *rows) in enumerate(ops.tolist()):
        if kind == _LAG:
            out[rows[0]] = _shift(values, offset, steps >= offset)
        elif kind == _DIFFERENCE:
            # The difference that ends at each row, then `offset` steps later.
            difference = values - _shift(values, window, steps >= window)
            out[rows[0]] = _shift(difference, offset, steps >= offset + window)
        elif kind == _TRAILING:
            row_of = _output_rows(rows)
            for name, column in rolling(values, window, tuple(row_of), starts, first_steps).items():
                out[row_of[name]] = _shift(column, offset, steps >= offset + window - 1)
        else:
            for series, (start, end) in enumerate(pairwise(starts.tolist())):
                statistics = _expand(values[start:end], offset, first_row, carry[number, series])
                for name, row in _output_rows(rows).items():
                    out[row, start:end] = statistics[name]


def copy_tables(tables: Floats, offsets: Integers, starts: Integers, rows: Integers, out: Floats) -> None:
    """Copy each table [fields, times] into its row of `out` [columns, rows], from each series' offset on."""
    if use_compiled(int(starts[-1])):
        from features.rolling import run_lengths

        run_lengths.copy_tables(tables, offsets, starts, rows, out)
        return
    # The position of each row among the times: its series' offset, and its step within the series, [rows].
    positions = np.repeat(offsets - starts[:-1], np.diff(starts)) + np.arange(starts[-1])
    for table, row in zip(tables, rows, strict=True):
        out[row] = table[positions]


def read_only(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a view that cannot be written, as Arrow's memory is: one type, so the kernel is compiled once."""
    view = values.view()
    view.flags.writeable = False
    return view


def warm_up() -> None:
    """Load the compiled pass, or compile it where the disk does not hold it yet: a second, or ten.

    For an image's build or a worker's start; the values do not depend on it.
    """
    from features.rolling import numba_kernel, run_lengths

    out = np.empty((4, 4))
    starts, first_steps = np.array([0, 4]), np.zeros(1, np.int64)
    ops = operations([(TrailingWindow(offset=1, window=2), range(4))])
    numba_kernel.run(read_only(np.arange(4.0)), starts, first_steps, 0, ops, out, initial_carry(ops, 1))
    run_lengths.copy_tables(np.zeros((1, 4)), first_steps, starts, first_steps, out)
    run_lengths.run_ends(read_only(np.array([0, 1], np.int32)), read_only(np.zeros(1, np.uint8)))


def _output_rows(rows: Sequence[int]) -> Mapping[Statistic, int]:
    return {name: row for name, row in zip(_STATISTICS, rows, strict=True) if row >= 0}


def _shift(values: Floats, rows: int, valid: Mask) -> Floats:
    """Return the values `rows` later, NaN where not `valid`. Shape as `values`."""
    out = np.full(len(values), np.nan)
    if rows < len(values):
        np.copyto(out[rows:], values[: len(values) - rows], where=valid[rows:])
    return out


def _expand(values: Floats, offset: int, first_row: int, carry: Floats) -> Mapping[Statistic, Floats]:
    """Return the expanding statistics `offset` steps later, NaN before `first_row`. Shape as `values`, each."""
    first = max(offset, first_row)
    statistics = expanding(values[first - offset : max(len(values) - offset, 0)], carry)
    blank = np.full(min(first, len(values)), np.nan)
    return {name: np.concatenate([blank, column]) for name, column in statistics.items()}
