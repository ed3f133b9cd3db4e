"""Days and longer steps follow the wall clock; integers and anchors are read right, or asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from quantis.frequency import Frequency
from quantis.panel import Panel
from quantis.types.datasets import CheckReport, DatasetSpec
from quantis.validation.integer_times import read_integers
from quantis.validation.panel_check import check_panel

ZONES = [
    "Europe/Berlin",
    "Asia/Tokyo",
    "America/Phoenix",
    "America/New_York",
    "Asia/Kolkata",
    "Pacific/Auckland",
]


def check(ds: Any, zone: str = "UTC", freq: str | None = None) -> tuple[CheckReport, Panel | None]:
    rows = len(ds)
    table = pa.table({"unique_id": ["s"] * rows, "ds": ds, "y": np.arange(rows, dtype=float)})
    return check_panel(table, DatasetSpec(name="a", time_zone=zone, freq=freq), file="a.csv")


def stored(panel: Panel | None) -> list[datetime]:
    assert panel is not None
    times: list[datetime] = panel.target["ds"].to_pylist()
    return times


def local_days(zone: str, first: datetime, days: int, step: int = 1) -> list[datetime]:
    return [(first + timedelta(days=step * day)).replace(tzinfo=ZoneInfo(zone)) for day in range(days)]


@settings(max_examples=40, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    start=st.integers(0, 364),
    hour=st.sampled_from([0, 5, 6, 12, 23]),
    step=st.sampled_from([1, 7]),
    form=st.sampled_from(["offset", "utc", "column", "naive"]),
)
def test_when_values_come_once_a_day_at_a_local_hour_then_each_keeps_the_day_of_its_clock(
    zone: str, start: int, hour: int, step: int, form: str
) -> None:
    """Midnights as they were written are dates: noon of Auckland in UTC cannot be told from them."""
    first = datetime(2024, 1, 1, hour) + timedelta(days=start)
    local = local_days(zone, first, 90, step)
    assume(form != "utc" or hour == 0 or any(time.astimezone(UTC).hour for time in local))
    ds: Any = [time.isoformat() for time in local]
    if form == "utc":
        ds = [time.astimezone(UTC).isoformat() for time in local]
    elif form == "column":
        ds = pa.array([time.astimezone(UTC) for time in local], pa.timestamp("us", zone))
    elif form == "naive":
        ds = [time.replace(tzinfo=None).isoformat() for time in local]
    report, panel = check(ds, zone)
    assert report.outcome != "reject", report.findings
    assert report.freq is not None
    assert Frequency.parse(report.freq).unit == {1: "D", 7: "W"}[step]
    assert [time.replace(tzinfo=None) for time in stored(panel)] == [
        time.replace(tzinfo=None) for time in local
    ]


def test_when_months_begin_at_a_local_hour_then_their_steps_are_months() -> None:
    local = [datetime(2023 + m // 12, m % 12 + 1, 1, 6, tzinfo=ZoneInfo("Europe/Berlin")) for m in range(24)]
    report, _ = check([time.isoformat() for time in local])
    assert (report.outcome, report.freq) == ("accept_with_warning", "MS")


def test_when_hours_are_declared_then_a_local_midnight_stays_a_point_in_time() -> None:
    report, panel = check(["2024-01-01T00:00:00+01:00"], freq="h")
    assert stored(panel) == [datetime(2023, 12, 31, 23, tzinfo=UTC)]
    assert "D034" not in {finding.code for finding in report.findings}


def test_when_hours_carry_several_offsets_then_a_finding_says_that_they_are_converted() -> None:
    local = [datetime(2024, 3, 31, tzinfo=UTC) + timedelta(hours=hour) for hour in range(30)]
    report, panel = check([time.astimezone(ZoneInfo("Europe/Berlin")).isoformat() for time in local])
    assert stored(panel) == local
    assert [finding.severity for finding in report.findings if finding.code == "D038"] == ["info"]


@settings(max_examples=100, deadline=None)
@given(
    first=st.datetimes(datetime(1974, 1, 1), datetime(2100, 1, 1)),
    unit=st.sampled_from(
        [("seconds", 1), ("milliseconds", 10**3), ("microseconds", 10**6), ("nanoseconds", 10**9)]
    ),
    text=st.booleans(),
)
def test_when_integers_count_since_1970_then_they_are_read_in_their_unit(
    first: datetime, unit: tuple[str, int], text: bool
) -> None:
    first = first.replace(microsecond=0, tzinfo=UTC)
    name, factor = unit
    times = [first + timedelta(days=day) for day in range(40)]
    counts = [int(time.timestamp()) * factor for time in times]
    report, panel = check([str(count) for count in counts] if text else counts)
    assert report.freq == "D"
    assert any(f"{name} since 1970" in finding.message for finding in report.findings)
    assert stored(panel) == times


@pytest.mark.parametrize(
    ("layout", "step", "freq"),
    [
        ("%Y%m", 31, "MS"),
        ("%Y%m%d", 1, "D"),
        ("%Y%m%d%H", 1, "D"),
        ("%Y%m%d%H%M", 1, "D"),
        ("%Y%m%d%H%M%S", 1, "D"),
    ],
)
def test_when_integers_are_dates_without_marks_then_they_are_read_as_dates(
    layout: str, step: int, freq: str
) -> None:
    times = [datetime(2021, 1, 1) + timedelta(days=step * day) for day in range(24)]
    if step == 31:
        times = [datetime(2021 + month // 12, month % 12 + 1, 1) for month in range(24)]
    report, panel = check([int(time.strftime(layout)) for time in times])
    assert report.freq == freq
    assert [time.replace(tzinfo=None) for time in stored(panel)] == times


@pytest.mark.parametrize(
    "integers",
    [
        [year * 100 + week for year in (2022, 2023) for week in range(1, 53)],
        [year * 10 + quarter for year in range(2015, 2024) for quarter in range(1, 5)],
        [year * 1000 + day for year in (2022, 2023) for day in range(1, 366)],
        [20240101 + day for day in range(40)],
        [1_700_000_000 + hour * 3600 for hour in range(20)]
        + [(1_700_080_000 + h * 3600) * 1000 for h in range(20)],
    ],
    ids=["weeks", "quarters", "days of the year", "dates that are not all valid", "two units"],
)
def test_when_integers_may_be_packed_times_then_it_asks_instead_of_counting(integers: list[int]) -> None:
    report, panel = check(integers)
    assert panel is None
    assert {finding.code for finding in report.findings} <= {"D020", "D033", "D037"}


def test_when_integers_are_small_then_they_are_counts_exactly() -> None:
    read = read_integers(np.array([0, 1, 2, 7], np.int64))
    assert read.counted
    assert read.epoch_us.tolist() == [0, 1_000_000, 2_000_000, 7_000_000]


@pytest.mark.parametrize(
    "alias", ["W-MON", "W-FRI", "2W-TUE", "QS-FEB", "QE-NOV", "YS-APR", "YE-JUN", "W", "QE", "YS"]
)
def test_when_a_frequency_has_an_anchor_then_it_is_kept_and_answered(alias: str) -> None:
    import pandas as pd

    assert Frequency.parse(alias).alias == alias
    days = pd.date_range("2000-01-01", periods=24, freq=alias, tz="UTC")
    ds = pa.array(days.to_pydatetime().tolist(), pa.timestamp("us", "UTC"))
    for declared in (None, alias):
        report, _ = check(ds, freq=declared)
        expected = "W-SUN" if alias == "W" else alias
        assert report.outcome != "reject"
        assert report.freq == expected


@pytest.mark.parametrize(
    ("declared", "alias"),
    [("W-SUN", "W-MON"), ("W-FRI", "W-SAT"), ("QE-DEC", "QE-NOV"), ("YS-JAN", "YS-APR")],
)
def test_when_the_data_have_another_anchor_then_it_is_rejected_with_the_fitting_one(
    declared: str, alias: str
) -> None:
    import pandas as pd

    days = pd.date_range("2000-01-01", periods=24, freq=alias, tz="UTC")
    report, _ = check(pa.array(days.to_pydatetime().tolist(), pa.timestamp("us", "UTC")), freq=declared)
    assert report.outcome == "reject"
    assert f"the times are those of {alias}" in report.findings[0].message


@pytest.mark.parametrize("alias", ["W-XYZ", "W-JAN", "QS-MON", "D-MON", "MS-JAN"])
def test_when_an_anchor_is_unknown_then_it_is_refused(alias: str) -> None:
    with pytest.raises(ValueError, match="freq"):
        DatasetSpec(name="a", freq=alias)
