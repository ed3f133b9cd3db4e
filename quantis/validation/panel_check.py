"""The data check: a table against the panel contract, and the panel that it holds.

Used by `quantis data check` and by the check and upload routes; nothing below them checks again.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantis.frequency import Frequency
from quantis.panel import DS, ID, KNOWN_AT, TIMESTAMP, Panel, Y, timestamps
from quantis.reading import read_notes
from quantis.types.arrays import Integers, Mask
from quantis.types.datasets import CheckReport, DatasetSpec, Roles
from quantis.types.reading import ReadOptions
from quantis.validation.column_mapping import check_names, is_reserved, map_columns
from quantis.validation.covariate_rules import (
    any_valid,
    check_future_rows,
    check_known_future,
    check_leaks,
    check_static,
)
from quantis.validation.findings import Findings, SeriesMessage
from quantis.validation.frequency_rules import check_frequency
from quantis.validation.rows import PanelRows, TimeOptions, parse_rows
from quantis.validation.time_rules import check_not_future
from quantis.validation.value_rules import check_missing, check_values


def check_panel(
    table: pa.Table, spec: DatasetSpec, *, file: str, options: ReadOptions | None = None
) -> tuple[CheckReport, Panel | None]:
    """Check a table against the panel contract.

    Rows of a series after its last y that hold only known-future values belong to the future. A
    `known_at` dates the observed values of its row; in such a future row, the known-future ones.

    Parameters
    ----------
    table
        The columns of a file as `read_table` returns them.
    spec
        The declared roles, frequency and time zone.
    file
        The name of the file, for the report.
    options
        Column mapping, time zone and date order of the file.

    Returns
    -------
    report
        The findings, and the size and frequency of the panel.
    panel
        The panel in UTC, sorted by series and time; None when the report rejects it.
    """
    options = options or ReadOptions()
    findings, freq, panel = Findings(), None, None
    for note in read_notes(table):
        findings.add(note.code, note.message, column=note.column)
    columns = {field.name: str(field.type) for field in table.schema}
    rows = _parse(table, spec, options, findings)
    if rows is not None:
        rows = drop_duplicates(rows, findings)
        is_future = _find_future_rows(rows, spec.roles)
        freq = _check_rows(rows, is_future, spec, options, findings)
        panel = None if findings.rejected else _build_panel(rows, is_future, spec)
    report = CheckReport(
        file=file,
        outcome=findings.outcome,
        findings=findings.to_list(),
        series=len(rows.names) if rows is not None else 0,
        rows=table.num_rows,
        freq=freq.alias if freq else spec.freq,
        columns=columns,
    )
    return report, panel


def report_unreadable(file: str, reason: str) -> CheckReport:
    """Return the report of a file that cannot be read as a table at all; `reason` says why, and the remedy."""
    findings = Findings()
    findings.add("D000", reason)
    return CheckReport(
        file=file, outcome=findings.outcome, findings=findings.to_list(), series=0, rows=0, freq=None
    )


def detect_spec(table: pa.Table, name: str, options: ReadOptions | None = None) -> DatasetSpec:
    """Return the roles that a table suggests: numbers are observed, texts constant per series are static.

    What is known in advance cannot be seen in a table: declare it.
    """
    table, _ = map_columns(table, Roles(), options or ReadOptions())
    hist, static = [], []
    for column in table.column_names:
        kind = table.schema.field(column).type
        if is_reserved(column) or pa.types.is_temporal(kind) or pa.types.is_null(kind):
            continue
        if not pa.types.is_string(kind):
            hist.append(column)
        elif ID in table.column_names:
            pairs = table.group_by([ID, column]).aggregate([])
            if pairs.num_rows == len(pc.unique(pairs[ID])):
                static.append(column)
    roles = Roles(hist_exog=tuple(hist), stat_exog=tuple(static), categorical=tuple(static))
    return DatasetSpec(name=name, roles=roles)


def _parse(table: pa.Table, spec: DatasetSpec, options: ReadOptions, findings: Findings) -> PanelRows | None:
    table, mapped = map_columns(table, spec.roles, options)
    check_names(table, mapped, spec.roles, findings)
    if table.num_rows == 0:
        findings.add("D005", "the file has a header only")
    if findings.rejected:
        return None
    time_options = TimeOptions(options.time_zone or spec.time_zone, options.dates, spec.freq)
    return parse_rows(table, spec.roles, time_options, findings)


def drop_duplicates(rows: PanelRows, findings: Findings) -> PanelRows:
    """Keep one row per series, time and known_at; identical ones are counted, others are findings."""
    repeated = np.flatnonzero(rows.same_time())
    if KNOWN_AT in rows.columns:
        repeated = repeated[_equals_previous(rows.columns[KNOWN_AT], repeated)]
    if len(repeated) == 0:
        return rows
    equal = np.ones(len(repeated), dtype=bool)
    for column in rows.columns.values():
        equal &= _equals_previous(column, repeated)
    by_row = {int(rows.row[index]): int(index) for index in repeated[~equal]}
    findings.add_rows(
        "D001",
        sorted(by_row),
        lambda row: f"{rows.name(by_row[row])} has another row at {rows.ds[by_row[row]]}",
        series=lambda row: rows.name(by_row[row]),
    )
    if not equal.any():
        return rows
    is_first = np.ones(len(rows.series), dtype=bool)
    is_first[repeated[equal]] = False
    _report_identical(rows, repeated[equal], findings)
    return rows.take(is_first)


def _report_identical(rows: PanelRows, repeated: Integers, findings: Findings) -> None:
    """Report per series how many rows repeat another one."""
    series, counts = np.unique(rows.series[repeated], return_counts=True)
    names = [str(rows.names[int(code)]) for code in series]
    messages = [
        SeriesMessage(name, f"{name} repeats {count:,} of its rows")
        for name, count in zip(names, counts, strict=True)
    ]
    findings.add_series("D002", messages)


def _find_future_rows(rows: PanelRows, roles: Roles) -> Mask:
    """Return the rows about the future only: known-future values, nothing observed. Shape [rows].

    They lie after a series' last y, or were known before their time: a covariate as it was forecast.
    """
    if not roles.futr_exog:
        return np.zeros(len(rows.series), dtype=bool)
    observed = any_valid(rows, (Y, *roles.hist_exog))
    epoch_us = np.where(any_valid(rows, (Y,)), rows.ds.astype(np.int64), np.iinfo(np.int64).min)
    last_us = np.maximum.reduceat(epoch_us, rows.starts)
    lengths = np.diff(rows.starts, append=len(rows.series))
    after_last = rows.ds.astype(np.int64) > np.repeat(last_us, lengths)
    is_future: Mask = (after_last | _find_early_rows(rows)) & ~observed & any_valid(rows, roles.futr_exog)
    return is_future


def _find_early_rows(rows: PanelRows) -> Mask:
    """Return the rows whose `known_at` is before ds. Shape [rows]."""
    if KNOWN_AT not in rows.columns:
        return np.zeros(len(rows.series), dtype=bool)
    early = pc.less(rows.columns[KNOWN_AT], timestamps(rows.ds)).fill_null(False)
    is_early: Mask = early.to_numpy(zero_copy_only=False)
    return is_early


def _find_latest_rows(rows: PanelRows, is_future: Mask) -> Mask:
    """Return the row known last per series and time, of those not about the future only. Shape [rows]."""
    indices = np.flatnonzero(~is_future)
    repeated = (np.diff(rows.series[indices]) == 0) & (np.diff(rows.ds[indices]) == np.timedelta64(0, "us"))
    is_last = np.zeros(len(is_future), dtype=bool)
    is_last[indices[~np.append(repeated, False)]] = True
    return is_last


def _check_rows(
    rows: PanelRows, is_future: Mask, spec: DatasetSpec, options: ReadOptions, findings: Findings
) -> Frequency | None:
    check_static(rows, spec.roles, findings)
    check_known_future(rows, is_future, spec.roles, findings)
    if KNOWN_AT in rows.columns:
        count = int((_find_early_rows(rows) & ~is_future).sum())
        if count:
            findings.add("D024", f"known_at is before ds in {count:,} rows", column=KNOWN_AT)
    valued = np.isin(np.arange(len(rows.names)), rows.series[any_valid(rows, (Y,))])
    if not valued.any():
        if not findings.rejects_column(Y):  # which names what is no value
            findings.add("D053", "y is empty in every row", column=Y)
        return None
    empty = rows.names.filter(pa.array(~valued)).to_pylist()
    messages = [SeriesMessage(name, f"{name} has no value in y") for name in empty]
    findings.add_series("D052", messages, column=Y)
    # The checks see the latest of several values known at different times.
    latest = _find_latest_rows(rows, is_future)
    checked = rows if latest.all() else rows.take(latest)
    if not findings.rejects_column(Y):  # whose errors are left out of y
        check_missing(checked, findings)
    if not rows.counted:
        _check_now(rows, is_future, spec.roles, findings)
    frequency = check_frequency(checked, spec.freq, findings)
    if frequency is not None:
        check_future_rows(rows, is_future, frequency, findings)
        check_values(checked, frequency, findings)
        check_leaks(checked, frequency, spec.roles, findings, declared=options.target_copies)
    return frequency


def _check_now(rows: PanelRows, is_future: Mask, roles: Roles, findings: Findings) -> None:
    observed = rows.take(any_valid(rows, (Y, *roles.hist_exog)) & ~is_future)
    names = observed.names.take(pa.array(observed.series))
    check_not_future(observed.ds, names, observed.row, datetime.now(UTC), findings)


def _build_panel(rows: PanelRows, is_future: Mask, spec: DatasetSpec) -> Panel:
    roles = spec.roles
    dates = {KNOWN_AT: rows.columns[KNOWN_AT]} if KNOWN_AT in rows.columns else {}
    keys = {ID: rows.names.take(pa.array(rows.series)), DS: timestamps(rows.ds)}
    target = pa.table({**keys, **{name: rows.columns[name] for name in (Y, *roles.hist_exog)}, **dates})
    future = pa.table({**keys, **{name: rows.columns[name] for name in roles.futr_exog}})
    if dates:
        future = future.append_column(KNOWN_AT, _future_known_at(rows, is_future, spec))
    selected = _find_latest_rows(rows, is_future) | is_future
    return Panel(
        target=target.filter(pa.array(~is_future)),
        future=future.filter(pa.array(selected)) if roles.futr_exog else future.slice(0, 0),
        static=pa.table({ID: rows.names, **{name: _static_values(rows, name) for name in roles.stat_exog}}),
    )


def _future_known_at(rows: PanelRows, is_future: Mask, spec: DatasetSpec) -> pa.Array:
    """Return the time from which each row's known-future values are known, null for always. Shape [rows].

    It is stated for rows about the future only. Beside forecasts of the same time, the value that came with an
    observation is the measured one: it was known when the observation was.
    """
    stated = rows.columns[KNOWN_AT]
    first = np.flatnonzero(~rows.same_time())
    forecast = np.logical_or.reduceat(is_future, first) if len(first) else is_future
    measured = np.repeat(forecast, np.diff(first, append=len(is_future))) & ~is_future
    published = pc.add(timestamps(rows.ds), spec.publication_lag)
    known_at = pc.if_else(pa.array(measured), pc.coalesce(stated, published), stated)
    return pc.if_else(pa.array(is_future | measured), known_at, pa.scalar(None, TIMESTAMP))


def _static_values(rows: PanelRows, column: str) -> pa.Array:
    """Return the value of a static column, null where a series has none. Shape [series]."""
    coded = rows.columns[column].dictionary_encode()
    high = np.maximum.reduceat(coded.indices.fill_null(-1).to_numpy(), rows.starts)
    return coded.dictionary.take(pa.array(high, mask=high < 0))


def _equals_previous(column: pa.Array, indices: Integers) -> Mask:
    """Compare values with the previous ones, null equal to null. Shape as `indices`."""
    value, before = column.take(pa.array(indices)), column.take(pa.array(indices - 1))
    both_null = pc.and_(value.is_null(), before.is_null())
    equal: Mask = pc.or_(pc.equal(value, before).fill_null(False), both_null).to_numpy(zero_copy_only=False)
    return equal
