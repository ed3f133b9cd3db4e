"""Convert local times of a zone to UTC, and mark the skipped and the ambiguous ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantis.types.arrays import Integers, Mask, Times


class LocalizedTimes(NamedTuple):
    times: Times  # UTC; meaningless where `skipped` or `ambiguous`
    skipped: Mask  # the clock never showed this time (it was put forward)
    ambiguous: Mask  # the clock showed this time twice, and the rows do not tell which is meant
    paired: Mask  # shown twice and given twice: taken in the order of the rows


def to_utc(local: Times, series: Integers, zone: str, *, in_order: bool) -> LocalizedTimes:
    """Convert local times to UTC; of two equal ambiguous ones of a series, the first is the earlier one.

    `in_order` allows the order of rows to decide that; it must not where values are corrected.
    """
    # Both readings of each time: they differ where the clock skipped it or showed it twice. [rows]
    column = pa.array(local.astype("datetime64[us]"))
    early = pc.assume_timezone(column, zone, ambiguous="earliest", nonexistent="earliest")
    late = pc.assume_timezone(column, zone, ambiguous="latest", nonexistent="latest")
    first, second = _to_numpy_utc(early), _to_numpy_utc(late)
    is_ambiguous = first != second
    # A skipped time does not come back from UTC as itself.
    is_shown = pc.equal(pc.local_timestamp(early), column).to_numpy(zero_copy_only=False)
    shown_twice = is_ambiguous & is_shown
    is_second, pairs = _second_of_two(local, series, shown_twice)
    paired = pairs if in_order else np.zeros(len(local), dtype=bool)
    return LocalizedTimes(
        np.where(is_second & paired, second, first), is_ambiguous & ~is_shown, shown_twice & ~paired, paired
    )


def _to_numpy_utc(timestamps: pa.Array) -> Times:
    times: Times = (
        timestamps.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us")).to_numpy(zero_copy_only=False)
    )
    return times


def _second_of_two(local: Times, series: Integers, candidates: Mask) -> tuple[Mask, Mask]:
    """Return (is the second of exactly two equal rows, is one of exactly two). Shapes [rows]."""
    is_second, paired = np.zeros(len(local), dtype=bool), np.zeros(len(local), dtype=bool)
    rows = np.flatnonzero(candidates)
    if len(rows) == 0:
        return is_second, paired
    # Equal times of a series stand together, in the order of the rows; groups of exactly two are pairs.
    order = rows[np.lexsort((rows, local[rows].astype(np.int64), series[rows]))]
    new = np.append(True, (np.diff(series[order]) != 0) | (np.diff(local[order]) != np.timedelta64(0)))
    group = np.cumsum(new) - 1
    two = np.bincount(group)[group] == 2
    paired[order[two]] = True
    is_second[order[two & ~new]] = True
    return is_second, paired
