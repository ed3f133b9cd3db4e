"""Cron expressions in zones whose clocks are changed, and in those with half hours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.automation.cron import CronExpression
from quantis.errors import InvalidInput

SHORT_DAYS = {
    "Europe/Berlin": (2024, 3, 31),
    "America/New_York": (2024, 3, 10),
    "Australia/Adelaide": (2024, 10, 6),
}
LONG_DAYS = {
    "Europe/Berlin": (2024, 10, 27),
    "America/New_York": (2024, 11, 3),
    "Australia/Adelaide": (2024, 4, 7),
}


def runs_of_day(cron, zone, day):
    """The runs of a local day, in the zone's time."""
    midnight = datetime.fromisoformat("{}-{:02}-{:02}".format(*day))
    start, end = (
        (midnight + timedelta(days=days)).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) for days in (0, 1)
    )
    expression = CronExpression(cron, zone)
    times = expression.between(start - timedelta(seconds=1), end - timedelta(seconds=1))
    return [time.astimezone(ZoneInfo(zone)) for time in times]


@pytest.mark.parametrize(("days", "hours"), [(SHORT_DAYS, 23), (LONG_DAYS, 25)])
def test_when_a_day_has_23_or_25_hours_then_an_hourly_schedule_has_as_many_runs(days, hours):
    for zone, day in days.items():
        times = runs_of_day("15 * * * *", zone, day)
        assert len(times) == hours, zone
        gaps = {later.astimezone(UTC) - time.astimezone(UTC) for time, later in pairwise(times)}
        assert gaps == {timedelta(hours=1)}


@pytest.mark.parametrize("hour", range(24))
def test_when_clocks_are_changed_then_a_daily_schedule_runs_once_on_that_day(hour):
    for days in (SHORT_DAYS, LONG_DAYS):
        for zone, day in days.items():
            assert len(runs_of_day(f"30 {hour} * * *", zone, day)) == 1, (zone, day)


def test_when_the_clock_skips_a_daily_time_then_it_runs_at_the_end_of_the_gap():
    (berlin,) = runs_of_day("30 2 * * *", "Europe/Berlin", SHORT_DAYS["Europe/Berlin"])
    (new_york,) = runs_of_day("30 2 * * *", "America/New_York", SHORT_DAYS["America/New_York"])
    assert (berlin.hour, berlin.minute) == (new_york.hour, new_york.minute) == (3, 0)


def test_when_the_clock_shows_a_daily_time_twice_then_it_runs_the_first_time():
    (time,) = runs_of_day("30 2 * * *", "Europe/Berlin", LONG_DAYS["Europe/Berlin"])
    assert time.astimezone(UTC) == datetime(2024, 10, 27, 0, 30, tzinfo=UTC)


def test_when_a_gap_is_half_an_hour_then_each_time_that_the_clock_shows_is_a_run():
    zone = "Australia/Lord_Howe"  # 02:00 becomes 01:30 on 2024-04-07, and 02:30 on 2024-10-06
    long = runs_of_day("*/15 * * * *", zone, (2024, 4, 7))
    short = runs_of_day("*/15 * * * *", zone, (2024, 10, 6))
    assert (len(long), len(short)) == (4 * 24 + 2, 4 * 24 - 2)
    assert [(t.hour, t.minute) for t in runs_of_day("*/15 3 * * *", zone, (2024, 4, 7))] == [
        (3, 0), (3, 15), (3, 30), (3, 45),
    ]  # fmt: skip
    assert [(t.hour, t.minute) for t in runs_of_day("10 2 * * *", zone, (2024, 10, 6))] == [(2, 30)]


def test_when_a_zone_has_a_half_hour_then_runs_are_at_its_own_hours():
    times = runs_of_day("0 9 * * *", "Asia/Kolkata", (2024, 5, 1))
    assert [time.astimezone(UTC) for time in times] == [datetime(2024, 5, 1, 3, 30, tzinfo=UTC)]


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]),
    st.sampled_from(["*/20 * * * *", "5 * * * *", "0 */6 * * *", "*/30 1-3 * * SUN", "* 2 * * *"]),
    st.datetimes(datetime(2024, 3, 1), datetime(2024, 11, 30)),
)
def test_when_minutes_are_walked_one_by_one_then_the_runs_are_those_that_the_clock_shows(zone, cron, start):
    """The oracle: every minute of two days, on the clock of the zone."""
    begin = start.replace(second=0, microsecond=0, tzinfo=UTC)
    naive = CronExpression(cron)
    shown = []
    for minute in range(1, 2 * 24 * 60 + 1):
        time = begin + timedelta(minutes=minute)
        wall = time.astimezone(ZoneInfo(zone)).replace(tzinfo=UTC)
        if naive.next_after(wall - timedelta(seconds=1)) == wall:
            shown.append(time)
    assert list(CronExpression(cron, zone).between(begin, begin + timedelta(days=2))) == shown


def test_when_only_the_latest_are_asked_for_then_they_are_the_last_of_all():
    expression = CronExpression("* * * * *")
    start, end = datetime(2020, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)
    latest = expression.latest(start, end, 3)
    assert latest == [end - timedelta(minutes=minutes) for minutes in (2, 1, 0)]
    yearly = CronExpression("0 0 29 2 *").latest(start - timedelta(days=1), end, 5)
    assert [time.date().isoformat() for time in yearly] == ["2020-02-29"]


@pytest.mark.parametrize(
    ("cron", "reason"),
    [
        ("* * * *", "five fields"),
        ("*/5 * * * * *", "five fields"),
        ("61 * * * *", "bad minute"),
        ("0 0 30 2 *", "bad day-of-month"),
        ("0 0 * * FUNDAY", "bad day-of-week"),
        ("@daily", "five fields"),
    ],
)
def test_when_an_expression_is_none_then_the_error_names_it_and_the_rule(cron, reason):
    with pytest.raises(InvalidInput, match=reason) as raised:
        CronExpression(cron)
    assert cron in raised.value.message
