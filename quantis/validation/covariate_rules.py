"""The checks of covariates: static ones that vary, known-future ones that end, ones that repeat y."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from quantis.frequency import Frequency
from quantis.panel import Y
from quantis.types.arrays import Floats, Integers, Mask
from quantis.types.datasets import Roles
from quantis.validation.findings import Findings
from quantis.validation.rows import PanelRows

_NEAR = 3  # steps up to which a shifted y is looked for, and once more around each season
_COMPARED = 8  # changing values of y from which equality is no chance
_ALIKE = 0.99  # share of them that is equal
_CLOSE = 1e-9  # relative


def any_valid(rows: PanelRows, columns: tuple[str, ...]) -> Mask:
    """Whether one of the columns holds a value. Shape [rows]."""
    valid = np.zeros(len(rows.series), dtype=bool)
    for name in columns:
        valid |= rows.columns[name].is_valid().to_numpy(zero_copy_only=False)
    return valid


def check_static(rows: PanelRows, roles: Roles, findings: Findings) -> None:
    for column in roles.stat_exog:
        codes = rows.columns[column].dictionary_encode().indices
        high = np.maximum.reduceat(codes.fill_null(-1).to_numpy(), rows.starts)
        low = np.minimum.reduceat(codes.fill_null(np.iinfo(np.int32).max).to_numpy(), rows.starts)
        varies = rows.names.filter(pa.array((high >= 0) & (low != high))).to_pylist()
        messages = [(name, f"{name} has several values of {column}", None) for name in varies]
        findings.listed_series("D060", messages, column=column)


def check_known_future(rows: PanelRows, is_future: Mask, roles: Roles, findings: Findings) -> None:
    """Values that are missing in places, or from some time of a series to its end."""
    positions = np.arange(len(rows.series))
    lengths = np.diff(rows.starts, append=len(rows.series))
    ends = rows.starts + lengths - 1
    for column in roles.futr_exog:
        valid = any_valid(rows, (column,))
        last = np.maximum.reduceat(np.where(valid, positions, -1), rows.starts)
        after = positions > np.repeat(last, lengths)
        missing = int((~valid & ~after).sum())
        if missing:
            findings.add("D061", f"{column} is empty in {missing:,} rows", column=column)
        short = np.flatnonzero(last < ends)
        names = [rows.name(int(rows.starts[index])) for index in short]
        missing_counts = ends[short] - np.maximum(last[short], rows.starts[short] - 1)
        messages = [
            (name, f"{name} has no {column} in its last {count:,} rows", None)
            for name, count in zip(names, missing_counts.tolist(), strict=True)
        ]
        findings.listed_series("D062", messages, column=column)


def check_leaks(rows: PanelRows, frequency: Frequency, roles: Roles, findings: Findings) -> None:
    """Covariates that equal y, or y some steps on or before, wherever y changes."""
    y = _floats(rows, Y)
    changing = _changing(rows, y)
    for column in (*roles.futr_exog, *roles.hist_exog):
        if column in roles.categorical:
            continue
        values = _floats(rows, column)
        shift_by_series: dict[str, int] = {}
        for shift in _shifts(frequency):
            for index in _alike(rows, y, values, changing, shift):
                shift_by_series.setdefault(rows.name(int(rows.starts[index])), shift)
        messages = [(name, _said(name, column, shift), None) for name, shift in shift_by_series.items()]
        findings.listed_series("D063", messages, column=column)


def _said(name: str, column: str, shift: int) -> str:
    if shift == 0:
        return f"{name} has the same values in {column} as in y"
    when = "later" if shift > 0 else "before"
    return f"{name} has in {column} the y of {abs(shift)} steps {when}"


def _shifts(frequency: Frequency) -> list[int]:
    """0 and the nearest first. A covariate at t that equals y at t + shift."""
    far = {season for season in frequency.season_lengths if season <= 1000}
    steps = sorted({*range(1, _NEAR + 1), *far})
    return [0, *(sign * step for step in steps for sign in (1, -1))]


def _changing(rows: PanelRows, y: Floats) -> Mask:
    """Where y is there and differs from the y of the row before in its series. Shape [rows]."""
    changed: Mask = np.append(False, np.diff(y) != 0) & np.isfinite(y)
    changed[rows.starts] = False
    changed &= np.append(False, np.isfinite(y[:-1]))
    return changed


def _alike(rows: PanelRows, y: Floats, values: Floats, changing: Mask, shift: int) -> Integers:
    """Places of the series whose covariate equals the shifted y wherever that y changes."""
    shifted, same = np.full(len(y), np.nan), np.zeros(len(y), dtype=bool)
    if abs(shift) >= len(y):
        return np.zeros(0, dtype=np.int64)
    source, target = (slice(shift, None), slice(None, -shift or None)) if shift >= 0 else (
        slice(None, shift), slice(-shift, None)
    )  # fmt: skip
    same_series = rows.series[source] == rows.series[target]
    shifted[target] = np.where(same_series & changing[source], y[source], np.nan)
    with np.errstate(invalid="ignore"):
        same = np.abs(values - shifted) <= _CLOSE * np.abs(shifted)
    compared = np.add.reduceat(np.isfinite(shifted) & np.isfinite(values), rows.starts, dtype=np.int64)
    expected = np.add.reduceat(np.isfinite(shifted), rows.starts, dtype=np.int64)
    equal = np.add.reduceat(same, rows.starts, dtype=np.int64)
    return np.flatnonzero((compared >= _COMPARED) & (compared * 2 >= expected) & (equal >= _ALIKE * compared))


def _floats(rows: PanelRows, column: str) -> Floats:
    values: Floats = rows.columns[column].fill_null(np.nan).to_numpy(zero_copy_only=False)
    return values
