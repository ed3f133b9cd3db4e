"""Dataframes in and out of a forecast."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantis.client.bodies import arrow_table
from quantis.client.problems import checked
from quantis.errors import InvalidInput
from quantis.panel import DS, ID, TIMESTAMP, Y, series_slices
from quantis.types.datasets import Roles
from quantis.types.forecasts import ForecastResponse, SeriesRequest


def forecast_frame(response: ForecastResponse, *, name: str = "Model") -> pa.Table:
    """The forecasts in Nixtla's long form: `unique_id, ds, Model, Model-lo-80, Model-hi-80 ...`.

    `Model` is the mean; each pair of quantiles q and 1 - q is one interval. One row per series and
    step; a refused series has none. Intervals that only some series have are null in the others.
    """
    answered = [entry for entry in response.forecasts if entry.ds]
    known = {quantile for entry in answered for quantile in entry.quantiles}
    columns: dict[str, Any] = {
        ID: pa.array([entry.unique_id for entry in answered for _ in entry.ds], pa.string()),
        DS: pa.array([time for entry in answered for time in entry.ds], TIMESTAMP),
        name: pa.array([value for entry in answered for value in entry.mean], pa.float64()),
    }
    for level, low, high in intervals(known):
        for side, quantile in (("lo", low), ("hi", high)):
            values = [v for entry in answered for v in entry.quantiles.get(quantile, [None] * len(entry.ds))]
            columns[f"{name}-{side}-{level}"] = pa.array(values, pa.float64())
    return pa.table(columns)


def intervals(quantiles: set[str]) -> list[tuple[str, str, str]]:
    """The central intervals among quantiles as (level in percent, low, high), narrowest first."""
    by_value = {round(float(text), 6): text for text in quantiles}
    found = [
        (round(100 * (1 - 2 * low), 4), text, by_value[round(1 - low, 6)])
        for low, text in by_value.items()
        if low < 0.5 and round(1 - low, 6) in by_value
    ]
    return [(f"{level:g}", low, high) for level, low, high in sorted(found)]


def series_requests(history: Any, future: Any | None, roles: Roles) -> list[SeriesRequest]:
    """Histories with their covariates as the body of a forecast request.

    `history` holds `unique_id, ds, y` and the covariates; `future` holds `unique_id, ds` and the
    known-future covariates of the steps to forecast. Times without a zone are UTC.
    """
    past = _sorted(history, (ID, DS, Y))
    ahead = _sorted(future, (ID, DS, *roles.futr_exog)) if future is not None else None
    following = dict(series_slices(ahead[ID])) if ahead is not None else {}
    requests = []
    for unique_id, rows in series_slices(past[ID]):
        part = past.slice(rows.start, rows.stop - rows.start)
        after = following.get(unique_id)
        later = ahead.slice(after.start, after.stop - after.start) if ahead is not None and after else None
        requests.append(_request(unique_id, part, later, roles))
    return requests


def _request(unique_id: str, past: pa.Table, later: pa.Table | None, roles: Roles) -> SeriesRequest:
    held = [column for column in roles.futr_exog if column in past.column_names or later is not None]
    return checked(
        SeriesRequest,
        unique_id=unique_id,
        ds=past[DS].to_pylist(),
        y=_values(past[Y]),
        hist_exog={c: _values(past[c]) for c in roles.hist_exog if c in past.column_names},
        futr_exog={c: _known_values(c, past, later) for c in held},
        stat_exog={c: _values(past[c])[-1] for c in roles.stat_exog if c in past.column_names},
    )


def _known_values(column: str, past: pa.Table, later: pa.Table | None) -> list[Any]:
    """Over history and horizon, or the horizon alone where the history does not have it."""
    before = _values(past[column]) if column in past.column_names else []
    return before + (_values(later[column]) if later is not None else [])


def _values(column: pa.ChunkedArray) -> list[Any]:
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


def _sorted(frame: Any, needed: tuple[str, ...]) -> pa.Table:
    table = arrow_table(frame)
    missing = [column for column in needed if column not in table.column_names]
    if missing:
        raise InvalidInput(f"the frame has no column {', '.join(missing)}; it needs {', '.join(needed)}")
    try:
        table = table.set_column(table.column_names.index(ID), ID, table[ID].cast(pa.string()))
        table = table.set_column(table.column_names.index(DS), DS, _utc(table[DS]))
    except pa.ArrowInvalid as error:
        raise InvalidInput(f"column {DS} does not hold times ({error}); give timestamps") from None
    return table.take(pc.sort_indices(table, [(ID, "ascending"), (DS, "ascending")]))


def _utc(times: pa.ChunkedArray) -> pa.ChunkedArray:
    zoned = pa.types.is_timestamp(times.type) and times.type.tz is not None
    return times.cast(TIMESTAMP) if zoned else times.cast(pa.timestamp("us")).cast(TIMESTAMP)
