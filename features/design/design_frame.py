"""The design frame of a snapshot: one pure function for training, backtests and requests.

Direct forecasting: the row of time t holds nothing of y or an observed covariate after t - h, so
that one frame serves every step of the horizon. Known-future and static values are taken at t.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from features.design.calendar import (
    CalendarField,
    calendar_features,
    clock_days_before,
    country_holidays,
    fourier,
)
from features.design.row_layout import RowLayout, TimeIndex, step_indices
from features.rolling.dispatch import operations, run
from features.rolling.terms import ClockLag, Fourier, Lag, LagTransform, Rolling, Term, TrailingWindow
from quantis.errors import InvalidInput
from quantis.panel import DS, ID, TIMESTAMP, Snapshot, Task, Y, single_chunk, timestamps
from quantis.types.arrays import Floats, Mask, Times
from quantis.types.base import Frozen

_CALENDARS: dict[str, tuple[CalendarField, ...]] = {
    "s": ("minute", "hour", "weekday"),
    "min": ("minute", "hour", "weekday", "day", "month", "day_of_year"),
    "h": ("hour", "weekday", "day", "month", "day_of_year"),
    "D": ("weekday", "day", "month", "day_of_year"),
    "W": ("month", "day_of_year"),
    "MS": ("month",),
    "QS": ("month",),
    "YS": (),
    "B": ("weekday", "day", "month", "day_of_year"),
    "ME": ("month",),
    "QE": ("month",),
    "YE": (),
    "i": (),
}


class FeatureSpec(Frozen):
    """The columns of a design frame; stored with the model so that requests get the same ones."""

    h: int = Field(ge=1)
    lags: tuple[int, ...] = ()
    rolling: tuple[Rolling, ...] = ()
    calendar: tuple[CalendarField, ...] = ()
    futr: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    hist: tuple[str, ...] = ()
    hist_lags: tuple[int, ...] = ()
    categories: dict[str, tuple[str, ...]] = Field(
        default={}, description="Per categorical covariate its values; a code is the index in this list."
    )
    terms: tuple[Term, ...] = Field(default=(), description="Lag transforms of y, hist or futr columns.")
    fourier: tuple[Fourier, ...] = ()
    holidays: tuple[str, ...] = Field(
        default=(), description="Countries, by ISO code, beside the task's own."
    )

    @model_validator(mode="after")
    def _check_no_leak(self) -> FeatureSpec:
        for lag in self.lags + self.hist_lags:
            if lag < self.h:
                raise ValueError(
                    f"lag {lag} is shorter than the horizon {self.h} and would leak; use {self.h} or more"
                )
        for term in self.terms:
            if term.column not in (Y, *self.hist, *self.futr):
                raise ValueError(f"column {term.column!r} is not y, hist or futr of the spec; add it to one")
            if term.window.min_offset < self.h and term.column not in self.futr:
                raise ValueError(
                    f"{term.names[0]!r} reaches to {term.window.min_offset} steps before, nearer than the "
                    f"horizon {self.h}, and would leak; use {self.h} or more"
                )
        return self

    def lag_transforms(self) -> dict[str, list[tuple[LagTransform, tuple[str, ...]]]]:
        """Return the lag transforms per source column, each with the names of its columns."""
        transforms: dict[str, list[tuple[LagTransform, tuple[str, ...]]]] = {}
        for lag in self.lags:
            transforms.setdefault(Y, []).append((Lag(steps=lag), (f"y_lag{lag}",)))
        for rolling in self.rolling:
            window = TrailingWindow(offset=self.h, window=rolling.window, statistics=rolling.statistics)
            names = tuple(f"y_{name}{rolling.window}" for name in rolling.statistics)
            transforms.setdefault(Y, []).append((window, names))
        for column in self.hist:
            lags = [(Lag(steps=lag), (f"hist_{column}_lag{lag}",)) for lag in self.hist_lags]
            transforms.setdefault(column, []).extend(lags)
        for term in self.terms:
            transforms.setdefault(term.column, []).append((term.window, term.names))
        return transforms

    @property
    def context_length(self) -> int:
        """Steps of history from which the features of the horizon equal those from the whole history."""
        by_column = self.lag_transforms().values()
        contexts = [transform.context_length for transforms in by_column for transform, _ in transforms]
        return max(contexts, default=1) or 1

    @property
    def names(self) -> tuple[str, ...]:
        """The feature columns, in order."""
        return (
            *(f"y_lag{lag}" for lag in self.lags),
            *(f"y_{name}{rolling.window}" for rolling in self.rolling for name in rolling.statistics),
            *(f"hist_{column}_lag{lag}" for column in self.hist for lag in self.hist_lags),
            *(f"futr_{column}" for column in self.futr),
            *(f"stat_{column}" for column in self.static),
            *(f"cal_{field}" for field in self.calendar),
            *(name for term in self.terms for name in term.names),
            *(name for season in self.fourier for name in season.names),
            *(f"cal_holiday_{country}" for country in self.holidays),
        )

    @property
    def categorical(self) -> tuple[str, ...]:
        """The feature columns that hold codes, not quantities."""
        hist = [column for column in self.hist if column in self.categories]
        return (
            *(f"hist_{column}_lag{lag}" for column in hist for lag in self.hist_lags),
            *(f"futr_{column}" for column in self.futr if column in self.categories),
            *(f"stat_{column}" for column in self.static if column in self.categories),
        )


def default_spec(task: Task, snapshot: Snapshot | None = None) -> FeatureSpec:
    """Return lags and windows from h and the seasons; categories from the snapshot, needed if there are any."""
    h, seasons = task.h, task.season_lengths
    lags = {h, h + 1, h + 2}
    for index, season in enumerate(seasons):
        first_season = -(-h // season)  # the latest one that is known for all of the horizon
        count = 3 if index == 0 else 2
        lags |= {season * (first_season + number) for number in range(count)}
    windows = [season for season in seasons if season > 1] or [4]
    fields = _CALENDARS[task.frequency.unit]
    if task.holidays is not None and "weekday" in fields:
        fields = (*fields, "is_holiday")
    spec = FeatureSpec(
        h=h,
        lags=tuple(sorted(lags)),
        rolling=tuple(Rolling(window=window) for window in windows),
        calendar=fields,
        futr=task.roles.futr_exog,
        static=task.roles.stat_exog,
        hist=task.roles.hist_exog,
        hist_lags=(h,) if task.roles.hist_exog else (),
    )
    return spec if snapshot is None else learn_categories(spec, task, snapshot)


def learn_categories(spec: FeatureSpec, task: Task, snapshot: Snapshot) -> FeatureSpec:
    """Return the spec with each categorical covariate's values as they occur in the snapshot, sorted."""
    categories: dict[str, tuple[str, ...]] = {}
    for column in task.roles.categorical:
        values = set()
        for table in (snapshot.history, snapshot.future, snapshot.static):
            if column in table.column_names:
                values |= set(pc.unique(table[column]).to_pylist())
        categories[column] = tuple(sorted(str(value) for value in values if value is not None))
    return spec.model_copy(update={"categories": categories})


def design(snapshot: Snapshot, task: Task, spec: FeatureSpec) -> pa.Table:
    """Return `unique_id, ds, y` and one float64 column per feature, for each step of history and horizon.

    Sorted by `unique_id, ds`; a series' horizon follows its history, with null y. A missing feature
    is NaN; a category is its code, NaN when it was not seen in training. Columns that need no copy are
    the snapshot's own memory; those that are computed lie in one block.
    """
    rows = _Rows.from_snapshot(snapshot, task, spec)
    computed = [name for name in spec.names if not name.startswith(("futr_", "stat_"))]
    columns = dict(zip(computed, rows.compute(computed), strict=True))
    columns |= {f"futr_{column}": rows.numbers(column) for column in spec.futr}
    columns |= {f"stat_{column}": rows.static(column) for column in spec.static}
    return pa.table(
        {
            ID: rows.ids(),
            DS: rows.ds(),
            Y: rows.target(),
            **{name: pa.array(columns[name]) for name in spec.names},
        }
    )


def horizon_rows(snapshot: Snapshot) -> Mask:
    """Return True for the rows of the snapshot's design frame that are to forecast. Shape [rows]."""
    layout = RowLayout.from_snapshot(snapshot)
    if layout.order is None:
        return np.zeros(layout.rows, dtype=bool)
    in_horizon: Mask = layout.order >= snapshot.history.num_rows
    return in_horizon


@dataclass(frozen=True)
class _Rows:
    """Series laid end to end, each with its history and then its horizon."""

    snapshot: Snapshot
    task: Task
    spec: FeatureSpec
    layout: RowLayout
    times: Times  # [rows]
    time_index: TimeIndex

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot, task: Task, spec: FeatureSpec) -> _Rows:
        layout = RowLayout.from_snapshot(snapshot)
        times = layout.times(snapshot)
        time_index = TimeIndex.from_times(times, layout.starts, task.frequency)
        return cls(snapshot, task, spec, layout, times, time_index)

    def ids(self) -> pa.Array | pa.ChunkedArray:
        if self.layout.order is None:
            return self.snapshot.history[ID].cast(pa.string())
        return self.layout.names.take(pa.array(self.layout.series))

    def ds(self) -> pa.Array | pa.ChunkedArray:
        column = self.snapshot.history[DS]
        return column if self.layout.order is None and column.type == TIMESTAMP else timestamps(self.times)

    def target(self) -> pa.Array | pa.ChunkedArray:
        """Return y, null where it is missing. Shape [rows]."""
        column, y = self.snapshot.history[Y], self.numbers(Y)
        reusable = self.layout.order is None and column.type == pa.float64() and not column.null_count
        has_nan = len(y) > 0 and np.isnan(y.min())
        return column if reusable and not has_nan else pa.array(y, from_pandas=True)

    def numbers(self, column: str) -> Floats:
        """Return a column over history and, where it is known there, horizon; NaN elsewhere. Shape [rows]."""
        history, future = self.snapshot.history, self.snapshot.future
        history_values = self.snapshot.y if column == Y else self._floats(history[column], column)
        if self.layout.order is None:
            return history_values
        future_values = np.full(future.num_rows, np.nan)
        if column in future.column_names:
            future_values = self._floats(future[column], column)
        values: Floats = np.concatenate([history_values, future_values])[self.layout.order]
        return values

    def static(self, column: str) -> Floats:
        """Return a static column repeated over the rows. Shape [rows]."""
        table = self.snapshot.static
        index = pc.index_in(self.layout.names, table[ID]).fill_null(-1).to_numpy(zero_copy_only=False)
        # Index -1, of a series without a static row, is the NaN at the end.
        values = np.append(self._floats(table[column], column), np.nan)
        repeated: Floats = values[index][self.layout.series]
        return repeated

    def _floats(self, values: pa.ChunkedArray, column: str) -> Floats:
        """Return quantities, or the codes of categories, NaN where missing. Shape as `values`."""
        if pa.types.is_string(values.type) or column in self.spec.categories:
            if column not in self.spec.categories:
                raise InvalidInput(
                    f"categories of {column!r} are not in the feature spec; learn them from a snapshot"
                )
            categories = pa.array(self.spec.categories[column], pa.string())
            values = pc.index_in(values.cast(pa.string()), categories)
        numbers = values.cast(pa.float64())
        numbers = numbers.fill_null(np.nan) if numbers.null_count else numbers
        floats: Floats = single_chunk(numbers).to_numpy(zero_copy_only=False)
        return floats

    def compute(self, names: Sequence[str]) -> Floats:
        """Return the columns that are computed from others or from the clock. Shape [names, rows]."""
        rows, starts = self.layout.rows, self.layout.starts
        memory = pa.allocate_buffer(max(len(names) * rows, 1) * 8)  # Arrow keeps freed memory: no page faults
        out = np.frombuffer(memory, np.float64, len(names) * rows).reshape(len(names), rows)
        row_of = {name: row for row, name in enumerate(names)}
        first_steps = self.time_index.step_index[self.time_index.first_positions(starts)]
        for column, transforms in self.spec.lag_transforms().items():
            values = self.numbers(column)
            by_step: list[tuple[LagTransform, list[int]]] = []
            for transform, column_names in transforms:
                if isinstance(transform, ClockLag):
                    min_steps = 0 if column in self.spec.futr else self.spec.h
                    out[row_of[column_names[0]]] = self._clock_lag(values, transform, min_steps)
                else:
                    by_step.append((transform, [row_of[name] for name in column_names]))
            if by_step:
                run(values, starts, first_steps, operations(by_step), out)
        tables = self._time_columns()
        if tables:
            table_rows = np.array([row_of[name] for name in tables])
            self.time_index.copy_tables(np.stack(list(tables.values())), starts, table_rows, out)
        return out

    def _time_columns(self) -> dict[str, Floats]:
        """Return the columns that depend on time only, once per distinct time. Shape [times] each."""
        times, step_index, spec = self.time_index.times, self.time_index.step_index, self.spec
        calendar = calendar_features(times, spec.calendar, self.task)
        columns = {f"cal_{field}": values for field, values in calendar.items()}
        for season in spec.fourier:
            columns |= dict(zip(season.names, fourier(step_index, season.period, season.order), strict=True))
        for country in spec.holidays:
            columns[f"cal_holiday_{country}"] = country_holidays(times, country, self.task)
        return columns

    def _clock_lag(self, values: Floats, lag: ClockLag, min_steps: int) -> Floats:
        """Return the value when the clock showed the same, NaN nearer than `min_steps` steps. Shape [rows]."""
        time_index, starts = self.time_index, self.layout.starts
        earlier = clock_days_before(time_index.times, lag.days, self.task)
        # How many steps back the same clock time is differs where the offset changes in between.
        steps = time_index.step_index - step_indices(earlier, self.task.frequency)  # [times]
        on_grid = self.task.frequency.shift(time_index.times, -steps) == earlier
        valid = on_grid & (steps >= min_steps) & (steps <= lag.context_length)  # [times]
        positions = time_index.row_positions(starts)
        steps_back = steps[positions]  # [rows]
        step_in_series = np.arange(self.layout.rows) - np.repeat(starts[:-1], np.diff(starts))
        valid_rows = valid[positions] & (steps_back <= step_in_series)
        source_rows = np.where(valid_rows, np.arange(len(values)) - steps_back, 0)
        return np.where(valid_rows, values[source_rows], np.nan)
