"""Numbers that floats do not hold exactly: integers as ids, and values that are kept as others."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantis.types.arrays import Mask

_EXACT_FLOATS = {"halffloat": (2**11, 3), "float": (2**24, 6), "double": (2**53, 15)}
"""Of each type of floats: the integer up to which every one is held, and the decimal digits that always are."""
MAX_EXACT = 2**53
"""The integer up to which a 64-bit float holds every one."""
_MAX_COMPARED = 10_000  # values beyond MAX_EXACT that are compared with what they were written as
_WHOLE = re.compile(r"[+-]?\d+(?:\.0*)?")


class RoundedIds(NamedTuple):
    """Floats beyond the integers that their type holds exactly; masks have the shape [rows]."""

    lost: Mask  # whose digits are more than the type keeps: an integer was rounded
    large: Mask  # of few digits: written so, or rounded


def find_rounded_ids(column: pa.Array) -> RoundedIds:
    """Find the ids of a column of floats that may be other integers, rounded."""
    no_rows = np.zeros(len(column), dtype=bool)
    if str(column.type) not in _EXACT_FLOATS:
        return RoundedIds(no_rows, no_rows)
    max_exact, digits = _EXACT_FLOATS[str(column.type)]
    values = column.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False)
    is_large = np.isfinite(values) & (np.abs(values) >= max_exact)
    rows = np.flatnonzero(is_large)
    distinct, inverse = np.unique(values[rows], return_inverse=True)
    # A number of at most so many digits is the only one of them that is this float. [distinct]
    is_short = np.array(
        [float(f"{value:.{digits - 1}e}") == value for value in distinct.tolist()], dtype=bool
    )
    lost = no_rows.copy()
    lost[rows] = ~is_short[inverse]
    return RoundedIds(lost, is_large & ~lost)


def find_inexact(column: pa.Array, values: pa.Array) -> int | None:
    """Return the first row whose whole number is another one as a 64-bit float; None where there is none.

    `values` are the floats of `column`, which holds integers, decimals or texts.
    """
    floats = values.fill_null(0.0).to_numpy(zero_copy_only=False)
    if pa.types.is_floating(column.type) or len(floats) == 0 or np.nanmax(np.abs(floats)) < MAX_EXACT:
        return None
    rows = np.flatnonzero(np.isfinite(floats) & (np.abs(floats) >= MAX_EXACT))[:_MAX_COMPARED]
    texts = pc.utf8_trim_whitespace(column.take(pa.array(rows)).cast(pa.string())).to_pylist()
    for row, text in zip(rows.tolist(), texts, strict=True):
        if _WHOLE.fullmatch(text) and int(text.partition(".")[0]) != int(floats[row]):
            return int(row)
    return None
