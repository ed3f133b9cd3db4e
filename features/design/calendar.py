"""Calendar features: what a wall clock in the panel's time zone shows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from quantis.errors import InvalidInput
from quantis.panel import Task
from quantis.types.arrays import Floats, Times

CalendarField = Literal["minute", "hour", "weekday", "day", "month", "day_of_year", "is_holiday"]

_DAY = np.timedelta64(1, "D")
_OF_A_DAY = frozenset({"s", "min", "h"})


def calendar_features(times: Times, fields: Sequence[CalendarField], task: Task) -> dict[str, Floats]:
    """One column per field, in the task's zone; weekday 0 is Monday. Shape as `times`, each.

    Stamps of days and longer steps are dates, not moments: no zone moves them.
    """
    distinct, place = np.unique(times, return_inverse=True)
    of_a_day = task.frequency.unit in _OF_A_DAY
    wall = local_times(distinct, task.time_zone) if of_a_day else distinct
    return {field: _field(wall, field, task)[place] for field in fields}


def country_holidays(times: Times, country: str, task: Task) -> Floats:
    """1 where the day is a public holiday of the country (ISO code) by the task's clock. Shape as `times`, sorted."""
    wall = local_times(times, task.time_zone) if task.frequency.unit in _OF_A_DAY else times
    return _is_holiday(wall.astype("datetime64[D]"), country).astype(np.float64)


def clock_days_before(times: Times, days: int, task: Task) -> Times:
    """The moments when the task's clock showed the same time `days` days before. Shape as `times`.

    A time that the clock skipped is taken as if it had not moved, so an hour later; of one that it
    showed twice, the first.
    """
    if task.frequency.unit not in _OF_A_DAY:
        return times - days * _DAY
    wall = local_times(times, task.time_zone) - days * _DAY
    return _moments_of(wall, task.time_zone)


def fourier(ticks: npt.NDArray[np.int64], period: float, order: int) -> list[Floats]:
    """Sine and cosine of each of `order` waves of a season of `period` steps. Shape as `ticks`, each."""
    turns = np.fmod(ticks.astype(np.float64), period) / period
    return [wave(2.0 * np.pi * k * turns) for k in range(1, order + 1) for wave in (np.sin, np.cos)]


def _moments_of(wall: Times, time_zone: str) -> Times:
    """The UTC moments of wall times; the inverse of `local_times`. Shape as `wall`."""
    zone = _zone(time_zone)
    days, place = np.unique(wall.astype("datetime64[D]"), return_inverse=True)
    before, after = _offsets(days - _DAY, zone), _offsets(days + 2 * _DAY, zone)
    offsets = before[place]
    changing = (before != after)[place]
    shown = [datetime.fromisoformat(str(moment)).replace(tzinfo=zone) for moment in wall[changing]]
    offsets[changing] = np.array([moment.utcoffset() for moment in shown], dtype="timedelta64[us]")
    moments: Times = wall - offsets
    return moments


def local_times(times: Times, time_zone: str) -> Times:
    """Wall times of UTC moments. Shape as `times`."""
    zone = _zone(time_zone)
    days, place = np.unique(times.astype("datetime64[D]"), return_inverse=True)
    at_start, at_end = _offsets(days, zone), _offsets(days + _DAY, zone)
    offsets = at_start[place]
    changing = (at_start != at_end)[place]
    offsets[changing] = _offsets(times[changing], zone)
    wall: Times = times + offsets
    return wall


def _field(wall: Times, field: CalendarField, task: Task) -> Floats:
    days = wall.astype("datetime64[D]")
    months = wall.astype("datetime64[M]")
    if field == "minute":
        value = (wall - wall.astype("datetime64[h]")).astype("timedelta64[m]")
    elif field == "hour":
        value = (wall - days).astype("timedelta64[h]")
    elif field == "weekday":
        value = (days.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    elif field == "day":
        value = (days - months).astype(np.int64) + 1
    elif field == "month":
        value = months.astype(np.int64) % 12 + 1
    elif field == "day_of_year":
        value = (days - wall.astype("datetime64[Y]")).astype(np.int64) + 1
    else:
        value = _is_holiday(days, task.holidays)
    numbers: Floats = value.astype(np.int64).astype(np.float64)
    return numbers


def _is_holiday(days: Times, country: str | None) -> npt.NDArray[np.bool_]:
    if country is None or len(days) == 0:
        return np.zeros(len(days), dtype=bool)
    years = days[[0, -1]].astype("datetime64[Y]").astype(np.int64) + 1970
    return np.isin(days, _holidays(country, int(years[0]), int(years[1])))


@lru_cache(maxsize=64)
def _holidays(country: str, first_year: int, last_year: int) -> Times:
    import holidays

    try:
        dates = holidays.country_holidays(country, years=range(first_year, last_year + 1))
    except NotImplementedError as error:
        raise InvalidInput(
            f"holidays {country!r}: not a known country; give its ISO code, such as US"
        ) from error
    return np.array(sorted(dates), dtype="datetime64[D]")


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise InvalidInput(
            f"time zone {name!r} is unknown; give an IANA name, such as Europe/Paris"
        ) from error


def _offsets(moments: npt.NDArray[Any], zone: ZoneInfo) -> npt.NDArray[np.timedelta64]:
    """The zone's offset from UTC at each moment. Shape as `moments`."""
    seconds = moments.astype("datetime64[s]").astype(np.int64).tolist()
    aware = (datetime.fromtimestamp(second, UTC).astimezone(zone) for second in seconds)
    return np.array([moment.utcoffset() for moment in aware], dtype="timedelta64[us]")
