"""A table's rows, parsed and sorted by series and time, with the findings of single values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantis.panel import DS, ID, KNOWN_AT, TIMESTAMP, Y, times_of
from quantis.reading import printable
from quantis.types.arrays import Integers, Mask, Times
from quantis.types.datasets import Roles
from quantis.types.reading import DateOrder
from quantis.validation.findings import Findings
from quantis.validation.time_zones import to_utc
from quantis.validation.timestamps import ParsedTimestamps, parse_timestamps
from quantis.validation.value_parsing import ParsedNumbers, parse_numbers, to_strings

_EARLIEST, _LATEST = np.datetime64("1700-01-01", "us"), np.datetime64("2262-01-01", "us")


class TimeOptions(NamedTuple):
    """How times are to be taken where they do not say it."""

    time_zone: str = "UTC"
    dates: DateOrder | None = None


@dataclass(frozen=True)
class PanelRows:
    """Rows sorted by series, time and known_at; `row` leads back to the file."""

    names: pa.Array  # of the series, sorted
    series: Integers  # place in `names`, [rows]
    ds: Times  # [rows]
    row: Integers  # row in the file from 0, [rows]
    columns: dict[str, pa.Array]  # y, covariates and known_at, [rows]
    counted: bool = False  # ds are plain counts

    def take(self, chosen: Mask) -> PanelRows:
        places = pa.array(np.flatnonzero(chosen))
        columns = {name: column.take(places) for name, column in self.columns.items()}
        return PanelRows(
            self.names, self.series[chosen], self.ds[chosen], self.row[chosen], columns, self.counted
        )

    @cached_property
    def starts(self) -> Integers:
        """The first row of each series that occurs."""
        return np.flatnonzero(np.diff(self.series, prepend=-1))

    def same_time(self) -> Mask:
        """Whether a row has the series and time of the row before it. Shape [rows]."""
        equal = (np.diff(self.series) == 0) & (np.diff(self.ds) == np.timedelta64(0, "us"))
        return np.append(False, equal) if len(self.series) else equal

    def name(self, place: int) -> str:
        return str(self.names[int(self.series[place])])


def parse_rows(table: pa.Table, roles: Roles, reading: TimeOptions, findings: Findings) -> PanelRows | None:
    """Every column parsed; None when ids or times do not allow a further check."""
    plain = {name: table[name].combine_chunks() for name in table.column_names}
    ids = _ids(plain[ID], findings)
    moments = _moments(plain[DS], reading, findings)
    if ids is None or moments is None:
        return None
    columns = {Y: _quantity(plain[Y], Y, "D030", findings)}
    for name in roles.columns:
        kept_as_text = name in roles.categorical
        columns[name] = (
            to_strings(plain[name]) if kept_as_text else _quantity(plain[name], name, "D032", findings)
        )
    corrected = KNOWN_AT in plain
    if corrected:
        columns[KNOWN_AT] = _known_at(plain[KNOWN_AT], reading, findings)
    names = pc.unique(ids).sort()
    series = pc.index_in(ids, names).to_numpy().astype(np.int64)
    ds = _in_utc(moments, series, names, reading.time_zone, corrected, findings)
    if ds is None:
        return None
    return _sorted(names, series, ds, columns, moments.counted, findings)


def _ids(column: pa.Array, findings: Findings) -> pa.Array | None:
    ids = to_strings(column)
    coded = ids.dictionary_encode()
    distinct = coded.dictionary
    checks = {
        "D011": pc.greater(pc.utf8_length(distinct), 256),
        "D012": pc.and_(
            pc.match_substring_regex(distinct, r"^[=+@\-\t\r]"),
            pc.invert(pc.match_substring_regex(distinct, r"^[+-]?[\d .,:/-]+$")),
        ),
        "D013": pc.match_substring_regex(distinct, r"[\x00-\x1f\x7f]"),
        "D014": pc.match_substring_regex(distinct, r"^\s|\s$"),
    }
    findings.rows("D010", _places(_mask(pc.is_null(ids))), lambda row: "the row has no unique_id", column=ID)
    for code, found in checks.items():
        # Once per series, at its first row.
        first = pc.index_in(distinct.filter(found), ids).to_pylist()
        findings.rows(
            code,
            sorted(first),
            lambda row: _quoted(ids, row),
            column=ID,
            series=lambda row: ids[row].as_py()[:256],
        )
    fatal = ids.null_count > 0 or any(pc.any(checks[c]).as_py() for c in ("D011", "D013"))
    return None if fatal else ids


def _moments(column: pa.Array, reading: TimeOptions, findings: Findings) -> ParsedTimestamps | None:
    """Times before their zone is settled; None when one is absent, bad, unclear or out of range."""
    parsed = parse_timestamps(column, reading.dates)
    absent = _mask(pc.is_null(parsed.values)) & ~parsed.unclear
    findings.rows("D020", _places(absent), lambda row: _quoted(column, row), column=DS)
    findings.rows("D029", _places(parsed.unclear), lambda row: _quoted(column, row), column=DS)
    for how, example in parsed.forms.items():
        code = "D034" if how.startswith("local midnights") else "D033"
        findings.add(code, f"times such as {printable(example)!r} are read as {how}", column=DS)
    if parsed.counted:
        findings.add("D035", "ds holds counts, not times", column=DS)
    if absent.any() or parsed.unclear.any():
        return None
    if parsed.zoned and parsed.naive.any():
        findings.rows(
            "D028", _places(parsed.naive), lambda row: f"{_quoted(column, row)} has no zone", column=DS
        )
        return None
    outside = _outside(times_of(parsed.values))
    findings.rows("D022", _places(outside), lambda row: _quoted(column, row), column=DS)
    return None if outside.any() else parsed


def _outside(moments: Times) -> Mask:
    outside: Mask = (moments < _EARLIEST) | (moments >= _LATEST)
    return outside


def _in_utc(
    moments: ParsedTimestamps,
    series: Integers,
    names: pa.Array,
    zone: str,
    corrected: bool,
    findings: Findings,
) -> Times | None:
    """ParsedTimestamps in UTC; None when a local time does not say which moment it is."""
    ds = times_of(moments.values)
    if not moments.naive.any():
        return ds
    if zone == "UTC":
        findings.add("D021", "times in ds carry no zone: they are taken as UTC", column=DS)
        return ds
    findings.add("D021", f"times in ds carry no zone: they are taken as local times of {zone}", column=DS)
    local = to_utc(ds, series, zone, in_order=not corrected)

    def said(row: int) -> str:
        return f"{names[int(series[row])]} at {ds[row].astype('datetime64[m]')} in {zone}"

    for code, mask in (("D025", local.skipped), ("D026", local.doubtful)):
        findings.rows(code, _places(mask), said, column=DS, series=lambda row: str(names[int(series[row])]))
    pairs = int(local.paired.sum()) // 2
    if pairs:
        findings.add("D027", f"{pairs:,} local times of {zone} that came twice are given twice", column=DS)
    return None if (local.skipped | local.doubtful).any() else local.times


def _known_at(column: pa.Array, reading: TimeOptions, findings: Findings) -> pa.Array:
    known = parse_timestamps(column, reading.dates)
    wrong = known.bad | known.unclear
    findings.rows("D023", _places(wrong), lambda row: _quoted(column, row), column=KNOWN_AT)
    if not known.naive.any() or reading.time_zone == "UTC" or wrong.any():
        return known.values
    filled = times_of(known.values.fill_null(0))
    # Of an hour that came twice the later one: a value is never said to be known too early.
    late = pc.assume_timezone(
        pa.array(filled), reading.time_zone, ambiguous="latest", nonexistent="latest"
    ).cast(TIMESTAMP)
    return pc.if_else(known.values.is_valid(), late, pa.scalar(None, TIMESTAMP))


def _quantity(column: pa.Array, name: str, code: str, findings: Findings) -> pa.Array:
    parsed: ParsedNumbers = parse_numbers(column)
    findings.rows(code, _places(parsed.bad), lambda row: _quoted(column, row), column=name)
    infinite = _mask(pc.is_inf(parsed.values).fill_null(False))
    findings.rows("D031", _places(infinite), lambda row: _quoted(column, row), column=name)
    if not (infinite.any() or parsed.bad.any()):
        return parsed.values
    # The panel is rejected; what is told already is not to be found as missing or far off as well.
    known = pc.if_else(pa.array(infinite), pa.scalar(None, pa.float64()), parsed.values)
    return known if name == Y else pc.if_else(pa.array(parsed.bad | infinite), 0.0, known)


def _sorted(
    names: pa.Array,
    series: Integers,
    moments: Times,
    columns: dict[str, pa.Array],
    counted: bool,
    findings: Findings,
) -> PanelRows:
    keys = [moments, series]
    if KNOWN_AT in columns:
        keys.insert(0, columns[KNOWN_AT].cast(pa.int64()).fill_null(np.iinfo(np.int64).min).to_numpy())
    elif _in_order(series, moments):
        return PanelRows(names, series, moments, np.arange(len(series)), columns, counted)
    order = np.lexsort(keys)
    within = np.diff(order) < 0
    apart = np.diff(series) != 0
    if within.any() and (
        int(apart.sum()) >= len(names) or bool(np.any(np.diff(moments)[~apart] < np.timedelta64(0)))
    ):
        findings.add("D044", "rows are not in the order of unique_id and ds")
    places = pa.array(order)
    kept = {name: column.take(places) for name, column in columns.items()}
    return PanelRows(names, series[order], moments[order], order, kept, counted)


def _in_order(series: Integers, moments: Times) -> bool:
    steps = np.diff(series)
    later = np.diff(moments.astype(np.int64)) >= 0
    return bool(np.all((steps > 0) | ((steps == 0) & later)))


def _quoted(column: pa.Array, row: int) -> str:
    value = to_strings(column.slice(row, 1))[0].as_py()
    return "the cell is empty" if value is None else f"{printable(value)!r}"


def _places(mask: Mask) -> list[int]:
    places: list[int] = np.flatnonzero(mask).tolist()
    return places


def _mask(values: pa.Array) -> Mask:
    mask: Mask = values.to_numpy(zero_copy_only=False)
    return mask
