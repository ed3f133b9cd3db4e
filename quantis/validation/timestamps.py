"""Columns of times as moments in UTC: ISO 8601, the usual other forms, counts; and local times by zone.

What a text leaves open (day or month first, an hour that a clock shows twice) is told, not guessed.
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

_EPOCHS = ((10**9, 4 * 10**9, 1_000_000, "seconds"), (10**12, 4 * 10**12, 1000, "milliseconds"),
           (10**15, 4 * 10**15, 1, "microseconds"))  # fmt: skip
_MOST_COUNTED = 10**9 - 1


class ParsedTimestamps(NamedTuple):
    """A column of times; each mask has one place per row."""

    values: pa.Array  # timestamp[us, UTC], null where absent, bad or unclear; local where `naive`
    bad: Mask  # not a time though not empty
    unclear: Mask  # day and month cannot be told apart
    naive: Mask  # a clock time without its zone
    zoned: bool  # some time carries a zone
    forms: dict[str, str]  # how it was taken, other than as ISO 8601, with an example
    counted: bool = False  # plain counts, kept as seconds from 1970


def parse_timestamps(column: pa.Array, order: DateOrder | None = None) -> ParsedTimestamps:
    """Timestamps, dates, texts or counts as moments; those without zone as if UTC, and `naive`."""
    kind, no_rows = column.type, np.zeros(len(column), dtype=bool)
    if pa.types.is_timestamp(kind):
        return _of_timestamps(column)
    if pa.types.is_date(kind):
        days = column.cast(pa.timestamp("us"), safe=False).cast(TIMESTAMP)
        return ParsedTimestamps(days, no_rows, no_rows, no_rows, False, {})
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _of_numbers(column)
    if pa.types.is_string(kind) or pa.types.is_null(kind):
        return _of_texts(to_strings(column), order)
    return ParsedTimestamps(pa.nulls(len(column), TIMESTAMP), _valid(column), no_rows, no_rows, False, {})


def _of_timestamps(column: pa.Array) -> ParsedTimestamps:
    kind, no_rows = column.type, np.zeros(len(column), dtype=bool)
    zoned = kind.tz is not None
    column_utc = column.cast(pa.timestamp(kind.unit, tz="UTC")) if zoned else column
    utc = column_utc.cast(pa.timestamp("us", tz="UTC" if zoned else None), safe=False).cast(TIMESTAMP)
    forms: dict[str, str] = {}
    if zoned and kind.tz != "UTC":
        utc, forms = _midnights(utc, pc.local_timestamp(column).cast(pa.timestamp("us"), safe=False))
    naive = no_rows if zoned else _clocked(utc)
    return ParsedTimestamps(utc, no_rows, no_rows, naive, zoned, forms)


def _midnights(utc: pa.Array, wall: pa.Array) -> tuple[pa.Array, dict[str, str]]:
    """Days that a zone's clock begins at changing offsets are dates, whatever moment each begins at."""
    wall_us, offset_us = wall.cast(pa.int64()), pc.subtract(wall.cast(pa.int64()), utc.cast(pa.int64()))
    at_midnight = pc.all(pc.equal(pc.subtract(wall_us, pc.multiply(pc.divide(wall_us, _DAY), _DAY)), 0)).as_py()
    if not at_midnight or len(pc.unique(offset_us.drop_null())) < 2:
        return utc, {}
    return wall.cast(TIMESTAMP), {"local midnights as dates": str(wall.drop_null()[0])}


def _clocked(utc: pa.Array) -> Mask:
    """All places, or none when every time is a midnight: then the column holds dates."""
    epoch_us = utc.cast(pa.int64()).fill_null(0).to_numpy()
    return _valid(utc) if (epoch_us % _DAY).any() else np.zeros(len(utc), dtype=bool)


def _of_numbers(column: pa.Array) -> ParsedTimestamps:
    no_rows = np.zeros(len(column), dtype=bool)
    values = column.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy(zero_copy_only=False)
    is_finite = np.isfinite(values)
    is_integer = is_finite & (values == np.floor(values)) & (np.abs(values) < 2**62)
    if not is_finite.any() or not is_integer[is_finite].all():
        return ParsedTimestamps(
            pa.nulls(len(column), TIMESTAMP), _valid(column) & ~is_integer, no_rows, no_rows, False, {}
        )
    counts = np.where(is_integer, values, 0).astype(np.int64)
    low, high = int(counts[is_integer].min()), int(counts[is_integer].max())
    if (low >= 19000101 and high <= 22611231) or (low >= 1700 and high < 2262):
        digits = pa.array([str(value) for value in counts.tolist()], mask=~is_integer)
        parsed = _of_texts(digits, None)
        if not parsed.bad.any():
            return parsed
    for minimum, maximum, microseconds, unit in _EPOCHS:
        if minimum <= low and high < maximum:
            timestamps = pa.array(counts * microseconds, mask=~is_integer).cast(pa.timestamp("us")).cast(TIMESTAMP)
            return ParsedTimestamps(
                timestamps, no_rows, no_rows, no_rows, True, {f"{unit} since 1970": str(low)}
            )
    if max(abs(low), abs(high)) > _MOST_COUNTED:
        return ParsedTimestamps(pa.nulls(len(column), TIMESTAMP), is_integer, no_rows, no_rows, False, {})
    timestamps = pa.array(counts * 1_000_000, mask=~is_integer).cast(pa.timestamp("us")).cast(TIMESTAMP)
    return ParsedTimestamps(timestamps, _valid(column) & ~is_integer, no_rows, no_rows, False, {}, counted=True)


def _of_texts(strings: pa.Array, order: DateOrder | None) -> ParsedTimestamps:
    coded = pc.utf8_trim_whitespace(strings).dictionary_encode()
    distinct = coded.dictionary
    is_count = pc.match_substring_regex(distinct, r"^[+-]?\d{1,19}$")
    is_date = pc.match_substring_regex(distinct, r"^(\d{4}|\d{8})$")
    if len(distinct) and pc.all(is_count).as_py() and not pc.all(is_date).as_py():
        return _of_numbers(strings.cast(pa.int64()))
    if _changing_midnights(distinct):
        return _dates_at_midnight(coded)
    iso = _iso(distinct)
    if iso is not None:
        timestamps, clock, zone = iso
        return _spread(coded, timestamps, pc.is_null(timestamps), None, clock, zone, {})
    parsed = parse_dates(distinct.to_pylist(), order)
    forms: dict[str, str] = {}
    for text, date in zip(distinct.to_pylist(), parsed, strict=True):
        if date.moment is not None and date.how != ISO:
            forms.setdefault(date.how, text)
    unclear = pa.array([date.unclear for date in parsed], pa.bool_())
    timestamps = pa.array([date.moment for date in parsed], TIMESTAMP)
    clock = pa.array([date.clock for date in parsed], pa.bool_())
    zone = pa.array([date.zone for date in parsed], pa.bool_())
    invalid = pc.and_(pc.is_null(timestamps), pc.invert(unclear))
    return _spread(coded, timestamps, invalid, unclear, clock, zone, forms)


def _spread(
    coded: pa.Array, moments: pa.Array, bad: pa.Array, unclear: pa.Array | None, clock: pa.Array, zone: pa.Array,
    forms: dict[str, str],
) -> ParsedTimestamps:  # fmt: skip
    """What is known of distinct texts, over the rows."""

    def over(flags: pa.Array) -> Mask:
        mask: Mask = flags.take(coded.indices).fill_null(False).to_numpy(zero_copy_only=False)
        return mask

    plain = pc.and_(pc.is_valid(moments), pc.invert(zone))
    ticks = pc.fill_null(moments.cast(pa.int64()), 0).to_numpy()
    dates_only = not (ticks % _DAY)[plain.to_numpy(zero_copy_only=False)].any()
    nothing = np.zeros(len(coded), dtype=bool)
    return ParsedTimestamps(
        values=moments.take(coded.indices),
        bad=over(bad),
        unclear=nothing if unclear is None else over(unclear),
        naive=nothing if dates_only else over(pc.and_(plain, clock)),
        zoned=bool(pc.any(zone).as_py()),
        forms=forms,
    )


def _iso(distinct: pa.Array) -> tuple[pa.Array, pa.Array, pa.Array] | None:
    """(moments, has a clock, has a zone) where every text is plain ISO 8601; None to go one by one."""
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
    return pc.coalesce(zoned, naive), clock, zone


def _changing_midnights(distinct: pa.Array) -> bool:
    """Whether every text is a midnight with an offset, and the offsets change, as summer time does."""
    pattern = r"^\d{4}-\d{2}-\d{2}[T ]00:00(?::00(?:\.0+)?)?[+-]\d{2}:?\d{2}$"
    if len(distinct) < 2 or not pc.all(pc.match_substring_regex(distinct, pattern)).as_py():
        return False
    return len(pc.unique(pc.utf8_slice_codeunits(distinct, -5))) > 1


def _dates_at_midnight(coded: pa.Array) -> ParsedTimestamps:
    days = pa.DictionaryArray.from_arrays(coded.indices, pc.utf8_slice_codeunits(coded.dictionary, 0, 10))
    parsed = _of_texts(days.cast(pa.string()), None)
    return parsed._replace(forms={"local midnights as dates": str(coded.dictionary[0])})


def _valid(column: pa.Array) -> Mask:
    mask: Mask = pc.is_valid(column).to_numpy(zero_copy_only=False)
    return mask
