"""Rows of a table, parsed and sorted by series and time, with the findings of single values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantis.frequency import Frequency, to_datetime64
from quantis.panel import DS, ID, KNOWN_AT, TIMESTAMP, Y, times_of
from quantis.reading import printable
from quantis.reading.exact_numbers import find_inexact
from quantis.types.arrays import Integers, Mask, Times
from quantis.types.base import END_TIMESTAMP, MIN_TIMESTAMP
from quantis.types.datasets import Roles
from quantis.types.reading import DateOrder
from quantis.validation.findings import Findings
from quantis.validation.time_zones import has_daily_steps, keep_wall_clock, to_utc
from quantis.validation.timestamps import ParsedTimestamps, parse_timestamps
from quantis.validation.value_parsing import ParsedNumbers, parse_ids, parse_numbers, quote_cell, to_strings

_EXAMPLES = 3  # of texts that were taken as numbers
_MIN_TIMESTAMP, _END_TIMESTAMP = to_datetime64(MIN_TIMESTAMP), to_datetime64(END_TIMESTAMP)


class TimeOptions(NamedTuple):
    """The time zone and date order of times that do not state them, and the declared frequency."""

    time_zone: str = "UTC"
    dates: DateOrder | None = None
    freq: str | None = None


@dataclass(frozen=True)
class PanelRows:
    """Rows sorted by series, time and known_at; `row` leads back to the file."""

    names: pa.Array  # of the series, sorted
    series: Integers  # index into `names`, [rows]
    ds: Times  # [rows]
    row: Integers  # row in the file from 0, [rows]
    columns: dict[str, pa.Array]  # y, covariates and known_at, [rows]
    counted: bool = False  # ds are plain counts

    def take(self, chosen: Mask) -> PanelRows:
        indices = pa.array(np.flatnonzero(chosen))
        columns = {name: column.take(indices) for name, column in self.columns.items()}
        return PanelRows(
            self.names, self.series[chosen], self.ds[chosen], self.row[chosen], columns, self.counted
        )

    @cached_property
    def starts(self) -> Integers:
        """First row of each series that occurs. Shape [series]."""
        return np.flatnonzero(np.diff(self.series, prepend=-1))

    def same_time(self) -> Mask:
        """Return the rows with the series and time of the previous row. Shape [rows]."""
        equal = (np.diff(self.series) == 0) & (np.diff(self.ds) == np.timedelta64(0, "us"))
        return np.append(False, equal) if len(self.series) else equal

    def name(self, row: int) -> str:
        return str(self.names[int(self.series[row])])


def parse_rows(
    table: pa.Table, roles: Roles, time_options: TimeOptions, findings: Findings
) -> PanelRows | None:
    """Parse the columns; None when ids or times do not allow a further check."""
    arrays = {name: table[name].combine_chunks() for name in table.column_names}
    ids = parse_ids(arrays[ID], findings)
    parsed = _parse_ds(arrays[DS], time_options, findings)
    if ids is None or parsed is None:
        return None
    columns = {Y: _parse_quantity(arrays[Y], Y, "D030", findings)}
    for name in roles.columns:
        if name in roles.categorical:
            columns[name] = to_strings(arrays[name])
        else:
            columns[name] = _parse_quantity(arrays[name], name, "D032", findings)
    corrected = KNOWN_AT in arrays
    if corrected:
        columns[KNOWN_AT] = _parse_known_at(arrays[KNOWN_AT], time_options, findings)
    names = pc.unique(ids).sort()
    series = pc.index_in(ids, names).to_numpy().astype(np.int64)
    ds = _localize(parsed, series, names, findings, time_options=time_options, in_order=not corrected)
    if ds is None:
        return None
    in_file_order = PanelRows(names, series, ds, np.arange(len(series)), columns, parsed.counted)
    return _sort_rows(in_file_order, findings)


def _parse_ds(column: pa.Array, time_options: TimeOptions, findings: Findings) -> ParsedTimestamps | None:
    """Parse ds without its zone yet; None when a time is absent, invalid, unclear or out of range."""
    parsed = parse_timestamps(column, time_options.dates)
    if parsed.question:
        findings.add("D037", f"the integers might be {parsed.question}", column=DS)
        return None
    absent = _to_mask(pc.is_null(parsed.values)) & ~parsed.unclear
    findings.add_rows("D020", _true_indices(absent), lambda row: quote_cell(column, row), column=DS)
    findings.add_rows("D029", _true_indices(parsed.unclear), lambda row: quote_cell(column, row), column=DS)
    for form, example in parsed.forms.items():
        findings.add("D033", f"times such as {printable(example)!r} are read as {form}", column=DS)
    if parsed.counted:
        findings.add("D035", "ds holds counts, not times", column=DS)
    if absent.any() or parsed.unclear.any():
        return None
    if parsed.zoned and parsed.naive.any():
        findings.add_rows(
            "D028",
            _true_indices(parsed.naive),
            lambda row: f"{quote_cell(column, row)} has no zone",
            column=DS,
        )
        return None
    outside = _is_out_of_range(times_of(parsed.values))
    findings.add_rows("D022", _true_indices(outside), lambda row: quote_cell(column, row), column=DS)
    return None if outside.any() else parsed


def _is_out_of_range(ds: Times) -> Mask:
    outside: Mask = (ds < _MIN_TIMESTAMP) | (ds >= _END_TIMESTAMP)
    return outside


def _localize(
    parsed: ParsedTimestamps,
    series: Integers,
    names: pa.Array,
    findings: Findings,
    *,
    time_options: TimeOptions,
    in_order: bool,
) -> Times | None:
    """Convert ds to UTC, days and longer steps to the wall clock; None when a local time is skipped or ambiguous."""
    ds, zone = times_of(parsed.values), time_options.time_zone
    written = ds if parsed.wall is None else parsed.wall.to_numpy(zero_copy_only=False)
    is_daily = not parsed.counted and _is_daily(written, series, time_options.freq)
    if not parsed.naive.any():
        return (
            _keep_days(ds, written, series, zone, findings)
            if is_daily
            else _report_offsets(ds, written, findings)
        )
    if zone == "UTC":
        findings.add("D021", "times in ds carry no zone: they are taken as UTC", column=DS)
        return ds
    findings.add("D021", f"times in ds carry no zone: they are taken as local times of {zone}", column=DS)
    if is_daily:
        return ds  # the clock that was written is the one that is kept
    local = to_utc(ds, series, zone, in_order=in_order)

    def describe(row: int) -> str:
        return f"{names[int(series[row])]} at {ds[row].astype('datetime64[m]')} in {zone}"

    for code, mask in (("D025", local.skipped), ("D026", local.ambiguous)):
        findings.add_rows(
            code, _true_indices(mask), describe, column=DS, series=lambda row: str(names[int(series[row])])
        )
    pairs = int(local.paired.sum()) // 2
    if pairs:
        findings.add("D027", f"{pairs:,} local times of {zone} that came twice are given twice", column=DS)
    return None if (local.skipped | local.ambiguous).any() else local.times


def _is_daily(wall: Times, series: Integers, freq: str | None) -> bool:
    """Return True if the steps are days or longer: as declared, or as the times of each series lie."""
    return not Frequency.parse(freq).is_intraday if freq else has_daily_steps(wall, series)


def _keep_days(ds: Times, written: Times, series: Integers, zone: str, findings: Findings) -> Times:
    """Return days and longer steps as the clock showed them; times that move by it are a finding."""
    days = keep_wall_clock(ds, written, series, zone)
    moved = np.flatnonzero(days.moved)
    if len(moved) == 0:
        return _report_offsets(ds, written, findings)
    example = ds[moved[0]].astype("datetime64[m]")
    local_time = days.times[moved[0]].astype("datetime64[m]")
    text = f"{len(moved):,} times such as {example}Z are kept as the local {local_time}"
    findings.add("D034", text, column=DS)
    return days.times


def _report_offsets(ds: Times, written: Times, findings: Findings) -> Times:
    """Return the times; several offsets in one file are a finding."""
    offsets = np.unique(written - ds).astype("timedelta64[m]").astype(np.int64)
    if len(offsets) > 1:
        listed = ", ".join(f"{offset // 60:+03d}:{offset % 60:02d}" for offset in offsets[:3].tolist())
        findings.add(
            "D038", f"times carry {len(offsets)} offsets ({listed}): all are converted to UTC", column=DS
        )
    return ds


def _parse_known_at(column: pa.Array, time_options: TimeOptions, findings: Findings) -> pa.Array:
    parsed = parse_timestamps(column, time_options.dates)
    invalid = parsed.invalid | parsed.unclear
    findings.add_rows("D023", _true_indices(invalid), lambda row: quote_cell(column, row), column=KNOWN_AT)
    if not parsed.naive.any() or time_options.time_zone == "UTC" or invalid.any():
        return parsed.values
    filled = times_of(parsed.values.fill_null(0))
    # The later one of an hour that came twice: a value never counts as known too early.
    late = pc.assume_timezone(
        pa.array(filled), time_options.time_zone, ambiguous="latest", nonexistent="latest"
    ).cast(TIMESTAMP)
    return pc.if_else(parsed.values.is_valid(), late, pa.scalar(None, TIMESTAMP))


def _parse_quantity(column: pa.Array, name: str, code: str, findings: Findings) -> pa.Array:
    parsed: ParsedNumbers = parse_numbers(column)
    findings.add_rows(code, _true_indices(parsed.invalid), lambda row: quote_cell(column, row), column=name)
    infinite = _to_mask(pc.is_inf(parsed.values).fill_null(False))
    infinite_rows, too_large_rows = infinite & ~parsed.too_large, _true_indices(parsed.too_large)
    findings.add_rows("D031", _true_indices(infinite_rows), lambda row: quote_cell(column, row), column=name)
    findings.add_rows(
        "D047",
        too_large_rows,
        lambda row: f"{quote_cell(column, row)} is beyond the largest 64-bit float",
        column=name,
    )
    inexact = find_inexact(column, parsed.values)
    if inexact is None and not (parsed.invalid.any() or parsed.too_large.any()):
        _report_text(column, parsed.values, name, findings)
    if inexact is not None:
        stored = int(parsed.values[inexact].as_py())
        text = f"{quote_cell(column, inexact)} is not exactly representable as a 64-bit float and kept as {stored}"
        findings.add("D046", text, row=inexact + 1, column=name)
    if not (infinite.any() or parsed.invalid.any()):
        return parsed.values
    # The panel is rejected; a value reported here is not to be reported as missing or as an outlier as well.
    finite = pc.if_else(pa.array(infinite), pa.scalar(None, pa.float64()), parsed.values)
    return finite if name == Y else pc.if_else(pa.array(parsed.invalid | infinite), 0.0, finite)


def _report_text(column: pa.Array, values: pa.Array, name: str, findings: Findings) -> None:
    """Report texts and truth values that were taken as numbers, with examples."""
    kind = {"string": "texts", "bool": "truth values"}.get(str(column.type))
    count = len(values) - values.null_count
    if kind is None or count == 0:
        return
    rows = _true_indices(_to_mask(values.is_valid()))[:_EXAMPLES]
    examples = ", ".join(f"{quote_cell(column, row)} as {values[row].as_py():g}" for row in rows)
    findings.add("D039", f"{name} holds {count:,} {kind}, taken as numbers: {examples}", column=name)


def _sort_rows(rows: PanelRows, findings: Findings) -> PanelRows:
    """Sort rows that are in the order of the file; a file that mixes series is a finding."""
    keys = [rows.ds, rows.series]
    if KNOWN_AT in rows.columns:
        known_at = rows.columns[KNOWN_AT].cast(pa.int64()).fill_null(np.iinfo(np.int64).min)
        keys.insert(0, known_at.to_numpy())
    elif _is_sorted(rows.series, rows.ds):
        return rows
    order = np.lexsort(keys)
    # Corrections of a value may follow it in any order; only a series that is torn apart, or whose times
    # go back, is reported.
    is_boundary = np.diff(rows.series) != 0
    goes_back = np.diff(rows.ds)[~is_boundary] < np.timedelta64(0)
    is_torn = int(is_boundary.sum()) >= len(rows.names)
    if (np.diff(order) < 0).any() and (is_torn or bool(np.any(goes_back))):
        findings.add("D044", "rows are not in the order of unique_id and ds")
    indices = pa.array(order)
    columns = {name: column.take(indices) for name, column in rows.columns.items()}
    return PanelRows(rows.names, rows.series[order], rows.ds[order], order, columns, rows.counted)


def _is_sorted(series: Integers, ds: Times) -> bool:
    steps = np.diff(series)
    later = np.diff(ds.astype(np.int64)) >= 0
    return bool(np.all((steps > 0) | ((steps == 0) & later)))


def _true_indices(mask: Mask) -> list[int]:
    indices: list[int] = np.flatnonzero(mask).tolist()
    return indices


def _to_mask(values: pa.Array) -> Mask:
    mask: Mask = values.to_numpy(zero_copy_only=False)
    return mask
