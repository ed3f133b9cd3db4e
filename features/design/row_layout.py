"""The rows of a design frame: series end to end, each with its history and then its horizon."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.rolling.dispatch import copy_tables, read_only, use_compiled
from quantis.frequency import Frequency
from quantis.panel import ID, Snapshot
from quantis.types.arrays import Floats, Integers, Times

_MONTHLY = frozenset({"MS", "QS", "YS"})
_EPOCH = np.datetime64(0, "us")


@dataclass(frozen=True)
class RowLayout:
    """The source of each row of a design frame; sorted by series, and by time within each."""

    names: pa.Array  # sorted, [series]
    starts: Integers  # the first row of each series, and the number of rows, [series + 1]
    order: Integers | None  # row of history followed by future, [rows]; None where it is the history's own

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot) -> RowLayout:
        """Lay out a snapshot, whose tables are sorted; only the ends of its series are looked at."""
        history_names, history_ends = _runs(snapshot.history[ID])
        future_names, future_ends = _runs(snapshot.future[ID])
        # Runs of equal ids: those of history, then those of future, in the rows of both tables together.
        run_names = pa.concat_arrays([history_names, future_names])
        begins = np.concatenate([history_ends[:-1], history_ends[-1] + future_ends[:-1]])
        lengths = np.concatenate([np.diff(history_ends), np.diff(future_ends)])
        names = pc.unique(run_names).sort()
        codes = pc.index_in(run_names, names).to_numpy(zero_copy_only=False).astype(np.int64)
        series_lengths = np.bincount(codes, lengths, len(names)).astype(np.int64)
        starts = np.append(0, np.cumsum(series_lengths))
        if not len(future_names) and np.all(np.diff(codes) >= 0):
            return cls(names, starts, None)
        # A series' history run comes before its future run, since the sort is stable.
        runs = np.argsort(codes, kind="stable")
        sorted_lengths = lengths[runs]
        shifts = np.repeat(begins[runs] - (np.cumsum(sorted_lengths) - sorted_lengths), sorted_lengths)
        return cls(names, starts, shifts + np.arange(starts[-1]))

    @property
    def rows(self) -> int:
        return int(self.starts[-1])

    @property
    def series(self) -> Integers:
        """The index in `names` of each row. Shape [rows]."""
        return np.repeat(np.arange(len(self.names)), np.diff(self.starts))

    def times(self, snapshot: Snapshot) -> Times:
        """Return the time of each row. Shape [rows]."""
        history_times = snapshot.history_index.ds
        if self.order is None:
            return history_times
        return np.concatenate([history_times, snapshot.future_index.ds])[self.order]


def step_indices(times: Times, frequency: Frequency) -> Integers:
    """Return the absolute step of each time, counted from 1970: the same wherever a series begins. Shape as `times`."""
    step_end = frequency.shift(np.array([_EPOCH]), 1)[0]
    if frequency.unit in _MONTHLY:
        months = int(step_end.astype("datetime64[M]").astype(int))
        return times.astype("datetime64[M]").astype(np.int64) // months
    return times.astype(np.int64) // int(step_end.astype(np.int64))


@dataclass(frozen=True)
class TimeIndex:
    """The distinct times of a layout, and the position of each series' rows among them."""

    times: Times  # sorted, [times]
    step_index: Integers  # [times]
    offsets: Integers | None  # position of each series' first row, whose others follow, [series]
    positions: Integers | None  # position of each row, where they do not follow, [rows]

    @classmethod
    def from_times(cls, times: Times, starts: Integers, frequency: Frequency) -> TimeIndex:
        """Index the times of series laid end to end from `starts`.

        Series of whole steps share one grid from the earliest row to the latest; others are looked up.
        """
        grid = None if frequency.unit in _MONTHLY else _shared_grid(times, starts, frequency)
        if grid is not None:
            grid_times, offsets = grid
            return cls(grid_times, step_indices(grid_times, frequency), offsets, None)
        distinct, positions = np.unique(times, return_inverse=True)
        return cls(distinct, step_indices(distinct, frequency), None, positions)

    def row_positions(self, starts: Integers) -> Integers:
        """Return each row's position among the times. Shape [rows]."""
        if self.positions is not None:
            return self.positions
        assert self.offsets is not None
        return np.repeat(self.offsets - starts[:-1], np.diff(starts)) + np.arange(starts[-1])

    def first_positions(self, starts: Integers) -> Integers:
        """Return the position of each series' first row; any for a series without rows. Shape [series]."""
        if self.offsets is not None:
            return self.offsets
        assert self.positions is not None
        return np.append(self.positions, 0)[starts[:-1]]

    def copy_tables(self, tables: Floats, starts: Integers, rows: Integers, out: Floats) -> None:
        """Copy tables [columns, times] into these rows of `out` [columns, rows]."""
        if self.offsets is not None:
            copy_tables(tables, self.offsets, starts, rows, out)
        else:
            out[rows] = tables[:, self.positions]


def _shared_grid(times: Times, starts: Integers, frequency: Frequency) -> tuple[Times, Integers] | None:
    """Return the grid that all series lie on and each one's offset; None where they share none."""
    if not len(times):
        return None
    lengths = np.diff(starts)
    filled = lengths > 0
    first, last = times[starts[:-1][filled]], times[starts[1:][filled] - 1]
    step = frequency.shift(np.array([_EPOCH]), 1)[0] - _EPOCH
    begin = first.min()
    size = int((last.max() - begin) // step) + 1
    without_gaps = np.all(last - first == (lengths[filled] - 1) * step)
    in_phase = np.all((first - begin) % step == np.timedelta64(0))
    # A grid far larger than the rows, of series years apart, would cost more than looking times up.
    if not (without_gaps and in_phase and size <= 2 * len(times) + 1000):
        return None
    offsets = np.zeros(len(lengths), np.int64)
    offsets[filled] = (first - begin) // step
    return frequency.shift(np.full(size, begin), np.arange(size)), offsets


def _runs(ids: pa.ChunkedArray) -> tuple[pa.Array, Integers]:
    """Return the id of each run of equal ids, and its first row, with the number of rows at the end. Sorted input."""
    names, first_rows, offset = [pa.array([], pa.string())], [], 0
    for chunk in ids.chunks:
        if len(chunk) == 0:
            continue
        chunk = chunk.cast(pa.string())
        first = _first_rows(chunk)
        names.append(chunk.take(pa.array(first)))
        first_rows.append(first + offset)
        offset += len(chunk)
    return pa.concat_arrays(names), np.concatenate([*first_rows, np.array([offset])]).astype(np.int64)


def _first_rows(names: pa.StringArray) -> Integers:
    """Return the first row of each run of equal names. Shape [runs]."""
    if not use_compiled(len(names)):
        ends = pc.run_end_encode(names, run_end_type=pa.int64()).run_ends.to_numpy()
        return np.append(0, ends[:-1])
    from features.rolling import run_lengths

    _, offset_buffer, data = names.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32)[names.offset : names.offset + len(names) + 1]
    ends = run_lengths.run_ends(read_only(offsets), read_only(np.frombuffer(data, np.uint8)))
    first_rows: Integers = ends[:-1]
    return first_rows
