"""Entries of the fallback chain as the response of the API and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa

from models.forecaster import quantile_column
from models.prediction.fallback import ForecastEntry
from quantis.errors import InvalidInput
from quantis.frequency import to_datetimes
from quantis.panel import DS, ID, Task, timestamps
from quantis.types.arrays import Floats
from quantis.types.forecasts import SeriesForecast


def resolve_horizon(h: int | None, task: Task) -> int:
    """Return the requested steps, by default the model's; InvalidInput beyond its horizon."""
    if h is not None and h > task.h:
        raise InvalidInput(f"h {h} is more than the model's horizon {task.h}; ask for {task.h} or less")
    return h or task.h


def to_series_forecast(entry: ForecastEntry, quantiles: Sequence[float], h: int) -> SeriesForecast:
    """Return the entry of one series with the requested steps and quantiles."""
    return SeriesForecast(
        unique_id=entry.unique_id,
        status=entry.status,
        method=entry.method,
        reason=entry.reason,
        detail=entry.detail,
        ds=to_datetimes(entry.ds[:h]),
        mean=entry.mean[:h].tolist(),
        quantiles={f"{q:g}": _quantile(entry, q)[:h].tolist() for q in quantiles} if entry.quantiles else {},
    )


def _quantile(entry: ForecastEntry, quantile: float) -> Floats:
    """Return a quantile of the entry, linear between the two nearest that it has. Shape [h]."""
    if quantile in entry.quantiles:
        return entry.quantiles[quantile]
    levels = sorted(entry.quantiles)
    for low, high in pairwise(levels):
        if low < quantile < high:
            share = (quantile - low) / (high - low)
            return entry.quantiles[low] * (1 - share) + entry.quantiles[high] * share
    return entry.quantiles[levels[-1] if quantile > levels[-1] else levels[0]]


def forecast_table(entries: Sequence[ForecastEntry], quantiles: Sequence[float]) -> pa.Table:
    """Return `unique_id, ds, mean` and a column per quantile; refused entries have no rows."""
    forecasts = [entry for entry in entries if len(entry.ds)]
    empty = np.zeros(0)
    columns = {
        ID: pa.array([entry.unique_id for entry in forecasts for _ in entry.ds], pa.string()),
        DS: timestamps(np.concatenate([np.zeros(0, "datetime64[us]"), *(entry.ds for entry in forecasts)])),
        "mean": pa.array(np.concatenate([empty, *(entry.mean for entry in forecasts)])),
    }
    for quantile in quantiles:
        values = np.concatenate([empty, *(_quantile(entry, quantile) for entry in forecasts)])
        columns[quantile_column(quantile)] = pa.array(values)
    return pa.table(columns)
