"""Checks of values: series too short, constant, of zeros; hints at zeros, outliers and level shifts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from quantis.frequency import Frequency
from quantis.panel import Y
from quantis.types.arrays import Floats, Integers, Mask
from quantis.validation.findings import SHOWN_PER_CODE, Findings, SeriesMessage
from quantis.validation.rows import PanelRows

_NAMED_SERIES = 3  # series with missing values that are named
_MAX_HINTED_SERIES = 20_000  # series that are looked at for hints
_MIN_VALUES = 24  # values from which hints are given
_INTERMITTENT_SHARE = 0.5  # share of zeros that makes a series intermittent
_MIN_LEADING_SHARE = 0.1  # share of a series that leading zeros must reach
_OUTLIER_RANGES = 4.0  # spreads beyond the usual range that make an outlier
_MAX_OUTLIER_SHARE = 0.01  # share of values that may be outliers
_MIN_SHIFT_DEVIATIONS = 6.0  # robust deviations between two levels
_MIN_ABRUPT_SHARE = 0.7  # share of a shift that happens at once
_MIN_SHIFT_WINDOW = 8  # values on each side that tell how abrupt it is


class _Series(NamedTuple):
    number: int  # among the series that occur
    y: Floats  # the values that are not missing, [values]
    row: Integers  # their positions among the rows, [values]


def check_values(rows: PanelRows, frequency: Frequency, findings: Findings) -> None:
    """Report series that are too short, constant or of zeros, and hint at odd values."""
    y = rows.columns[Y].fill_null(np.nan).to_numpy(zero_copy_only=False)
    counts = np.add.reduceat(~np.isnan(y), rows.starts, dtype=np.int64)
    low, high = np.fmin.reduceat(y, rows.starts), np.fmax.reduceat(y, rows.starts)
    enough = max(3, 2 * frequency.season_lengths[0])
    flat, zero = low == high, (low == 0) & (high == 0)

    def report(code: str, matches: Mask, template: str) -> None:
        indices = np.flatnonzero(matches)
        messages = []
        for index in indices[:SHOWN_PER_CODE]:
            name = rows.name(int(rows.starts[index]))
            messages.append(SeriesMessage(name, f"{name} {template.format(f'{counts[index]:,}')}"))
        findings.add_series(code, messages, total=len(indices))

    report("D050", (counts > 0) & (counts < enough), "has {} values, less than two seasons")
    report("D051", (counts > 2) & flat & ~zero, "has the same value in all {} rows")
    report("D056", (counts > 2) & zero, "has a zero in all {} rows")
    candidates = np.flatnonzero((counts >= _MIN_VALUES) & ~flat)[:_MAX_HINTED_SERIES]
    _add_hints(rows, list(_iterate_series(rows, y, candidates)), frequency, findings)


def check_missing(rows: PanelRows, findings: Findings) -> None:
    """Report the values of y that are missing in series that have some: how many, and in which series most."""
    is_missing = rows.columns[Y].is_null().to_numpy(zero_copy_only=False)
    counts = np.add.reduceat(is_missing, rows.starts, dtype=np.int64)
    lengths = np.diff(rows.starts, append=len(is_missing))
    counts[counts == lengths] = 0  # series without a value have a finding of their own
    series = np.flatnonzero(counts)
    if len(series) == 0:
        return
    names = [rows.name(int(rows.starts[index])) for index in series[:_NAMED_SERIES]]
    listed = ", ".join(f"{name} {counts[index]:,}" for name, index in zip(names, series, strict=False))
    rest = f" and {len(series) - _NAMED_SERIES:,} more" if len(series) > _NAMED_SERIES else ""
    text = f"y is missing in {counts.sum():,} of {len(is_missing):,} rows, in {len(series):,} series ({listed}{rest})"
    findings.add("D059", text, series=names[0], column=Y)


def _iterate_series(rows: PanelRows, y: Floats, indices: Integers) -> Iterator[_Series]:
    ends = np.append(rows.starts[1:], len(y))
    for index in indices.tolist():
        start, end = int(rows.starts[index]), int(ends[index])
        observed = np.flatnonzero(~np.isnan(y[start:end])) + start
        yield _Series(index, y[observed], observed)


def _add_hints(rows: PanelRows, all_series: list[_Series], frequency: Frequency, findings: Findings) -> None:
    messages: dict[str, list[SeriesMessage]] = {"D054": [], "D055": [], "D057": [], "D058": []}
    season = frequency.season_lengths[0]
    for series in all_series:
        name = rows.name(int(rows.starts[series.number]))
        leading = leading_zeros(series.y, season)
        if leading:
            messages["D055"].append(SeriesMessage(name, f"{name} begins with {leading:,} zeros"))
        y, row = series.y[leading:], series.row[leading:]
        zeros = float((y == 0).mean())
        if zeros >= _INTERMITTENT_SHARE:
            messages["D054"].append(SeriesMessage(name, f"{name} is zero in {zeros:.0%} of its rows"))
            continue
        for outlier in _find_outliers(y):
            ds = rows.ds[row[outlier]].astype("datetime64[s]")
            text = f"{name} has {y[outlier]:g} at {ds}, far from its other values"
            messages["D057"].append(SeriesMessage(name, text, int(rows.row[row[outlier]]) + 1))
        shift = _find_level_shift(y, season)
        if shift:
            ds = rows.ds[row[shift]].astype("datetime64[s]")
            before, after = np.median(y[:shift]), np.median(y[shift:])
            text = f"{name} goes from about {before:g} to {after:g} at {ds}"
            messages["D058"].append(SeriesMessage(name, text))
    for code, code_messages in messages.items():
        findings.add_series(code, code_messages, column=Y)


def leading_zeros(y: Floats, season: int) -> int:
    """Return the number of zeros at the start of a series, if they are more than its other zeros explain."""
    alive = np.flatnonzero(y)
    run = int(alive[0]) if len(alive) else 0
    longest_inner = _longest_zero_run(y[run:])
    return run if run >= max(2 * longest_inner, season, 5, _MIN_LEADING_SHARE * len(y)) else 0


def _longest_zero_run(y: Floats) -> int:
    # Runs begin where the mask of zeros, with a border, rises, and end where it falls.
    edges = np.flatnonzero(np.diff(np.concatenate(([0], (y == 0).astype(np.int8), [0]))))
    return int(np.max(edges[1::2] - edges[::2], initial=0))


def _find_outliers(y: Floats) -> list[int]:
    """Return the indices of few values far outside of the range of all others."""
    max_outliers = max(1, int(_MAX_OUTLIER_SHARE * len(y)))
    # The range without as many values at each end as may be outliers.
    ordered = np.partition(y, (max_outliers, len(y) - 1 - max_outliers))
    low, high = ordered[max_outliers], ordered[len(y) - 1 - max_outliers]
    reach = _OUTLIER_RANGES * (high - low)
    if reach <= 0:
        return []
    far = np.flatnonzero((y > high + reach) | (y < low - reach))
    return far.tolist() if len(far) <= max_outliers else []


def _find_level_shift(y: Floats, season: int) -> int | None:
    """Return the index from which a series has another level, by the largest cumulative sum (CUSUM)."""
    index = int(np.argmax(np.abs(np.cumsum(y - np.mean(y))))) + 1
    around = max(_MIN_SHIFT_WINDOW, min(season, len(y) // 4))
    if index < around or len(y) - index < around:
        return None
    # Medians and 1.4826 times the median absolute deviation: robust to outliers on both sides.
    before, after = float(np.median(y[:index])), float(np.median(y[index:]))
    spread = float(np.median(np.abs(np.concatenate((y[:index] - before, y[index:] - after)))))
    shift = after - before
    if abs(shift) <= _MIN_SHIFT_DEVIATIONS * 1.4826 * spread or shift == 0:
        return None
    # A trend changes its level, too, but not within a few values.
    step = float(np.median(y[index : index + around]) - np.median(y[index - around : index]))
    return index if step / shift >= _MIN_ABRUPT_SHARE else None
