"""A table's rows, parsed and sorted by series and time, with the findings of single values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from quantis.columns import Mask, Numbers, numbers, texts, times
from quantis.findings import Findings
from quantis.frequency import Times
from quantis.panel import DS, ID, KNOWN_AT, Y, times_of
from quantis.reading import printable
from quantis.types.datasets import Roles

Integers = npt.NDArray[np.int64]

_EARLIEST, _LATEST = np.datetime64("1700-01-01", "us"), np.datetime64("2262-01-01", "us")


@dataclass(frozen=True)
class Rows:
    """Rows sorted by series, time and known_at; `row` leads back to the file."""

    names: pa.Array  # of the series, sorted
    series: Integers  # place in `names`, [rows]
    ds: Times  # [rows]
    row: Integers  # row in the file from 0, [rows]
    columns: dict[str, pa.Array]  # y, covariates and known_at, [rows]

    def take(self, chosen: Mask) -> Rows:
        places = pa.array(np.flatnonzero(chosen))
        columns = {name: column.take(places) for name, column in self.columns.items()}
        return Rows(self.names, self.series[chosen], self.ds[chosen], self.row[chosen], columns)

    @property
    def starts(self) -> Integers:
        """The first row of each series that occurs."""
        return np.flatnonzero(np.diff(self.series, prepend=-1))

    def same_time(self) -> Mask:
        """Whether a row has the series and time of the row before it. Shape [rows]."""
        equal = (np.diff(self.series) == 0) & (np.diff(self.ds) == np.timedelta64(0, "us"))
        return np.append(False, equal) if len(self.series) else equal

    def name(self, place: int) -> str:
        return str(self.names[int(self.series[place])])


def parse_rows(table: pa.Table, roles: Roles, findings: Findings) -> Rows | None:
    """Every column parsed; None when ids or times do not allow a further check."""
    plain = {name: table[name].combine_chunks() for name in table.column_names}
    ids, moments = _ids(plain[ID], findings), _moments(plain[DS], findings)
    if ids is None or moments is None:
        return None
    columns = {Y: _quantity(plain[Y], Y, "D030", findings)}
    for name in roles.columns:
        kept_as_text = name in roles.categorical
        columns[name] = texts(plain[name]) if kept_as_text else _quantity(plain[name], name, "D032", findings)
    if KNOWN_AT in plain:
        known = times(plain[KNOWN_AT])
        findings.rows("D023", _places(known.bad), lambda row: _quoted(plain[KNOWN_AT], row), column=KNOWN_AT)
        columns[KNOWN_AT] = known.values
    return _sorted(ids, moments, columns, findings)


def _ids(column: pa.Array, findings: Findings) -> pa.Array | None:
    ids = texts(column)
    coded = ids.dictionary_encode()
    distinct, codes = coded.dictionary, coded.indices
    checks = {
        "D011": pc.greater(pc.utf8_length(distinct), 256),
        "D012": pc.match_substring_regex(distinct, r"^[=+@\-\t\r]"),
        "D013": pc.match_substring_regex(distinct, r"[\x00-\x1f\x7f]"),
    }
    findings.rows("D010", _places(_mask(pc.is_null(ids))), lambda row: "the row has no unique_id", column=ID)
    for code, found in checks.items():
        # Once per series, at its first row.
        first = pc.index_in(distinct.filter(found), ids).to_pylist()
        findings.rows(code, sorted(first), lambda row: _quoted(ids, row), column=ID)
    fatal = bool(pc.any(pc.is_null(codes)).as_py()) or any(
        pc.any(checks[c]).as_py() for c in ("D011", "D013")
    )
    return None if fatal else ids


def _moments(column: pa.Array, findings: Findings) -> Times | None:
    parsed = times(column)
    absent = _mask(pc.is_null(parsed.values))
    findings.rows("D020", _places(absent), lambda row: _quoted(column, row), column=DS)
    if parsed.naive:
        findings.add("D021", "times in ds carry no zone", column=DS)
    if absent.any():
        return None
    moments = times_of(parsed.values)
    outside = (moments < _EARLIEST) | (moments >= _LATEST)
    findings.rows("D022", _places(outside), lambda row: _quoted(column, row), column=DS)
    return None if outside.any() else moments


def _quantity(column: pa.Array, name: str, code: str, findings: Findings) -> pa.Array:
    parsed: Numbers = numbers(column)
    findings.rows(code, _places(parsed.bad), lambda row: _quoted(column, row), column=name)
    infinite = _mask(pc.is_inf(parsed.values).fill_null(False))
    findings.rows("D031", _places(infinite), lambda row: _quoted(column, row), column=name)
    return parsed.values


def _sorted(ids: pa.Array, moments: Times, columns: dict[str, pa.Array], findings: Findings) -> Rows:
    names = pc.unique(ids).sort()
    series = pc.index_in(ids, names).to_numpy().astype(np.int64)
    keys = [moments, series]
    if KNOWN_AT in columns:
        keys.insert(0, columns[KNOWN_AT].cast(pa.int64()).fill_null(np.iinfo(np.int64).min).to_numpy())
    order = np.lexsort(keys)
    within = np.diff(order) < 0
    apart = np.diff(series) != 0
    if within.any() and (
        int(apart.sum()) >= len(names) or bool(np.any(np.diff(moments)[~apart] < np.timedelta64(0)))
    ):
        findings.add("D044", "rows are not in the order of unique_id and ds")
    places = pa.array(order)
    return Rows(names, series[order], moments[order], order, {n: c.take(places) for n, c in columns.items()})


def _quoted(column: pa.Array, row: int) -> str:
    value = texts(column.slice(row, 1))[0].as_py()
    return "the cell is empty" if value is None else f"{printable(value)!r}"


def _places(mask: Mask) -> list[int]:
    places: list[int] = np.flatnonzero(mask).tolist()
    return places


def _mask(values: pa.Array) -> Mask:
    mask: Mask = values.to_numpy(zero_copy_only=False)
    return mask
