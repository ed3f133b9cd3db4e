"""Series laid end to end: each with its history and then its horizon, without a look at every row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.rolling.dispatch import compiled, copy_tables, read_only
from quantis.frequency import Frequency
from quantis.panel import DS, ID, Snapshot, times_of
from quantis.types.arrays import Floats, Integers, Times

_MONTHLY = frozenset({"MS", "QS", "YS"})
_EPOCH = np.datetime64(0, "us")


@dataclass(frozen=True)
class RowLayout:
    """Where the rows of a design frame come from; sorted by series, and by time within each."""

    names: pa.Array  # sorted, [series]
    starts: Integers  # the first row of each series, and the number of rows, [series + 1]
    order: Integers | None  # row of history followed by future, [rows]; None where it is the history's own

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot) -> RowLayout:
        """The layout of a snapshot, whose tables are sorted."""
        past_names, past_ends = _runs(snapshot.history[ID])
        ahead_names, ahead_ends = _runs(snapshot.future[ID])
        heads = pa.concat_arrays([past_names, ahead_names])
        begins = np.concatenate([past_ends[:-1], past_ends[-1] + ahead_ends[:-1]])
        lengths = np.concatenate([np.diff(past_ends), np.diff(ahead_ends)])
        names = pc.unique(heads).sort()
        codes = pc.index_in(heads, names).to_numpy(zero_copy_only=False).astype(np.int64)
        sums = np.bincount(codes, lengths, len(names)).astype(np.int64)
        starts = np.append(0, np.cumsum(sums))
        if not len(ahead_names) and np.all(np.diff(codes) >= 0):
            return cls(names, starts, None)
        runs = np.argsort(codes, kind="stable")
        placed = lengths[runs]
        shifts = np.repeat(begins[runs] - (np.cumsum(placed) - placed), placed)
        return cls(names, starts, shifts + np.arange(starts[-1]))

    @property
    def rows(self) -> int:
        return int(self.starts[-1])

    @property
    def series(self) -> Integers:
        """The place in `names` of each row. Shape [rows]."""
        return np.repeat(np.arange(len(self.names)), np.diff(self.starts))

    def times(self, snapshot: Snapshot) -> Times:
        """When each row is. Shape [rows]."""
        past = times_of(whole(snapshot.history[DS]))
        if self.order is None:
            return past
        return np.concatenate([past, times_of(snapshot.future[DS])])[self.order]


def whole(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece, without a copy where it is in one already."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def step_indices(times: Times, frequency: Frequency) -> Integers:
    """The absolute step of each time, counted from 1970: the same wherever a series is cut. Shape as `times`."""
    one = frequency.shift(np.array([_EPOCH]), 1)[0]
    if frequency.unit in _MONTHLY:
        return times.astype("datetime64[M]").astype(np.int64) // int(one.astype("datetime64[M]").astype(int))
    return times.astype(np.int64) // int(one.astype(np.int64))


@dataclass(frozen=True)
class TimeIndex:
    """The distinct times of a layout, and where each series' rows lie among them."""

    times: Times  # sorted, [moments]
    ticks: Integers  # [moments]
    offsets: Integers | None  # of each series' first row, its others following, [series]
    place: Integers | None  # of each row, where they do not follow, [rows]

    @classmethod
    def from_times(cls, times: Times, starts: Integers, frequency: Frequency) -> TimeIndex:
        """Series of whole steps share one grid from the earliest row to the latest; others are looked up."""
        kept = np.diff(starts) > 0
        first, last = times[starts[:-1][kept]], times[starts[1:][kept] - 1]
        if len(times) and frequency.unit not in _MONTHLY:
            step = frequency.shift(np.array([_EPOCH]), 1)[0] - _EPOCH
            begin, span = first.min(), int((last.max() - first.min()) // step) + 1
            follows = np.all(last - first == (np.diff(starts)[kept] - 1) * step)
            if (
                follows
                and np.all((first - begin) % step == np.timedelta64(0))
                and span <= 2 * len(times) + 1000
            ):
                offsets = np.zeros(len(starts) - 1, np.int64)
                offsets[kept] = (first - begin) // step
                grid = frequency.range(begin, span)
                return cls(grid, step_indices(grid, frequency), offsets, None)
        distinct, place = np.unique(times, return_inverse=True)
        return cls(distinct, step_indices(distinct, frequency), None, place)

    def rows(self, starts: Integers) -> Integers:
        """Each row's place among the moments. Shape [rows]."""
        if self.place is not None:
            return self.place
        assert self.offsets is not None
        return np.repeat(self.offsets - starts[:-1], np.diff(starts)) + np.arange(starts[-1])

    def first(self, starts: Integers) -> Integers:
        """Where each series begins among the moments; of one without rows, anywhere. Shape [series]."""
        if self.offsets is not None:
            return self.offsets
        assert self.place is not None
        return np.append(self.place, 0)[starts[:-1]]

    def spread(self, tables: Floats, starts: Integers, at: Integers, out: Floats) -> None:
        """Copy tables [fields, moments] into the rows `at` of `out` [columns, rows]."""
        if self.offsets is not None:
            copy_tables(tables, self.offsets, starts, at, out)
        else:
            out[at] = tables[:, self.place]


def _runs(ids: pa.ChunkedArray) -> tuple[pa.Array, Integers]:
    """The name of each run of equal names, and the first row of each, with the number of rows. Sorted input."""
    names, firsts, before = [pa.array([], pa.string())], [], 0
    for chunk in ids.chunks:
        if len(chunk) == 0:
            continue
        chunk = chunk.cast(pa.string())
        first = _firsts(chunk)
        names.append(chunk.take(pa.array(first)))
        firsts.append(first + before)
        before += len(chunk)
    return pa.concat_arrays(names), np.concatenate([*firsts, np.array([before])]).astype(np.int64)


def _firsts(names: pa.StringArray) -> npt.NDArray[np.int64]:
    if not compiled(len(names)):
        ends = pc.run_end_encode(names, run_end_type=pa.int64()).run_ends.to_numpy()
        return np.append(0, ends[:-1])
    from features.rolling import run_lengths

    _, offsets, data = names.buffers()
    begin = np.frombuffer(offsets, np.int32)[names.offset : names.offset + len(names) + 1]
    return run_lengths.run_ends(read_only(begin), read_only(np.frombuffer(data, np.uint8)))[:-1]  # type: ignore[no-any-return]
