"""Histories and quantiles of a forecast request, checked and turned into what models take."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantis.errors import InvalidInput
from quantis.frequency import Frequency, to_datetime64
from quantis.panel import DS, ID, TIMESTAMP, Panel, Snapshot, Task, Y, times_of, timestamps
from quantis.types.arrays import Times
from quantis.types.base import END_TIMESTAMP, MAX_HISTORY
from quantis.types.forecasts import ForecastRequest, Reason, SeriesRequest
from serve.forecasting.sent_covariates import check_lengths, typed_values

_END = to_datetime64(END_TIMESTAMP)


def requested_quantiles(request: ForecastRequest, task: Task) -> tuple[float, ...]:
    """Return the requested quantiles, sorted; InvalidInput outside the range that the model was trained for."""
    if request.level is not None:
        tails = sorted({round(side, 6) for level in request.level for side in _tails(level)} | {0.5})
        quantiles: Sequence[float] = tails
    else:
        quantiles = sorted(set(request.quantiles)) if request.quantiles else task.quantiles
    low, high = min(task.quantiles), max(task.quantiles)
    for quantile in quantiles:
        if not low <= quantile <= high:
            raise InvalidInput(
                f"quantile {quantile:g} is outside what the model was trained for ({low:g} to {high:g}); "
                "ask for less, or train with more quantiles"
            )
    return tuple(quantiles)


class UnusableHistoryError(Exception):
    """A history that no method can forecast; the other series of its request are answered."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def forecast_start(series: SeriesRequest, task: Task) -> np.datetime64 | None:
    """Return the first step of a forecast for a series without values; UnusableHistoryError past the year 2261."""
    if series.start is None:
        return None
    start = to_datetime64(series.start)
    _require_calendar(series.unique_id, "start", start, task.frequency)
    if task.frequency.after(start, task.h)[-1] >= _END:
        raise UnusableHistoryError(
            Reason.out_of_range,
            f"series {series.unique_id!r}: a forecast from {start} would pass the year 2261; start earlier",
        )
    return start


def _require_calendar(unique_id: str, field: str, time: np.datetime64, frequency: Frequency) -> None:
    """Raise UnusableHistoryError for a time that is no step of the calendar: a 31st of months, a Sunday of Mondays."""
    if not frequency.is_on_calendar(np.array([time]))[0]:
        before, after = (nearest.astype("datetime64[s]") for nearest in frequency.calendar_neighbours(time))
        raise UnusableHistoryError(
            Reason.off_grid,
            f"series {unique_id!r}: {field} {time.astype('datetime64[s]')}Z is no step of {frequency.alias}; the "
            f"nearest are {before}Z and {after}Z",
        )


def _tails(level: float) -> tuple[float, float]:
    return (100 - level) / 200, (100 + level) / 200


@dataclass(frozen=True)
class RequestHistory:
    """A requested series that brings its own history; the names of its covariates are checked (`check_covariates`).

    Covariates that it lacks come from `stored`. Known-future covariates are needed for the `steps` requested,
    not for the model's whole horizon.
    """

    request: SeriesRequest
    task: Task
    stored: Panel | None
    steps: int

    def snapshot(self) -> Snapshot | None:
        """Return its snapshot, None without a row; UnusableHistoryError when its times do not fit the frequency."""
        times = self._times()
        if len(times) == 0:
            return None
        frequency = self.task.frequency
        _require_calendar(
            self.request.unique_id, "start" if self.request.start else "ds", times[0], frequency
        )
        positions = frequency.steps_between(times[0], times)
        if np.any(positions < 0) or np.any(np.diff(positions) <= 0):
            raise UnusableHistoryError(
                Reason.off_grid,
                f"series {self.request.unique_id!r}: its times do not rise in steps of {frequency.alias}; "
                "send them sorted, once each, on the grid",
            )
        horizon = frequency.after(times[-1], self.task.h)
        if positions[-1] >= MAX_HISTORY or horizon[-1] >= _END:
            raise UnusableHistoryError(
                Reason.out_of_range,
                f"series {self.request.unique_id!r}: its times span {positions[-1] + 1} steps up to {times[-1]}; "
                f"send at most {MAX_HISTORY}, and none whose forecast would pass the year 2261",
            )
        grid = frequency.grid(times[0], times[-1])
        check_lengths(self.request, self.task, self.steps)
        # Cells of steps that the request leaves out are null: histories need not be gapless.
        history = {
            ID: self._ids(len(grid)),
            DS: timestamps(grid),
            Y: self._on_grid(Y, self.request.y or [], positions, grid),
        }
        for name in self.task.roles.hist_exog:
            values = self.request.hist_exog.get(name)
            history[name] = (
                self._on_grid(name, values, positions, grid)
                if values is not None
                else self._from_store("target", name, grid)
            )
        future: dict[str, Any] = {ID: self._ids(len(horizon)), DS: timestamps(horizon)}
        for name in self.task.roles.futr_exog:
            history[name], future[name] = self._known_future(name, times, positions, grid, horizon)
        return Snapshot(pa.table(history), pa.table(future), self._static())

    def _times(self) -> Times:
        request = self.request
        if not request.y:
            return np.zeros(0, "datetime64[us]")
        if request.ds is not None:
            return np.array([to_datetime64(timestamp) for timestamp in request.ds], "datetime64[us]")
        assert request.start is not None
        start = to_datetime64(request.start)
        _require_calendar(request.unique_id, "start", start, self.task.frequency)
        return self.task.frequency.range(start, len(request.y))

    def _known_future(
        self, name: str, times: Times, positions: Any, grid: Times, horizon: Times
    ) -> tuple[pa.Array, pa.Array]:
        """Return a covariate over history and horizon; what the request leaves out comes from the store."""
        values = self.request.futr_exog.get(name, [])
        # Values are of the horizon, of history and horizon, or of the history alone, by their number.
        observed = 0 if len(values) in (self.steps, len(horizon)) else len(times) if values else 0
        history, future = values[:observed], values[observed:]
        padding = [None] * (len(horizon) - len(future))  # beyond the steps requested
        return (
            self._on_grid(name, history, positions, grid)
            if history
            else self._from_store("future", name, grid),
            self._to_array(name, [*future, *padding])
            if future
            else self._from_store("future", name, horizon),
        )

    def _ids(self, count: int) -> pa.Array:
        return pa.array([self.request.unique_id] * count, pa.string())

    def _on_grid(self, name: str, values: Sequence[Any], positions: Any, grid: Times) -> pa.Array:
        cells: list[Any] = [None] * len(grid)
        for position, value in zip(positions.tolist(), values, strict=True):
            cells[position] = value
        return self._to_array(name, cells)

    def _to_array(self, name: str, values: Sequence[Any]) -> pa.Array:
        return typed_values(self.request.unique_id, name, values, self.task)

    def _from_store(self, group: str, name: str, times: Times) -> pa.Array:
        table = getattr(self.stored, group) if self.stored else None
        if table is None or name not in table.column_names:
            return self._to_array(name, [None] * len(times))
        values = dict(zip(times_of(table[DS]).tolist(), table[name].to_pylist(), strict=True))
        return self._to_array(name, [values.get(timestamp) for timestamp in times.tolist()])

    def _static(self) -> pa.Table:
        stored = self.stored.static.to_pylist() if self.stored and self.stored.static.num_rows else [{}]
        columns: dict[str, Any] = {ID: self._ids(1)}
        for name in self.task.roles.stat_exog:
            value = self.request.stat_exog.get(name, stored[0].get(name))
            columns[name] = self._to_array(name, [value])
        return pa.table(columns)


def concat_snapshots(snapshots: Sequence[Snapshot]) -> Snapshot:
    """Concatenate snapshots of different series, sorted by id and time."""
    by_time = [(ID, "ascending"), (DS, "ascending")]
    history = pa.concat_tables([item.history for item in snapshots], promote_options="default")
    future = pa.concat_tables([item.future for item in snapshots], promote_options="default")
    static = pa.concat_tables([item.static for item in snapshots], promote_options="default")
    return Snapshot(history.sort_by(by_time), future.sort_by(by_time), static.sort_by(ID))


def select_series(panel: Panel, ids: Set[str]) -> Panel:
    """Return the rows of some series of a panel."""
    is_series = pc.field(ID).isin(pa.array(sorted(ids), pa.string()))
    return Panel(
        panel.target.filter(is_series), panel.future.filter(is_series), panel.static.filter(is_series)
    )


def empty_snapshot(task: Task) -> Snapshot:
    ids, times = pa.array([], pa.string()), pa.array([], TIMESTAMP)
    return Snapshot(
        history=pa.table({ID: ids, DS: times, Y: pa.array([], pa.float64())}),
        future=pa.table({ID: ids, DS: times}),
        static=pa.table({ID: ids}),
    )
