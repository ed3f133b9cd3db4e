"""Checks of times against now: values that are dated later than they can be known."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from quantis.frequency import to_datetime64
from quantis.panel import DS, ID, times_of
from quantis.types.arrays import Integers, Mask, Times
from quantis.validation.findings import Findings

_DAY_US = 86_400_000_000
_EARLIEST_ZONE = timedelta(hours=14)  # where a day begins before it does in UTC


def check_not_future(ds: Times, names: pa.Array, row: Integers, now: datetime, findings: Findings) -> None:
    """Report observed values dated later than now.

    Parameters
    ----------
    ds
        Times of observed values, [values].
    names
        The series of each value, [values].
    row
        The row of each value in the file or request, from 0, [values].
    now
        The time of the check.
    findings
        Takes the findings, code D045.
    """
    is_late = find_future(ds, now)
    late = np.flatnonzero(is_late)
    by_row = {int(row[index]): int(index) for index in late}
    findings.add_rows(
        "D045",
        sorted(by_row),
        lambda number: (
            f"{names[by_row[number]]} has a value at {ds[by_row[number]].astype('datetime64[s]')}Z"
        ),
        column=DS,
        series=lambda number: str(names[by_row[number]]),
    )


def find_future(ds: Times, now: datetime) -> Mask:
    """Return the times later than now. Dates count as their day's begin in the zone where it begins first."""
    dates_only = not (ds.astype(np.int64) % _DAY_US).any()
    is_late: Mask = ds > to_datetime64(now + _EARLIEST_ZONE if dates_only else now)
    return is_late


def check_appended(target: pa.Table, now: datetime) -> Findings:
    """Return the findings of appended observations that are dated later than now."""
    findings = Findings()
    ids = target[ID].combine_chunks()
    check_not_future(times_of(target[DS]), ids, np.arange(target.num_rows), now, findings)
    return findings
