"""Dataframes in and out of a forecast."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantis.client.bodies import arrow_table
from quantis.client.problems import validate
from quantis.errors import InvalidInput
from quantis.panel import DS, ID, TIMESTAMP, Y, series_slices
from quantis.types.datasets import Roles
from quantis.types.forecasts import ForecastResponse, SeriesRequest


def forecast_frame(response: ForecastResponse, *, name: str = "Model") -> pa.Table:
    """Return the forecasts in Nixtla's long form: `unique_id, ds, Model, Model-lo-80, Model-hi-80 ...`.

    `Model` is the mean; each pair of quantiles q and 1 - q is one interval. One row per series and
    step; a refused series has none. Intervals that only some series have are null in the others.
    """
    entries = [entry for entry in response.forecasts if entry.ds]
    quantiles = set(chain.from_iterable(entry.quantiles for entry in entries))
    columns: dict[str, Any] = {
        ID: pa.array(
            chain.from_iterable([entry.unique_id] * len(entry.ds) for entry in entries), pa.string()
        ),
        DS: pa.array(chain.from_iterable(entry.ds for entry in entries), TIMESTAMP),
        name: pa.array(chain.from_iterable(entry.mean for entry in entries), pa.float64()),
    }
    for level, low, high in intervals(quantiles):
        for side, q in (("lo", low), ("hi", high)):
            per_series = (entry.quantiles.get(q, [None] * len(entry.ds)) for entry in entries)
            columns[f"{name}-{side}-{level}"] = pa.array(chain.from_iterable(per_series), pa.float64())
    return pa.table(columns)


def intervals(quantiles: set[str]) -> list[tuple[str, str, str]]:
    """Return the central intervals among quantiles as (level in percent, low, high), narrowest first."""
    by_value = {round(float(text), 6): text for text in quantiles}
    pairs = [
        (round(100 * (1 - 2 * low), 4), text, by_value[round(1 - low, 6)])
        for low, text in by_value.items()
        if low < 0.5 and round(1 - low, 6) in by_value
    ]
    return [(f"{level:g}", low, high) for level, low, high in sorted(pairs)]


def series_requests(history: Any, future: Any | None, roles: Roles) -> list[SeriesRequest]:
    """Build the series of a forecast request from histories with their covariates.

    `history` holds `unique_id, ds, y` and the covariates; `future` holds `unique_id, ds` and the
    known-future covariates of the steps to forecast. Times without a zone are UTC.
    """
    history_table = _sort_frame(history, (ID, DS, Y))
    future_table = _sort_frame(future, (ID, DS, *roles.futr_exog)) if future is not None else None
    future_rows = dict(series_slices(future_table[ID])) if future_table is not None else {}
    requests = []
    for unique_id, rows in series_slices(history_table[ID]):
        series_history = history_table.slice(rows.start, rows.stop - rows.start)
        span = future_rows.get(unique_id)
        series_future = (
            future_table.slice(span.start, span.stop - span.start)
            if future_table is not None and span
            else None
        )
        requests.append(_build_request(unique_id, series_history, series_future, roles))
    return requests


def _build_request(unique_id: str, history: pa.Table, future: pa.Table | None, roles: Roles) -> SeriesRequest:
    future_columns = [
        column for column in roles.futr_exog if column in history.column_names or future is not None
    ]
    return validate(
        SeriesRequest,
        unique_id=unique_id,
        ds=history[DS].to_pylist(),
        y=_to_list(history[Y]),
        hist_exog={c: _to_list(history[c]) for c in roles.hist_exog if c in history.column_names},
        futr_exog={c: _known_future(c, history, future) for c in future_columns},
        stat_exog={c: _to_list(history[c])[-1] for c in roles.stat_exog if c in history.column_names},
    )


def _known_future(column: str, history: pa.Table, future: pa.Table | None) -> list[Any]:
    """Return values over history and horizon, or over the horizon alone where the history has none."""
    observed = _to_list(history[column]) if column in history.column_names else []
    return observed + (_to_list(future[column]) if future is not None else [])


def _to_list(column: pa.ChunkedArray) -> list[Any]:
    """Numbers as floats, with NaN as missing; everything else as text."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (
        pa.types.is_integer(column.type)
        or pa.types.is_floating(column.type)
        or pa.types.is_boolean(column.type)
    ):
        return list(column.cast(pa.string()).to_pylist())
    numbers = column.cast(pa.uint8()) if pa.types.is_boolean(column.type) else column
    values = np.asarray(numbers.cast(pa.float64()).to_numpy(), "float64")
    return [float(v) if np.isfinite(v) else None for v in values]


def _sort_frame(frame: Any, needed: tuple[str, ...]) -> pa.Table:
    table = arrow_table(frame)
    missing = [column for column in needed if column not in table.column_names]
    if missing:
        raise InvalidInput(f"the frame has no column {', '.join(missing)}; it needs {', '.join(needed)}")
    try:
        table = table.set_column(table.column_names.index(ID), ID, table[ID].cast(pa.string()))
        table = table.set_column(table.column_names.index(DS), DS, _to_utc(table[DS]))
    except pa.ArrowInvalid as error:
        raise InvalidInput(f"column {DS} does not hold times ({error}); give timestamps") from None
    return table.take(pc.sort_indices(table, [(ID, "ascending"), (DS, "ascending")]))


def _to_utc(times: pa.ChunkedArray) -> pa.ChunkedArray:
    zoned = pa.types.is_timestamp(times.type) and times.type.tz is not None
    return times.cast(TIMESTAMP) if zoned else times.cast(pa.timestamp("us")).cast(TIMESTAMP)
