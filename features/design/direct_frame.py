"""The direct frame: samples of (series, origin, step) with features relative to their forecast origin.

A sample's target is the value of one series `step` steps after one origin. Its features are what was known
at the origin, less the series' local mean and in units of its local standard deviation, and what is known
about the target's time: calendar, known-future covariates, the same phase of earlier seasons. So one model
serves every step of the horizon with the newest values, and series of any size learn from each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import ConfigDict, Field

from features.design.design_frame import FeatureSpec, default_spec, design
from features.design.row_layout import RowLayout, step_indices
from features.design.series_spread import smallest_spreads
from features.rolling.numpy_kernel import rolling
from features.rolling.terms import Statistic, Term, TrailingWindow
from quantis.panel import Snapshot, Task, Y
from quantis.types.arrays import Floats, Integers, Times
from quantis.types.base import Frozen

_SHIFTS = (-1, 1, 2, 3)
"""Steps by which a known-future covariate is also shifted: 1 is the step before the target, -1 the one after."""
_PHASES = 8
"""Earlier seasons whose same phase is averaged."""
_NEWEST = 4
_YEARLY = frozenset({"day", "month", "day_of_year"})
_YEAR = {"D": 364, "B": 260, "W": 52, "h": 8736, "MS": 12, "ME": 12, "QS": 4, "QE": 4}
_MIN_SCALE_WINDOW = 8


class Season(Frozen):
    """A season of `length` steps, of which the latest `count` are features."""

    length: int = Field(ge=1)
    count: int = Field(ge=1)

    def steps_back(self, step: int) -> int:
        """Return the steps back from a target `step` steps ahead to its phase in the latest season known."""
        return self.length * -(-step // self.length)


class DirectSpec(Frozen):
    """The columns of a direct frame; stored with the model, so that requests get the same ones."""

    # Bundles hold the window of the scale as `level`.
    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    state: FeatureSpec = Field(description="The features of each row as of one step before, and of its time.")
    h: int = Field(ge=1)
    seasons: tuple[Season, ...]
    scale_window: int = Field(
        alias="level", ge=2, description="Steps of the window of local_mean and local_std."
    )
    windows: tuple[int, ...]
    own_spread: bool = Field(
        default=False, description="Scale series far from zero by their spread; older models do not."
    )

    @property
    def season_length(self) -> int:
        return self.seasons[0].length

    @property
    def context_length(self) -> int:
        """Steps of history from which the features of the horizon equal those from the whole history."""
        lags = [season.steps_back(self.h) + season.length * (season.count - 1) for season in self.seasons]
        phases = self.seasons[0].steps_back(self.h) + self.season_length * (_PHASES - 1)
        windows = (self.scale_window + self.season_length, *(2 * window for window in self.windows))
        return max(*lags, phases, *windows, _NEWEST)

    @property
    def names(self) -> tuple[str, ...]:
        """The feature columns, in the order of a sample's row."""
        names = ["step"]
        for season in self.seasons:
            names += [f"season{season.length}_{number + 1}" for number in range(season.count)]
        names += ["phase_mean", *(f"newest{number + 1}" for number in range(_NEWEST))]
        for window in self.windows:
            names += [f"mean{window}", f"std{window}", f"mean_before{window}"]
        names += ["size", "variation", "unrest"]  # models in bundles know them by these names
        names += [f"cal_{field}" for field in self.state.calendar]
        for column in self.state.futr:
            names += self.future_names(column)
        for column in self.state.hist:
            names += [f"hist_{column}_last", f"hist_{column}_mean"]
        names += [f"stat_{column}" for column in self.state.static]
        return tuple(names)

    def future_names(self, column: str) -> list[str]:
        """Return the feature columns of a known-future covariate."""
        suffixes = [*(f"by{steps}" for steps in _SHIFTS), "season1", "season2", "change"]
        if column not in self.state.categories:
            suffixes += ["relative", "relative_change"]
        return [f"futr_{column}", *(f"futr_{column}_{suffix}" for suffix in suffixes)]

    @property
    def categorical(self) -> tuple[int, ...]:
        """The positions of codes in `names`, of which two may be alike: of a column `a`, and of one called `a_by1`."""
        categories, state = self.state.categories, self.state
        sizes = [len(self.future_names(column)) for column in state.futr]
        first_static = len(self.names) - len(state.static)
        first_future = first_static - 2 * len(state.hist) - sum(sizes)
        starts = first_future + np.cumsum([0, *sizes])
        codes = [
            int(start) for start, column in zip(starts, state.futr, strict=False) if column in categories
        ]
        return (*codes, *(first_static + i for i, column in enumerate(state.static) if column in categories))


def direct_spec(task: Task, snapshot: Snapshot, covariates: bool = True) -> DirectSpec:
    """Return the spec for a task and the lengths of its histories; categories come from the snapshot."""
    base = default_spec(task, snapshot)
    lengths = np.diff(RowLayout.from_snapshot(snapshot).starts) - task.h
    median_length = int(np.median(lengths)) if len(lengths) else 0
    # The first season always, longer ones where half of the series hold two of them.
    first_season = task.season_lengths[0]
    seasons = [m for m in task.season_lengths if m == first_season or 2 * m + task.h <= median_length]
    scale_season = next((m for m in reversed(seasons) if 4 * m <= median_length), seasons[0])
    scale_window = max(2 * scale_season, _MIN_SCALE_WINDOW)
    season_features = [Season(length=m, count=4 if m == seasons[0] else 2) for m in seasons]
    year = _YEAR.get(task.freq, 0)
    if year and year not in seasons and median_length > year + task.h + year // 4:
        season_features.append(Season(length=year, count=1))
    windows = tuple(sorted({*seasons, *(2 * m for m in seasons), max(4, seasons[0] // 2)} - {0, 1}))
    # A field that turns once a year is noise where the histories hold less than two years.
    two_years = median_length >= 2 * year
    calendar = tuple(field for field in base.calendar if two_years or field not in _YEARLY)
    categorical = task.roles.categorical
    hist = tuple(c for c in task.roles.hist_exog if covariates and c not in categorical)
    quantities = [c for c in task.roles.futr_exog if covariates and c not in categorical]
    season_window = max(seasons[0], 2)
    terms = [_trailing(window, "mean", "std") for window in sorted({*windows, scale_window})]
    for column in quantities:
        covariate_windows = sorted({scale_window, season_window})
        terms += [_trailing(window, "mean", "std", column=column) for window in covariate_windows]
    terms += [_trailing(season_window, "mean", column=column) for column in hist]
    state = FeatureSpec(
        h=1,
        lags=tuple(range(1, _NEWEST + 1)),
        terms=tuple(terms),
        calendar=calendar,
        futr=task.roles.futr_exog if covariates else (),
        static=task.roles.stat_exog,
        hist=hist,
        hist_lags=(1,) if hist else (),
        categories=base.categories,
    )
    return DirectSpec(
        state=state,
        h=task.h,
        seasons=tuple(season_features),
        scale_window=scale_window,
        windows=windows,
        own_spread=True,
    )


def _trailing(window: int, *statistics: Statistic, column: str = Y) -> Term:
    """Return statistics of the window that ends one step before the row."""
    return Term(column=column, window=TrailingWindow(offset=1, window=window, statistics=statistics))


@dataclass(frozen=True)
class Samples:
    """Features, targets, and the scale of each sample.

    A value is `local_mean + local_std * z`, or `seasonal_naive + seasonal_abs_error * z`.
    """

    matrix: npt.NDArray[np.float32]  # [samples, features]
    local_mean: Floats  # of the series over the scale window at the origin, [samples]
    local_std: Floats  # of the same window, never zero, [samples]
    seasonal_naive: Floats  # the same phase of the latest season known at the origin, [samples]
    seasonal_abs_error: Floats  # the mean error of that forecast in the scale window, never zero, [samples]
    y: Floats  # the target, NaN where it is not known, [samples]


class DirectFrame:
    """A snapshot with the features of every row, from which samples are taken."""

    def __init__(self, snapshot: Snapshot, task: Task, spec: DirectSpec) -> None:
        self.spec = spec
        layout = RowLayout.from_snapshot(snapshot)
        self.names = layout.names
        frame = design(snapshot, task, spec.state)
        self.starts = layout.starts
        self.ends = layout.starts[1:] - (task.h if snapshot.future.num_rows else 0)
        self.columns = {name: _floats(frame, name) for name in spec.state.names}
        self.y = _floats(frame, Y)
        self.seasonal_abs_error = self._seasonal_abs_error(layout.times(snapshot), task)
        self.tiny, self.flat = smallest_spreads(self.y, self.starts[:-1], spec.own_spread)

    @classmethod
    def horizon(cls, snapshot: Snapshot, task: Task, spec: DirectSpec) -> Samples:
        """Return the samples of every step to forecast, in the order of `snapshot.future`."""
        frame = cls(snapshot, task, spec)
        index = {name: number for number, name in enumerate(frame.names.to_pylist())}
        future_series = [index[name] for name in snapshot.future_index.rows]
        series = np.repeat(np.array(future_series, np.int64), spec.h)
        steps = np.tile(np.arange(1, spec.h + 1), len(future_series))
        return frame.take(series, frame.ends[series] - 1, steps)

    def _seasonal_abs_error(self, times: Times, task: Task) -> Floats:
        """Return the mean absolute seasonal difference over the scale window that ends at the row. Shape [rows]."""
        rows, season_length = np.arange(len(self.y)), self.spec.season_length
        series = np.repeat(np.arange(len(self.ends)), np.diff(self.starts))
        errors = np.abs(self.y - self._values_at(series, rows - season_length))
        first_times = times[np.minimum(self.starts[:-1], len(times) - 1)]
        first_steps = step_indices(first_times, task.frequency)
        return rolling(errors, self.spec.scale_window, ("mean",), self.starts, first_steps)["mean"]

    def origins(self, min_history: int) -> tuple[Integers, Integers]:
        """Return per series the first row that may be an origin, after `min_history` steps, and their number.

        The horizon of each lies within the history. Shapes [series].
        """
        lengths = self.ends - self.starts[:-1]
        first = np.minimum(min_history, np.maximum(lengths - self.spec.h - 1, 0))
        return self.starts[:-1] + first, np.maximum(lengths - self.spec.h - first, 0)

    def take(self, series: Integers, origin: Integers, step: Integers) -> Samples:
        """Return the samples of these series, origins (rows, the last one known) and steps. Shapes [samples]."""
        spec = self.spec
        state = origin + 1  # the row whose features are as of the origin
        local_mean, local_std = self._local_scale({spec.scale_window, *spec.windows}, state)
        # A constant series gets a thousandth of its size as its unit, so that nothing is divided by zero.
        tiny = self.tiny[series]
        smallest_std = np.maximum(
            np.minimum(np.abs(np.nan_to_num(local_mean)) * 1e-3, self.flat[series]), tiny
        )
        local_std = np.maximum(np.nan_to_num(local_std), smallest_std)
        phases = self._phases(series, origin, step)  # [_PHASES, samples]
        local_mean = np.where(np.isfinite(local_mean), local_mean, np.nan_to_num(_mean(phases)))
        seasonal_naive = np.where(np.isfinite(phases[0]), phases[0], local_mean)

        levels = self._seasonal_values(series, origin, step)
        levels += [_mean(np.vstack([phases, local_mean]))]
        levels += [self.columns[f"y_lag{number + 1}"][state] for number in range(_NEWEST)]
        features: list[Floats] = [step.astype(np.float64)]
        features += [(values - local_mean) / local_std for values in levels]
        for window in spec.windows:
            mean, std = (self.columns[f"{Y}_{name}{window}_lag1"] for name in ("mean", "std"))
            earlier = self._values_after_start(mean, series, state - window)
            features += [(mean[state] - local_mean) / local_std, std[state] / local_std]
            features += [(earlier - local_mean) / local_std]
        error = self.seasonal_abs_error[origin]
        error = np.where(np.isfinite(error), np.maximum(error, 1e-2 * local_std), local_std)
        size = np.abs(local_mean)
        features += [np.log1p(size), local_std / np.maximum(size, tiny), error / local_std]
        features += list(self._covariates(series, origin, step))
        matrix = np.column_stack([column.astype(np.float32) for column in features])
        return Samples(matrix, local_mean, local_std, seasonal_naive, error, self.y[origin + step])

    def _seasonal_values(self, series: Integers, origin: Integers, step: Integers) -> list[Floats]:
        """Return the target's phase in the latest seasons known, for each season of the spec. Shapes [samples]."""
        values = []
        for season in self.spec.seasons:
            latest = origin + step - season.length * (-(-step // season.length))
            values += [
                self._values_at(series, latest - number * season.length) for number in range(season.count)
            ]
        return values

    def _values_after_start(self, values: Floats, series: Integers, rows: Integers) -> Floats:
        """Return the values of these rows, NaN at or before the first row of their series. Shape [samples]."""
        inside = rows > self.starts[:-1][series]
        return np.where(inside, values[np.where(inside, rows, 0)], np.nan)

    def _covariates(self, series: Integers, origin: Integers, step: Integers) -> Iterator[Floats]:
        """Yield the calendar, known-future, observed (as of the origin) and static columns. Shapes [samples]."""
        spec, target = self.spec, origin + step
        for field in spec.state.calendar:
            yield self.columns[f"cal_{field}"][target]
        for column in spec.state.futr:
            yield from self._future_covariate(column, series, origin, step)
        for column in spec.state.hist:
            yield self.columns[f"hist_{column}_lag1"][origin + 1]
            yield self.columns[f"{column}_mean{max(spec.season_length, 2)}_lag1"][origin + 1]
        for column in spec.state.static:
            yield self.columns[f"stat_{column}"][target]

    def _future_covariate(
        self, column: str, series: Integers, origin: Integers, step: Integers
    ) -> Iterator[Floats]:
        """Yield a covariate at the target, around it, and in the latest two seasons known. Shapes [samples]."""
        spec, target, values = self.spec, origin + step, self.columns[f"futr_{column}"]
        at_target = values[target]
        yield at_target
        for steps in _SHIFTS:
            yield self._values_at(series, target - steps, values, last=origin + spec.h)
        reference = target - spec.season_length * (-(-step // spec.season_length))
        last_season = self._values_at(series, reference, values)
        second_last = self._values_at(series, reference - spec.season_length, values)
        yield from (last_season, second_last, at_target - last_season)
        if column in spec.state.categories:
            return
        mean, std = (
            self.columns[f"{column}_{name}{spec.scale_window}_lag1"][origin + 1] for name in ("mean", "std")
        )
        std = np.where(std > 1e-9 * np.abs(mean), std, np.nan)
        yield from ((at_target - mean) / std, (at_target - last_season) / std)

    def _local_scale(self, windows: Set[int], state: Integers) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of y over the widest window that the series fills. Shapes [samples]."""
        mean, std = np.full(len(state), np.nan), np.full(len(state), np.nan)
        for window in sorted(windows, reverse=True):
            for statistic, name in ((mean, "mean"), (std, "std")):
                values = self.columns[f"{Y}_{name}{window}_lag1"][state]
                np.copyto(statistic, values, where=np.isnan(statistic))
        return mean, std

    def _phases(self, series: Integers, origin: Integers, step: Integers) -> Floats:
        """Return the same phase of the latest seasons known at the origin. Shape [_PHASES, samples]."""
        season_length = self.spec.season_length
        latest = origin + step - season_length * (-(-step // season_length))
        return np.stack(
            [self._values_at(series, latest - number * season_length) for number in range(_PHASES)]
        )

    def _values_at(
        self, series: Integers, rows: Integers, values: Floats | None = None, last: Integers | None = None
    ) -> Floats:
        """Return the values (absent: y) of these rows, NaN before their series and after `last`. Shape [rows]."""
        values = self.y if values is None else values
        inside = rows >= self.starts[:-1][series]
        if last is not None:
            inside &= rows <= last
        return np.where(inside, values[np.where(inside, rows, 0)], np.nan)


def _mean(values: Floats) -> Floats:
    """Return the mean over the first axis without missing values, NaN where all are. Shape [samples]."""
    observed = np.isfinite(values)
    count = observed.sum(axis=0)
    total: Floats = np.where(observed, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _floats(frame: pa.Table, name: str) -> Floats:
    column = frame[name].combine_chunks() if isinstance(frame[name], pa.ChunkedArray) else frame[name]
    values: Floats = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values
