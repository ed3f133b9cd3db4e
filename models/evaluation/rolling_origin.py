"""Rolling-origin backtests: forecasts from each cutoff, beside the actuals that followed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.arrays import each_series, keep_series
from models.evaluation.evaluated import CUTOFF
from models.forecaster import Forecaster
from quantis.errors import InvalidInput
from quantis.panel import DS, ID, Snapshot, SnapshotProvider, Y, timestamps

Fit = Callable[[Snapshot], Forecaster]
Answer = Callable[[Forecaster, Snapshot, np.datetime64], pa.Table]
"""What a forecaster answers for a snapshot with this cutoff: the contract's table."""


def predict_quantiles(forecaster: Forecaster, snapshot: Snapshot, cutoff: np.datetime64) -> pa.Table:
    return forecaster.predict(snapshot)


def backtest(
    fit: Fit,
    snapshots: SnapshotProvider,
    actuals: pa.Table,
    cutoffs: Sequence[np.datetime64],
    refit: bool = False,
    answer: Answer = predict_quantiles,
) -> pa.Table:
    """Forecast from each cutoff and put the actuals beside it: unique_id, ds, cutoff, y, mean, q...

    Fits on the first cutoff's snapshot, and again on each with `refit`. Series without any observed
    value at a cutoff are left out there. Sorted by cutoff, then as the forecaster answers.
    """
    if not len(cutoffs):
        raise InvalidInput("a backtest without cutoffs scores nothing; give at least one")
    forecaster: Forecaster | None = None
    windows = []
    for cutoff in sorted(cutoffs):
        snapshot = _observed(snapshots(cutoff))
        if forecaster is None or refit:
            forecaster = fit(snapshot)
        windows.append(join_actuals(answer(forecaster, snapshot, cutoff), actuals, cutoff))
    return pa.concat_tables(windows)


def _observed(snapshot: Snapshot) -> Snapshot:
    series = list(each_series(snapshot))
    seen = [one.unique_id for one in series if one.observed]
    return snapshot if len(seen) == len(series) else keep_series(snapshot, seen)


def join_actuals(forecasts: pa.Table, actuals: pa.Table, cutoff: np.datetime64) -> pa.Table:
    """Add `cutoff` and `y` (null where nothing was observed) without changing the order."""
    order = pa.array(np.arange(forecasts.num_rows))
    ends = pc.min_max(forecasts[DS])  # a join costs by all that it is given
    ahead = pc.and_(pc.greater_equal(actuals[DS], ends["min"]), pc.less_equal(actuals[DS], ends["max"]))
    joined = (
        forecasts.append_column("_order", order)
        .join(actuals.select([ID, DS, Y]).filter(ahead), keys=[ID, DS], join_type="left outer")
        .sort_by("_order")
    )
    columns = {ID: joined[ID], DS: joined[DS], CUTOFF: timestamps(np.full(joined.num_rows, cutoff))}
    columns[Y] = joined[Y]
    columns |= {name: joined[name] for name in forecasts.column_names if name not in (ID, DS)}
    return pa.table(columns)
