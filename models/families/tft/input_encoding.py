"""The network's inputs and their scales, learned once from the training snapshot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.design.calendar import CalendarField
from models.arrays import floats
from quantis.panel import ID, Snapshot, Task, Y, series_slices
from quantis.types.arrays import Floats
from quantis.types.base import Frozen

_CYCLES: dict[str, tuple[CalendarField, ...]] = {
    "s": ("minute", "hour"),
    "min": ("hour", "weekday"),
    "h": ("hour", "weekday"),
    "D": ("weekday", "month"),
    "W": ("month",),
    "MS": ("month",),
    "QS": ("month",),
    "YS": (),
    "B": ("weekday", "month"),
    "ME": ("month",),
    "QE": ("month",),
    "YE": (),
    "i": (),
}
_SIZES = {"minute": 60, "hour": 24, "weekday": 7, "month": 12}
_TINY = 1e-8  # a spread of logarithms below which they are the same
_ROUNDING = 1e-12  # share of a column's size below which its spread is the rounding of a constant


@dataclass(frozen=True)
class InputNames:
    """Names of the network's inputs by role, in the order of their tensors."""

    static: tuple[str, ...]
    known: tuple[str, ...]
    observed: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        return self.static + self.known + self.observed


class InputEncoding(Frozen):
    """The network's inputs by role and kind, kept as JSON in bundles. Code 0 means an unknown category."""

    stat_numbers: tuple[str, ...]
    stat_codes: tuple[str, ...]
    futr_numbers: tuple[str, ...]
    futr_codes: tuple[str, ...]
    hist_numbers: tuple[str, ...]
    hist_codes: tuple[str, ...]
    calendar: tuple[CalendarField, ...]
    holiday: bool
    lags: tuple[int, ...]
    categories: dict[str, tuple[str, ...]]

    @property
    def reals(self) -> InputNames:
        known = (
            *self.futr_numbers,
            *(f"{Y}-{lag}" for lag in self.lags),
            *(("calendar is_holiday",) if self.holiday else ()),
        )
        return InputNames((*self.stat_numbers, "spread"), known, (Y, *self.hist_numbers))

    @property
    def codes(self) -> InputNames:
        cycles = tuple(f"calendar {field}" for field in self.calendar)
        return InputNames(self.stat_codes, cycles + self.futr_codes, self.hist_codes)

    @property
    def code_sizes(self) -> list[int]:
        """Number of codes of each categorical input, the unknown one included."""
        sizes = {f"calendar {field}": count for field, count in _SIZES.items()}
        sizes |= {name: len(values) for name, values in self.categories.items()}
        return [sizes[name] + 1 for name in self.codes.all]

    @property
    def scaled(self) -> tuple[str, ...]:
        """Columns that have a scale per series."""
        return (Y, *self.futr_numbers, *self.hist_numbers)

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot, task: Task) -> InputEncoding:
        roles, categorical = task.roles, set(task.roles.categorical)
        tables = (snapshot.history, snapshot.future, snapshot.static)
        categories = {name: _distinct(name, tables) for name in roles.columns if name in categorical}
        return cls(
            stat_numbers=tuple(c for c in roles.stat_exog if c not in categorical),
            stat_codes=tuple(c for c in roles.stat_exog if c in categorical),
            futr_numbers=tuple(c for c in roles.futr_exog if c not in categorical),
            futr_codes=tuple(c for c in roles.futr_exog if c in categorical),
            hist_numbers=tuple(c for c in roles.hist_exog if c not in categorical),
            hist_codes=tuple(c for c in roles.hist_exog if c in categorical),
            calendar=_CYCLES[task.frequency.unit],
            holiday=task.holidays is not None and task.frequency.unit in ("min", "h", "D"),
            lags=_seasonal_lags(snapshot, task),
            categories=categories,
        )


@dataclass(frozen=True)
class SeriesScales:
    """Mean and spread of the scaled columns.

    series [series, columns, 2] of each series, overall [columns, 2] of all together, static [static + 1, 2] of the
    static numbers and, last, of the logarithm of y's spread.
    """

    ids: tuple[str, ...]
    series: Floats
    overall: Floats
    static: Floats

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot, encoding: InputEncoding) -> SeriesScales:
        slices = dict(series_slices(snapshot.history[ID]))
        columns = [floats(snapshot.history[name]) for name in encoding.scaled]
        unit = np.array([0.0, 1.0])
        overall = np.array([_mean_and_spread(column, unit) for column in columns])
        series = np.array(
            [_column_scales([column[rows] for column in columns], overall) for rows in slices.values()]
        )
        log_spread = np.log(series[:, 0, 1])
        static = [_mean_and_spread(floats(snapshot.static[name]), unit) for name in encoding.stat_numbers]
        return cls(
            tuple(slices), series, overall, np.array([*static, _mean_and_spread(log_spread, unit, _TINY)])
        )

    def extended(self, snapshot: Snapshot, encoding: InputEncoding) -> SeriesScales:
        """Return these scales with those of the series that are new in the snapshot."""
        ids = set(self.ids)
        new = [name for name, _ in series_slices(snapshot.future[ID]) if name not in ids]
        added = self.for_series(new, snapshot.history, encoding)
        return SeriesScales(
            (*self.ids, *new), np.concatenate([self.series, added]), self.overall, self.static
        )

    def for_series(self, names: list[str], history: pa.Table, encoding: InputEncoding) -> Floats:
        """Return scales by series, from their own history where they are new. Shape [series, columns, 2]."""
        position = {name: index for index, name in enumerate(self.ids)}
        slices: dict[str, slice] = {}
        scales = np.empty((len(names), *self.overall.shape))
        for index, name in enumerate(names):
            if name in position:
                scales[index] = self.series[position[name]]
                continue
            slices = slices or dict(series_slices(history[ID]))
            rows = slices.get(name, slice(0, 0))
            values = [
                floats(history[column].slice(rows.start, rows.stop - rows.start))
                for column in encoding.scaled
            ]
            scales[index] = _column_scales(values, self.overall)
        return scales


def _column_scales(columns: list[Floats], fallbacks: Floats) -> list[Floats]:
    """Return the scale of each column; `fallbacks` [columns, 2]."""
    return [_mean_and_spread(column, fallback) for column, fallback in zip(columns, fallbacks, strict=True)]


def _mean_and_spread(values: Floats, fallback: Floats, least: float = 0.0) -> Floats:
    """Return mean and standard deviation of the finite values; the fallback's without any, or without spread.

    A spread is one that is above `least` and above the rounding of the values, however small these are.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return fallback
    mean, spread = finite.mean(), finite.std()
    return np.array([mean, spread if spread > max(least, _ROUNDING * np.abs(finite).max()) else fallback[1]])


def _seasonal_lags(snapshot: Snapshot, task: Task) -> tuple[int, ...]:
    """Return the lags of whole seasons that reach back beyond the horizon.

    A season after the first counts where half of the histories hold its lag: a forecast needs every lag.
    """
    lengths = [rows.stop - rows.start for _, rows in series_slices(snapshot.history[ID])]
    median_length = np.median(lengths) if lengths else 0
    lags = [m * -(-task.h // m) for m in task.season_lengths if m > 1]
    return tuple(sorted({*lags[:1], *(lag for lag in lags[1:] if lag < median_length)}))


def _distinct(name: str, tables: tuple[pa.Table, ...]) -> tuple[str, ...]:
    """Return the sorted texts of a column over all tables that have it."""
    values: set[str] = set()
    for table in tables:
        if name in table.column_names:
            values.update(str(value) for value in pc.unique(table[name]).to_pylist() if value is not None)
    return tuple(sorted(values))
