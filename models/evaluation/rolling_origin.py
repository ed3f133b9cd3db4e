"""Rolling-origin backtests: forecasts from each cutoff, joined with the actuals that followed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.arrays import each_series, keep_series
from models.evaluation.evaluated import CUTOFF
from models.forecaster import Forecaster
from quantis.errors import InvalidInput
from quantis.panel import DS, ID, Snapshot, SnapshotProvider, Y, max_windows, timestamps

Fit = Callable[[Snapshot], Forecaster]
Predict = Callable[[Forecaster, Snapshot, np.datetime64], pa.Table]
"""Returns the forecaster contract's table for a snapshot with this cutoff."""


def require_windows(
    steps: int, h: int, n_windows: int = 1, step_size: int | None = None, *, name: str = "n_windows"
) -> None:
    """Raise InvalidInput, with what fits, unless a history of so many steps holds the windows and a step before.

    Parameters
    ----------
    steps
        Of the longest history.
    step_size
        Steps between windows; h when absent.
    name
        The word for the number of windows where the request has another one.
    """
    if h >= steps:
        fits = f"take h={steps - 1} at most" if steps > 1 else "bring more values"
        raise InvalidInput(
            f"h={h} is too long: the longest history has {steps} steps, of which one at least comes before the "
            f"steps to forecast; {fits}"
        )
    stride = step_size or h
    if stride >= steps:
        raise InvalidInput(
            f"step_size={stride} is more than the {steps} steps of the longest history; take {steps - 1} at most"
        )
    most = max_windows(steps, h, step_size)
    if n_windows > most:
        raise InvalidInput(
            f"{name}={n_windows} windows of h={h}, {stride} steps apart, need {h + stride * (n_windows - 1) + 1} "
            f"steps; the longest history has {steps}: take {name}={most} at most, or a shorter h or step_size"
        )


def predict_with_model(forecaster: Forecaster, snapshot: Snapshot, cutoff: np.datetime64) -> pa.Table:
    return forecaster.predict(snapshot)


def backtest(
    fit: Fit,
    snapshots: SnapshotProvider,
    actuals: pa.Table,
    cutoffs: Sequence[np.datetime64],
    *,
    refit: bool = False,
    predict: Predict = predict_with_model,
) -> pa.Table:
    """Forecast from each cutoff and join the actuals: unique_id, ds, cutoff, y, mean, q...

    Fits on the first cutoff's snapshot, and again on each with `refit`. Series without any observed
    value at a cutoff are left out there. Sorted by cutoff, then as the forecaster's table.
    """
    if not len(cutoffs):
        raise InvalidInput("a backtest without cutoffs scores nothing; give at least one")
    forecaster: Forecaster | None = None
    windows = []
    for cutoff in sorted(cutoffs):
        snapshot = _keep_observed(snapshots(cutoff))
        if forecaster is None or refit:
            forecaster = fit(snapshot)
        windows.append(join_actuals(predict(forecaster, snapshot, cutoff), actuals, cutoff))
    return pa.concat_tables(windows)


def _keep_observed(snapshot: Snapshot) -> Snapshot:
    series = list(each_series(snapshot))
    observed = [each.unique_id for each in series if each.observed]
    return snapshot if len(observed) == len(series) else keep_series(snapshot, observed)


def join_actuals(forecasts: pa.Table, actuals: pa.Table, cutoff: np.datetime64) -> pa.Table:
    """Add `cutoff` and `y` (null where nothing was observed) without changing the order."""
    order = pa.array(np.arange(forecasts.num_rows))
    ends = pc.min_max(forecasts[DS])  # the join is given the horizon alone, not the whole history
    in_horizon = pc.and_(pc.greater_equal(actuals[DS], ends["min"]), pc.less_equal(actuals[DS], ends["max"]))
    joined = (
        forecasts.append_column("_order", order)
        .join(actuals.select([ID, DS, Y]).filter(in_horizon), keys=[ID, DS], join_type="left outer")
        .sort_by("_order")
    )
    columns = {ID: joined[ID], DS: joined[DS], CUTOFF: timestamps(np.full(joined.num_rows, cutoff))}
    columns[Y] = joined[Y]
    columns |= {name: joined[name] for name in forecasts.column_names if name not in (ID, DS)}
    return pa.table(columns)
