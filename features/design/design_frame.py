"""From a snapshot to the design frame: one pure function for training, backtests and requests.

Direct forecasting: the row of time t holds nothing of y or an observed covariate after t - h, so
that one frame serves every step of the horizon. Known-future and static values are taken at t.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
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
from features.design.row_layout import RowLayout, TimeIndex, step_indices, whole
from features.rolling.dispatch import operations, run
from features.rolling.terms import ClockLag, Fourier, Lag, LagTransform, Rolling, Term, TrailingWindow
from quantis.errors import InvalidInput
from quantis.panel import DS, ID, TIMESTAMP, Snapshot, Task, Y, timestamps
from quantis.types.arrays import Floats, Times
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
    """Which columns a design frame has; kept with the model so that requests get the same ones."""

    h: int = Field(ge=1)
    lags: tuple[int, ...] = ()
    rolling: tuple[Rolling, ...] = ()
    calendar: tuple[CalendarField, ...] = ()
    futr: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    hist: tuple[str, ...] = ()
    hist_lags: tuple[int, ...] = ()
    categories: dict[str, tuple[str, ...]] = Field(
        default={}, description="Per categorical covariate its values; a code is the place in this list."
    )
    terms: tuple[Term, ...] = Field(default=(), description="More columns: one of y, hist, futr by a window.")
    fourier: tuple[Fourier, ...] = ()
    holidays: tuple[str, ...] = Field(
        default=(), description="Countries, by ISO code, beside the task's own."
    )

    @model_validator(mode="after")
    def _nothing_of_the_horizon(self) -> FeatureSpec:
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
                    f"{term.names[0]!r} reaches to {term.window.min_offset} steps before, nearer than the horizon "
                    f"{self.h}, and would leak; use {self.h} or more"
                )
        return self

    def lag_transforms(self) -> dict[str, list[tuple[LagTransform, tuple[str, ...]]]]:
        """Per source column the windows that look at it, each with the names of its columns."""
        found: dict[str, list[tuple[LagTransform, tuple[str, ...]]]] = {}
        for lag in self.lags:
            found.setdefault(Y, []).append((Lag(steps=lag), (f"y_lag{lag}",)))
        for one in self.rolling:
            last = TrailingWindow(offset=self.h, window=one.window, statistics=one.statistics)
            found.setdefault(Y, []).append((last, tuple(f"y_{name}{one.window}" for name in one.statistics)))
        for column in self.hist:
            named = [(Lag(steps=lag), (f"hist_{column}_lag{lag}",)) for lag in self.hist_lags]
            found.setdefault(column, []).extend(named)
        for term in self.terms:
            found.setdefault(term.column, []).append((term.window, term.names))
        return found

    @property
    def context_length(self) -> int:
        """Steps of history from which the features of the horizon come out as from the whole."""
        return (
            max(
                [window.context_length for one in self.lag_transforms().values() for window, _ in one],
                default=1,
            )
            or 1
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The feature columns, in order."""
        return (
            *(f"y_lag{lag}" for lag in self.lags),
            *(f"y_{name}{one.window}" for one in self.rolling for name in one.statistics),
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
        return (
            *(f"hist_{c}_lag{lag}" for c in self.hist if c in self.categories for lag in self.hist_lags),
            *(f"futr_{column}" for column in self.futr if column in self.categories),
            *(f"stat_{column}" for column in self.static if column in self.categories),
        )


def default_spec(task: Task, snapshot: Snapshot | None = None) -> FeatureSpec:
    """Lags and windows from h and the seasons; categories from the snapshot, needed when there are any."""
    h, seasons = task.h, task.season_lengths
    lags = {h, h + 1, h + 2}
    for place, season in enumerate(seasons):
        first = -(-h // season)
        lags |= {season * (first + more) for more in range(3 if place == 0 else 2)}
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
    """The spec with each categorical covariate's values as they occur in the snapshot, sorted."""
    found: dict[str, tuple[str, ...]] = {}
    for column in task.roles.categorical:
        tables = [t for t in (snapshot.history, snapshot.future, snapshot.static) if column in t.column_names]
        values = {value for table in tables for value in pc.unique(table[column]).to_pylist()}
        found[column] = tuple(sorted(str(value) for value in values if value is not None))
    return spec.model_copy(update={"categories": found})


def design(snapshot: Snapshot, task: Task, spec: FeatureSpec) -> pa.Table:
    """`unique_id, ds, y` and one float64 column per feature, for every step of history and horizon.

    Sorted by `unique_id, ds`; a series' horizon follows its history, with null y. A missing feature
    is NaN; a category is its code, NaN when it was not seen in training. What needs no copy is the
    snapshot's own memory; the columns that are computed lie in one block.
    """
    rows = _Rows.of(snapshot, task, spec)
    computed = [name for name in spec.names if not name.startswith(("futr_", "stat_"))]
    block = rows.block(computed)
    given = {f"futr_{column}": rows.numbers(column) for column in spec.futr}
    given |= {f"stat_{column}": rows.static(column) for column in spec.static}
    columns = given | dict(zip(computed, block, strict=True))
    return pa.table(
        {
            ID: rows.ids(),
            DS: rows.stamps(),
            Y: rows.target(),
            **{name: pa.array(columns[name]) for name in spec.names},
        }
    )


def horizon_rows(snapshot: Snapshot) -> npt.NDArray[np.bool_]:
    """Which rows of the snapshot's design frame are to forecast. Shape [rows]."""
    layout = RowLayout.from_snapshot(snapshot)
    if layout.order is None:
        return np.zeros(layout.rows, dtype=bool)
    ahead: npt.NDArray[np.bool_] = layout.order >= snapshot.history.num_rows
    return ahead


@dataclass(frozen=True)
class _Rows:
    """Series laid end to end, each with its history and then its horizon."""

    snapshot: Snapshot
    task: Task
    spec: FeatureSpec
    layout: RowLayout
    times: Times  # [rows]
    moments: TimeIndex

    @classmethod
    def of(cls, snapshot: Snapshot, task: Task, spec: FeatureSpec) -> _Rows:
        layout = RowLayout.from_snapshot(snapshot)
        times = layout.times(snapshot)
        return cls(
            snapshot, task, spec, layout, times, TimeIndex.from_times(times, layout.starts, task.frequency)
        )

    def ids(self) -> pa.Array | pa.ChunkedArray:
        if self.layout.order is None:
            return self.snapshot.history[ID].cast(pa.string())
        return self.layout.names.take(pa.array(self.layout.series))

    def stamps(self) -> pa.Array | pa.ChunkedArray:
        given = self.snapshot.history[DS]
        return given if self.layout.order is None and given.type == TIMESTAMP else timestamps(self.times)

    def target(self) -> pa.Array | pa.ChunkedArray:
        """y, null where it is missing. Shape [rows]."""
        given, y = self.snapshot.history[Y], self.numbers(Y)
        as_it_is = self.layout.order is None and given.type == pa.float64() and not given.null_count
        missing = len(y) > 0 and np.isnan(y.min())
        return given if as_it_is and not missing else pa.array(y, from_pandas=True)

    def numbers(self, column: str) -> Floats:
        """A column of history and, where it is known there, of the horizon; NaN elsewhere. Shape [rows]."""
        history, future = self.snapshot.history, self.snapshot.future
        past = self.floats(history[column], column)
        if self.layout.order is None:
            return past
        ahead = np.full(future.num_rows, np.nan)
        if column in future.column_names:
            ahead = self.floats(future[column], column)
        flat: Floats = np.concatenate([past, ahead])[self.layout.order]
        return flat

    def static(self, column: str) -> Floats:
        """A static column repeated over the rows. Shape [rows]."""
        table = self.snapshot.static
        values = self.floats(table[column], column)
        place = pc.index_in(self.layout.names, table[ID]).fill_null(-1).to_numpy(zero_copy_only=False)
        repeated: Floats = np.append(values, np.nan)[place][self.layout.series]
        return repeated

    def floats(self, values: pa.ChunkedArray, column: str) -> Floats:
        if pa.types.is_string(values.type) or column in self.spec.categories:
            if column not in self.spec.categories:
                raise InvalidInput(
                    f"categories of {column!r} are not in the feature spec; learn them from a snapshot"
                )
            known = pa.array(self.spec.categories[column], pa.string())
            values = pc.index_in(values.cast(pa.string()), known)
        numbers = values.cast(pa.float64())
        numbers = numbers.fill_null(np.nan) if numbers.null_count else numbers
        flat: Floats = whole(numbers).to_numpy(zero_copy_only=False)
        return flat

    def block(self, names: Sequence[str]) -> Floats:
        """Every column that is computed from others or from the clock. Shape [names, rows]."""
        rows = self.layout.rows
        memory = pa.allocate_buffer(max(len(names) * rows, 1) * 8)  # Arrow keeps freed memory: no page faults
        out = np.frombuffer(memory, np.float64, len(names) * rows).reshape(len(names), rows)
        place = {name: row for row, name in enumerate(names)}
        starts = self.layout.starts
        ticks = self.moments.ticks[self.moments.first(starts)]
        for column, wanted in self.spec.lag_transforms().items():
            values = self.numbers(column)
            by_step = [(w, [place[n] for n in named]) for w, named in wanted if not isinstance(w, ClockLag)]
            if by_step:
                run(values, starts, ticks, operations(by_step), out)
            for window, (name,) in ((w, named) for w, named in wanted if isinstance(w, ClockLag)):
                out[place[name]] = self._by_clock(
                    values, window, 0 if column in self.spec.futr else self.spec.h
                )
        tables = self._tables()
        if tables:
            at = np.array([place[name] for name in tables])
            self.moments.spread(np.stack(list(tables.values())), starts, at, out)
        return out

    def _tables(self) -> dict[str, Floats]:
        """The columns that only time decides, once per moment. Shape [moments] each."""
        times, ticks, spec = self.moments.times, self.moments.ticks, self.spec
        tables = {
            f"cal_{f}": values for f, values in calendar_features(times, spec.calendar, self.task).items()
        }
        for season in spec.fourier:
            tables |= dict(zip(season.names, fourier(ticks, season.period, season.order), strict=True))
        for country in spec.holidays:
            tables[f"cal_holiday_{country}"] = country_holidays(times, country, self.task)
        return tables

    def _by_clock(self, values: Floats, window: ClockLag, nearest: int) -> Floats:
        """The value when the clock showed the same, NaN nearer than `nearest` steps. Shape [rows]."""
        moments = self.moments
        before = clock_days_before(moments.times, window.days, self.task)
        steps = moments.ticks - step_indices(before, self.task.frequency)
        on_grid = self.task.frequency.shift(moments.times, -steps) == before
        there = on_grid & (steps >= nearest) & (steps <= window.context_length)
        place = moments.rows(self.layout.starts)
        back = steps[place]
        within = np.arange(self.layout.rows) - np.repeat(self.layout.starts[:-1], np.diff(self.layout.starts))
        kept = there[place] & (back <= within)
        return np.where(kept, values[np.where(kept, np.arange(len(values)) - back, 0)], np.nan)
