"""Integers as times: dates written without marks, epochs of any unit, and else plain counts.

Integers are never guessed to be counts where they read as dates in part, or as packed weeks or quarters.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from quantis.types.arrays import Integers, Mask

_MIN_EPOCH = 10**8  # the smallest integer that is taken for an epoch: seconds of 1973
_END_SECOND = 9_214_646_400  # 1 January 2262
_EPOCH_UNITS = (
    (_MIN_EPOCH, _END_SECOND, 1_000_000, 1, "seconds"),
    (_END_SECOND, 1000 * _END_SECOND, 1000, 1, "milliseconds"),
    (1000 * _END_SECOND, 10**6 * _END_SECOND, 1, 1, "microseconds"),
    (10**6 * _END_SECOND, 2**63 + 1, 1, 1000, "nanoseconds"),
)
"""Units since 1970 by the size of the largest: from, below, microseconds of one, or ones of a microsecond, name."""

_DATE_FORMS = {
    4: ("%Y", "a year, its first day taken"),
    6: ("%Y%m", "year and month without marks, its first day taken"),
    8: ("%Y%m%d", "year, month and day without marks"),
    10: ("%Y%m%d%H", "year to hour without marks"),
    12: ("%Y%m%d%H%M", "year to minute without marks"),
    14: ("%Y%m%d%H%M%S", "year to second without marks"),
}
_PACKED = ((10, 4, "year and quarter"), (100, 53, "year and week"), (1000, 366, "year and day of the year"))
"""Other numbers behind a year that are asked for: factor of the year, largest number, name."""
_MIN_YEAR, _END_YEAR = 1700, 2262
_MIN_DATED_SHARE = 0.5  # of integers that are dates, from which the others are errors


class IntegerTimes(NamedTuple):
    """Integers as times; masks have the shape of the integers."""

    epoch_us: Integers
    invalid: Mask
    form: str | None = None  # as which they were read
    clock: bool = False  # they are local times of an unknown zone
    counted: bool = False  # plain counts, in seconds from 1970
    question: str | None = None  # what they might be, where they are not read


def read_integers(values: Integers) -> IntegerTimes:
    """Read a column of integers without its missing values as times, at least one of them."""
    distinct, inverse = np.unique(values, return_inverse=True)
    times = _read_distinct(distinct)
    return times._replace(epoch_us=times.epoch_us[inverse], invalid=times.invalid[inverse])


def _read_distinct(distinct: Integers) -> IntegerTimes:
    valid = np.zeros(len(distinct), dtype=bool)
    dates = _read_dates(distinct)
    if dates is not None:
        return dates
    question = _find_packed(distinct)
    low, high = int(distinct[0]), int(distinct[-1])
    if question:
        return IntegerTimes(np.zeros_like(distinct), ~valid, question=question)
    largest = max(abs(low), abs(high))
    if largest < _MIN_EPOCH:
        return IntegerTimes(distinct * 1_000_000, valid, counted=True)
    return _read_epochs(distinct, largest)


def _read_epochs(distinct: Integers, largest: int) -> IntegerTimes:
    none = np.zeros(len(distinct), dtype=bool)
    _, _, factor, divisor, unit = next(row for row in _EPOCH_UNITS if row[0] <= largest < row[1])
    below = _EPOCH_UNITS[[row[4] for row in _EPOCH_UNITS].index(unit)][0]
    # Beside times of one unit, smaller integers may be zeros and dates before it, but not times of another.
    magnitude = np.abs(distinct)
    of_other_unit = (magnitude >= _MIN_EPOCH) & (magnitude < below)
    if unit != "seconds" and of_other_unit.any():
        question = f"times in several units: {int(distinct[of_other_unit][0])} beside {unit}"
        return IntegerTimes(np.zeros_like(distinct), ~none, question=question)
    return IntegerTimes(distinct * factor // divisor, none, form=f"{unit} since 1970")


def _read_dates(distinct: Integers) -> IntegerTimes | None:
    """Return the integers as dates without marks; None where most are none."""
    digits = {len(str(value)) for value in (int(distinct[0]), int(distinct[-1]))}
    if len(digits) != 1 or int(distinct[0]) <= 0:
        return None
    layout, form = _DATE_FORMS.get(digits.pop(), (None, ""))
    if layout is None:
        return None
    # Most integers are no dates: a sample rules that out cheaply.
    sample = distinct[:: max(1, len(distinct) // 1000)]
    if np.mean([_parse(int(value), layout) is not None for value in sample]) < _MIN_DATED_SHARE:
        return None
    parsed = [_parse(int(value), layout) for value in distinct]
    invalid = np.array([date is None for date in parsed])
    if invalid.mean() > 1 - _MIN_DATED_SHARE or (len(layout) > 6 and invalid.any()):
        return None
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    micros = [0 if date is None else int((date - epoch).total_seconds()) * 1_000_000 for date in parsed]
    return IntegerTimes(np.array(micros, np.int64), invalid, form=form, clock=len(layout) > 6)


def _parse(value: int, layout: str) -> datetime | None:
    try:
        date = datetime.strptime(str(value), layout).replace(tzinfo=UTC)
    except ValueError:
        return None
    return date if _MIN_YEAR <= date.year < _END_YEAR else None


def _find_packed(distinct: Integers) -> str | None:
    """Return what integers of a year and another number might be, over two years or more."""
    for factor, largest, name in _PACKED:
        years, numbers = distinct // factor, distinct % factor
        if years[0] < 1900 or years[-1] > 2100 or years[0] == years[-1]:
            continue
        if np.all((numbers >= 1) & (numbers <= largest)):
            return f"{name}, such as {int(distinct[0])}"
    return None
