"""The data check: does a table keep the panel contract, and which panel is in it.

Used by `quantis data check` and by the check and upload routes; nothing below them checks again.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantis.columns import Mask
from quantis.findings import Findings
from quantis.frequency import Frequency
from quantis.panel import DS, ID, KNOWN_AT, TIMESTAMP, Panel, Y, timestamps
from quantis.rows import Rows, parse_rows
from quantis.series_check import check_series
from quantis.types.datasets import RESERVED_COLUMNS, CheckReport, DatasetSpec, Roles


def check_panel(table: pa.Table, spec: DatasetSpec, *, file: str) -> tuple[CheckReport, Panel | None]:
    """The report, and the panel unless it is rejected.

    Rows of a series after its last y that hold only known-future values belong to the future. A
    `known_at` dates the observed values of its row; in such a future row, the known-future ones.
    """
    findings, freq, panel = Findings(), None, None
    rows = _parsed(table, spec.roles, findings)
    if rows is not None:
        rows = _without_duplicates(rows, findings)
        ahead = _ahead(rows, spec.roles)
        freq = _check(rows, ahead, spec, findings)
        panel = None if findings.rejected else _panel(rows, ahead, spec.roles)
    report = CheckReport(
        file=file,
        outcome=findings.outcome,
        findings=findings.listed(),
        series=len(rows.names) if rows is not None else 0,
        rows=table.num_rows,
        freq=freq.alias if freq else spec.freq,
        columns={field.name: str(field.type) for field in table.schema},
    )
    return report, panel


def detect_spec(table: pa.Table, name: str) -> DatasetSpec:
    """The roles that a table suggests: numbers are observed, texts constant per series are static.

    What is known in advance cannot be seen in a table: declare it.
    """
    hist, static = [], []
    for column in table.column_names:
        kind = table.schema.field(column).type
        if column in RESERVED_COLUMNS or pa.types.is_temporal(kind):
            continue
        if not pa.types.is_string(kind):
            hist.append(column)
        elif ID in table.column_names:
            pairs = table.group_by([ID, column]).aggregate([])
            if pairs.num_rows == len(pc.unique(pairs[ID])):
                static.append(column)
    roles = Roles(hist_exog=tuple(hist), stat_exog=tuple(static), categorical=tuple(static))
    return DatasetSpec(name=name, roles=roles)


def _parsed(table: pa.Table, roles: Roles, findings: Findings) -> Rows | None:
    for column in (ID, DS, Y, *roles.columns):
        if column not in table.column_names:
            findings.add("D003", f"column {column!r} is not in the file", column=column)
    for column in table.column_names:
        if column not in (ID, DS, Y, KNOWN_AT, *roles.columns):
            findings.add("D004", f"column {column!r} has no role", column=column)
    if table.num_rows == 0:
        findings.add("D005", "the file has a header only")
    return None if findings.rejected else parse_rows(table, roles, findings)


def _without_duplicates(rows: Rows, findings: Findings) -> Rows:
    """One row per series, time and known_at; identical ones are counted, others are findings."""
    again = rows.same_time()
    equal = np.ones(len(again), dtype=bool)
    for name, column in rows.columns.items():
        alike = _equals_row_before(column)
        if name == KNOWN_AT:
            again &= alike
        equal &= alike
    conflicts = np.flatnonzero(again & ~equal)
    by_row = {int(rows.row[place]): int(place) for place in conflicts}
    findings.rows(
        "D001",
        sorted(by_row),
        lambda row: f"{rows.name(by_row[row])} has another row at {rows.ds[by_row[row]]}",
        series=lambda row: rows.name(by_row[row]),
    )
    identical = int((again & equal).sum())
    if identical:
        findings.add("D002", f"{identical:,} rows repeat another one")
    return rows.take(~(again & equal)) if identical else rows


def _ahead(rows: Rows, roles: Roles) -> Mask:
    """Rows after a series' last y with known-future values and nothing observed. Shape [rows]."""
    if not roles.futr_exog:
        return np.zeros(len(rows.series), dtype=bool)
    observed = _any_valid(rows, (Y, *roles.hist_exog))
    ticks = np.where(_any_valid(rows, (Y,)), rows.ds.astype(np.int64), np.iinfo(np.int64).min)
    last = np.maximum.reduceat(ticks, rows.starts)
    lengths = np.diff(rows.starts, append=len(rows.series))
    beyond = rows.ds.astype(np.int64) > np.repeat(last, lengths)
    ahead: Mask = beyond & ~observed & _any_valid(rows, roles.futr_exog)
    return ahead


def _check(rows: Rows, ahead: Mask, spec: DatasetSpec, findings: Findings) -> Frequency | None:
    for column in spec.roles.stat_exog:
        _check_static(rows, column, findings)
    for column in spec.roles.futr_exog:
        missing = rows.columns[column].null_count
        if missing:
            findings.add("D061", f"{column} is empty in {missing:,} rows", column=column)
    if KNOWN_AT in rows.columns:
        early = (
            pc.less(rows.columns[KNOWN_AT], timestamps(rows.ds))
            .fill_null(False)
            .to_numpy(zero_copy_only=False)
        )
        count = int((early & ~ahead).sum())
        if count:
            findings.add("D024", f"known_at is before ds in {count:,} rows", column=KNOWN_AT)
    valued = np.isin(np.arange(len(rows.names)), rows.series[_any_valid(rows, (Y,))])
    if not valued.any():
        findings.add("D053", "y is empty in every row", column=Y)
        return None
    empty = rows.names.filter(pa.array(~valued)).to_pylist()
    findings.series("D052", empty, lambda i: f"{empty[i]} has no value in y", column=Y)
    # Of several values known at different times, the last is the one to judge.
    latest = ~np.append(rows.same_time()[1:], False)
    return check_series(rows.take(latest & ~ahead), spec.freq, findings)


def _check_static(rows: Rows, column: str, findings: Findings) -> None:
    codes = rows.columns[column].dictionary_encode().indices
    high = np.maximum.reduceat(codes.fill_null(-1).to_numpy(), rows.starts)
    low = np.minimum.reduceat(codes.fill_null(np.iinfo(np.int32).max).to_numpy(), rows.starts)
    varies = rows.names.filter(pa.array((high >= 0) & (low != high))).to_pylist()
    findings.series("D060", varies, lambda i: f"{varies[i]} has several values of {column}", column=column)


def _panel(rows: Rows, ahead: Mask, roles: Roles) -> Panel:
    dates = {KNOWN_AT: rows.columns[KNOWN_AT]} if KNOWN_AT in rows.columns else {}
    keys = {ID: rows.names.take(pa.array(rows.series)), DS: timestamps(rows.ds)}
    target = pa.table({**keys, **{name: rows.columns[name] for name in (Y, *roles.hist_exog)}, **dates})
    future = pa.table({**keys, **{name: rows.columns[name] for name in roles.futr_exog}})
    if dates:
        dated = pc.if_else(pa.array(ahead), dates[KNOWN_AT], pa.scalar(None, TIMESTAMP))
        future = future.append_column(KNOWN_AT, dated)
    latest = ~np.append(rows.same_time()[1:], False)
    return Panel(
        target=target.filter(pa.array(~ahead)),
        future=future.filter(pa.array(latest)) if roles.futr_exog else future.slice(0, 0),
        static=pa.table({ID: rows.names, **{name: _per_series(rows, name) for name in roles.stat_exog}}),
    )


def _per_series(rows: Rows, column: str) -> pa.Array:
    """The value of a static column, null where a series has none. Shape [series]."""
    coded = rows.columns[column].dictionary_encode()
    high = np.maximum.reduceat(coded.indices.fill_null(-1).to_numpy(), rows.starts)
    return coded.dictionary.take(pa.array(high, mask=high < 0))


def _any_valid(rows: Rows, columns: tuple[str, ...]) -> Mask:
    valid = np.zeros(len(rows.series), dtype=bool)
    for name in columns:
        valid |= rows.columns[name].is_valid().to_numpy(zero_copy_only=False)
    return valid


def _equals_row_before(column: pa.Array) -> Mask:
    """Whether each value equals the one before, null equal to null. Shape [rows]."""
    codes = column.dictionary_encode().indices.fill_null(-1).to_numpy()
    return np.append(False, np.diff(codes) == 0)
