"""Compiled helpers of the design frame: run lengths of ids, and copies of columns that depend on time only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from quantis.types.arrays import Floats, Integers


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile at the first call and cache on disk; the compiled code runs without the interpreter's lock."""
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # no folder for the cache can be written
        return numba.njit(nogil=True, error_model="numpy")(function)


@compiled
def copy_tables(tables: Floats, offsets: Integers, starts: Integers, rows: Integers, out: Floats) -> None:
    """Copy each table [fields, times] into its row of `out` [columns, rows], from each series' offset on."""
    for series in range(len(starts) - 1):
        begin, length = starts[series], starts[series + 1] - starts[series]
        for field in range(tables.shape[0]):
            source = tables[field, offsets[series] : offsets[series] + length]
            target = out[rows[field], begin : begin + length]
            for row in range(length):
                target[row] = source[row]


@compiled
def run_ends(offsets: npt.NDArray[np.int32], data: npt.NDArray[np.uint8]) -> Integers:
    """Return the first row of each run of equal, sorted strings, and the number of rows. Shape [runs + 1].

    Doubling strides skip the rows of a long run without reading them.
    """
    rows = len(offsets) - 1
    ends = [np.int64(0)]
    row = np.int64(0)
    while row < rows:
        stride = np.int64(1)
        last = row  # known to be equal to `row`
        while last + stride < rows and _equal(offsets, data, row, last + stride):
            last += stride
            stride *= 2
        while stride > 0:
            if last + stride < rows and _equal(offsets, data, row, last + stride):
                last += stride
            stride //= 2
        row = last + 1
        ends.append(row)
    return np.array(ends)


@compiled
def _equal(offsets: npt.NDArray[np.int32], data: npt.NDArray[np.uint8], first: int, second: int) -> bool:
    length = offsets[first + 1] - offsets[first]
    if offsets[second + 1] - offsets[second] != length:
        return False
    for byte in range(length):  # noqa: SIM110 - a generator does not compile
        if data[offsets[first] + byte] != data[offsets[second] + byte]:
            return False
    return True
