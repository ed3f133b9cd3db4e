"""Frequencies of series from their times, for all series of a panel at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from quantis.frequency import BUSINESS, INTEGER, MICROSECONDS, MONTHS, Frequency
from quantis.types.arrays import Integers, Mask, Times

_UNITS = (*MICROSECONDS, BUSINESS, *MONTHS)
_DAY_US = MICROSECONDS["D"]
_SHORTEST_MONTH_US = 28 * _DAY_US
_NEVER = np.iinfo(np.int64).max
_MIN_TIMES, _MIN_COUNTS = 3, 2  # of a series whose frequency is inferred


class InferredFrequencies(NamedTuple):
    """The frequency of each series without an anchor: `distinct[kind[series]]`, None where no step repeats."""

    distinct: list[Frequency | None]
    kind: Integers  # [series]
    steps_us: Integers  # the commonest step in microseconds, 0 of a series that is too short, [series]


def infer(times: Times) -> Frequency | None:
    """Return the frequency whose grid holds most steps of one sorted series; None when no step repeats."""
    if len(times) == 0:
        return None
    inferred = infer_each(times, np.zeros(1, dtype=np.int64))
    frequency = inferred.distinct[int(inferred.kind[0])]
    return frequency and frequency.anchored(times)


def infer_counts(times: Times) -> Frequency | None:
    """Return the frequency of one sorted series whose `ds` are counts."""
    if len(times) == 0:
        return None
    inferred = infer_each(times, np.zeros(1, dtype=np.int64), counted=True)
    return inferred.distinct[int(inferred.kind[0])]


def infer_each(times: Times, starts: Integers, *, counted: bool = False) -> InferredFrequencies:
    """Infer the frequency of each series.

    Parameters
    ----------
    times
        Sorted times of one series after the other, [rows].
    starts
        The first row of each series, [series].
    counted
        The times are plain counts.
    """
    steps_us = _commonest_steps(times, starts, _MIN_COUNTS if counted else _MIN_TIMES)
    unit, count = np.full(len(starts), -1), np.zeros(len(starts), dtype=np.int64)
    if counted:
        count = np.maximum(steps_us, 0) // MICROSECONDS["s"]
    else:
        for number, size in enumerate(
            MICROSECONDS.values()
        ):  # from the shortest on: the longest that fits stays
            fits = (steps_us > 0) & (steps_us % size == 0)
            unit[fits], count[fits] = number, steps_us[fits] // size
        for candidates, infer_units in (
            (steps_us == _DAY_US, _infer_business_days),
            (steps_us >= _SHORTEST_MONTH_US, _infer_months),
        ):
            if candidates.any():
                rows = np.repeat(candidates, np.diff(starts, append=len(times)))
                lengths = np.diff(starts, append=len(times))[candidates]
                units, counts = infer_units(times[rows], np.cumsum(lengths) - lengths)
                rows_of_unit = np.flatnonzero(candidates)[units >= 0]
                unit[rows_of_unit], count[rows_of_unit] = units[units >= 0], counts[units >= 0]
    pairs, kind = np.unique(np.stack([unit, count]), axis=1, return_inverse=True)
    distinct = [_to_frequency(*pair, counted=counted) for pair in pairs.T.tolist()]
    return InferredFrequencies(distinct, kind.ravel(), steps_us)


def _to_frequency(unit: int, count: int, *, counted: bool) -> Frequency | None:
    if count == 0:
        return None
    return Frequency(count, INTEGER if counted else _UNITS[unit])


def _commonest_steps(times: Times, starts: Integers, min_rows: int) -> Integers:
    """Return the commonest step of each series in microseconds, the shortest of several; 0 of too few rows."""
    lengths = np.diff(starts, append=len(times))
    before = np.diff(
        times.astype("datetime64[us]").astype(np.int64), prepend=0
    )  # the step to each row, [rows]
    before[starts] = _NEVER
    commonest = np.minimum.reduceat(before, starts)
    is_shortest = before == np.repeat(commonest, lengths)
    # Half of the steps cannot be outnumbered, so that sorting is left to series with many different steps.
    undecided = 2 * np.add.reduceat(is_shortest, starts, dtype=np.int64) < lengths - 1
    if undecided.any():
        rows = np.flatnonzero(np.repeat(undecided, lengths) & (before != _NEVER))
        series = np.repeat(np.arange(len(starts)), lengths)[rows]
        order = np.lexsort((before[rows], series))
        series, steps = series[order], before[rows][order]
        first = np.flatnonzero(np.append(True, (np.diff(series) != 0) | (np.diff(steps) != 0)))
        numbers = np.diff(first, append=len(steps))  # of equal steps of a series, [runs]
        best = first[np.lexsort((steps[first], -numbers, series[first]))]
        best = best[np.append(True, np.diff(series[best]) != 0)]
        commonest[series[best]] = steps[best]
    commonest[lengths < min_rows] = 0
    return commonest


def _infer_business_days(times: Times, starts: Integers) -> tuple[Integers, Integers]:
    """Return unit and count of series that skip weekends though they run over one, unit -1 of others. [series]."""
    weekend = np.append(False, np.diff(times.astype(np.int64)) == 3 * _DAY_US)
    weekend[starts] = False
    skips = np.logical_or.reduceat(weekend, starts)
    skips &= np.logical_and.reduceat(np.is_busday(times.astype("datetime64[D]")), starts)
    return np.where(skips, _UNITS.index(BUSINESS), -1), np.ones(len(starts), dtype=np.int64)


def _infer_months(times: Times, starts: Integers) -> tuple[Integers, Integers]:
    """Return unit and count of series all on one day of the month, or all on its last, unit -1 of others. [series]."""
    months, days = times.astype("datetime64[M]"), times.astype("datetime64[D]")
    between = np.diff(months.astype(np.int64), prepend=0)
    between[starts] = 0
    per_step = np.gcd.reduceat(between, starts)
    is_end = (days + np.timedelta64(1, "D")).astype("datetime64[M]") > months
    on_ends = np.logical_and.reduceat(is_end, starts)
    day = (days - months.astype("datetime64[D]")).astype(np.int64)  # of the month, from 0
    on_day = _is_uniform(day, starts) & (day[starts] < 28)
    fits = (per_step > 0) & _is_uniform((times - days).astype(np.int64), starts)
    unit, count = np.full(len(starts), -1), np.zeros(len(starts), dtype=np.int64)
    for alias, size in MONTHS.items():  # months, quarters, years: the longest that fits stays
        chosen = fits & (per_step % size == 0) & (on_ends if alias.endswith("E") else on_day & ~on_ends)
        unit[chosen], count[chosen] = _UNITS.index(alias), per_step[chosen] // size
    return unit, count


def _is_uniform(values: Integers, starts: Integers) -> Mask:
    """Return the series whose values are all equal. Shape [series]."""
    uniform: Mask = np.minimum.reduceat(values, starts) == np.maximum.reduceat(values, starts)
    return uniform
