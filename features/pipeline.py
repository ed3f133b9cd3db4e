"""From a snapshot to the design frame: one pure function for training, backtests and requests.

Direct forecasting: the row of time t holds nothing of y or an observed covariate after t - h, so
that one frame serves every step of the horizon. Known-future and static values are taken at t.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from features.calendar import CalendarField, calendar
from features.rolling import Floats, Integers, Statistic, moved, rolling
from quantis.errors import InvalidInput
from quantis.panel import DS, ID, Snapshot, Task, Y, times_of, timestamps
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


class Rolling(Frozen):
    """Statistics of y over `window` steps that end h steps before the row."""

    window: int = Field(ge=2)
    statistics: tuple[Statistic, ...] = ("mean", "std", "min", "max")


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

    @model_validator(mode="after")
    def _nothing_of_the_horizon(self) -> FeatureSpec:
        for lag in self.lags + self.hist_lags:
            if lag < self.h:
                raise ValueError(
                    f"lag {lag} is shorter than the horizon {self.h} and would leak; use {self.h} or more"
                )
        return self

    @property
    def context_length(self) -> int:
        """Steps of history from which the features of the horizon come out as from the whole."""
        windows = [self.h + one.window - 1 for one in self.rolling]
        return max([*self.lags, *self.hist_lags, *windows, 1])

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
    is NaN; a category is its code, NaN when it was not seen in training.
    """
    rows = _Rows.of(snapshot, spec)
    y = rows.numbers(Y)
    columns: dict[str, Floats] = {}
    for lag in spec.lags:
        columns[f"y_lag{lag}"] = rows.past(y, lag)
    for one in spec.rolling:
        for name, values in rolling(y, one.window, one.statistics).items():
            columns[f"y_{name}{one.window}"] = rows.past(values, spec.h, one.window)
    for column in spec.hist:
        values = rows.numbers(column)
        columns |= {f"hist_{column}_lag{lag}": rows.past(values, lag) for lag in spec.hist_lags}
    columns |= {f"futr_{column}": rows.numbers(column) for column in spec.futr}
    columns |= {f"stat_{column}": rows.static(column) for column in spec.static}
    columns |= {f"cal_{f}": values for f, values in calendar(rows.times, spec.calendar, task).items()}
    return pa.table(
        {
            ID: rows.names.take(pa.array(rows.series)),
            DS: timestamps(rows.times),
            Y: pa.array(y, from_pandas=True),
            **{name: pa.array(columns[name]) for name in spec.names},
        }
    )


def horizon_rows(snapshot: Snapshot) -> npt.NDArray[np.bool_]:
    """Which rows of the snapshot's design frame are to forecast. Shape [rows]."""
    _, _, order = _layout(snapshot)
    ahead: npt.NDArray[np.bool_] = order >= snapshot.history.num_rows
    return ahead


@dataclass(frozen=True)
class _Rows:
    """Series laid end to end, each with its history and then its horizon."""

    snapshot: Snapshot
    spec: FeatureSpec
    names: pa.Array
    series: Integers  # [rows]
    steps: Integers  # place within the series, [rows]
    order: Integers  # row of history followed by future, [rows]
    times: npt.NDArray[np.datetime64]  # [rows]

    @classmethod
    def of(cls, snapshot: Snapshot, spec: FeatureSpec) -> _Rows:
        names, codes, order = _layout(snapshot)
        series = codes[order]
        starts = np.flatnonzero(np.diff(series, prepend=-1))
        steps = np.arange(len(series)) - np.repeat(starts, np.diff(starts, append=len(series)))
        times = np.concatenate([times_of(snapshot.history[DS]), times_of(snapshot.future[DS])])
        return cls(snapshot, spec, names, series, steps, order, times[order])

    def numbers(self, column: str) -> Floats:
        """A column of history and, where it is known there, of the horizon; NaN elsewhere. Shape [rows]."""
        history, future = self.snapshot.history, self.snapshot.future
        ahead = np.full(future.num_rows, np.nan)
        if column in future.column_names:
            ahead = self.floats(future[column], column)
        flat: Floats = np.concatenate([self.floats(history[column], column), ahead])[self.order]
        return flat

    def static(self, column: str) -> Floats:
        """A static column repeated over the rows. Shape [rows]."""
        table = self.snapshot.static
        values = self.floats(table[column], column)
        place = pc.index_in(self.names, table[ID]).fill_null(-1).to_numpy(zero_copy_only=False)
        repeated: Floats = np.append(values, np.nan)[place][self.series]
        return repeated

    def floats(self, values: pa.ChunkedArray, column: str) -> Floats:
        if pa.types.is_string(values.type) or column in self.spec.categories:
            if column not in self.spec.categories:
                raise InvalidInput(
                    f"categories of {column!r} are not in the feature spec; learn them from a snapshot"
                )
            known = pa.array(self.spec.categories[column], pa.string())
            values = pc.index_in(values.cast(pa.string()), known)
        numbers: Floats = values.cast(pa.float64()).fill_null(np.nan).to_numpy()
        return numbers

    def past(self, values: Floats, lag: int, window: int = 1) -> Floats:
        """Values `lag` steps before, where they and their window lie within the series. Shape [rows]."""
        return np.where(self.steps >= lag + window - 1, moved(values, lag), np.nan)


def _layout(snapshot: Snapshot) -> tuple[pa.Array, Integers, Integers]:
    """Series names sorted, the series of each row of history and future, and the order of the rows."""
    ids = pa.chunked_array([*snapshot.history[ID].chunks, *snapshot.future[ID].chunks], pa.string())
    names = pc.unique(ids).sort()
    codes = pc.index_in(ids, names).to_numpy().astype(np.int64)
    return names, codes, np.argsort(codes, kind="stable")
