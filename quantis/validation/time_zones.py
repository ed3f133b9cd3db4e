"""Local times: converted to UTC, or kept as the clock showed them where a series has one value a day or fewer.

Days, weeks and months are regular on the wall clock, not in elapsed time. One rule holds for files, appends and
requests: such a series is kept with the times that the clock showed, as if that clock were UTC.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantis.types.arrays import Integers, Mask, Times

_DAY_US = 86_400_000_000
_SHORTEST_DAY = np.timedelta64(23, "h")  # the day when clocks are put forward


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


class WallClock(NamedTuple):
    times: Times  # as they are kept, [rows]
    moved: Mask  # rows kept at the time of a local clock rather than at that of UTC


def keep_wall_clock(utc: Times, wall: Times, series: Integers, zone: str) -> WallClock:
    """Keep times of days and longer steps as the clock showed them, series by series.

    A series of midnights is one of dates, whether they were written so or are midnights in the zone. Else it is kept
    at the hour that it shows at all of its times in the zone, or as it was written. A series that shows several
    hours by every clock stays in UTC.

    Parameters
    ----------
    utc
        Points in time, [rows].
    wall
        The same times as they were written, without their offsets, [rows].
    series
        The number of each row's series, [rows].
    zone
        The zone of the dataset.
    """
    zoned = _local_times(utc, zone)
    own_midnight, own_regular = _describe_hours(wall, series)
    zone_midnight, zone_regular = _describe_hours(zoned, series)
    use_zone = ~own_midnight & (zone_midnight | (zone_regular & (zone != "UTC")))
    use_own = own_regular & ~use_zone
    times = np.where(use_zone[series], zoned, np.where(use_own[series], wall, utc))
    return WallClock(times, times != utc)


def has_daily_steps(wall: Times, series: Integers) -> bool:
    """Return True if no series has two times within less than a day, and some series has two."""
    order = np.lexsort((wall, series))
    steps = np.diff(wall[order])[np.diff(series[order]) == 0]
    steps = steps[steps > np.timedelta64(0)]
    return bool(len(steps) and steps.min() >= _SHORTEST_DAY)


def _local_times(utc: Times, zone: str) -> Times:
    if zone == "UTC":
        return utc
    local = pc.local_timestamp(pa.array(utc.astype("datetime64[us]")).cast(pa.timestamp("us", zone)))
    times: Times = local.to_numpy(zero_copy_only=False)
    return times


def _describe_hours(times: Times, series: Integers) -> tuple[Mask, Mask]:
    """Return whether all times of a series are midnights, and whether all have one time of day. Shapes [series]."""
    count = int(series.max(initial=-1)) + 1
    time_of_day = times.astype("datetime64[us]").astype(np.int64) % _DAY_US
    low, high = np.full(count, _DAY_US), np.full(count, -1)
    np.minimum.at(low, series, time_of_day)
    np.maximum.at(high, series, time_of_day)
    return high == 0, low == high
