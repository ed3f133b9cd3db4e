"""Frequencies: grids, steps and seasons, under Nixtla's (pandas') aliases.

Times are numpy `datetime64[us]` in UTC. Steps of months keep to the UTC calendar.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantis.errors import InvalidInput

Times = npt.NDArray[np.datetime64]

_MICROSECONDS = {
    "s": 1_000_000,
    "min": 60_000_000,
    "h": 3_600_000_000,
    "D": 86_400_000_000,
    "W": 604_800_000_000,
}
_MONTHS = {"MS": 1, "QS": 3, "YS": 12}
_SEASONS = {
    "s": (60,),
    "min": (60, 1440),
    "h": (24, 168),
    "D": (7,),
    "W": (52,),
    "MS": (12,),
    "QS": (4,),
    "YS": (1,),
}


@dataclass(frozen=True)
class Frequency:
    """A number of units: 1 h, 15 min, 3 MS."""

    count: int
    unit: str

    @classmethod
    def parse(cls, alias: str) -> Frequency:
        """Read `h`, `15min`, `MS`; InvalidInput for anything else."""
        found = re.fullmatch(r"(\d{0,4})(s|min|h|D|W|MS|QS|YS)", alias)
        if not found or found[1] == "0":
            known = ", ".join([*_MICROSECONDS, *_MONTHS])
            raise InvalidInput(
                f"frequency {alias!r} is not one of {known}, with an optional count such as 15min"
            )
        return cls(int(found[1] or 1), found[2])

    @property
    def alias(self) -> str:
        return self.unit if self.count == 1 else f"{self.count}{self.unit}"

    @property
    def season_lengths(self) -> tuple[int, ...]:
        """Usual seasons in steps, shortest first; (1,) when there is none."""
        seasons = tuple(
            s // self.count for s in _SEASONS[self.unit] if s % self.count == 0 and s >= 2 * self.count
        )
        return seasons or (1,)

    def shift(self, times: Times, steps: int | npt.NDArray[np.int64]) -> Times:
        """Move times by whole steps."""
        if self.unit in _MICROSECONDS:
            return times + np.asarray(steps) * np.timedelta64(_MICROSECONDS[self.unit] * self.count, "us")
        months = times.astype("datetime64[M]")
        moved = months + np.asarray(steps) * np.timedelta64(_MONTHS[self.unit] * self.count, "M")
        shifted: Times = moved.astype("datetime64[us]") + (times - months.astype("datetime64[us]"))
        return shifted

    def after(self, last: np.datetime64, steps: int) -> Times:
        """The `steps` times that follow `last`. Shape [steps]."""
        return self.shift(np.full(steps, last, "datetime64[us]"), np.arange(1, steps + 1))

    def steps_between(self, first: np.datetime64 | Times, times: Times) -> npt.NDArray[np.int64]:
        """How many steps each time lies after `first`; -1 marks a time off the grid. Shape as `times`."""
        if self.unit in _MICROSECONDS:
            ticks = (times - first).astype("timedelta64[us]").astype(np.int64)
            size = _MICROSECONDS[self.unit] * self.count
            return np.where(ticks % size == 0, ticks // size, -1)
        months = (times.astype("datetime64[M]") - first.astype("datetime64[M]")).astype(np.int64)
        size = _MONTHS[self.unit] * self.count
        steps = months // size
        on_grid = (months % size == 0) & (self.shift(np.full(times.shape, first), steps) == times)
        return np.where(on_grid, steps, -1)

    def grid(self, first: np.datetime64, last: np.datetime64) -> Times:
        """Every time from `first` to `last`, both included when on the grid."""
        if self.unit in _MICROSECONDS:
            span = int((last - first).astype("timedelta64[us]").astype(np.int64))
            count = span // (_MICROSECONDS[self.unit] * self.count)
        else:
            span = int((last.astype("datetime64[M]") - first.astype("datetime64[M]")).astype(np.int64))
            count = span // (_MONTHS[self.unit] * self.count)
        return self.shift(np.full(count + 1, first, "datetime64[us]"), np.arange(count + 1))

    def floor(self, moment: np.datetime64, end: np.datetime64) -> np.datetime64:
        """The latest time not after `moment` on the grid that ends at `end`."""
        back = 0
        stride = 1
        while self._back(end, back + stride) > moment:
            stride *= 2
        while stride:
            if self._back(end, back + stride) > moment:
                back += stride
            stride //= 2
        return end if end <= moment else self._back(end, back + 1)

    def _back(self, end: np.datetime64, steps: int) -> np.datetime64:
        moved: np.datetime64 = self.shift(np.array([end]), np.array([-steps]))[0]
        return moved


def infer(times: Times) -> Frequency | None:
    """The frequency whose grid holds most steps of one sorted series; None when no step repeats."""
    if len(times) < 3:
        return None
    steps = np.diff(times).astype("timedelta64[us]").astype(np.int64)
    values, counts = np.unique(steps, return_counts=True)
    commonest = int(values[np.argmax(counts)])
    if commonest <= 0:
        return None
    months = times.astype("datetime64[M]")
    if np.all(times == months.astype("datetime64[us]")) and commonest >= 28 * _MICROSECONDS["D"]:
        apart = int(np.gcd.reduce(np.diff(months).astype(np.int64)))
        for unit in ("YS", "QS", "MS"):
            if apart and apart % _MONTHS[unit] == 0:
                return Frequency(apart // _MONTHS[unit], unit)
    for unit in reversed(_MICROSECONDS):
        if commonest % _MICROSECONDS[unit] == 0:
            return Frequency(commonest // _MICROSECONDS[unit], unit)
    return None
