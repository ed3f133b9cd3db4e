"""What is compiled beside the pass over series: where series begin, and copies of what time decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from quantis.types.arrays import Floats, Integers


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled at the first call and kept on disk; the interpreter's lock is let go while it runs."""
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # no folder for the cache can be written
        return numba.njit(nogil=True, error_model="numpy")(function)


@compiled
def spread(tables: Floats, offsets: Integers, starts: Integers, rows: Integers, out: Floats) -> None:
    """Copy each table [fields, ticks] into its row of `out`, from each series' offset on."""
    for series in range(len(starts) - 1):
        begin, length = starts[series], starts[series + 1] - starts[series]
        for field in range(tables.shape[0]):
            source = tables[field, offsets[series] : offsets[series] + length]
            target = out[rows[field], begin : begin + length]
            for row in range(length):
                target[row] = source[row]


@compiled
def run_ends(offsets: npt.NDArray[np.int32], data: npt.NDArray[np.uint8]) -> Integers:
    """The rows at which another string begins, and the number of rows, in sorted strings. Shape [runs + 1]."""
    rows = len(offsets) - 1
    found = [np.int64(0)]
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
        found.append(row)
    return np.array(found)


@compiled
def _equal(offsets: npt.NDArray[np.int32], data: npt.NDArray[np.uint8], one: int, other: int) -> bool:
    length = offsets[one + 1] - offsets[one]
    if offsets[other + 1] - offsets[other] != length:
        return False
    for byte in range(length):  # noqa: SIM110 - a generator does not compile
        if data[offsets[one] + byte] != data[offsets[other] + byte]:
            return False
    return True
