"""The panel contract: what every layer may assume of a panel, and the values made of it.

A panel is a long Arrow table `unique_id` (string), `ds` (timestamp[us, UTC]), `y` (float64, null =
missing) and covariates, sorted by `unique_id, ds`. Quantities are float64, categories are strings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from pydantic import Field

from quantis.frequency import Frequency
from quantis.types.arrays import Times
from quantis.types.base import Frozen, Timestamp
from quantis.types.datasets import Roles
from quantis.types.job_specs import DEFAULT_QUANTILES, Horizon, Quantile

ID, DS, Y = "unique_id", "ds", "y"
KNOWN_AT, RECORDED_AT = "known_at", "recorded_at"
TIMESTAMP = pa.timestamp("us", tz="UTC")


class Task(Frozen):
    """The experiment as a value: on what, how far, how judged. Nothing else decides a result."""

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
    """What was known when a forecast is made. Each table is sorted and on the regular grid.

    history: `unique_id, ds, y`, then every hist_exog and futr_exog column, up to the cutoff.
    future:  `unique_id, ds`, then every futr_exog column; the steps to forecast, which follow each
             series' last row in `history`. It has no y: what is not there cannot leak.
    static:  `unique_id`, then every stat_exog column; one row per series.
    """

    history: pa.Table
    future: pa.Table
    static: pa.Table


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
    """Answers "what was known at this cutoff", for a backtest that wants to stay honest."""

    def __call__(self, cutoff: np.datetime64) -> Snapshot:
        """The snapshot whose histories end at `cutoff` (the last `ds` that is known)."""
        ...


def series_slices(ids: pa.Array | pa.ChunkedArray) -> Iterator[tuple[str, slice]]:
    """Each series of a sorted id column with its rows."""
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


def times_of(column: pa.Array | pa.ChunkedArray) -> Times:
    """A timestamp column as numpy `datetime64[us]` in UTC. Shape [rows]."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    times: Times = array.cast(pa.timestamp("us")).to_numpy(zero_copy_only=False)
    return times


def timestamps(times: Times) -> pa.Array:
    """The inverse of `times_of`."""
    return pa.array(times.astype("datetime64[us]")).cast(TIMESTAMP)
