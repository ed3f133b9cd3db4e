"""Appended observations as a panel, checked against the declared roles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantis.errors import InvalidInput
from quantis.frequency import Frequency, to_datetime64, to_datetimes
from quantis.panel import DS, ID, KNOWN_AT, TIMESTAMP, Panel, Y
from quantis.types.datasets import DatasetSpec
from quantis.types.observations import ObservedSeries
from quantis.validation.time_zones import keep_wall_clock


def panel_from_observations(series: Sequence[ObservedSeries], spec: DatasetSpec) -> Panel:
    """Return the observations as a panel; InvalidInput names every value that does not fit the roles.

    Its tables hold the columns of the request; a series without static values has a row too.
    """
    errors: list[dict[str, str]] = []
    for index, item in enumerate(series):
        errors += _find_errors(index, item, spec)
    if errors:
        raise InvalidInput(
            f"{len(errors)} parts of the observations are wrong; see the errors", errors=errors
        )
    series = _keep_days(series, spec)
    panel = Panel(
        target=_concat_columns([_observed_columns(item) for item in series], spec),
        future=_concat_columns([_future_columns(item) for item in series], spec),
        static=_static_table(series, spec),
    )
    for table, key in ((panel.target, [ID, DS]), (panel.future, [ID, DS])):
        _check_distinct(table, [*key, KNOWN_AT])
    return panel


def _keep_days(series: Sequence[ObservedSeries], spec: DatasetSpec) -> Sequence[ObservedSeries]:
    """Return the series with days and longer steps as the clock showed them, as a file's are kept."""
    if spec.freq is None or Frequency.parse(spec.freq).is_intraday:
        return series
    lengths = [len(item.ds) for item in series]
    numbers = {unique_id: number for number, unique_id in enumerate({item.unique_id for item in series})}
    codes = np.repeat([numbers[item.unique_id] for item in series], lengths)
    written = list(chain.from_iterable(item.ds for item in series))
    wall = np.array([time.replace(tzinfo=None) for time in written], "datetime64[us]")
    utc = np.array([to_datetime64(time) for time in written], "datetime64[us]")
    days = keep_wall_clock(utc, wall, codes, spec.time_zone)
    if not days.moved.any():
        return series
    days_by_series = np.split(days.times, np.cumsum(lengths)[:-1])
    return [
        item.model_copy(update={"ds": to_datetimes(ds)})
        for item, ds in zip(series, days_by_series, strict=True)
    ]


def _find_errors(index: int, observed: ObservedSeries, spec: DatasetSpec) -> Iterator[dict[str, str]]:
    roles = spec.roles
    series_pointer = f"/series/{index}"
    values_by_role: list[tuple[str, Mapping[str, Any], tuple[str, ...]]] = [
        ("hist_exog", observed.hist_exog, roles.hist_exog),
        ("futr_exog", observed.futr_exog, roles.futr_exog),
        ("stat_exog", observed.stat_exog, roles.stat_exog),
    ]
    for role, columns, declared in values_by_role:
        for name, values in columns.items():
            pointer = f"{series_pointer}/{role}/{name}"
            if name not in declared:
                choices = ", ".join(declared) or "none"
                yield _error(pointer, f"{name!r} is not declared as {role}; declared: {choices}")
                continue
            cells = values if isinstance(values, list) else [values]
            if role != "stat_exog" and len(cells) != len(observed.ds):
                yield _error(
                    pointer, f"has {len(cells)} values and ds has {len(observed.ds)}; give one per time"
                )
            kind = str if name in roles.categorical else float
            if not all(cell is None or isinstance(cell, kind) for cell in cells):
                expected = "texts, since it is categorical" if kind is str else "numbers"
                yield _error(pointer, f"must hold {expected}")
    if observed.y is not None and len(observed.y) != len(observed.ds):
        yield _error(
            f"{series_pointer}/y",
            f"has {len(observed.y)} values and ds has {len(observed.ds)}; give one per time",
        )
    elif observed.known_at is not None and any(
        observed.known_at < ds for ds in _observed_columns(observed).get(DS, [])
    ):
        yield _error(
            f"{series_pointer}/known_at", "is before ds; a value is observed when it happens or later"
        )
    if observed.y is None and not (observed.hist_exog or observed.futr_exog or observed.stat_exog):
        yield _error(series_pointer, "holds no values; give y, hist_exog, futr_exog or stat_exog")


def _error(pointer: str, message: str) -> dict[str, str]:
    return {"pointer": pointer, "message": message}


def _observed_columns(observed: ObservedSeries) -> dict[str, list[Any]]:
    """Return the rows with observed values as columns; empty when there are none."""
    columns: dict[str, Any] = {**({} if observed.y is None else {Y: observed.y}), **observed.hist_exog}
    if not columns or any(len(values) != len(observed.ds) for values in columns.values()):
        return {}
    is_future = [
        bool(observed.futr_exog) and all(values[row] is None for values in columns.values())
        for row in range(len(observed.ds))
    ]
    return _select_rows(observed, columns, [row for row, only in enumerate(is_future) if not only])


def _future_columns(observed: ObservedSeries) -> dict[str, list[Any]]:
    return _select_rows(observed, observed.futr_exog, range(len(observed.ds))) if observed.futr_exog else {}


def _select_rows(
    observed: ObservedSeries, columns: Mapping[str, Sequence[Any]], rows: Sequence[int]
) -> dict[str, list[Any]]:
    times: dict[str, list[Any]] = {
        ID: [observed.unique_id] * len(rows),
        DS: [observed.ds[row] for row in rows],
        KNOWN_AT: [observed.known_at] * len(rows),
    }
    return {**times, **{name: [values[row] for row in rows] for name, values in columns.items()}}


def _concat_columns(parts: Sequence[Mapping[str, list[Any]]], spec: DatasetSpec) -> pa.Table:
    """Concatenate columns of several series; they must have the same ones, or a gap would pass for a null."""
    parts = [part for part in parts if part and part[ID]]
    names = list(parts[0]) if parts else [ID, DS, KNOWN_AT]
    if any(set(part) != set(names) for part in parts):
        raise InvalidInput(
            "the series do not give the same columns; send those with others in a further request"
        )
    columns = {}
    for name in names:
        cells = chain.from_iterable(part[name] for part in parts)
        columns[name] = pa.array(cells, _arrow_type(name, spec))
    return pa.table(columns)


def _static_table(series: Sequence[ObservedSeries], spec: DatasetSpec) -> pa.Table:
    rows = {observed.unique_id: observed.stat_exog for observed in series}
    names = set(chain.from_iterable(rows.values()))
    if any(set(values) != names for values in rows.values()):
        raise InvalidInput(
            "the series do not give the same static columns; send the others in a further request"
        )
    columns = {ID: pa.array(rows, pa.string())}
    for name in sorted(names):
        columns[name] = pa.array([row[name] for row in rows.values()], _arrow_type(name, spec))
    return pa.table(columns)


def _arrow_type(name: str, spec: DatasetSpec) -> pa.DataType:
    if name in (DS, KNOWN_AT):
        return TIMESTAMP
    return pa.string() if name == ID or name in spec.roles.categorical else pa.float64()


def _check_distinct(table: pa.Table, key: Sequence[str]) -> None:
    counts = table.group_by(list(key)).aggregate([([], "count_all")])
    duplicates = counts.filter(pc.greater(counts["count_all"], 1)).to_pylist()
    if duplicates:
        first = duplicates[0]
        raise InvalidInput(
            f"{len(duplicates)} times occur twice, such as {first[ID]!r} at {first[DS]:%Y-%m-%dT%H:%M:%SZ}; "
            "give one value per series, time and known_at"
        )
