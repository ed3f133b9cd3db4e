"""Turns a forecast request into what models take, and what they say into the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantis.errors import InvalidInput
from quantis.frequency import to_datetime64
from quantis.panel import DS, ID, TIMESTAMP, Panel, Snapshot, Task, Y, times_of, timestamps
from quantis.types.arrays import Times
from quantis.types.forecasts import ForecastRequest, SeriesRequest

MOST_STEPS = 100_000
_LATEST = np.datetime64("2262-01-01", "us")


def wanted_quantiles(request: ForecastRequest, task: Task) -> tuple[float, ...]:
    """The quantiles asked for; InvalidInput for one beyond those that the model was trained for."""
    if request.level is not None:
        tails = sorted({round(side, 6) for level in request.level for side in _tails(level)} | {0.5})
        asked: Sequence[float] = tails
    else:
        asked = sorted(set(request.quantiles)) if request.quantiles else task.quantiles
    low, high = min(task.quantiles), max(task.quantiles)
    for quantile in asked:
        if not low <= quantile <= high:
            raise InvalidInput(
                f"quantile {quantile:g} is outside what the model was trained for ({low:g} to {high:g}); "
                "ask for less, or train with more quantiles"
            )
    return tuple(asked)


def start_of(series: SeriesRequest, task: Task) -> np.datetime64 | None:
    """When the forecast of a series without a value is to begin; InvalidInput where it would pass the year 2261."""
    if series.start is None:
        return None
    start = to_datetime64(series.start)
    if task.frequency.after(start, task.h)[-1] >= _LATEST:
        raise InvalidInput(
            f"series {series.unique_id!r}: a forecast from {start} would pass the year 2261; start earlier"
        )
    return start


def _tails(level: float) -> tuple[float, float]:
    return (100 - level) / 200, (100 + level) / 200


@dataclass(frozen=True)
class RequestHistory:
    """A series that brings its history; covariates that it lacks come from `stored` where there are any.

    `steps` are asked for: known-future covariates are needed for these, not for the model's whole horizon.
    """

    request: SeriesRequest
    task: Task
    stored: Panel | None
    steps: int

    def snapshot(self) -> Snapshot | None:
        """Its snapshot; None without a single row. InvalidInput when its times do not fit the frequency."""
        times = self._times()
        if len(times) == 0:
            return None
        frequency = self.task.frequency
        places = frequency.steps_between(times[0], times)
        if np.any(places < 0) or np.any(np.diff(places) <= 0):
            raise InvalidInput(
                f"series {self.request.unique_id!r}: its times do not rise in steps of {frequency.alias}; "
                "send them sorted, once each, on the grid"
            )
        ahead = frequency.after(times[-1], self.task.h)
        if places[-1] >= MOST_STEPS or ahead[-1] >= _LATEST:
            raise InvalidInput(
                f"series {self.request.unique_id!r}: its times span {places[-1] + 1} steps up to {times[-1]}; "
                f"send at most {MOST_STEPS}, and none whose forecast would pass the year 2261"
            )
        grid = frequency.grid(times[0], times[-1])
        history = {
            ID: self._ids(len(grid)),
            DS: timestamps(grid),
            Y: self._spread(Y, self.request.y or [], places, grid),
        }
        for name in self.task.roles.hist_exog:
            values = self.request.hist_exog.get(name)
            history[name] = (
                self._spread(name, self._checked(name, values, len(times)), places, grid)
                if values is not None
                else self._from_store("target", name, grid)
            )
        future: dict[str, Any] = {ID: self._ids(len(ahead)), DS: timestamps(ahead)}
        for name in self.task.roles.futr_exog:
            history[name], future[name] = self._known_future(name, times, places, grid, ahead)
        return Snapshot(pa.table(history), pa.table(future), self._static())

    def _times(self) -> Times:
        request = self.request
        if not request.y:
            return np.zeros(0, "datetime64[us]")
        if request.ds is not None:
            return np.array([to_datetime64(moment) for moment in request.ds], "datetime64[us]")
        assert request.start is not None
        start = to_datetime64(request.start)
        return self.task.frequency.range(start, len(request.y))

    def _known_future(
        self, name: str, times: Times, places: Any, grid: Times, ahead: Times
    ) -> tuple[pa.Array, pa.Array]:
        values = self.request.futr_exog.get(name)
        if values is None:
            return self._from_store("future", name, grid), self._from_store("future", name, ahead)
        for steps in (len(ahead), self.steps):
            rest = [None] * (len(ahead) - steps)  # not asked for
            if len(values) == len(times) + steps:
                past = self._spread(name, values[: len(times)], places, grid)
                return past, self._typed(name, [*values[len(times) :], *rest])
            if len(values) == steps:
                return self._from_store("future", name, grid), self._typed(name, [*values, *rest])
        raise InvalidInput(
            f"series {self.request.unique_id!r}: {name} has {len(values)} values and needs {self.steps}, "
            f"or {len(times) + self.steps} with its history"
        )

    def _checked(self, name: str, values: Sequence[Any], steps: int) -> Sequence[Any]:
        if len(values) != steps:
            raise InvalidInput(
                f"series {self.request.unique_id!r}: {name} has {len(values)} values and needs {steps}"
            )
        return values

    def _ids(self, count: int) -> pa.Array:
        return pa.array([self.request.unique_id] * count, pa.string())

    def _spread(self, name: str, values: Sequence[Any], places: Any, grid: Times) -> pa.Array:
        spread: list[Any] = [None] * len(grid)
        for place, value in zip(places.tolist(), values, strict=True):
            spread[place] = value
        return self._typed(name, spread)

    def _typed(self, name: str, values: Sequence[Any]) -> pa.Array:
        kind = pa.string() if name in self.task.roles.categorical else pa.float64()
        try:
            return pa.array(values, kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise InvalidInput(
                f"series {self.request.unique_id!r}: {name} holds a value that is not a {kind}"
            ) from error

    def _from_store(self, group: str, name: str, times: Times) -> pa.Array:
        table = getattr(self.stored, group) if self.stored else None
        if table is None or name not in table.column_names:
            return self._typed(name, [None] * len(times))
        known = dict(zip(times_of(table[DS]).tolist(), table[name].to_pylist(), strict=True))
        return self._typed(name, [known.get(moment) for moment in times.tolist()])

    def _static(self) -> pa.Table:
        stored = self.stored.static.to_pylist() if self.stored and self.stored.static.num_rows else [{}]
        columns: dict[str, Any] = {ID: self._ids(1)}
        for name in self.task.roles.stat_exog:
            value = self.request.stat_exog.get(name, stored[0].get(name))
            columns[name] = self._typed(name, [value])
        return pa.table(columns)


def join(snapshots: Sequence[Snapshot]) -> Snapshot:
    """Snapshots of different series as one, sorted by id."""
    order = [(ID, "ascending"), (DS, "ascending")]
    return Snapshot(
        history=pa.concat_tables([one.history for one in snapshots], promote_options="default").sort_by(
            order
        ),
        future=pa.concat_tables([one.future for one in snapshots], promote_options="default").sort_by(order),
        static=pa.concat_tables([one.static for one in snapshots], promote_options="default").sort_by(ID),
    )


def only(panel: Panel | None, unique_id: str) -> Panel | None:
    """One series of a panel."""
    if panel is None:
        return None
    mine = pc.field(ID) == unique_id
    return Panel(panel.target.filter(mine), panel.future.filter(mine), panel.static.filter(mine))


def empty_snapshot(task: Task) -> Snapshot:
    ids, times = pa.array([], pa.string()), pa.array([], TIMESTAMP)
    return Snapshot(
        history=pa.table({ID: ids, DS: times, Y: pa.array([], pa.float64())}),
        future=pa.table({ID: ids, DS: times}),
        static=pa.table({ID: ids}),
    )
