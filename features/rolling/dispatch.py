"""Which operations a feature spec asks of one column, and running them: compiled, or in NumPy for few rows.

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
from quantis.types.arrays import Floats, Integers

COMPILED_FROM = 500_000
"""Rows from which the compiled pass is used: NumPy takes about a tenth of a second for as many."""
_LAG, _LAST, _EXPANDING, _DIFFERENCE = range(4)
_STATISTICS: tuple[Statistic, ...] = ("mean", "std", "min", "max")


def operations(windows: Sequence[tuple[LagTransform, Sequence[int]]]) -> Integers:
    """Windows, each with the rows of its columns in the output, as numbers. Shape [operations, 7].

    An operation is its kind, its offset, its window or period, and the output rows of the mean (or of
    the only column), the standard deviation, the minimum and the maximum, -1 for none.
    """
    return np.array([_operation(window, rows) for window, rows in windows], np.int64).reshape(-1, 7)


def _operation(window: LagTransform, rows: Sequence[int]) -> list[int]:
    if isinstance(window, Lag):
        return [_LAG, window.steps, 0, rows[0], -1, -1, -1]
    if isinstance(window, Difference):
        return [_DIFFERENCE, window.offset, window.period, rows[0], -1, -1, -1]
    assert isinstance(window, TrailingWindow | Expanding), f"{type(window)} needs the clock, not the kernel"
    place = dict(zip(window.statistics, rows, strict=True))
    columns = [place.get(name, -1) for name in _STATISTICS]
    if isinstance(window, TrailingWindow):
        return [_LAST, window.offset, window.window, *columns]
    return [_EXPANDING, window.offset, 0, *columns]


def initial_carry(ops: Integers, series: int) -> Floats:
    """The state of expanding statistics before anything was seen. Shape [operations, series, 6]."""
    carry = np.zeros((len(ops), series, 6))
    carry[:, :, 4:] = np.nan
    return carry


def compiled(rows: int) -> bool:
    """Whether so many rows are worth the machine code."""
    return rows >= COMPILED_FROM


def run(
    values: Floats, starts: Integers, ticks: Integers, ops: Integers, out: Floats,
    carry: Floats | None = None, fresh: int = 0,
) -> None:  # fmt: skip
    """Fill the rows of `out` [columns, rows] that `ops` names, for series end to end from `starts` [series + 1].

    `ticks` [series] is the absolute step of each one's first row; `carry` holds the expanding
    statistics before row `fresh` of each series and is moved on to its end.
    """
    carry = initial_carry(ops, len(ticks)) if carry is None else carry
    if compiled(len(values)):
        from features.rolling import numba_kernel

        numba_kernel.run(read_only(values), starts, ticks, fresh, ops, out, carry)
        return
    steps = np.arange(len(values)) - np.repeat(starts[:-1], np.diff(starts))
    for number, (kind, offset, window, *rows) in enumerate(ops.tolist()):
        if kind == _LAG:
            out[rows[0]] = _moved(values, offset, steps >= offset)
        elif kind == _DIFFERENCE:
            apart = values - _moved(values, window, steps >= window)
            out[rows[0]] = _moved(apart, offset, steps >= offset + window)
        elif kind == _LAST:
            wanted = _named(rows)
            for name, column in rolling(values, window, tuple(wanted), starts, ticks).items():
                out[wanted[name]] = _moved(column, offset, steps >= offset + window - 1)
        else:
            for one, (start, end) in enumerate(pairwise(starts.tolist())):
                _expand(values[start:end], offset, fresh, _named(rows), out[:, start:end], carry[number, one])


def copy_tables(tables: Floats, offsets: Integers, starts: Integers, rows: Integers, out: Floats) -> None:
    """Copy each table [fields, ticks] into its row of `out` [columns, rows], from each series' offset on."""
    if compiled(int(starts[-1])):
        from features.rolling import run_lengths

        run_lengths.spread(tables, offsets, starts, rows, out)
        return
    place = np.repeat(offsets - starts[:-1], np.diff(starts)) + np.arange(starts[-1])
    for table, row in zip(tables, rows, strict=True):
        out[row] = table[place]


def read_only(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same memory, not to be written, as Arrow's is: one type, so the kernel is compiled once."""
    view = values.view()
    view.flags.writeable = False
    return view


def warm_up() -> None:
    """Load the compiled pass, or compile it where the disk does not hold it yet: a second, or ten.

    For an image's build or a worker's start; nothing needs it for the values to be right.
    """
    from features.rolling import numba_kernel, run_lengths

    out = np.empty((4, 4))
    starts, ticks = np.array([0, 4]), np.zeros(1, np.int64)
    ops = operations([(TrailingWindow(offset=1, window=2), range(4))])
    numba_kernel.run(read_only(np.arange(4.0)), starts, ticks, 0, ops, out, initial_carry(ops, 1))
    run_lengths.spread(np.zeros((1, 4)), ticks, starts, ticks, out)
    run_lengths.run_ends(read_only(np.array([0, 1], np.int32)), read_only(np.zeros(1, np.uint8)))


def _named(rows: Sequence[int]) -> dict[Statistic, int]:
    return {name: row for name, row in zip(_STATISTICS, rows, strict=True) if row >= 0}


def _moved(values: Floats, rows: int, kept: npt.NDArray[np.bool_]) -> Floats:
    """Values `rows` later, NaN where not `kept`. Shape as `values`."""
    out = np.full(len(values), np.nan)
    if rows < len(values):
        np.copyto(out[rows:], values[: len(values) - rows], where=kept[rows:])
    return out


def _expand(
    values: Floats, offset: int, fresh: int, rows: Mapping[Statistic, int], out: Floats, carry: Floats
) -> None:
    first = max(offset, fresh)
    found = expanding(values[first - offset : max(len(values) - offset, 0)], carry)
    for name, row in rows.items():
        out[row, :first] = np.nan
        out[row, first:] = found[name]
