"""Snapshots: what was known at a cutoff, on the regular grid, from a panel or from the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.store.panel_store import PanelStore, VersionPins
from quantis.frequency import Frequency, to_datetime, to_datetime64
from quantis.panel import DS, ID, Panel, Snapshot, Task, Y, times_of, timestamps
from quantis.types.arrays import Integers, Times


def snapshot_at(panel: Panel, cutoff: np.datetime64, task: Task) -> Snapshot:
    """The snapshot whose histories end at `cutoff`, the last `ds` known.

    A series starts at its first row, missing steps are inserted with null values, and one that ends
    before the cutoff is padded with nulls up to it, so that all series share the `task.h` steps
    that follow. A series without a row up to the cutoff is left out. Rows off a series' grid are
    left out; a series whose grid does not meet the cutoff ends at its last step before it.
    """
    frequency = task.frequency
    target = _up_to(panel.target, cutoff).sort_by([(ID, "ascending"), (DS, "ascending")])
    grid = _Grid.of(target, cutoff, frequency, task.h)
    frame = pa.table({ID: pa.array(grid.names).take(pa.array(grid.series)), DS: timestamps(grid.times)})
    for rows, columns in ((target, (Y, *task.roles.hist_exog)), (panel.future, task.roles.futr_exog)):
        if not columns:
            continue
        place = grid.rows(rows)
        for name in columns:
            frame = frame.append_column(name, _taken(rows[name], place))
    ahead = pa.array(grid.ahead)
    return Snapshot(
        history=frame.filter(pc.invert(ahead)),
        future=frame.filter(ahead).select([ID, DS, *task.roles.futr_exog]),
        static=_static(panel.static, grid.names, task),
    )


def cutoffs(last: np.datetime64, task: Task, n_windows: int, step_size: int) -> Times:
    """Rolling-origin cutoffs, oldest first; the window of the last one ends at `last`. Shape [n_windows]."""
    back = task.h + step_size * np.arange(n_windows - 1, -1, -1)
    return task.frequency.shift(np.full(n_windows, last, "datetime64[us]"), -back)


def latest_known_ds(as_of: datetime, publication_lag: timedelta) -> np.datetime64:
    """The latest `ds` whose value is known at `as_of` by the publication lag; the grid may end before it."""
    return to_datetime64(as_of - publication_lag)


@dataclass(frozen=True)
class PanelSnapshots:
    """Snapshots of one panel as it is known now: later corrections shine through."""

    panel: Panel
    task: Task

    def __call__(self, cutoff: np.datetime64) -> Snapshot:
        return snapshot_at(self.panel, cutoff, self.task)

    def for_series(self, series: Sequence[str]) -> PanelSnapshots:
        """The snapshots of these series alone, for the work of them alone."""
        wanted = pa.array(list(series), pa.string())
        kept = [
            table.filter(pc.is_in(table[ID], value_set=wanted))
            for table in (self.panel.target, self.panel.future, self.panel.static)
        ]
        return PanelSnapshots(Panel(*kept), self.task)


@dataclass(frozen=True)
class VintageSnapshots:
    """Snapshots of what was known at each cutoff plus the publication lag: corrections made later are not seen."""

    store: PanelStore
    pins: VersionPins
    task: Task
    publication_lag: timedelta
    series: tuple[str, ...] | None = None

    def __call__(self, cutoff: np.datetime64) -> Snapshot:
        as_of = to_datetime(cutoff) + self.publication_lag
        return snapshot_at(self.store.read(self.pins, as_of=as_of, series=self.series), cutoff, self.task)

    def for_series(self, series: Sequence[str]) -> VintageSnapshots:
        """The snapshots of these series alone, for the work of them alone."""
        return replace(self, series=tuple(series))


@dataclass(frozen=True)
class _Grid:
    """Every step of every series, history and then horizon, series after series."""

    names: pa.Array
    first: Times  # [series]
    lengths: Integers  # steps of history, [series]
    h: int
    series: Integers  # [rows]
    times: Times  # [rows]
    ahead: npt.NDArray[np.bool_]  # whether a row is to forecast, [rows]
    frequency: Frequency

    @classmethod
    def of(cls, target: pa.Table, cutoff: np.datetime64, frequency: Frequency, h: int) -> _Grid:
        codes = target[ID].combine_chunks().dictionary_encode()
        names = codes.dictionary
        indices = codes.indices.to_numpy(zero_copy_only=False)
        starts = np.flatnonzero(np.diff(indices, prepend=-1))
        first = times_of(target[DS])[starts]
        lengths = np.array([len(frequency.grid(start, cutoff)) for start in first], dtype=np.int64)
        totals = lengths + h
        series = np.repeat(np.arange(len(first)), totals)
        steps = np.arange(int(totals.sum())) - np.repeat(np.cumsum(totals) - totals, totals)
        times = frequency.shift(first[series], steps)
        return cls(names, first, lengths, h, series, times, steps >= lengths[series], frequency)

    def rows(self, table: pa.Table) -> Integers:
        """For every step the row of `table` with its series and time, -1 where there is none. Shape [rows]."""
        codes = pc.index_in(table[ID], self.names).fill_null(-1).to_numpy()
        known = codes >= 0
        codes, times = codes[known], times_of(table[DS])[known]
        steps = self.frequency.steps_between(self.first[codes], times)
        totals = self.lengths + self.h
        inside = (steps >= 0) & (steps < totals[codes])
        place = np.full(len(self.series), -1, dtype=np.int64)
        offsets = np.cumsum(totals) - totals
        place[(offsets[codes] + steps)[inside]] = np.flatnonzero(known)[inside]
        return place


def _up_to(target: pa.Table, cutoff: np.datetime64) -> pa.Table:
    return target.filter(pc.less_equal(target[DS], timestamps(np.array([cutoff]))[0]))


def _taken(column: pa.ChunkedArray, place: Integers) -> pa.ChunkedArray:
    """The column's values at `place`, null where it is -1."""
    return column.take(pa.array(place, mask=place < 0))


def _static(static: pa.Table, names: pa.Array, task: Task) -> pa.Table:
    columns = task.roles.stat_exog
    place = pc.index_in(names, static[ID]).fill_null(-1)
    place = place.to_numpy(zero_copy_only=False).astype(np.int64)
    return pa.table({ID: names, **{name: _taken(static[name], place) for name in columns}})
