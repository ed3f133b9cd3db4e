"""The data check: does a table keep the panel contract, and which panel is in it.

Used by `quantis data check` and by the check and upload routes; nothing below them checks again.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantis.frequency import Frequency
from quantis.panel import DS, ID, KNOWN_AT, TIMESTAMP, Panel, Y, timestamps
from quantis.reading import notes_of
from quantis.types.arrays import Integers, Mask
from quantis.types.datasets import CheckReport, DatasetSpec, Roles
from quantis.types.reading import ReadOptions
from quantis.validation.column_mapping import check_names, is_reserved, map_columns
from quantis.validation.covariate_rules import any_valid, check_known_future, check_leaks, check_static
from quantis.validation.findings import Findings
from quantis.validation.frequency_rules import check_series
from quantis.validation.rows import PanelRows, TimeOptions, parse_rows
from quantis.validation.value_rules import check_values


def check_panel(
    table: pa.Table, spec: DatasetSpec, *, file: str, options: ReadOptions | None = None
) -> tuple[CheckReport, Panel | None]:
    """The report, and the panel unless it is rejected.

    Rows of a series after its last y that hold only known-future values belong to the future. A
    `known_at` dates the observed values of its row; in such a future row, the known-future ones.
    """
    options = options or ReadOptions()
    findings, freq, panel = Findings(), None, None
    for note in notes_of(table):
        findings.add(note.code, note.what, column=note.column)
    columns = {field.name: str(field.type) for field in table.schema}
    rows = _parsed(table, spec, options, findings)
    if rows is not None:
        rows = _without_duplicates(rows, findings)
        ahead = _ahead(rows, spec.roles)
        freq = _check(rows, ahead, spec, findings)
        panel = None if findings.rejected else _panel(rows, ahead, spec)
    report = CheckReport(
        file=file,
        outcome=findings.outcome,
        findings=findings.listed(),
        series=len(rows.names) if rows is not None else 0,
        rows=table.num_rows,
        freq=freq.alias if freq else spec.freq,
        columns=columns,
    )
    return report, panel


def detect_spec(table: pa.Table, name: str, options: ReadOptions | None = None) -> DatasetSpec:
    """The roles that a table suggests: numbers are observed, texts constant per series are static.

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


def _parsed(table: pa.Table, spec: DatasetSpec, options: ReadOptions, findings: Findings) -> PanelRows | None:
    table, taken = map_columns(table, spec.roles, options)
    check_names(table, taken, spec.roles, findings)
    if table.num_rows == 0:
        findings.add("D005", "the file has a header only")
    if findings.rejected:
        return None
    reading = TimeOptions(options.time_zone or spec.time_zone, options.dates)
    return parse_rows(table, spec.roles, reading, findings)


def _without_duplicates(rows: PanelRows, findings: Findings) -> PanelRows:
    """One row per series, time and known_at; identical ones are counted, others are findings."""
    again = np.flatnonzero(rows.same_time())
    if KNOWN_AT in rows.columns:
        again = again[_equals_row_before(rows.columns[KNOWN_AT], again)]
    if len(again) == 0:
        return rows
    equal = np.ones(len(again), dtype=bool)
    for column in rows.columns.values():
        equal &= _equals_row_before(column, again)
    by_row = {int(rows.row[place]): int(place) for place in again[~equal]}
    findings.rows(
        "D001",
        sorted(by_row),
        lambda row: f"{rows.name(by_row[row])} has another row at {rows.ds[by_row[row]]}",
        series=lambda row: rows.name(by_row[row]),
    )
    if not equal.any():
        return rows
    kept = np.ones(len(rows.series), dtype=bool)
    kept[again[equal]] = False
    _say_identical(rows, again[equal], findings)
    return rows.take(kept)


def _say_identical(rows: PanelRows, again: Integers, findings: Findings) -> None:
    """How many rows of which series repeat another one."""
    series, counts = np.unique(rows.series[again], return_counts=True)
    names = [str(rows.names[int(one)]) for one in series]
    said = [
        (name, f"{name} repeats {count:,} of its rows", None)
        for name, count in zip(names, counts, strict=True)
    ]
    findings.listed_series("D002", said)


def _ahead(rows: PanelRows, roles: Roles) -> Mask:
    """Rows about the future only: known-future values, nothing observed. Shape [rows].

    They lie after a series' last y, or were known before their time: a covariate as it was forecast.
    """
    if not roles.futr_exog:
        return np.zeros(len(rows.series), dtype=bool)
    observed = any_valid(rows, (Y, *roles.hist_exog))
    ticks = np.where(any_valid(rows, (Y,)), rows.ds.astype(np.int64), np.iinfo(np.int64).min)
    last = np.maximum.reduceat(ticks, rows.starts)
    lengths = np.diff(rows.starts, append=len(rows.series))
    beyond = rows.ds.astype(np.int64) > np.repeat(last, lengths)
    ahead: Mask = (beyond | _known_before(rows)) & ~observed & any_valid(rows, roles.futr_exog)
    return ahead


def _known_before(rows: PanelRows) -> Mask:
    """Whether `known_at` is stated and before ds. Shape [rows]."""
    if KNOWN_AT not in rows.columns:
        return np.zeros(len(rows.series), dtype=bool)
    early = pc.less(rows.columns[KNOWN_AT], timestamps(rows.ds)).fill_null(False)
    found: Mask = early.to_numpy(zero_copy_only=False)
    return found


def _last_of_time(rows: PanelRows, ahead: Mask) -> Mask:
    """Of the rows with one series and time that are not ahead, the one known last. Shape [rows]."""
    places = np.flatnonzero(~ahead)
    again = (np.diff(rows.series[places]) == 0) & (np.diff(rows.ds[places]) == np.timedelta64(0, "us"))
    last = np.zeros(len(ahead), dtype=bool)
    last[places[~np.append(again, False)]] = True
    return last


def _check(rows: PanelRows, ahead: Mask, spec: DatasetSpec, findings: Findings) -> Frequency | None:
    check_static(rows, spec.roles, findings)
    check_known_future(rows, ahead, spec.roles, findings)
    if KNOWN_AT in rows.columns:
        count = int((_known_before(rows) & ~ahead).sum())
        if count:
            findings.add("D024", f"known_at is before ds in {count:,} rows", column=KNOWN_AT)
    valued = np.isin(np.arange(len(rows.names)), rows.series[any_valid(rows, (Y,))])
    if not valued.any():
        findings.add("D053", "y is empty in every row", column=Y)
        return None
    empty = rows.names.filter(pa.array(~valued)).to_pylist()
    findings.series("D052", empty, lambda i: f"{empty[i]} has no value in y", column=Y)
    # Of several values known at different times, the last is the one to judge.
    latest = _last_of_time(rows, ahead)
    judged = rows if latest.all() else rows.take(latest)
    frequency = check_series(judged, spec.freq, findings)
    if frequency is not None:
        check_values(judged, frequency, findings)
        check_leaks(judged, frequency, spec.roles, findings)
    return frequency


def _panel(rows: PanelRows, ahead: Mask, spec: DatasetSpec) -> Panel:
    roles = spec.roles
    dates = {KNOWN_AT: rows.columns[KNOWN_AT]} if KNOWN_AT in rows.columns else {}
    keys = {ID: rows.names.take(pa.array(rows.series)), DS: timestamps(rows.ds)}
    target = pa.table({**keys, **{name: rows.columns[name] for name in (Y, *roles.hist_exog)}, **dates})
    future = pa.table({**keys, **{name: rows.columns[name] for name in roles.futr_exog}})
    if dates:
        future = future.append_column(KNOWN_AT, _future_known(rows, ahead, spec))
    kept = _last_of_time(rows, ahead) | ahead
    return Panel(
        target=target.filter(pa.array(~ahead)),
        future=future.filter(pa.array(kept)) if roles.futr_exog else future.slice(0, 0),
        static=pa.table({ID: rows.names, **{name: _per_series(rows, name) for name in roles.stat_exog}}),
    )


def _future_known(rows: PanelRows, ahead: Mask, spec: DatasetSpec) -> pa.Array:
    """When each row's known-future values became known, null for always.

    That is stated for what is ahead. Beside forecasts of the same time, the value that came with an
    observation is the measured one: it was known when the observation was.
    """
    stated = rows.columns[KNOWN_AT]
    first = np.flatnonzero(~rows.same_time())
    forecast = np.logical_or.reduceat(ahead, first) if len(first) else ahead
    measured = np.repeat(forecast, np.diff(first, append=len(ahead))) & ~ahead
    published = pc.add(timestamps(rows.ds), spec.publication_lag)
    known = pc.if_else(pa.array(measured), pc.coalesce(stated, published), stated)
    return pc.if_else(pa.array(ahead | measured), known, pa.scalar(None, TIMESTAMP))


def _per_series(rows: PanelRows, column: str) -> pa.Array:
    """The value of a static column, null where a series has none. Shape [series]."""
    coded = rows.columns[column].dictionary_encode()
    high = np.maximum.reduceat(coded.indices.fill_null(-1).to_numpy(), rows.starts)
    return coded.dictionary.take(pa.array(high, mask=high < 0))


def _equals_row_before(column: pa.Array, places: Integers) -> Mask:
    """Whether each of some values equals the one before it, null equal to null. Shape as `places`."""
    value, before = column.take(pa.array(places)), column.take(pa.array(places - 1))
    both_null = pc.and_(value.is_null(), before.is_null())
    equal: Mask = pc.or_(pc.equal(value, before).fill_null(False), both_null).to_numpy(zero_copy_only=False)
    return equal
