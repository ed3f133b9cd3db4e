"""Checks of covariates: static ones that vary, known-future ones that end, ones that repeat y."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from quantis.frequency import Frequency
from quantis.panel import DS, Y
from quantis.types.arrays import Floats, Integers, Mask, Times
from quantis.types.datasets import Roles
from quantis.validation.findings import SHOWN_PER_CODE, Findings, SeriesMessage
from quantis.validation.frequency_rules import format_time
from quantis.validation.near_copies import find_near_copy, sample_series
from quantis.validation.rows import PanelRows

_MAX_SHIFT = 3  # steps up to which a shifted y is looked for, and once more around each season
_MIN_COMPARED = 8  # changing values of y from which equality is no chance
_MIN_EQUAL_SHARE = 0.99  # share of them that is equal
_RELATIVE_TOLERANCE = 1e-9  # relative
_MAX_NAMED_TIMES = 3  # in a message


@dataclass(frozen=True)
class RowsAhead:
    """Rows about the future only, and the last observed time of their series."""

    names: pa.Array  # [series]
    last_observed: Times  # [series]
    series: Integers  # [rows]
    times: Times  # [rows]


def any_valid(rows: PanelRows, columns: tuple[str, ...]) -> Mask:
    """Return the rows in which one of the columns holds a value. Shape [rows]."""
    valid = np.zeros(len(rows.series), dtype=bool)
    for name in columns:
        valid |= rows.columns[name].is_valid().to_numpy(zero_copy_only=False)
    return valid


def check_static(rows: PanelRows, roles: Roles, findings: Findings) -> None:
    for column in roles.stat_exog:
        # A static column has one code per series: its highest equals its lowest, nulls aside. [series]
        codes = rows.columns[column].dictionary_encode().indices
        high = np.maximum.reduceat(codes.fill_null(-1).to_numpy(), rows.starts)
        low = np.minimum.reduceat(codes.fill_null(np.iinfo(np.int32).max).to_numpy(), rows.starts)
        varies = rows.names.filter(pa.array((high >= 0) & (low != high))).to_pylist()
        messages = [SeriesMessage(name, f"{name} has several values of {column}") for name in varies]
        findings.add_series("D060", messages, column=column)


def check_known_future(rows: PanelRows, is_future: Mask, roles: Roles, findings: Findings) -> None:
    """Report values that are missing in places, or from some time of a series to its end."""
    positions = np.arange(len(rows.series))
    lengths = np.diff(rows.starts, append=len(rows.series))
    ends = rows.starts + lengths - 1
    for column in roles.futr_exog:
        valid = any_valid(rows, (column,))
        last = np.maximum.reduceat(
            np.where(valid, positions, -1), rows.starts
        )  # last row with a value, [series]
        after = positions > np.repeat(last, lengths)
        missing = int((~valid & ~after).sum())
        if missing:
            findings.add("D061", f"{column} is empty in {missing:,} rows", column=column)
        short = np.flatnonzero(last < ends)
        names = [rows.name(int(rows.starts[index])) for index in short]
        missing_counts = ends[short] - np.maximum(last[short], rows.starts[short] - 1)
        messages = [
            SeriesMessage(name, f"{name} has no {column} in its last {count:,} rows")
            for name, count in zip(names, missing_counts.tolist(), strict=True)
        ]
        findings.add_series("D062", messages, column=column)


def check_future_rows(rows: PanelRows, is_future: Mask, frequency: Frequency, findings: Findings) -> None:
    """Report rows about the future only that are off the grid of their series, and steps before them without a row."""
    if not is_future.any():
        return
    lengths = np.diff(rows.starts, append=len(rows.series))
    epoch_us = rows.ds.astype("datetime64[us]").astype(np.int64)
    # Observed times of each series, its own first and none where it has no observed row, [series].
    first = np.minimum.reduceat(np.where(is_future, np.iinfo(np.int64).max, epoch_us), rows.starts)
    last = np.maximum.reduceat(np.where(is_future, np.iinfo(np.int64).min, epoch_us), rows.starts)
    first = np.minimum(first, np.where(last < first, epoch_us[rows.starts], first)).astype("datetime64[us]")
    on_grid = frequency.is_on_grid(np.repeat(first, lengths), rows.ds)
    off = np.flatnonzero(is_future & ~on_grid)
    by_row = {int(rows.row[index]): int(index) for index in off}

    def describe(row: int) -> str:
        index = by_row[row]
        begin = format_time(first[np.searchsorted(rows.starts, index, side="right") - 1], frequency)
        time = format_time(rows.ds[index], frequency)
        return f"{time} holds values known in advance and is not a whole number of {frequency.alias} after {begin}"

    findings.add_rows("D042", sorted(by_row), describe, column=DS, series=lambda row: rows.name(by_row[row]))
    if len(off) == 0:
        begin = np.where(last < epoch_us[rows.starts], epoch_us[rows.starts], last).astype("datetime64[us]")
        series = np.repeat(np.arange(len(lengths)), lengths)[is_future]
        names = rows.names.take(pa.array(rows.series[rows.starts]))
        check_steps_ahead(RowsAhead(names, begin, series, rows.ds[is_future]), frequency, findings)


def check_steps_ahead(rows: RowsAhead, frequency: Frequency, findings: Findings) -> None:
    """Report steps without a row between the last observed one of a series and its last row about the future."""
    pairs = np.unique(np.stack([rows.series, rows.times.astype("datetime64[us]").astype(np.int64)]), axis=1)
    series, times = pairs[0], pairs[1].astype("datetime64[us]")
    later = times > rows.last_observed[series]
    series, times = series[later], times[later]
    starts = np.flatnonzero(np.diff(series, prepend=-1))
    if len(starts) == 0:
        return
    ends = np.append(starts[1:], len(series)) - 1
    first, last = rows.last_observed[series[starts]], times[ends]
    steps = frequency.grid_lengths(first, last) - 1
    missing = steps - (ends - starts + 1)
    gaps = np.flatnonzero(missing > 0)
    messages = []
    for gap in gaps[:SHOWN_PER_CODE].tolist():
        name = str(rows.names[int(series[starts[gap]])])
        present = times[starts[gap] : ends[gap] + 1]
        expected = frequency.after(first[gap], min(int(steps[gap]), len(present) + _MAX_NAMED_TIMES))
        absent = expected[~np.isin(expected, present)][:_MAX_NAMED_TIMES]
        listed = ", ".join(format_time(time, frequency) for time in absent)
        listed += f" and {missing[gap] - len(absent):,} more" if missing[gap] > len(absent) else ""
        text = f"{name} has no row for {missing[gap]:,} of its {steps[gap]:,} steps ahead: {listed}"
        messages.append(SeriesMessage(name, text))
    findings.add_series("D061", messages, column=DS, total=len(gaps))


def check_leaks(
    rows: PanelRows, frequency: Frequency, roles: Roles, findings: Findings, *, declared: Sequence[str] = ()
) -> None:
    """Report covariates that equal y, or y shifted by some steps, wherever y changes, and those that nearly do.

    A known-future column that equals y is an error: a forecast would be given its own answer. Columns that are
    `declared` are copies on purpose.
    """
    y = _to_floats(rows, Y)
    changing = _find_changes(rows, y)
    sample = sample_series(rows, y)
    for column in (*roles.futr_exog, *roles.hist_exog):
        if column in roles.categorical or column in declared:
            continue
        values = _to_floats(rows, column)
        exact = _match_series(rows, y, values, changing, 0)
        if column in roles.futr_exog and len(exact.equal) and 2 * len(exact.equal) >= exact.comparable:
            text = f"{column} is known in advance and equals y in {len(exact.equal):,} of {exact.comparable:,} series"
            findings.add("D064", text, series=_first_name(rows, exact.equal), column=column)
            continue
        messages = _describe_leaks(rows, column, y, changing, frequency)
        findings.add_series("D063", messages, column=column)
        near = None if messages else find_near_copy(sample, values, frequency.season_lengths[0])
        if near is not None:
            name = rows.name(near.row)
            text = f"{column} is nearly a copy of y {near.describe(name)}"
            findings.add("D063", text, series=name, column=column)


def _first_name(rows: PanelRows, series: Integers) -> str:
    return rows.name(int(rows.starts[series[0]]))


def _describe_leaks(
    rows: PanelRows, column: str, y: Floats, changing: Mask, frequency: Frequency
) -> list[SeriesMessage]:
    """Return a message per series whose covariate is y of some time."""
    values = _to_floats(rows, column)
    shift_by_series: dict[str, int] = {}
    for shift in _candidate_shifts(frequency):
        for index in _match_series(rows, y, values, changing, shift).equal:
            shift_by_series.setdefault(rows.name(int(rows.starts[index])), shift)
    return [
        SeriesMessage(name, _describe_leak(name, column, shift)) for name, shift in shift_by_series.items()
    ]


def _describe_leak(name: str, column: str, shift: int) -> str:
    if shift == 0:
        return f"{name} has the same values in {column} as in y"
    when = "later" if shift > 0 else "before"
    return f"{name} has in {column} the y of {abs(shift)} steps {when}"


def _candidate_shifts(frequency: Frequency) -> list[int]:
    """Return the shifts to compare, nearest first: a covariate at t equals y at t + shift."""
    far = {season for season in frequency.season_lengths if season <= 1000}
    steps = sorted({*range(1, _MAX_SHIFT + 1), *far})
    return [0, *chain.from_iterable((step, -step) for step in steps)]


def _find_changes(rows: PanelRows, y: Floats) -> Mask:
    """Return the rows whose y differs from the previous y of the series. Shape [rows]."""
    changed: Mask = np.append(False, np.diff(y) != 0) & np.isfinite(y)
    changed[rows.starts] = False
    changed &= np.append(False, np.isfinite(y[:-1]))
    return changed


class _Matches(NamedTuple):
    equal: Integers  # indices of the series whose covariate equals y
    comparable: int  # series whose y changes often enough to tell


def _match_series(rows: PanelRows, y: Floats, values: Floats, changing: Mask, shift: int) -> _Matches:
    """Compare a covariate with the shifted y of each series wherever that y changes."""
    shifted = np.full(len(y), np.nan)
    if abs(shift) >= len(y):
        return _Matches(np.zeros(0, dtype=np.int64), 0)
    if shift >= 0:
        source, target = slice(shift, None), slice(None, -shift or None)
    else:
        source, target = slice(None, shift), slice(-shift, None)
    # y shifted onto the rows of the covariate, NaN beyond its series and where y repeats itself. [rows]
    same_series = rows.series[source] == rows.series[target]
    shifted[target] = np.where(same_series & changing[source], y[source], np.nan)
    with np.errstate(invalid="ignore"):
        same = np.abs(values - shifted) <= _RELATIVE_TOLERANCE * np.abs(shifted)
    # A constant stretch of y would equal a constant covariate by chance, so counts are of changes only. [series]
    compared = np.add.reduceat(np.isfinite(shifted) & np.isfinite(values), rows.starts, dtype=np.int64)
    expected = np.add.reduceat(np.isfinite(shifted), rows.starts, dtype=np.int64)
    equal = np.add.reduceat(same, rows.starts, dtype=np.int64)
    is_comparable = (compared >= _MIN_COMPARED) & (compared * 2 >= expected)
    matching = np.flatnonzero(is_comparable & (equal >= _MIN_EQUAL_SHARE * compared))
    return _Matches(matching, int(is_comparable.sum()))


def _to_floats(rows: PanelRows, column: str) -> Floats:
    values: Floats = rows.columns[column].fill_null(np.nan).to_numpy(zero_copy_only=False)
    return values
