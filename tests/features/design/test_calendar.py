"""The calendar on days when the clock changes, against the standard library."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.design.calendar import calendar_features, local_times
from quantis.errors import InvalidInput
from quantis.panel import Task

HOUR = np.timedelta64(1, "h")
ZONES = ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]


@given(zone=st.sampled_from(ZONES), start=st.integers(0, 366 * 24 * 4), steps=st.integers(1, 80))
def test_when_times_are_local_then_they_agree_with_the_standard_library(
    zone: str, start: int, steps: int
) -> None:
    times = np.datetime64("2013-01-01", "us") + (start + np.arange(steps)) * np.timedelta64(15, "m")
    expected = [
        datetime.fromisoformat(f"{moment}+00:00").astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        for moment in times
    ]
    assert local_times(times, zone).tolist() == expected


@pytest.mark.parametrize(("day", "hours"), [("2013-03-10", 23), ("2013-11-03", 25), ("2013-07-04", 24)])
def test_when_the_clock_changes_then_the_day_has_its_own_hours(task: Task, day: str, hours: int) -> None:
    times = np.datetime64(day, "us") + np.arange(-24, 72) * HOUR
    columns = calendar_features(times, ("hour", "day", "is_holiday"), task)
    of_day = columns["day"] == int(day[-2:])
    shown = columns["hour"][of_day].tolist()
    assert len(shown) == hours
    assert shown.count(1) == {23: 1, 24: 1, 25: 2}[hours]
    assert shown.count(2) == {23: 0, 24: 1, 25: 1}[hours]
    assert set(columns["is_holiday"][of_day]) == {float(day.endswith("07-04"))}


def test_when_steps_are_days_then_stamps_are_dates_that_no_zone_moves(task: Task) -> None:
    daily = task.model_copy(update={"freq": "D"})
    columns = calendar_features(
        np.array(["2024-02-29"], dtype="datetime64[us]"), ("day", "month", "weekday", "day_of_year"), daily
    )
    assert {field: values.tolist() for field, values in columns.items()} == {
        "day": [29.0],
        "month": [2.0],
        "weekday": [3.0],
        "day_of_year": [60.0],
    }


def test_when_zone_or_country_is_unknown_then_the_error_says_what_to_give(task: Task) -> None:
    times = np.array(["2024-02-29"], dtype="datetime64[us]")
    with pytest.raises(InvalidInput, match=r"time zone 'Mars/Base'.*IANA"):
        calendar_features(times, ("hour",), task.model_copy(update={"time_zone": "Mars/Base"}))
    with pytest.raises(InvalidInput, match=r"holidays 'XX'.*ISO"):
        calendar_features(times, ("is_holiday",), task.model_copy(update={"holidays": "XX"}))
