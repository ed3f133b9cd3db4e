"""Frames of a forecast request, read as an upload reads them: names, times, numbers and categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantis.client.bodies import arrow_table
from quantis.errors import InvalidInput
from quantis.frequency import Frequency
from quantis.panel import DS, ID, Y
from quantis.reading.batches import plain_type, to_plain
from quantis.types.arrays import Times
from quantis.types.datasets import Roles
from quantis.types.findings import Severity
from quantis.types.reading import ReadOptions
from quantis.validation.column_mapping import map_columns
from quantis.validation.findings import Findings
from quantis.validation.panel_check import drop_duplicates
from quantis.validation.rows import PanelRows, TimeOptions, parse_rows

_DAY_US = 86_400_000_000
_CLOCK_UNITS = frozenset({"s", "min", "h", "i"})
_MAX_FINDINGS = 3  # in a message


@dataclass(frozen=True)
class SeriesRows:
    """Rows of one series, sorted by time."""

    ds: Times  # [rows]
    columns: Mapping[str, pa.Array]  # y and the covariates that the frame has, [rows]

    def values(self, column: str) -> list[Any]:
        values: list[Any] = self.columns[column].to_pylist()
        return values


FrameRows = dict[str, SeriesRows]


def read_frames(
    history: Any, future: Any | None, roles: Roles, *, frequency: Frequency | None, time_zone: str
) -> tuple[FrameRows, FrameRows]:
    """Return the series of both frames; InvalidInput names the rows that an upload would reject.

    Local midnights are read as dates where the frequency is of days or longer, with `future` as with `history`.
    """
    tables = [_plain_table(history, (ID, DS, Y), roles)]
    if future is not None:
        tables.append(_plain_table(future, (ID, DS, *roles.futr_exog), roles))
    tables = _midnights_to_dates(tables, frequency)
    observed = tables[0]
    if len(tables) == 1:
        return _split_series(_parse(observed, roles, time_zone, _RowNumbers("history"))), {}
    future_table = tables[1].select([ID, DS, *roles.futr_exog])
    names = future_table.column_names
    if any(
        name in observed.column_names and future_table[name].type != observed[name].type for name in names
    ):
        history_rows = _parse(observed, roles, time_zone, _RowNumbers("history"))
        future_rows = _parse(future_table, roles, time_zone, _RowNumbers("future"))
        return _split_series(history_rows), _split_series(future_rows, names)
    # One reading for both, so that the order of day and month, or summer time, is decided from all times.
    both = pa.concat_tables([observed, future_table], promote_options="default")
    numbers = _RowNumbers("history", "future", observed.num_rows)
    rows = _parse(both, roles, time_zone, numbers)
    in_history = rows.row < observed.num_rows
    history_rows, future_rows = (_unique_rows(rows.take(mask), numbers) for mask in (in_history, ~in_history))
    return _split_series(history_rows, observed.column_names), _split_series(future_rows, names)


@dataclass(frozen=True)
class _RowNumbers:
    """Rows of one frame, or of two of which the second begins after `first_rows`."""

    first: str
    second: str | None = None
    first_rows: int = 0

    def describe(self, row: int) -> str:
        """Return a row, counted from 1 over both, as that of its frame."""
        if self.second is not None and row > self.first_rows:
            return f"{self.second}, row {row - self.first_rows:,}"
        return f"{self.first}, row {row:,}"


def _plain_table(frame: Any, needed: Sequence[str], roles: Roles) -> pa.Table:
    """Return the columns with a role as plain ones, under the panel's names."""
    table = arrow_table(frame)
    table, _ = map_columns(table, roles, ReadOptions())
    missing = [column for column in needed if column not in table.column_names]
    if missing:
        raise InvalidInput(f"the frame has no column {', '.join(missing)}; it needs {', '.join(needed)}")
    doubled = [column for column in needed if table.column_names.count(column) > 1]
    if doubled:
        raise InvalidInput(f"the frame has column {', '.join(doubled)} twice; give it once")
    table = table.select([c for c in (ID, DS, Y, *roles.columns) if c in table.column_names])
    columns = {}
    for field in table.schema:
        target = pa.field(field.name, plain_type(field.type))
        chunks = [to_plain(chunk, target, "the frame") for chunk in table[field.name].chunks]
        columns[field.name] = pa.chunked_array(chunks, target.type)
    return pa.table(columns).combine_chunks()


def _midnights_to_dates(tables: list[pa.Table], frequency: Frequency | None) -> list[pa.Table]:
    """Return times that are all midnights of their zone as dates, unless the frequency is shorter than a day."""
    if frequency is not None and frequency.unit in _CLOCK_UNITS:
        return tables
    walls = []
    for table in tables:
        kind = table[DS].type
        if not pa.types.is_timestamp(kind) or kind.tz in (None, "UTC"):
            return tables
        wall = pc.local_timestamp(table[DS]).cast(pa.timestamp("us"), safe=False)
        if np.any(wall.cast(pa.int64()).drop_null().to_numpy() % _DAY_US):
            return tables
        walls.append(wall)
    return [
        table.set_column(table.column_names.index(DS), DS, wall)
        for table, wall in zip(tables, walls, strict=True)
    ]


def _parse(table: pa.Table, roles: Roles, time_zone: str, numbers: _RowNumbers) -> PanelRows:
    """Parse by the rules of an upload; of two frames the rows of both, with times that both may have."""
    names = table.column_names
    present = Roles(
        futr_exog=tuple(column for column in roles.futr_exog if column in names),
        hist_exog=tuple(column for column in roles.hist_exog if column in names),
        stat_exog=tuple(column for column in roles.stat_exog if column in names),
        categorical=tuple(column for column in roles.categorical if column in names),
    )
    if Y not in names:
        table = table.append_column(Y, pa.nulls(table.num_rows, pa.float64()))
    findings = Findings()
    rows = parse_rows(table, present, TimeOptions(time_zone), findings)
    _raise_errors(findings, numbers)
    assert rows is not None  # or there is an error
    return rows if numbers.second is not None else _unique_rows(rows, numbers)


def _unique_rows(rows: PanelRows, numbers: _RowNumbers) -> PanelRows:
    """Count equal rows once, as an upload does; InvalidInput where a series has other values at the same time."""
    findings = Findings()
    unique = drop_duplicates(rows, findings)
    _raise_errors(findings, numbers)
    return unique


def _raise_errors(findings: Findings, numbers: _RowNumbers) -> None:
    """Raise InvalidInput with the first errors, each with its column, frame and row."""
    if not findings.rejected:
        return
    errors = [finding for finding in findings.to_list() if finding.severity is Severity.error]
    messages = []
    for error in errors[:_MAX_FINDINGS]:
        parts = [numbers.describe(error.row)] if error.row is not None else []
        if error.column == DS:
            parts.insert(0, "column ds does not hold times")
        elif error.column is not None:
            parts.insert(0, f"column {error.column}")
        messages.append(f"{', '.join(parts)}: {error.message}" if parts else error.message)
    raise InvalidInput("; ".join(messages))


def _split_series(rows: PanelRows, columns: Sequence[str] | None = None) -> FrameRows:
    """Return the rows of each series, in the order of the ids; of `columns` where they are given."""
    names = [name for name in rows.columns if columns is None or name in columns]
    bounds = [*rows.starts.tolist(), len(rows.series)]
    series: FrameRows = {}
    for start, stop in pairwise(bounds):
        values = {name: rows.columns[name].slice(start, stop - start) for name in names}
        series[rows.name(start)] = SeriesRows(rows.ds[start:stop], values)
    return series
