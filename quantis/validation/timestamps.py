"""Parse columns of times to UTC timestamps: ISO 8601, the usual other forms, counts.

An open question (day or month first, an hour that a clock shows twice) is reported, not guessed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantis.panel import TIMESTAMP
from quantis.types.arrays import Mask
from quantis.types.reading import DateOrder
from quantis.validation.date_formats import ISO, parse_dates
from quantis.validation.value_parsing import to_strings

_DAY = 86_400_000_000  # microseconds

_EPOCHS = (
    (10**9, 4 * 10**9, 1_000_000, "seconds"),
    (10**12, 4 * 10**12, 1000, "milliseconds"),
    (10**15, 4 * 10**15, 1, "microseconds"),
)
"""Counts since 1970 by their size: from, below, microseconds of one, unit."""
_MAX_COUNT = 10**9 - 1


class ParsedTimestamps(NamedTuple):
    """A column of times; masks have the shape [rows]."""

    values: pa.Array  # timestamp[us, UTC], null where absent, bad or unclear; local where `naive`
    invalid: Mask  # not a time though not empty
    unclear: Mask  # day and month cannot be told apart
    naive: Mask  # a clock time without its zone
    zoned: bool  # some time carries a zone
    forms: dict[str, str]  # forms other than ISO 8601 that were read, with an example
    counted: bool = False  # plain counts, kept as seconds from 1970


def parse_timestamps(column: pa.Array, order: DateOrder | None = None) -> ParsedTimestamps:
    """Parse timestamps, dates, texts or counts; times without a zone are taken as UTC and marked `naive`."""
    kind, no_rows = column.type, np.zeros(len(column), dtype=bool)
    if pa.types.is_timestamp(kind):
        return _from_timestamps(column)
    if pa.types.is_date(kind):
        days = column.cast(pa.timestamp("us"), safe=False).cast(TIMESTAMP)
        return ParsedTimestamps(days, no_rows, no_rows, no_rows, False, {})
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _from_numbers(column)
    if pa.types.is_string(kind) or pa.types.is_null(kind):
        return _from_strings(to_strings(column), order)
    return ParsedTimestamps(
        pa.nulls(len(column), TIMESTAMP), _valid_mask(column), no_rows, no_rows, False, {}
    )


def _from_timestamps(column: pa.Array) -> ParsedTimestamps:
    kind, no_rows = column.type, np.zeros(len(column), dtype=bool)
    zoned = kind.tz is not None
    column_utc = column.cast(pa.timestamp(kind.unit, tz="UTC")) if zoned else column
    utc = column_utc.cast(pa.timestamp("us", tz="UTC" if zoned else None), safe=False).cast(TIMESTAMP)
    forms: dict[str, str] = {}
    if zoned and kind.tz != "UTC":
        utc, forms = _dates_from_midnights(
            utc, pc.local_timestamp(column).cast(pa.timestamp("us"), safe=False)
        )
    naive = no_rows if zoned else _rows_with_clock(utc)
    return ParsedTimestamps(utc, no_rows, no_rows, naive, zoned, forms)


def _dates_from_midnights(utc: pa.Array, wall: pa.Array) -> tuple[pa.Array, dict[str, str]]:
    """Return local midnights at changing offsets as dates: they stand for days, not for timestamps."""
    wall_us, offset_us = wall.cast(pa.int64()), pc.subtract(wall.cast(pa.int64()), utc.cast(pa.int64()))
    at_midnight = pc.all(
        pc.equal(pc.subtract(wall_us, pc.multiply(pc.divide(wall_us, _DAY), _DAY)), 0)
    ).as_py()
    if not at_midnight or len(pc.unique(offset_us.drop_null())) < 2:
        return utc, {}
    return wall.cast(TIMESTAMP), {"local midnights as dates": str(wall.drop_null()[0])}


def _rows_with_clock(utc: pa.Array) -> Mask:
    """Return all rows with a time, or none when every time is a midnight: then the column holds dates."""
    epoch_us = utc.cast(pa.int64()).fill_null(0).to_numpy()
    return _valid_mask(utc) if (epoch_us % _DAY).any() else np.zeros(len(utc), dtype=bool)


def _from_numbers(column: pa.Array) -> ParsedTimestamps:
    no_rows = np.zeros(len(column), dtype=bool)
    values = column.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy(zero_copy_only=False)
    is_finite = np.isfinite(values)
    is_integer = is_finite & (values == np.floor(values)) & (np.abs(values) < 2**62)
    if not is_finite.any() or not is_integer[is_finite].all():
        return ParsedTimestamps(
            pa.nulls(len(column), TIMESTAMP), _valid_mask(column) & ~is_integer, no_rows, no_rows, False, {}
        )
    counts = np.where(is_integer, values, 0).astype(np.int64)
    low, high = int(counts[is_integer].min()), int(counts[is_integer].max())
    if (low >= 19000101 and high <= 22611231) or (low >= 1700 and high < 2262):
        digits = pa.array([str(value) for value in counts.tolist()], mask=~is_integer)
        parsed = _from_strings(digits, None)
        if not parsed.invalid.any():
            return parsed
    for minimum, maximum, microseconds, unit in _EPOCHS:
        if minimum <= low and high < maximum:
            timestamps = (
                pa.array(counts * microseconds, mask=~is_integer).cast(pa.timestamp("us")).cast(TIMESTAMP)
            )
            return ParsedTimestamps(
                timestamps, no_rows, no_rows, no_rows, True, {f"{unit} since 1970": str(low)}
            )
    if max(abs(low), abs(high)) > _MAX_COUNT:
        return ParsedTimestamps(pa.nulls(len(column), TIMESTAMP), is_integer, no_rows, no_rows, False, {})
    timestamps = pa.array(counts * 1_000_000, mask=~is_integer).cast(pa.timestamp("us")).cast(TIMESTAMP)
    return ParsedTimestamps(
        timestamps, _valid_mask(column) & ~is_integer, no_rows, no_rows, False, {}, counted=True
    )


def _from_strings(strings: pa.Array, order: DateOrder | None) -> ParsedTimestamps:
    coded = pc.utf8_trim_whitespace(strings).dictionary_encode()
    distinct = coded.dictionary
    is_count = pc.match_substring_regex(distinct, r"^[+-]?\d{1,19}$")
    is_date = pc.match_substring_regex(distinct, r"^(\d{4}|\d{8})$")
    if len(distinct) and pc.all(is_count).as_py() and not pc.all(is_date).as_py():
        return _from_numbers(strings.cast(pa.int64()))
    if _are_changing_midnights(distinct):
        return _parse_midnight_dates(coded)
    iso = _parse_iso(distinct)
    if iso is not None:
        return _expand_to_rows(coded, iso, {})
    dates = parse_dates(distinct.to_pylist(), order)
    forms: dict[str, str] = {}
    for text, date in zip(distinct.to_pylist(), dates, strict=True):
        if date.timestamp is not None and date.form != ISO:
            forms.setdefault(date.form, text)
    unclear = pa.array([date.unclear for date in dates], pa.bool_())
    timestamps = pa.array([date.timestamp for date in dates], TIMESTAMP)
    parsed = _DistinctTimes(
        timestamps=timestamps,
        invalid=pc.and_(pc.is_null(timestamps), pc.invert(unclear)),
        unclear=unclear,
        clock=pa.array([date.clock for date in dates], pa.bool_()),
        zone=pa.array([date.zone for date in dates], pa.bool_()),
    )
    return _expand_to_rows(coded, parsed, forms)


class _DistinctTimes(NamedTuple):
    """The parsed texts of a column, each text once; all arrays have the shape [distinct]."""

    timestamps: pa.Array  # timestamp[us, UTC]
    invalid: pa.Array  # bool, as the following ones
    unclear: pa.Array
    clock: pa.Array  # has a time of day
    zone: pa.Array  # has a zone


def _expand_to_rows(coded: pa.Array, parsed: _DistinctTimes, forms: dict[str, str]) -> ParsedTimestamps:
    """Repeat the values of distinct texts for the rows that hold them."""

    def expand(flags: pa.Array) -> Mask:
        mask: Mask = flags.take(coded.indices).fill_null(False).to_numpy(zero_copy_only=False)
        return mask

    without_zone = pc.and_(pc.is_valid(parsed.timestamps), pc.invert(parsed.zone))
    epoch_us = pc.fill_null(parsed.timestamps.cast(pa.int64()), 0).to_numpy()
    # A column of midnights holds dates, which need no zone.
    dates_only = not (epoch_us % _DAY)[without_zone.to_numpy(zero_copy_only=False)].any()
    naive = pc.and_(without_zone, parsed.clock)
    return ParsedTimestamps(
        values=parsed.timestamps.take(coded.indices),
        invalid=expand(parsed.invalid),
        unclear=expand(parsed.unclear),
        naive=np.zeros(len(coded), dtype=bool) if dates_only else expand(naive),
        zoned=bool(pc.any(parsed.zone).as_py()),
        forms=forms,
    )


def _parse_iso(distinct: pa.Array) -> _DistinctTimes | None:
    """Return the times where every text is plain ISO 8601; None to parse them one by one."""
    pattern = r"^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?(?:Z|[+-]\d{2}:?\d{2})?)?$"
    if not pc.all(pc.match_substring_regex(distinct, pattern)).as_py():
        return None
    clock = pc.greater(pc.binary_length(distinct), 10)
    zone = pc.match_substring_regex(distinct, r"[T ].*(?:Z|[+-]\d{2}:?\d{2})$")
    null = pa.scalar(None, pa.string())
    try:
        zoned = pc.if_else(zone, distinct, null).cast(TIMESTAMP)
        naive = pc.if_else(zone, null, distinct).cast(pa.timestamp("us")).cast(TIMESTAMP)
    except pa.ArrowInvalid:  # such as 30 February: one by one
        return None
    timestamps = pc.coalesce(zoned, naive)
    return _DistinctTimes(
        timestamps=timestamps,
        invalid=pc.is_null(timestamps),
        unclear=pa.repeat(pa.scalar(False), len(distinct)),
        clock=clock,
        zone=zone,
    )


def _are_changing_midnights(distinct: pa.Array) -> bool:
    """Return True if every text is a midnight with an offset, and the offsets change, as with summer time."""
    pattern = r"^\d{4}-\d{2}-\d{2}[T ]00:00(?::00(?:\.0+)?)?[+-]\d{2}:?\d{2}$"
    if len(distinct) < 2 or not pc.all(pc.match_substring_regex(distinct, pattern)).as_py():
        return False
    return len(pc.unique(pc.utf8_slice_codeunits(distinct, -5))) > 1


def _parse_midnight_dates(coded: pa.Array) -> ParsedTimestamps:
    days = pa.DictionaryArray.from_arrays(coded.indices, pc.utf8_slice_codeunits(coded.dictionary, 0, 10))
    parsed = _from_strings(days.cast(pa.string()), None)
    return parsed._replace(forms={"local midnights as dates": str(coded.dictionary[0])})


def _valid_mask(column: pa.Array) -> Mask:
    mask: Mask = pc.is_valid(column).to_numpy(zero_copy_only=False)
    return mask
