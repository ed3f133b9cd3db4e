"""Freshness: the newest value of a dataset against the lag that was declared for it."""

from __future__ import annotations

from datetime import datetime, timedelta

from quantis.frequency import Frequency, to_datetime, to_datetime64
from quantis.types.operations.drift import Freshness


def measure_freshness(
    newest_ds: datetime | None,
    newest_recorded_at: datetime | None,
    *,
    frequency: Frequency,
    publication_lag: timedelta,
    now: datetime,
) -> Freshness:
    """Return when the value after `newest_ds` is due, and how late it is at `now`; without values nothing is fresh."""
    if newest_ds is None:
        return Freshness(
            newest_ds=None,
            newest_recorded_at=newest_recorded_at,
            expected_at=None,
            late=timedelta(0),
            on_time=False,
        )
    following = frequency.after(to_datetime64(newest_ds), 1)[0]
    expected = to_datetime(following) + publication_lag
    late = timedelta(seconds=max(0, (now - expected) // timedelta(seconds=1)))
    return Freshness(
        newest_ds=newest_ds,
        newest_recorded_at=newest_recorded_at,
        expected_at=expected,
        late=late,
        on_time=not late,
    )
