"""Calendar features by the local time of the panel's time zone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from quantis.errors import InvalidInput, suggest
from quantis.panel import Task
from quantis.types.arrays import Floats, Integers, Mask, Times

CalendarField = Literal["minute", "hour", "weekday", "day", "month", "day_of_year", "is_holiday"]

_DAY = np.timedelta64(1, "D")
_INTRADAY = frozenset({"s", "min", "h"})


def calendar_features(times: Times, fields: Sequence[CalendarField], task: Task) -> dict[str, Floats]:
    """Return one column per field, in the task's zone; weekday 0 is Monday. Shape as `times`, each.

    The `ds` of days and longer steps are dates, not points in time: no zone moves them.
    """
    # Series share most of their times, so each distinct one is computed once.
    distinct, indices = np.unique(times, return_inverse=True)
    wall = _wall_times(distinct, task)
    return {field: _field(wall, field, task)[indices] for field in fields}


def country_holidays(times: Times, country: str, task: Task) -> Floats:
    """Return 1 where the local day is a public holiday of the country (ISO code). Shape as `times`, sorted."""
    return _is_holiday(_wall_times(times, task).astype("datetime64[D]"), country).astype(np.float64)


def clock_days_before(times: Times, days: int, task: Task) -> Times:
    """Return the times when the task's clock showed the same `days` days before. Shape as `times`.

    A time that the clock skipped is taken as if it had not moved, so an hour later; of one that it
    showed twice, the first.
    """
    if task.frequency.unit not in _INTRADAY:
        return times - days * _DAY
    wall = local_times(times, task.time_zone) - days * _DAY
    return _to_utc(wall, task.time_zone)


def fourier(step_index: Integers, period: float, order: int) -> list[Floats]:
    """Return sine and cosine of each of `order` waves of a season of `period` steps. Shape as `step_index`, each."""
    phase = np.fmod(step_index.astype(np.float64), period) / period
    columns: list[Floats] = []
    for k in range(1, order + 1):
        columns += [np.sin(2.0 * np.pi * k * phase), np.cos(2.0 * np.pi * k * phase)]
    return columns


def _wall_times(times: Times, task: Task) -> Times:
    """Return local times, dates as they are. Shape as `times`."""
    return local_times(times, task.time_zone) if task.frequency.unit in _INTRADAY else times


def _to_utc(wall: Times, time_zone: str) -> Times:
    """Return the UTC times of local ones; the inverse of `local_times`. Shape as `wall`."""
    zone = _zone(time_zone)
    days, day_of = np.unique(wall.astype("datetime64[D]"), return_inverse=True)
    # Only times near a change of the offset are looked up one by one.
    previous, following = _offsets(days - _DAY, zone), _offsets(days + 2 * _DAY, zone)
    offsets = previous[day_of]
    changing = (previous != following)[day_of]
    local = [datetime.fromisoformat(str(time)).replace(tzinfo=zone) for time in wall[changing]]
    offsets[changing] = np.array([time.utcoffset() for time in local], dtype="timedelta64[us]")
    times: Times = wall - offsets
    return times


def local_times(times: Times, time_zone: str) -> Times:
    """Return the local times of UTC ones. Shape as `times`."""
    zone = _zone(time_zone)
    days, day_of = np.unique(times.astype("datetime64[D]"), return_inverse=True)
    # The offset of a day without a change is looked up once for all of its times.
    at_start, at_end = _offsets(days, zone), _offsets(days + _DAY, zone)
    offsets = at_start[day_of]
    changing = (at_start != at_end)[day_of]
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


def _is_holiday(days: Times, country: str | None) -> Mask:
    if country is None or len(days) == 0:
        return np.zeros(len(days), dtype=bool)
    years = days[[0, -1]].astype("datetime64[Y]").astype(np.int64) + 1970
    return np.isin(days, _holidays(country, int(years[0]), int(years[1])))


def require_country(country: str) -> None:
    """Raise InvalidInput for a country whose holidays are not known."""
    import holidays

    codes = holidays.list_supported_countries(include_aliases=True)
    if country not in codes:
        raise InvalidInput(
            f"holidays {country!r}: not a known country; give its ISO code, such as US ({suggest(country, codes)})"
        )


@lru_cache(maxsize=64)
def _holidays(country: str, first_year: int, last_year: int) -> Times:
    import holidays

    require_country(country)
    dates = holidays.country_holidays(country, years=range(first_year, last_year + 1))
    return np.array(sorted(dates), dtype="datetime64[D]")


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise InvalidInput(
            f"time zone {name!r} is unknown; give an IANA name, such as Europe/Paris"
        ) from error


def _offsets(times: npt.NDArray[Any], zone: ZoneInfo) -> npt.NDArray[np.timedelta64]:
    """Return the zone's offset from UTC at each time. Shape as `times`."""
    seconds = times.astype("datetime64[s]").astype(np.int64).tolist()
    aware = (datetime.fromtimestamp(second, UTC).astimezone(zone) for second in seconds)
    return np.array([time.utcoffset() for time in aware], dtype="timedelta64[us]")
