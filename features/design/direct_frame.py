"""The anchored frame: samples of (series, origin, step), each seen from its origin and on its own scale.

A sample asks for the value of one series `step` steps after one origin. It is described by what was known
at the origin, relative to the series' recent level and in units of its recent spread, and by what is known
about the target's time: calendar, known-future covariates, the same phase of earlier seasons. So one model
serves every step of the horizon with the newest values, and series of any size learn from each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from features.design.design_frame import FeatureSpec, default_spec, design
from features.design.row_layout import RowLayout, step_indices
from features.rolling.numpy_kernel import rolling
from features.rolling.terms import Statistic, Term, TrailingWindow
from quantis.panel import ID, Snapshot, Task, Y
from quantis.types.arrays import Floats, Integers, Times
from quantis.types.base import Frozen

_NEIGHBOURS = (-1, 1, 2, 3)
"""Steps by which a known-future covariate is also seen late (1 is the step before) or early."""
_PHASES = 8
"""Earlier seasons whose same phase is averaged."""
_NEWEST = 4
_YEARLY = frozenset({"day", "month", "day_of_year"})
_YEAR = {"D": 364, "B": 260, "W": 52, "h": 8736, "MS": 12, "ME": 12, "QS": 4, "QE": 4}
_MIN_LEVEL = 8


class Season(Frozen):
    """A season of `length` steps, seen `count` times."""

    length: int = Field(ge=1)
    count: int = Field(ge=1)


class DirectSpec(Frozen):
    """Which columns the frame has; kept with the model, so that requests get the same ones."""

    state: FeatureSpec = Field(description="Per row, what was known one step before, and the row's own time.")
    h: int = Field(ge=1)
    seasons: tuple[Season, ...]
    level: int = Field(ge=2, description="The window whose mean and spread are the scale.")
    windows: tuple[int, ...]

    @property
    def season(self) -> int:
        return self.seasons[0].length

    @property
    def context_length(self) -> int:
        """Steps of history from which the frame of the horizon comes out as from the whole."""
        lags = [one.length * (-(-self.h // one.length) + one.count - 1) for one in self.seasons]
        phases = self.season * (-(-self.h // self.season) + _PHASES - 1)
        return max(*lags, phases, self.level + self.season, *(2 * window for window in self.windows), _NEWEST)

    @property
    def names(self) -> tuple[str, ...]:
        """The feature columns, in order."""
        own = [f"season{one.length}_{k + 1}" for one in self.seasons for k in range(one.count)]
        shapes = [f"{what}{window}" for window in self.windows for what in ("mean", "std", "mean_before")]
        known = [
            name
            for column in self.state.futr
            for name in (
                f"futr_{column}",
                *(f"futr_{column}_by{k}" for k in _NEIGHBOURS),
                *(f"futr_{column}_{what}" for what in ("season1", "season2", "change")),
                *(f"futr_{column}_{what}" for what in self._relative(column)),
            )
        ]
        seen = [f"hist_{column}_{what}" for column in self.state.hist for what in ("last", "mean")]
        return (
            "step",
            *own,
            "phase_mean",
            *(f"newest{k + 1}" for k in range(_NEWEST)),
            *shapes,
            "size",
            "variation",
            "unrest",
            *(f"cal_{field}" for field in self.state.calendar),
            *known,
            *seen,
            *(f"stat_{column}" for column in self.state.static),
        )

    def _relative(self, column: str) -> tuple[str, ...]:
        return () if column in self.state.categories else ("relative", "relative_change")

    @property
    def categorical(self) -> tuple[str, ...]:
        """The feature columns that hold codes, not quantities."""
        coded = self.state.categories
        return (
            *(f"futr_{column}" for column in self.state.futr if column in coded),
            *(f"stat_{column}" for column in self.state.static if column in coded),
        )


def direct_spec(task: Task, snapshot: Snapshot, covariates: bool = True) -> DirectSpec:
    """The spec that suits a task and the lengths of its histories; categories come from the snapshot."""
    base = default_spec(task, snapshot)
    lengths = np.diff(RowLayout.from_snapshot(snapshot).starts) - task.h
    usual = int(np.median(lengths)) if len(lengths) else 0
    seasons = [m for m in task.season_lengths if m == task.season_lengths[0] or 2 * m + task.h <= usual]
    widest = next((m for m in reversed(seasons) if 4 * m <= usual), seasons[0])
    level = max(2 * widest, _MIN_LEVEL)
    year = _YEAR.get(task.freq, 0)
    shown = [Season(length=m, count=4 if place == 0 else 2) for place, m in enumerate(seasons)]
    if year and year not in seasons and usual > year + task.h + year // 4:
        shown.append(Season(length=year, count=1))
    windows = tuple(sorted({*seasons, *(2 * m for m in seasons), max(4, seasons[0] // 2)} - {0, 1}))
    calendar = base.calendar if usual >= 2 * year else tuple(f for f in base.calendar if f not in _YEARLY)
    hist = tuple(c for c in task.roles.hist_exog if c not in task.roles.categorical) if covariates else ()
    quantities = [c for c in task.roles.futr_exog if covariates and c not in task.roles.categorical]
    terms = [_seen(w, "mean", "std") for w in sorted({*windows, level})]
    terms += [
        _seen(w, "mean", "std", column=c) for c in quantities for w in sorted({level, max(seasons[0], 2)})
    ]
    terms += [_seen(max(seasons[0], 2), "mean", column=c) for c in hist]
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
    return DirectSpec(state=state, h=task.h, seasons=tuple(shown), level=level, windows=windows)


def _seen(window: int, *statistics: Statistic, column: str = Y) -> Term:
    """Statistics of the window that ends one step before the row."""
    return Term(column=column, window=TrailingWindow(offset=1, window=window, statistics=statistics))


@dataclass(frozen=True)
class Samples:
    """Samples and what undoes their scale: a value is `level + spread * z`, or `season + unrest * z`."""

    matrix: npt.NDArray[np.float32]  # [samples, features]
    level: Floats  # the series' mean over the level window at the origin, [samples]
    spread: Floats  # its standard deviation there, never zero, [samples]
    season: Floats  # the same phase of the latest season known at the origin, [samples]
    unrest: Floats  # how far the series lies from its last season on average, never zero, [samples]
    y: Floats  # the value asked for, NaN where it is not known, [samples]


class DirectFrame:
    """A snapshot laid out once, from which any samples can be taken."""

    def __init__(self, snapshot: Snapshot, task: Task, spec: DirectSpec) -> None:
        self.spec = spec
        layout = RowLayout.from_snapshot(snapshot)
        frame = design(snapshot, task, spec.state)
        self.starts = layout.starts
        self.ends = layout.starts[1:] - (task.h if snapshot.future.num_rows else 0)
        self.columns = {name: _floats(frame, name) for name in spec.state.names}
        self.y = _floats(frame, Y)
        self.unrest = self._seasonal_abs_error(layout.times(snapshot), task)

    @classmethod
    def horizon(cls, snapshot: Snapshot, task: Task, spec: DirectSpec) -> Samples:
        """The samples of every step to forecast, in the order of `snapshot.future`."""
        frame = cls(snapshot, task, spec)
        ids = RowLayout.from_snapshot(snapshot).names.to_pylist()
        place = {name: i for i, name in enumerate(ids)}
        asked = [place[name] for name in dict.fromkeys(snapshot.future[ID].to_pylist())]
        series = np.repeat(np.array(asked, np.int64), spec.h)
        steps = np.tile(np.arange(1, spec.h + 1), len(asked))
        return frame.take(series, frame.ends[series] - 1, steps)

    def _seasonal_abs_error(self, times: Times, task: Task) -> Floats:
        """The mean size of the seasonal difference over the level window that ends at the row. Shape [rows]."""
        rows, m = np.arange(len(self.y)), self.spec.season
        series = np.repeat(np.arange(len(self.ends)), np.diff(self.starts))
        size = np.abs(self.y - self._at(series, rows - m))
        ticks = step_indices(times[np.minimum(self.starts[:-1], len(times) - 1)], task.frequency)
        return rolling(size, self.spec.level, ("mean",), self.starts, ticks)["mean"]

    def origins(self, least: int) -> tuple[Integers, Integers]:
        """Per series the first row that may be an origin, after `least` steps, and how many follow.

        The horizon of each lies within the history. Shapes [series].
        """
        lengths = self.ends - self.starts[:-1]
        first = np.minimum(least, np.maximum(lengths - self.spec.h - 1, 0))
        return self.starts[:-1] + first, np.maximum(lengths - self.spec.h - first, 0)

    def take(self, series: Integers, origin: Integers, step: Integers) -> Samples:
        """The samples of these series, origins (rows, the last one known) and steps. Shapes [samples]."""
        spec, y = self.spec, self.y
        state = origin + 1
        level, spread = self._scale(Y, {spec.level, *spec.windows}, state)
        spread = np.maximum(np.nan_to_num(spread), np.maximum(np.abs(np.nan_to_num(level)) * 1e-3, 1e-9))
        phases = self._phases(series, origin, step)
        level = np.where(np.isfinite(level), level, np.nan_to_num(_mean(phases)))
        season = np.where(np.isfinite(phases[0]), phases[0], level)
        known: list[Floats] = [step.astype(np.float64)]
        relative = [
            self._at(series, origin + step - one.length * (-(-step // one.length) + k))
            for one in spec.seasons
            for k in range(one.count)
        ]
        relative += [_mean(np.vstack([phases, level]))]
        relative += [self.columns[f"y_lag{k + 1}"][state] for k in range(_NEWEST)]
        known += [(value - level) / spread for value in relative]
        for window in spec.windows:
            mean, std = (self.columns[f"{Y}_{name}{window}_lag1"] for name in ("mean", "std"))
            before = state - window
            inside = before > self.starts[:-1][series]
            earlier = np.where(inside, mean[np.where(inside, before, 0)], np.nan)
            known += [(mean[state] - level) / spread, std[state] / spread, (earlier - level) / spread]
        unrest = self.unrest[origin]
        unrest = np.where(np.isfinite(unrest), np.maximum(unrest, 1e-2 * spread), spread)
        known += [np.log1p(np.abs(level)), spread / np.maximum(np.abs(level), 1e-9), unrest / spread]
        known += list(self._around(series, origin, step))
        matrix = np.column_stack([column.astype(np.float32) for column in known])
        return Samples(matrix, level, spread, season, unrest, y[origin + step])

    def _around(self, series: Integers, origin: Integers, step: Integers) -> Iterator[Floats]:
        """What is known of the target's time and of the series, and the observed covariates at the origin."""
        spec, target = self.spec, origin + step
        for field in spec.state.calendar:
            yield self.columns[f"cal_{field}"][target]
        last = origin + spec.h
        reference = target - spec.season * (-(-step // spec.season))
        for column in spec.state.futr:
            values = self.columns[f"futr_{column}"]
            now = values[target]
            yield now
            for steps in _NEIGHBOURS:
                yield self._at(series, target - steps, values, last)
            one, two = (self._at(series, reference - k * spec.season, values) for k in (0, 1))
            yield from (one, two, now - one)
            if column not in spec.state.categories:
                mean, std = (
                    self.columns[f"{column}_{s}{spec.level}_lag1"][origin + 1] for s in ("mean", "std")
                )
                std = np.where(std > 1e-9 * np.abs(mean), std, np.nan)
                yield from ((now - mean) / std, (now - one) / std)
        for column in spec.state.hist:
            yield self.columns[f"hist_{column}_lag1"][origin + 1]
            yield self.columns[f"{column}_mean{max(spec.season, 2)}_lag1"][origin + 1]
        for column in spec.state.static:
            yield self.columns[f"stat_{column}"][target]

    def _scale(self, column: str, windows: Set[int], state: Integers) -> tuple[Floats, Floats]:
        """Mean and standard deviation over the widest window that the series fills. Shapes [samples]."""
        mean, std = np.full(len(state), np.nan), np.full(len(state), np.nan)
        for window in sorted(windows, reverse=True):
            for known, name in ((mean, "mean"), (std, "std")):
                np.copyto(known, self.columns[f"{column}_{name}{window}_lag1"][state], where=np.isnan(known))
        return mean, std

    def _phases(self, series: Integers, origin: Integers, step: Integers) -> Floats:
        """The same phase of the latest seasons that are known at the origin. Shape [_PHASES, samples]."""
        m = self.spec.season
        latest = origin + step - m * (-(-step // m))
        return np.stack([self._at(series, latest - k * m) for k in range(_PHASES)])

    def _at(
        self, series: Integers, rows: Integers, values: Floats | None = None, last: Integers | None = None
    ) -> Floats:
        """The values of these rows, NaN before their series and, where it is given, after `last`. Shape [rows]."""
        values = self.y if values is None else values
        inside = rows >= self.starts[:-1][series]
        if last is not None:
            inside &= rows <= last
        return np.where(inside, values[np.where(inside, rows, 0)], np.nan)


def _mean(values: Floats) -> Floats:
    """The mean of the first axis without what is missing, NaN where all of it is. Shape [samples]."""
    there = np.isfinite(values)
    count = there.sum(axis=0)
    total: Floats = np.where(there, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _floats(frame: pa.Table, name: str) -> Floats:
    column = frame[name].combine_chunks() if isinstance(frame[name], pa.ChunkedArray) else frame[name]
    values: Floats = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values
