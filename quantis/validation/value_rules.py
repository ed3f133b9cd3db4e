"""The checks of values: series too short, constant, of zeros; hints at zeros, outliers and level shifts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from quantis.frequency import Frequency
from quantis.panel import Y
from quantis.types.arrays import Floats, Integers, Mask
from quantis.validation.findings import Findings
from quantis.validation.rows import PanelRows

_HINTED = 20_000  # series that are looked at for hints
_LEAST = 24  # values from which hints are given
_SPARSE = 0.5  # share of zeros that makes a series intermittent
_LEADING = 0.1  # share of a series that leading zeros must reach
_FAR = 4.0  # spreads beyond the usual range that make an outlier
_RARE = 0.01  # share of values that may be outliers
_SHIFTED = 6.0  # robust deviations between two levels
_ABRUPT = 0.7  # share of a shift that happens at once
_AROUND = 8  # values on each side that tell how abrupt it is


class _Series(NamedTuple):
    place: int
    y: Floats  # the values that are there
    row: Integers  # their places among the rows


def check_values(rows: PanelRows, frequency: Frequency, findings: Findings) -> None:
    """Series that are too short, constant or without a value, and hints at odd ones."""
    y = rows.columns[Y].fill_null(np.nan).to_numpy(zero_copy_only=False)
    counts = np.add.reduceat(~np.isnan(y), rows.starts, dtype=np.int64)
    low, high = np.fmin.reduceat(y, rows.starts), np.fmax.reduceat(y, rows.starts)
    enough = max(3, 2 * frequency.season_lengths[0])
    flat, zero = low == high, (low == 0) & (high == 0)

    def report(code: str, found: Mask, what: str) -> None:
        indices = np.flatnonzero(found)
        names = [rows.name(int(rows.starts[index])) for index in indices]
        findings.series(code, names, lambda i: f"{names[i]} " + what.format(f"{counts[indices[i]]:,}"))

    report("D050", (counts > 0) & (counts < enough), "has {} values, less than two seasons")
    report("D051", (counts > 2) & flat & ~zero, "has the same value in all {} rows")
    report("D056", (counts > 2) & zero, "has a zero in all {} rows")
    candidates = np.flatnonzero((counts >= _LEAST) & ~flat)[:_HINTED]
    _hint(rows, list(_of(rows, y, candidates)), frequency, findings)


def _of(rows: PanelRows, y: Floats, indices: Integers) -> Iterator[_Series]:
    ends = np.append(rows.starts[1:], len(y))
    for index in indices.tolist():
        start, end = int(rows.starts[index]), int(ends[index])
        observed = np.flatnonzero(~np.isnan(y[start:end])) + start
        yield _Series(index, y[observed], observed)


def _hint(rows: PanelRows, series: list[_Series], frequency: Frequency, findings: Findings) -> None:
    messages: dict[str, list[tuple[str, str, int | None]]] = {"D054": [], "D055": [], "D057": [], "D058": []}
    season = frequency.season_lengths[0]
    for item in series:
        name = rows.name(int(rows.starts[item.place]))
        leading = leading_zeros(item.y, season)
        if leading:
            messages["D055"].append((name, f"{name} begins with {leading:,} zeros", None))
        living = _Series(item.place, item.y[leading:], item.row[leading:])
        zeros = float((living.y == 0).mean())
        if zeros >= _SPARSE:
            messages["D054"].append((name, f"{name} is zero in {zeros:.0%} of its rows", None))
            continue
        for outlier in _outliers(living.y):
            row = int(living.row[outlier])
            value_text = f"{name} has {living.y[outlier]:g} at {rows.ds[row].astype('datetime64[s]')}"
            messages["D057"].append((name, f"{value_text}, far from its other values", int(rows.row[row]) + 1))
        shift_index = _level_shift(living.y, season)
        if shift_index:
            when = rows.ds[living.row[shift_index]].astype("datetime64[s]")
            before, after = np.median(living.y[:shift_index]), np.median(living.y[shift_index:])
            messages["D058"].append((name, f"{name} goes from about {before:g} to {after:g} at {when}", None))
    for code, code_messages in messages.items():
        findings.listed_series(code, code_messages, column=Y)


def leading_zeros(y: Floats, season: int) -> int:
    """How many zeros a series begins with, when they are more than its own zeros explain."""
    alive = np.flatnonzero(y)
    run = int(alive[0]) if len(alive) else 0
    longest_inner = _longest_zeros(y[run:])
    return run if run >= max(2 * longest_inner, season, 5, _LEADING * len(y)) else 0


def _longest_zeros(y: Floats) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], (y == 0).astype(np.int8), [0]))))
    return int(np.max(edges[1::2] - edges[::2], initial=0))


def _outliers(y: Floats) -> list[int]:
    """Places of few values far outside of the range of all others."""
    max_outliers = max(1, int(_RARE * len(y)))
    ordered = np.partition(y, (max_outliers, len(y) - 1 - max_outliers))
    low, high = ordered[max_outliers], ordered[len(y) - 1 - max_outliers]
    reach = _FAR * (high - low)
    if reach <= 0:
        return []
    far = np.flatnonzero((y > high + reach) | (y < low - reach))
    return far.tolist() if len(far) <= max_outliers else []


def _level_shift(y: Floats, season: int) -> int | None:
    """Where a series changes its level for good and at once, found by the largest cumulative sum."""
    index = int(np.argmax(np.abs(np.cumsum(y - np.mean(y))))) + 1
    around = max(_AROUND, min(season, len(y) // 4))
    if index < around or len(y) - index < around:
        return None
    before, after = float(np.median(y[:index])), float(np.median(y[index:]))
    spread = float(np.median(np.abs(np.concatenate((y[:index] - before, y[index:] - after)))))
    shift = after - before
    if abs(shift) <= _SHIFTED * 1.4826 * spread or shift == 0:
        return None
    step = float(np.median(y[index : index + around]) - np.median(y[index - around : index]))
    return index if step / shift >= _ABRUPT else None
