"""The panel contract that every layer relies on, and the values made of panels.

A panel is a long Arrow table `unique_id` (string), `ds` (timestamp[us, UTC]), `y` (float64, null =
missing) and covariates, sorted by `unique_id, ds`. Quantities are float64, categories are strings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Protocol

import numpy as np
import pyarrow as pa
from pydantic import Field

from quantis.frequency import Frequency, to_datetime64
from quantis.types.arrays import Floats, Times
from quantis.types.base import MAX_HORIZON, Frozen, Timestamp
from quantis.types.datasets import DatasetVersion, FittingWindows, Roles
from quantis.types.job_specs import DEFAULT_QUANTILES, MAX_N_WINDOWS, Horizon, Quantile

ID, DS, Y = "unique_id", "ds", "y"
KNOWN_AT, RECORDED_AT = "known_at", "recorded_at"
TIMESTAMP = pa.timestamp("us", tz="UTC")
MAX_GAP = 10_000_000
"""Steps that may be missing between two rows of a series: beyond, a time is wrong and no store can fill the gap."""
_MAX_SPARSE_GRID, _MAX_STEPS_PER_ROW = 200_000_000, 10


class Task(Frozen):
    """The experiment as a value: dataset, horizon, quantiles and roles. Nothing else decides a result."""

    dataset: str
    version: int
    content_hash: str
    as_of: Timestamp
    freq: str
    h: Horizon
    quantiles: tuple[Quantile, ...] = DEFAULT_QUANTILES
    roles: Roles = Roles()
    time_zone: str = "UTC"
    holidays: str | None = None
    season_lengths: tuple[int, ...] = Field(default=(1,), description="In steps, shortest first.")

    @property
    def frequency(self) -> Frequency:
        return Frequency.parse(self.freq)


@dataclass(frozen=True)
class Snapshot:
    """Data known at the time of a forecast. Each table is sorted and on the regular grid.

    history: `unique_id, ds, y`, then every hist_exog and futr_exog column, up to the cutoff.
    future:  `unique_id, ds`, then every futr_exog column; the steps to forecast, which follow each
             series' last row in `history`. It has no y: what is not there cannot leak.
    static:  `unique_id`, then every stat_exog column; one row per series.
    """

    history: pa.Table
    future: pa.Table
    static: pa.Table

    @cached_property
    def history_index(self) -> SeriesIndex:
        return SeriesIndex(self.history)

    @cached_property
    def future_index(self) -> SeriesIndex:
        return SeriesIndex(self.future)

    @cached_property
    def y(self) -> Floats:
        """The history's target, NaN where it is missing. Shape [history rows]; read-only."""
        column = single_chunk(self.history[Y]).cast(pa.float64())
        values: Floats = column.to_numpy(zero_copy_only=False)  # Arrow's own memory where nothing is missing
        values.setflags(write=False)
        return values

    def __getstate__(self) -> dict[str, pa.Table]:
        """Leave the cached arrays behind: a worker converts again what it needs."""
        return {"history": self.history, "future": self.future, "static": self.static}


@dataclass(frozen=True)
class SeriesIndex:
    """Rows of each series of a sorted table, and their times; each converted once, when first read."""

    table: pa.Table

    @cached_property
    def rows(self) -> dict[str, slice]:
        """The rows of each series, in the table's order."""
        return dict(series_slices(self.table[ID]))

    def length(self, unique_id: str) -> int:
        """Return the number of rows of a series, 0 where the table lacks it."""
        rows = self.rows.get(unique_id, slice(0, 0))
        return int(rows.stop - rows.start)

    @cached_property
    def ds(self) -> Times:
        """Shape [rows]; read-only."""
        times = times_of(self.table[DS])
        times.setflags(write=False)
        return times


@dataclass(frozen=True)
class Panel:
    """A checked panel by role group; the groups are revised separately, so they are kept apart.

    target: `unique_id, ds, y`, then every hist_exog column; one row per series and time.
    future: `unique_id, ds`, then every futr_exog column, over history and beyond; empty without any.
    static: `unique_id`, then every stat_exog column; one row per series.
    Each may carry `known_at` (timestamp[us, UTC]), null where it was not given.
    """

    target: pa.Table
    future: pa.Table
    static: pa.Table


class SnapshotProvider(Protocol):
    """Source of the data known at a cutoff, for a backtest without leakage."""

    def __call__(self, cutoff: np.datetime64) -> Snapshot:
        """Return the snapshot whose histories end at `cutoff` (the last known `ds`)."""
        ...


def max_grid_steps(rows: int) -> int:
    """Return the most steps that the grids of a panel of so many rows may have together."""
    return max(_MAX_SPARSE_GRID, _MAX_STEPS_PER_ROW * rows)


def longest_history(version: DatasetVersion, as_of: datetime | None = None) -> int:
    """Return the steps from a version's first value to its last one at `as_of`, now when absent; 0 before the first."""
    last = min(version.last_ds, as_of or datetime.now(UTC))
    ends = (np.array([to_datetime64(time)]) for time in (version.first_ds, last))
    return int(Frequency.parse(version.freq).grid_lengths(*ends)[0])


def max_windows(steps: int, h: int, step_size: int | None = None) -> int:
    """Return the number of windows that a history of so many steps holds, with a step before the first."""
    stride = step_size or h
    return 0 if h >= steps or stride >= steps else (steps - 1 - h) // stride + 1


def fitting_windows(
    version: DatasetVersion, h: int, step_size: int | None = None, as_of: datetime | None = None
) -> FittingWindows:
    """Return the longest horizon and the number of windows that a job on a version may ask for."""
    steps = longest_history(version, as_of)
    return FittingWindows(
        dataset=version.dataset,
        version=version.number,
        freq=version.freq,
        steps=steps,
        max_h=max(0, min(steps - 1, MAX_HORIZON)),
        h=h,
        step_size=step_size or h,
        max_windows=min(max_windows(steps, h, step_size), MAX_N_WINDOWS),
    )


def series_slices(ids: pa.Array | pa.ChunkedArray) -> Iterator[tuple[str, slice]]:
    """Yield each series of a sorted id column with its rows."""
    if len(ids) == 0:
        return
    if ids[0] == ids[-1]:  # a request's one series: 20 times as fast
        yield ids[0].as_py(), slice(0, len(ids))
        return
    combined = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    codes = combined.dictionary_encode()
    indices = codes.indices.to_numpy(zero_copy_only=False)
    starts = np.flatnonzero(np.diff(indices, prepend=indices[0] - 1))
    ends = np.append(starts[1:], len(indices))
    names = codes.dictionary.to_pylist()
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        yield names[indices[start]], slice(start, end)


def single_chunk(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, without a copy where it is one chunk already."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def floats(column: pa.Array | pa.ChunkedArray) -> Floats:
    """Return a copy of a column of numbers; null becomes NaN. Shape [rows]."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return np.array(array.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def times_of(column: pa.Array | pa.ChunkedArray) -> Times:
    """Return a timestamp column as numpy `datetime64[us]` in UTC. Shape [rows]."""
    array = single_chunk(column)
    times: Times = array.cast(pa.timestamp("us")).to_numpy(zero_copy_only=False)
    return times


def timestamps(times: Times) -> pa.Array:
    """Return times as a column of the panel contract; the inverse of `times_of`."""
    return pa.array(times.astype("datetime64[us]")).cast(TIMESTAMP)
