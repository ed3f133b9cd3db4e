"""Frequencies: grids, steps and seasons, under Nixtla's (pandas') aliases.

Times are numpy `datetime64[us]` in UTC. Steps of months keep to the UTC calendar. Integer steps
(alias `1`, `24` ...) count seconds from 1970, which is how a `ds` of plain counts is kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from quantis.errors import InvalidInput
from quantis.types.arrays import Times

MICROSECONDS = {
    "s": 1_000_000,
    "min": 60_000_000,
    "h": 3_600_000_000,
    "D": 86_400_000_000,
    "W": 604_800_000_000,
}
MONTHS = {"MS": 1, "QS": 3, "YS": 12, "ME": 1, "QE": 3, "YE": 12}
_ENDS = frozenset({"ME", "QE", "YE"})
BUSINESS, INTEGER = "B", "i"
_DAY = np.timedelta64(1, "D")
_INTRADAY = frozenset({"s", "min", "h", INTEGER})
_WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_QUARTERLY, _YEARLY = ("QS", "QE"), ("YS", "YE")
_PLAIN_MONTHS = {"QS": 1, "QE": 3, "YS": 1, "YE": 12}
"""Months of the first step of a plain alias, from 1, as pandas has it."""
ANCHORS = f"-({'|'.join(_WEEKDAYS)})", f"-({'|'.join(_MONTH_NAMES)})"
"""Patterns of the anchors of weeks, and of quarters and years."""
_FRACTIONS = (
    "; the shortest step is a second: aggregate to seconds or more, or give ds as counts (0, 1, 2 ...)"
)
_SHORTEST_MONTH, _DAYS_AROUND = 28, 367
"""The last day that every month has, and the days within which each calendar has a step."""
_MAX_SEASON = 10_080
"""Steps of the longest season that is counted: a week of minutes."""
_SEASONS = {
    "D": (7,),
    "W": (52,),
    "MS": (12,),
    "QS": (4,),
    "YS": (1,),
    "ME": (12,),
    "QE": (4,),
    "YE": (1,),
    "B": (5,),
    "i": (1,),
}


@dataclass(frozen=True)
class Frequency:
    """A number of units: 1 h, 15 min, 3 MS; unit `i` for integer steps. An anchor is a weekday or month."""

    count: int
    unit: str
    anchor: str | None = None

    @classmethod
    def parse(cls, alias: str) -> Frequency:
        """Read `h`, `15min`, `MS`, `W-SUN`, `1`; InvalidInput for anything else."""
        if re.fullmatch(r"[1-9]\d{0,8}", alias):
            return cls(int(alias), INTEGER)
        week, month = ANCHORS
        match = re.fullmatch(
            rf"(\d{{0,4}})(?:(s|min|h|D|B|MS|ME)|(W)(?:{week})?|(QS|QE|YS|YE)(?:{month})?)", alias
        )
        if not match or match[1] == "0":
            aliases = ", ".join([*MICROSECONDS, BUSINESS, *MONTHS])
            raise InvalidInput(
                f"frequency {alias!r} is not one of {aliases}, with an optional count such as 15min,"
                " a weekday behind W such as W-MON, a month behind QS, QE, YS or YE such as QE-NOV,"
                " or an integer for counted steps"
                + (_FRACTIONS if re.fullmatch(r"\d*(ms|us|ns)", alias) else "")
            )
        return cls(int(match[1] or 1), match[2] or match[3] or match[5], match[4] or match[6])

    @property
    def alias(self) -> str:
        if self.unit == INTEGER:
            return str(self.count)
        anchor = f"-{self.anchor}" if self.anchor else ""
        return f"{self.unit if self.count == 1 else f'{self.count}{self.unit}'}{anchor}"

    @property
    def is_intraday(self) -> bool:
        """True for steps of hours and shorter, and for counts; longer ones follow the wall clock."""
        return self.unit in _INTRADAY

    @property
    def unanchored(self) -> Frequency:
        return Frequency(self.count, self.unit)

    def is_anchored(self, times: Times) -> npt.NDArray[np.bool_]:
        """Return True for each time on the weekday or in a month of the anchor, if there is one. Shape as `times`."""
        if self.anchor is None:
            return np.ones(times.shape, dtype=bool)
        if self.unit == "W":
            is_weekday: npt.NDArray[np.bool_] = _weekdays(times) == _WEEKDAYS.index(self.anchor)
            return is_weekday
        cycle = 3 if self.unit in _QUARTERLY else 12
        is_month: npt.NDArray[np.bool_] = (
            _month_numbers(times) - _MONTH_NAMES.index(self.anchor)
        ) % cycle == 0
        return is_month

    def is_on_calendar(self, times: Times) -> npt.NDArray[np.bool_]:
        """Return True for each time that may be a step: a month's end, a business day, a day of the anchor.

        Steps that begin months may be on any day that every month has. Shape as `times`.
        """
        days = times.astype("datetime64[D]")
        if self.unit == BUSINESS:
            return np.asarray(np.is_busday(days), dtype=bool)
        on_calendar = self.is_anchored(times)
        if self.unit in _ENDS:
            on_calendar &= (days + _DAY).astype("datetime64[M]") > times.astype("datetime64[M]")
        elif self.unit in MONTHS:
            on_calendar &= _days_of_month(days) <= _SHORTEST_MONTH
        return on_calendar

    def calendar_neighbours(self, time: np.datetime64) -> tuple[np.datetime64, np.datetime64]:
        """Return the nearest times of the calendar before and after one; months begin on their first day."""
        times = time + np.arange(-_DAYS_AROUND, _DAYS_AROUND + 1) * _DAY
        fits = self.is_on_calendar(times)
        if self.unit in MONTHS and self.unit not in _ENDS:
            fits &= _days_of_month(times.astype("datetime64[D]")) == 1
        earlier, later = (
            times[:_DAYS_AROUND][fits[:_DAYS_AROUND]],
            times[_DAYS_AROUND + 1 :][fits[_DAYS_AROUND + 1 :]],
        )
        return earlier[-1], later[0]

    def anchored(self, times: Times) -> Frequency:
        """Return the frequency with the weekday or month of all times; as it is, where they differ or are pandas'."""
        if self.anchor is not None or len(times) == 0 or self.unit not in ("W", *_QUARTERLY, *_YEARLY):
            return self
        if self.unit == "W":
            days = np.unique(_weekdays(times))
            return Frequency(self.count, "W", _WEEKDAYS[int(days[0])]) if len(days) == 1 else self
        cycle = 3 if self.unit in _QUARTERLY else 12
        months = np.unique(_month_numbers(times) % cycle)
        default_month = (_PLAIN_MONTHS[self.unit] - 1) % cycle
        if len(months) > 1 or int(months[0]) == default_month:
            return self
        # The last months of a year end quarters, its first ones begin them.
        month = int(months[0]) + (9 if self.unit == "QE" else 0)
        return Frequency(self.count, self.unit, _MONTH_NAMES[month])

    @property
    def _step_us(self) -> int | None:
        """Microseconds of a step; None where steps differ in length."""
        size = MICROSECONDS.get("s" if self.unit == INTEGER else self.unit)
        return None if size is None else size * self.count

    @property
    def season_lengths(self) -> tuple[int, ...]:
        """Usual seasons in steps, shortest first; (1,) when there is none.

        Steps shorter than a day have the day and the week, however their length is written; a minute alone
        where a day of steps is longer than `_MAX_SEASON`.
        """
        if self.unit in ("s", "min", "h"):
            return _clock_seasons(MICROSECONDS[self.unit] * self.count) or (1,)
        seasons = tuple(
            s // self.count for s in _SEASONS[self.unit] if s % self.count == 0 and s >= 2 * self.count
        )
        return seasons or (1,)

    def shift(self, times: Times, steps: int | npt.NDArray[np.int64]) -> Times:
        """Move times by whole steps."""
        if self._step_us is not None:
            return times + np.asarray(steps) * np.timedelta64(self._step_us, "us")
        if self.unit == BUSINESS:
            return _shift_business_days(times, np.asarray(steps) * self.count)
        months = times.astype("datetime64[M]")
        moved = months + np.asarray(steps) * np.timedelta64(MONTHS[self.unit] * self.count, "M")
        if self.unit in _ENDS:
            last = (moved + np.timedelta64(1, "M")).astype("datetime64[D]") - _DAY
            ends: Times = last.astype("datetime64[us]") + (times - times.astype("datetime64[D]"))
            return ends
        shifted: Times = moved.astype("datetime64[us]") + (times - months.astype("datetime64[us]"))
        return shifted

    def range(self, start: np.datetime64, steps: int) -> Times:
        """Return `steps` consecutive times, `start` the first of them. Shape [steps]."""
        return self.shift(np.full(steps, start, "datetime64[us]"), np.arange(steps))

    def after(self, last: np.datetime64, steps: int) -> Times:
        """Return the `steps` times that follow `last`. Shape [steps]."""
        return self.range(last, steps + 1)[1:]

    def steps_between(self, first: np.datetime64 | Times, times: Times) -> npt.NDArray[np.int64]:
        """Return the steps from `first` to each time; -1 marks a time off the grid. Shape as `times`."""
        if self._step_us is not None:
            elapsed_us = (times - first).astype("timedelta64[us]").astype(np.int64)
            return np.where(elapsed_us % self._step_us == 0, elapsed_us // self._step_us, -1)
        units, units_per_step = self._units_between(first, times)
        steps = units // units_per_step
        on_grid = (units % units_per_step == 0) & (
            self.shift(np.broadcast_to(first, times.shape), steps) == times
        )
        return np.where(on_grid, steps, -1)

    def _units_between(self, first: np.datetime64 | Times, times: Times) -> tuple[npt.NDArray[np.int64], int]:
        """Return business days or months between `first` and each time, and their number per step."""
        if self.unit == BUSINESS:
            days = np.busday_count(first.astype("datetime64[D]"), times.astype("datetime64[D]"))
            return np.asarray(days, dtype=np.int64), self.count
        months = (times.astype("datetime64[M]") - first.astype("datetime64[M]")).astype(np.int64)
        return months, MONTHS[self.unit] * self.count

    def is_on_grid(self, first: np.datetime64 | Times, times: Times) -> npt.NDArray[np.bool_]:
        """Return True for each time a whole number of steps before or after `first`. Shape as `times`."""
        if self._step_us is not None:
            elapsed_us = (times - first).astype("timedelta64[us]").astype(np.int64)
            return np.asarray(elapsed_us % self._step_us == 0)
        units, units_per_step = self._units_between(first, times)
        shifted = self.shift(np.broadcast_to(first, times.shape), units // units_per_step)
        return np.asarray((units % units_per_step == 0) & (shifted == times))

    def grid(self, first: np.datetime64, last: np.datetime64) -> Times:
        """Return the times from `first` to `last`, both included when on the grid."""
        return self.range(first, int(self.grid_lengths(np.array([first]), np.array([last]))[0]))

    def grid_lengths(self, first: Times, last: Times) -> npt.NDArray[np.int64]:
        """Return the number of times of each grid from `first` to `last`, which is not made. Shape as `first`."""
        if self._step_us is not None:
            elapsed_us = (last - first).astype("timedelta64[us]").astype(np.int64)
            lengths = elapsed_us // self._step_us + 1
        else:
            units, units_per_step = self._units_between(first, last)
            steps = units // units_per_step
            lengths = steps + (self.shift(first, steps) <= last)
        return np.maximum(lengths, 0)

    def floor(self, time: np.datetime64, end: np.datetime64) -> np.datetime64:
        """Return the latest time not after `time` on the grid that ends at `end`."""
        # Doubling strides, then halving ones: few shifts even where `time` lies far before `end`.
        back = 0
        stride = 1
        while self._back(end, back + stride) > time:
            stride *= 2
        while stride:
            if self._back(end, back + stride) > time:
                back += stride
            stride //= 2
        return end if end <= time else self._back(end, back + 1)

    def _back(self, end: np.datetime64, steps: int) -> np.datetime64:
        moved: np.datetime64 = self.shift(np.array([end]), np.array([-steps]))[0]
        return moved


def _days_of_month(days: Times) -> npt.NDArray[np.int64]:
    """Return the days of the month from 1. Shape as `days`, which are of unit D."""
    numbers: npt.NDArray[np.int64] = (days - days.astype("datetime64[M]").astype("datetime64[D]")).astype(
        np.int64
    ) + 1
    return numbers


def _weekdays(times: Times) -> npt.NDArray[np.int64]:
    """Return the days of the week, Monday 0. Shape as `times`."""
    days: npt.NDArray[np.int64] = (times.astype("datetime64[D]").astype(np.int64) + 3) % 7
    return days  # 1970-01-01 was a Thursday


def _month_numbers(times: Times) -> npt.NDArray[np.int64]:
    """Return the months of the year from 0. Shape as `times`."""
    months: npt.NDArray[np.int64] = times.astype("datetime64[M]").astype(np.int64) % 12
    return months


def _clock_seasons(step_us: int) -> tuple[int, ...]:
    """Return the seasons, in steps of so many microseconds, that fit a clock: the day and the week, or the minute."""
    lengths = [MICROSECONDS[unit] for unit in ("D", "W")]
    seasons = [us // step_us for us in lengths if us % step_us == 0 and us >= 2 * step_us]
    counted = tuple(season for season in seasons if season <= _MAX_SEASON)
    if counted or not seasons:
        return counted
    minute = MICROSECONDS["min"]
    return (minute // step_us,) if minute % step_us == 0 and minute >= 2 * step_us else ()


def to_datetime64(time: datetime) -> np.datetime64:
    """Return an aware datetime as panels hold times: `datetime64[us]` in UTC, without a zone."""
    return np.datetime64(time.astimezone(UTC).replace(tzinfo=None), "us")


def to_datetime(time: np.datetime64) -> datetime:
    """Return the aware datetime, in UTC, of a panel's time."""
    naive: datetime = time.astype("datetime64[us]").item()
    return naive.replace(tzinfo=UTC)


def to_datetimes(times: Times) -> list[datetime]:
    """Return the aware datetimes, in UTC, of an array of times. Shape [times]."""
    return [naive.replace(tzinfo=UTC) for naive in times.astype("datetime64[us]").tolist()]


def _shift_business_days(times: Times, days: npt.NDArray[np.int64]) -> Times:
    date = times.astype("datetime64[D]")
    moved: Times = np.busday_offset(date, days, roll="forward").astype("datetime64[us]") + (times - date)
    return moved
