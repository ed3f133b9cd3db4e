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

    def each(code: str, found: Mask, what: str) -> None:
        places = np.flatnonzero(found)
        names = [rows.name(int(rows.starts[place])) for place in places]
        findings.series(code, names, lambda i: f"{names[i]} " + what.format(f"{counts[places[i]]:,}"))

    each("D050", (counts > 0) & (counts < enough), "has {} values, less than two seasons")
    each("D051", (counts > 2) & flat & ~zero, "has the same value in all {} rows")
    each("D056", (counts > 2) & zero, "has a zero in all {} rows")
    candidates = np.flatnonzero((counts >= _LEAST) & ~flat)[:_HINTED]
    _hint(rows, list(_of(rows, y, candidates)), frequency, findings)


def _of(rows: PanelRows, y: Floats, places: Integers) -> Iterator[_Series]:
    ends = np.append(rows.starts[1:], len(y))
    for place in places.tolist():
        begin, end = int(rows.starts[place]), int(ends[place])
        given = np.flatnonzero(~np.isnan(y[begin:end])) + begin
        yield _Series(place, y[given], given)


def _hint(rows: PanelRows, series: list[_Series], frequency: Frequency, findings: Findings) -> None:
    said: dict[str, list[tuple[str, str, int | None]]] = {"D054": [], "D055": [], "D057": [], "D058": []}
    season = frequency.season_lengths[0]
    for one in series:
        name = rows.name(int(rows.starts[one.place]))
        leading = leading_zeros(one.y, season)
        if leading:
            said["D055"].append((name, f"{name} begins with {leading:,} zeros", None))
        living = _Series(one.place, one.y[leading:], one.row[leading:])
        zeros = float((living.y == 0).mean())
        if zeros >= _SPARSE:
            said["D054"].append((name, f"{name} is zero in {zeros:.0%} of its rows", None))
            continue
        for place in _outliers(living.y):
            row = int(living.row[place])
            what = f"{name} has {living.y[place]:g} at {rows.ds[row].astype('datetime64[s]')}"
            said["D057"].append((name, f"{what}, far from its other values", int(rows.row[row]) + 1))
        at = _level_shift(living.y, season)
        if at:
            when = rows.ds[living.row[at]].astype("datetime64[s]")
            before, after = np.median(living.y[:at]), np.median(living.y[at:])
            said["D058"].append((name, f"{name} goes from about {before:g} to {after:g} at {when}", None))
    for code, found in said.items():
        findings.listed_series(code, found, column=Y)


def leading_zeros(y: Floats, season: int) -> int:
    """How many zeros a series begins with, when they are more than its own zeros explain."""
    alive = np.flatnonzero(y)
    run = int(alive[0]) if len(alive) else 0
    longest = _longest_zeros(y[run:])
    return run if run >= max(2 * longest, season, 5, _LEADING * len(y)) else 0


def _longest_zeros(y: Floats) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], (y == 0).astype(np.int8), [0]))))
    return int(np.max(edges[1::2] - edges[::2], initial=0))


def _outliers(y: Floats) -> list[int]:
    """Places of few values far outside of the range of all others."""
    allowed = max(1, int(_RARE * len(y)))
    ordered = np.partition(y, (allowed, len(y) - 1 - allowed))
    low, high = ordered[allowed], ordered[len(y) - 1 - allowed]
    reach = _FAR * (high - low)
    if reach <= 0:
        return []
    far = np.flatnonzero((y > high + reach) | (y < low - reach))
    return far.tolist() if len(far) <= allowed else []


def _level_shift(y: Floats, season: int) -> int | None:
    """Where a series changes its level for good and at once, found by the largest cumulative sum."""
    at = int(np.argmax(np.abs(np.cumsum(y - np.mean(y))))) + 1
    around = max(_AROUND, min(season, len(y) // 4))
    if at < around or len(y) - at < around:
        return None
    before, after = float(np.median(y[:at])), float(np.median(y[at:]))
    spread = float(np.median(np.abs(np.concatenate((y[:at] - before, y[at:] - after)))))
    shift = after - before
    if abs(shift) <= _SHIFTED * 1.4826 * spread or shift == 0:
        return None
    step = float(np.median(y[at : at + around]) - np.median(y[at - around : at]))
    return at if step / shift >= _ABRUPT else None
