"""Snapshots of what was known at a cutoff, on the regular grid, from a panel or from the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.store.panel_store import PanelStore, VersionPins
from features.store.record_filter import Bounds
from quantis.errors import InvalidInput
from quantis.frequency import Frequency, to_datetime, to_datetime64
from quantis.panel import DS, ID, Panel, Snapshot, Task, Y, max_grid_steps, times_of, timestamps
from quantis.types.arrays import Integers, Mask, Times


def snapshot_at(panel: Panel, cutoff: np.datetime64, task: Task) -> Snapshot:
    """Return the snapshot whose histories end at `cutoff`, the last `ds` known.

    A series starts at its first row, missing steps are inserted with null values, and one that ends
    before the cutoff is padded with nulls up to it, so that all series share the `task.h` steps
    that follow. A series without a row up to the cutoff is left out. Rows off a series' grid are
    left out; a series whose grid does not meet the cutoff ends at its last step before it.
    """
    return _build_snapshot(panel, _rows_up_to(panel.target, cutoff), task, cutoff)


def snapshot_of_latest(panel: Panel, limit: np.datetime64, task: Task) -> Snapshot:
    """Return the snapshot in which the history of each series ends at its own last row up to `limit`.

    Neither the values of another series nor those after `limit` move the first step of a forecast.
    """
    return _build_snapshot(panel, _rows_up_to(panel.target, limit), task, None)


def _build_snapshot(panel: Panel, target: pa.Table, task: Task, cutoff: np.datetime64 | None) -> Snapshot:
    """Lay rows out on the grid up to the cutoff; None for each series' own last row."""
    target = target.sort_by([(ID, "ascending"), (DS, "ascending")])
    grid = _Grid.from_target(target, cutoff, task)
    frame = pa.table({ID: pa.array(grid.names).take(pa.array(grid.series)), DS: timestamps(grid.times)})
    for table, columns in ((target, (Y, *task.roles.hist_exog)), (panel.future, task.roles.futr_exog)):
        if not columns:
            continue
        rows = grid.rows_of(table)
        for name in columns:
            frame = frame.append_column(name, _take_or_null(table[name], rows))
    in_horizon = pa.array(grid.in_horizon)
    return Snapshot(
        history=frame.filter(pc.invert(in_horizon)),
        future=frame.filter(in_horizon).select([ID, DS, *task.roles.futr_exog]),
        static=_static(panel.static, grid.names, task),
    )


def cutoffs(last: np.datetime64, task: Task, n_windows: int, step_size: int) -> Times:
    """Return rolling-origin cutoffs, oldest first; the window of the last one ends at `last`. Shape [n_windows]."""
    steps_back = task.h + step_size * np.arange(n_windows - 1, -1, -1)
    return task.frequency.shift(np.full(n_windows, last, "datetime64[us]"), -steps_back)


def latest_known_ds(as_of: datetime, publication_lag: timedelta) -> np.datetime64:
    """Return the latest `ds` known at `as_of` by the publication lag; the grid may end before it."""
    return to_datetime64(as_of - publication_lag)


@dataclass(frozen=True)
class PanelSnapshots:
    """Snapshots of one panel as it is known now: later corrections are in them."""

    panel: Panel
    task: Task

    def __call__(self, cutoff: np.datetime64) -> Snapshot:
        return snapshot_at(self.panel, cutoff, self.task)

    def for_series(self, series: Sequence[str]) -> PanelSnapshots:
        """Return the snapshots of these series; only their rows are held."""
        names = pa.array(list(series), pa.string())
        tables = (self.panel.target, self.panel.future, self.panel.static)
        selected = [table.filter(pc.is_in(table[ID], value_set=names)) for table in tables]
        return PanelSnapshots(Panel(*selected), self.task)


@dataclass(frozen=True)
class VintageSnapshots:
    """Snapshots of the vintage at each cutoff plus the publication lag: later corrections are not in them."""

    store: PanelStore
    pins: VersionPins
    task: Task
    publication_lag: timedelta
    series: tuple[str, ...] | None = None

    def __call__(self, cutoff: np.datetime64) -> Snapshot:
        as_of = to_datetime(cutoff) + self.publication_lag
        panel = self.store.read(self.pins, as_of=as_of, bounds=Bounds(series=self.series))
        return snapshot_at(panel, cutoff, self.task)

    def for_series(self, series: Sequence[str]) -> VintageSnapshots:
        """Return the snapshots of these series; only their rows are read."""
        return replace(self, series=tuple(series))


@dataclass(frozen=True)
class _Grid:
    """The steps of all series, history and then horizon, series after series."""

    names: pa.Array
    first: Times  # [series]
    lengths: Integers  # steps of history, [series]
    h: int
    series: Integers  # the index in `names` of each row, [rows]
    times: Times  # [rows]
    in_horizon: Mask  # [rows]
    frequency: Frequency

    @classmethod
    def from_target(cls, target: pa.Table, cutoff: np.datetime64 | None, task: Task) -> _Grid:
        """Lay out the grid from each series' first row to the cutoff or its last row, and `task.h` steps beyond."""
        codes = target[ID].combine_chunks().dictionary_encode()
        indices = codes.indices.to_numpy(zero_copy_only=False)
        starts = np.flatnonzero(np.diff(indices, prepend=-1))
        times_in_target = times_of(target[DS])
        first = times_in_target[starts]
        own_last = times_in_target[np.append(starts[1:], len(indices)) - 1] if len(starts) else first
        last = own_last if cutoff is None else np.full(len(starts), cutoff, "datetime64[us]")
        frequency = task.frequency
        lengths = frequency.grid_lengths(first, last)
        _require_room(codes, first, lengths, task.freq)
        totals = lengths + task.h
        series = np.repeat(np.arange(len(first)), totals)
        # The step of each row within its series: a running number, less the rows of earlier series.
        steps = np.arange(int(totals.sum())) - np.repeat(np.cumsum(totals) - totals, totals)
        times = frequency.shift(first[series], steps)
        in_horizon = steps >= lengths[series]
        return cls(codes.dictionary, first, lengths, task.h, series, times, in_horizon, frequency)

    def rows_of(self, table: pa.Table) -> Integers:
        """Return the row of `table` with each step's series and time, -1 where there is none. Shape [rows]."""
        codes = pc.index_in(table[ID], self.names).fill_null(-1).to_numpy()
        in_grid = codes >= 0
        codes, times = codes[in_grid], times_of(table[DS])[in_grid]
        steps = self.frequency.steps_between(self.first[codes], times)
        totals = self.lengths + self.h
        inside = (steps >= 0) & (steps < totals[codes])
        rows = np.full(len(self.series), -1, dtype=np.int64)
        offsets = np.cumsum(totals) - totals
        rows[(offsets[codes] + steps)[inside]] = np.flatnonzero(in_grid)[inside]
        return rows


def _require_room(ids: pa.DictionaryArray, first: Times, lengths: Integers, freq: str) -> None:
    """Raise InvalidInput for a grid that memory cannot hold, as data of before may ask for."""
    steps, limit = int(lengths.sum()), max_grid_steps(len(ids))
    if steps > limit:
        longest = int(np.argmax(lengths))
        begin = first[longest].astype("datetime64[s]")
        raise InvalidInput(
            f"the series span {steps:,} steps of {freq}, more than the {limit:,} that so few rows may; "
            f"{ids.dictionary[longest]} alone spans {lengths[longest]:,} from {begin}Z on: delete it, or bring it anew "
            "without the time that stands apart"
        )


def _rows_up_to(target: pa.Table, cutoff: np.datetime64) -> pa.Table:
    return target.filter(pc.less_equal(target[DS], timestamps(np.array([cutoff]))[0]))


def _take_or_null(column: pa.ChunkedArray, rows: Integers) -> pa.ChunkedArray:
    """Return the column's values at `rows`, null where a row is -1."""
    return column.take(pa.array(rows, mask=rows < 0))


def _static(static: pa.Table, names: pa.Array, task: Task) -> pa.Table:
    """Return the static columns in the order of the series, null for one without a row."""
    index = pc.index_in(names, static[ID]).fill_null(-1)
    rows = index.to_numpy(zero_copy_only=False).astype(np.int64)
    columns = {name: _take_or_null(static[name], rows) for name in task.roles.stat_exog}
    return pa.table({ID: names, **columns})
