"""A panel in the two forms that the library and our training read, for comparing their batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from bench.oracle.panel import TimeSeriesLayout
from quantis.panel import DS, ID, Snapshot, Task, Y
from quantis.types.arrays import Integers, Mask
from quantis.types.datasets import Roles

CLOCK = "clock"  # a known number, the step itself, by which a window tells where it lies
CALENDAR = ("hour", "weekday")
LAG = 24
_START = pd.Timestamp("2024-01-01", tz="UTC")  # a Monday


@dataclass(frozen=True)
class OracleCase:
    """A panel for both sides.

    frame: the library's rows, with `CLOCK` among the known numbers and the series' id among the static
    categories; `hour`, `weekday` and `y-24` may be there and are left to our own calendar and lags.
    """

    frame: pd.DataFrame
    layout: TimeSeriesLayout
    task: Task
    snapshot: Snapshot

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, layout: TimeSeriesLayout) -> OracleCase:
        computed = (*CALENDAR, f"{Y}-{LAG}")
        futr = (*layout.known_reals, *layout.known_categoricals)
        roles = Roles(
            futr_exog=tuple(name for name in futr if name not in computed),
            hist_exog=tuple(n for n in (*layout.unknown_reals, *layout.unknown_categoricals) if n != Y),
            stat_exog=(*layout.static_reals, *layout.static_categoricals),
            categorical=tuple(name for name in layout.categoricals if name not in computed),
        )
        task = Task(
            dataset="oracle",
            version=1,
            content_hash="",
            as_of=datetime(2024, 1, 1, tzinfo=UTC),
            freq="h",
            h=layout.max_prediction_length,
            roles=roles,
            season_lengths=(LAG,) if f"{Y}-{LAG}" in futr else (1,),
        )
        return cls(frame, layout, task, _snapshot(frame, layout, task))

    def row_exists(self, series: str, steps: Integers) -> Mask:
        """Return False where the frame has no row of this series at a step. Shape as `steps`."""
        rows = self.frame.loc[self.frame[self.layout.group_id] == series, self.layout.time_idx]
        return np.isin(steps, rows.to_numpy())


def _snapshot(frame: pd.DataFrame, layout: TimeSeriesLayout, task: Task) -> Snapshot:
    """Put the frame's rows on the regular grid, missing ones null, with a horizon after each history."""
    roles, histories, futures = task.roles, [], []
    for series, rows in frame.groupby(layout.group_id, sort=True):
        rows = rows.set_index(layout.time_idx)
        first, end = int(rows.index.min()), int(rows.index.max()) + 1
        histories.append(
            _table(series, rows.reindex(range(first, end)), (Y, *roles.hist_exog, *roles.futr_exog), roles)
        )
        futures.append(_table(series, rows.reindex(range(end, end + task.h)), roles.futr_exog, roles))
    static = frame.drop_duplicates(layout.group_id).sort_values(layout.group_id)
    columns = {ID: pa.array(static[layout.group_id].astype(str).tolist(), pa.string())}
    columns |= {name: _column(static[name], name in roles.categorical) for name in roles.stat_exog}
    return Snapshot(pa.concat_tables(histories), pa.concat_tables(futures), pa.table(columns))


def _table(series: Any, rows: pd.DataFrame, columns: Sequence[str], roles: Roles) -> pa.Table:
    times = _START + pd.to_timedelta(rows.index.to_numpy(), unit="h")
    keys = {
        ID: pa.array([str(series)] * len(rows), pa.string()),
        DS: pa.array(times.to_numpy().astype("datetime64[us]")).cast(pa.timestamp("us", "UTC")),
    }
    return pa.table(keys | {name: _column(rows[name], name in roles.categorical) for name in columns})


def _column(values: pd.Series, category: bool) -> pa.Array:
    return pa.array(values, pa.string() if category else pa.float64(), from_pandas=True)
