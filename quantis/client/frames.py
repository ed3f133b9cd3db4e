"""Dataframes in and out of a forecast."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantis.client.frame_rows import FrameRows, SeriesRows, read_frames
from quantis.client.problems import validate
from quantis.errors import InvalidInput
from quantis.frequency import Frequency, to_datetimes
from quantis.frequency_inference import infer
from quantis.panel import DS, ID, TIMESTAMP, Y
from quantis.types.arrays import Times
from quantis.types.base import MAX_HORIZON
from quantis.types.datasets import Roles
from quantis.types.forecasts import ForecastResponse, SeriesRequest

CUTOFF = "cutoff"


def forecast_frame(response: ForecastResponse, *, name: str = "Model", origins: bool = True) -> pa.Table:
    """Return the forecasts in Nixtla's long form: `unique_id, ds, Model, Model-lo-80, Model-hi-80 ...`.

    `Model` is the mean; each pair of quantiles q and 1 - q is one interval. One row per series and step. Intervals
    that only some series have are null in the others.

    With `origins` a refused series has one row, without time and value, and the columns `status`, `method`, `reason`,
    `detail` and `version` say of each row where it comes from. Without, there are the forecasts alone, as Nixtla's
    tools take them.
    """
    entries = [entry for entry in response.forecasts if entry.ds or origins]
    lengths = [max(len(entry.ds), int(origins)) for entry in entries]  # rows of each entry
    quantiles = set(chain.from_iterable(entry.quantiles for entry in entries))

    def column(cells: Iterable[Sequence[Any]], kind: pa.DataType) -> pa.Array:
        """Return the cells of each entry one after the other, null where an entry has none."""
        padded = (values or [None] * length for values, length in zip(cells, lengths, strict=True))
        return pa.array(chain.from_iterable(padded), kind)

    def repeat(values: Iterable[Any], kind: pa.DataType) -> pa.Array:
        """Return a value of each entry in all of its rows."""
        return column(([value] * length for value, length in zip(values, lengths, strict=True)), kind)

    columns: dict[str, Any] = {
        ID: repeat((entry.unique_id for entry in entries), pa.string()),
        DS: column((entry.ds for entry in entries), TIMESTAMP),
        name: column((entry.mean for entry in entries), pa.float64()),
    }
    for level, low, high in intervals(quantiles):
        for side, q in (("lo", low), ("hi", high)):
            cells = (entry.quantiles.get(q, []) for entry in entries)
            columns[f"{name}-{side}-{level}"] = column(cells, pa.float64())
    if origins:
        columns["status"] = repeat((entry.status for entry in entries), pa.string())
        columns["method"] = repeat((entry.method.value for entry in entries), pa.string())
        reasons = (entry.reason.value if entry.reason else None for entry in entries)
        columns["reason"] = repeat(reasons, pa.string())
        columns["detail"] = repeat((entry.detail for entry in entries), pa.string())
        versions = (entry.version or response.model.version for entry in entries)
        columns["version"] = repeat(versions, pa.int64())
    return pa.table(columns)


def rename_quantiles(table: pa.Table, name: str) -> pa.Table:
    """Return a table of the platform under Nixtla's names: the mean as `name`, quantiles as its intervals.

    The median is `name-median`, and a quantile without its counterpart `name-ql0.95`.
    """
    levels = {column[1:] for column in table.column_names if _is_quantile(column)}
    names = {"mean": name} | {
        f"q{q}": f"{name}-median" if float(q) == 0.5 else f"{name}-ql{q}" for q in levels
    }
    for level, low, high in intervals(levels):
        names |= {f"q{low}": f"{name}-lo-{level}", f"q{high}": f"{name}-hi-{level}"}
    return table.rename_columns([names.get(column, column) for column in table.column_names])


def cross_validation_frame(rows: pa.Table) -> pa.Table:
    """Return a backtest's forecasts in Nixtla's wide form: `unique_id, ds, cutoff, y`, and the columns of each model.

    A model without a forecast at a time that another one has is null there.
    """
    keys = [ID, DS, CUTOFF]
    frame = rows.group_by(keys).aggregate([(Y, "max")]).rename_columns([*keys, Y])
    for model in pc.unique(rows["model"]).to_pylist():
        forecasts = rows.filter(pc.equal(rows["model"], model)).drop_columns(["model", Y])
        used = [
            name for name in forecasts.column_names if name in (*keys, "mean") or _has_values(forecasts, name)
        ]
        frame = frame.join(rename_quantiles(forecasts.select(used), model), keys, join_type="left outer")
    return frame.sort_by([(ID, "ascending"), (CUTOFF, "ascending"), (DS, "ascending")])


def _is_quantile(column: str) -> bool:
    return column.startswith("q") and column[1:2].isdigit()


def _has_values(table: pa.Table, column: str) -> bool:
    return bool(table[column].null_count < table.num_rows)


def intervals(quantiles: set[str]) -> list[tuple[str, str, str]]:
    """Return the central intervals among quantiles as (level in percent, low, high), narrowest first."""
    by_value = {round(float(text), 6): text for text in quantiles}
    pairs = [
        (round(100 * (1 - 2 * low), 4), text, by_value[round(1 - low, 6)])
        for low, text in by_value.items()
        if low < 0.5 and round(1 - low, 6) in by_value
    ]
    return [(f"{level:g}", low, high) for level, low, high in sorted(pairs)]


def series_requests(
    history: Any,
    future: Any | None,
    roles: Roles,
    *,
    freq: str | None = None,
    h: int | None = None,
    horizon: int | None = None,
    time_zone: str = "UTC",
) -> list[SeriesRequest]:
    """Build the series of a forecast request from histories with their covariates.

    Both frames are read as an upload would be. The future is matched by time: rows up to the end of a series' history
    are ignored, and InvalidInput names a step without a row, a time twice, and a time off the grid.

    Parameters
    ----------
    history
        `unique_id, ds, y` and the covariates.
    future
        `unique_id, ds` and the known-future covariates of the steps to forecast. A series without a row in it has
        no values known in advance.
    roles
        The roles of the columns.
    freq
        The frequency of the model; inferred from the times when absent.
    h
        The steps to forecast; as many as `future` has when absent.
    horizon
        The steps of the model, where `h` is fewer.
    time_zone
        The zone of times that do not say theirs.
    """
    frequency = Frequency.parse(freq) if freq else None
    histories, futures = read_frames(history, future, roles, frequency=frequency, time_zone=time_zone)
    strangers = [unique_id for unique_id in futures if unique_id not in histories]
    if strangers:
        raise InvalidInput(
            f"future holds series {', '.join(map(repr, strangers[:3]))}, which the history lacks; "
            "give their history, or leave them out"
        )
    frequency = frequency or _infer_frequency(histories, futures)
    requests = []
    for unique_id, observed in histories.items():
        future_rows = futures.get(unique_id)
        rows = (
            None
            if future_rows is None
            else _match_horizon(unique_id, observed.ds[-1], future_rows.ds, frequency, h)
        )
        futr_exog: dict[str, list[Any]] = {}
        for column in roles.futr_exog:
            history_values = observed.values(column) if column in observed.columns else []
            if rows is not None and future_rows is not None:
                values = future_rows.values(column)
                futr_exog[column] = history_values + [values[row] for row in rows]
            elif history_values:
                # As many values as the horizon has steps would be taken for the horizon's.
                unknown = [None] * (h or 0) if len(history_values) in (h, horizon) else []
                futr_exog[column] = history_values + unknown
        requests.append(_build_request(unique_id, observed, futr_exog, roles))
    return requests


def _build_request(
    unique_id: str, history: SeriesRows, futr_exog: dict[str, list[Any]], roles: Roles
) -> SeriesRequest:
    return validate(
        SeriesRequest,
        unique_id=unique_id,
        ds=to_datetimes(history.ds),
        y=history.values(Y),
        hist_exog={c: history.values(c) for c in roles.hist_exog if c in history.columns},
        futr_exog=futr_exog,
        stat_exog={c: _only_value(unique_id, history, c) for c in roles.stat_exog if c in history.columns},
    )


def _only_value(unique_id: str, history: SeriesRows, column: str) -> Any:
    """Return the value of a static column; InvalidInput where it varies."""
    values = pc.unique(history.columns[column].drop_null()).to_pylist()
    if len(values) > 1:
        raise InvalidInput(
            f"series {unique_id!r}: {column} is static and has the values {values[0]!r} and {values[1]!r}; give one"
        )
    return values[0] if values else None


def _infer_frequency(histories: FrameRows, futures: FrameRows) -> Frequency | None:
    """Return the frequency of the longest history; of the longest future where the histories are too short."""
    for frames in (histories, futures):
        times = max((rows.ds for rows in frames.values()), key=len, default=np.zeros(0, "datetime64[us]"))
        frequency = infer(times)
        if frequency is not None:
            return frequency
    return None


def _match_horizon(
    unique_id: str, last: np.datetime64, ds: Times, frequency: Frequency | None, h: int | None
) -> list[int]:
    """Return the rows of the steps that follow `last`, in their order; InvalidInput where they are not all there."""
    rows = np.flatnonzero(ds > last)
    times = ds[rows]
    if frequency is None:  # too few rows to tell a hole
        if h is not None and len(rows) < h:
            raise InvalidInput(
                f"series {unique_id!r}: future has {len(rows)} rows after {_quote_times([last])}; {h} are needed"
            )
        return [int(row) for row in rows[:h]]
    steps = frequency.steps_between(last, times)
    furthest = min(max(int(steps.max(initial=1)), 1), MAX_HORIZON)
    expected = frequency.after(last, furthest if h is None else h)
    missing = expected[~np.isin(expected, times)]
    if len(missing):
        remedy = ", or ask for a smaller h" if expected[0] in times else ""
        raise InvalidInput(
            f"series {unique_id!r}: its history ends at {_quote_times([last])}, and future has no row for "
            f"{_quote_times(missing)}; give a row for each step of {frequency.alias}{remedy}"
        )
    off_grid = times[(steps < 1) & (times < expected[-1])]
    if len(off_grid):
        raise InvalidInput(
            f"series {unique_id!r}: future has {_quote_times(off_grid)}, off the grid of {frequency.alias} after "
            f"{_quote_times([last])}; leave it out"
        )
    return [int(row) for row in rows[np.isin(times, expected)]]


def _quote_times(times: Sequence[np.datetime64] | Times) -> str:
    """Return the first of some times, and the number of the others."""
    texts = [str(time).removesuffix("T00:00:00.000000").removesuffix(".000000") for time in times[:3]]
    return ", ".join(texts) + (f" and {len(times) - 3:,} more" if len(times) > 3 else "")
