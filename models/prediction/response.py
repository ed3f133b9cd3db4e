"""Entries of the fallback chain as the response of the API and as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from models.forecaster import quantile_column
from models.prediction.fallback import ForecastEntry
from quantis.errors import InvalidInput
from quantis.frequency import to_datetimes
from quantis.panel import DS, ID, TIMESTAMP, Task, timestamps
from quantis.types.arrays import Floats
from quantis.types.forecasts import ForecastResponse, SeriesForecast


def resolve_horizon(h: int | None, task: Task) -> int:
    """Return the requested steps, by default the model's; InvalidInput beyond its horizon."""
    require_horizon(h, task.h)
    return h or task.h


def require_horizon(h: int | None, horizon: int) -> None:
    """Raise InvalidInput for more steps than a model's horizon."""
    if h is not None and h > horizon:
        raise InvalidInput(f"h {h} is more than the model's horizon {horizon}; ask for {horizon} or less")


def to_series_forecast(entry: ForecastEntry, quantiles: Sequence[float], h: int) -> SeriesForecast:
    """Return the entry of one series with the requested steps and quantiles."""
    return SeriesForecast(
        unique_id=entry.unique_id,
        status=entry.status,
        method=entry.method,
        reason=entry.reason,
        detail=entry.detail,
        scenario=entry.scenario,
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


def issued_schema(quantiles: Iterable[str]) -> pa.Schema:
    """Return the columns of issued forecasts whose answers have these quantiles, such as `0.1`."""
    levels = sorted(set(quantiles), key=float)
    values = [("mean", pa.float64()), *((f"q{level}", pa.float64()) for level in levels)]
    texts = [(name, pa.string()) for name in ("status", "method", "reason", "detail", "model")]
    origin = [("version", pa.int64()), ("as_of", TIMESTAMP), ("issued_at", TIMESTAMP)]
    return pa.schema(
        [(ID, pa.string()), (DS, TIMESTAMP), *values, *texts, *origin, ("forecast_id", pa.string())]
    )


def issued_table(response: ForecastResponse, schema: pa.Schema) -> pa.Table:
    """Return a row per series and step under an `issued_schema`; a refused series has one, without time and values."""
    lengths = [max(len(entry.ds), 1) for entry in response.forecasts]

    def spread(cells: Iterable[Sequence[Any]]) -> Iterable[Any]:
        """Return the cells of each entry one after the other, null where an entry has none."""
        return chain.from_iterable(
            values or [None] * length for values, length in zip(cells, lengths, strict=True)
        )

    def repeat(values: Iterable[Any]) -> Iterable[Any]:
        """Return a value of each entry in all of its rows."""
        return spread([value] * length for value, length in zip(values, lengths, strict=True))

    model, entries = response.model, response.forecasts
    columns: dict[str, Iterable[Any]] = {
        ID: repeat(entry.unique_id for entry in entries),
        DS: spread(entry.ds for entry in entries),
        "mean": spread(entry.mean for entry in entries),
        "status": repeat(entry.status for entry in entries),
        "method": repeat(entry.method.value for entry in entries),
        "reason": repeat(entry.reason.value if entry.reason else None for entry in entries),
        "detail": repeat(entry.detail for entry in entries),
        "model": repeat(model.name for _ in entries),
        "version": repeat(entry.version or model.version for entry in entries),
        "as_of": repeat(response.as_of for _ in entries),
        "issued_at": repeat(response.issued_at for _ in entries),
        "forecast_id": repeat(response.forecast_id for _ in entries),
    }
    arrays = []
    for column in schema:
        cells = columns.get(column.name)
        if cells is None:  # a quantile
            cells = spread(entry.quantiles.get(column.name[1:], []) for entry in entries)
        arrays.append(pa.array(cells, column.type))
    return pa.Table.from_arrays(arrays, schema=schema)
