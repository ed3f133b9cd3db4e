"""Parse columns of times to UTC timestamps: ISO 8601, the usual other forms, counts.

An open question (day or month first, an hour that a clock shows twice) is reported, not guessed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantis.panel import TIMESTAMP
from quantis.types.arrays import Integers, Mask
from quantis.types.reading import DateOrder
from quantis.validation.date_formats import ISO, parse_dates
from quantis.validation.integer_times import read_integers
from quantis.validation.value_parsing import to_strings

_DAY = 86_400_000_000  # microseconds


class ParsedTimestamps(NamedTuple):
    """A column of times; masks have the shape [rows]."""

    values: pa.Array  # timestamp[us, UTC], null where absent, bad or unclear; local where `naive`
    invalid: Mask  # not a time though not empty
    unclear: Mask  # day and month cannot be told apart
    naive: Mask  # a clock time without its zone
    zoned: bool  # some time carries a zone
    forms: dict[str, str]  # forms other than ISO 8601 that were read, with an example
    counted: bool = False  # plain counts, kept as seconds from 1970
    wall: pa.Array | None = (
        None  # timestamp[us], as the clock showed it where the time was written; None as `values`
    )
    question: str | None = None  # what integers might be that are not read


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
    wall = pc.local_timestamp(column).cast(pa.timestamp("us"), safe=False) if zoned else None
    naive = no_rows if zoned else _rows_with_clock(utc)
    return ParsedTimestamps(utc, no_rows, no_rows, naive, zoned, {}, wall=wall)


def _rows_with_clock(utc: pa.Array) -> Mask:
    """Return all rows with a time, or none when every time is a midnight: then the column holds dates."""
    epoch_us = utc.cast(pa.int64()).fill_null(0).to_numpy()
    return _valid_mask(utc) if (epoch_us % _DAY).any() else np.zeros(len(utc), dtype=bool)


def _from_numbers(column: pa.Array) -> ParsedTimestamps:
    no_rows = np.zeros(len(column), dtype=bool)
    integers, is_integer = _to_integers(column)
    present = _valid_mask(column) & ~_nan_mask(column)
    if not is_integer.any() or not is_integer[present].all():
        invalid = _valid_mask(column) & ~is_integer
        return ParsedTimestamps(pa.nulls(len(column), TIMESTAMP), invalid, no_rows, no_rows, False, {})
    read = read_integers(integers[is_integer])
    epoch_us, invalid = np.zeros(len(column), np.int64), no_rows.copy()
    epoch_us[is_integer], invalid[is_integer] = read.epoch_us, read.invalid
    timestamps = pa.array(epoch_us, mask=~is_integer | invalid).cast(pa.timestamp("us")).cast(TIMESTAMP)
    forms = {read.form: str(int(integers[is_integer].min()))} if read.form else {}
    if read.counted:
        invalid = _valid_mask(column) & ~is_integer
    naive = is_integer & ~invalid & read.clock
    zoned = read.form is not None and read.form.endswith("since 1970")
    return ParsedTimestamps(
        timestamps, invalid, no_rows, naive, zoned, forms, counted=read.counted, question=read.question
    )


def _to_integers(column: pa.Array) -> tuple[Integers, Mask]:
    """Return the integers of a column of numbers, exact beyond 2^53, and the rows that hold one."""
    if pa.types.is_integer(column.type):
        if pa.types.is_uint64(column.type):  # beyond an int64 there is no time
            inside = pc.less(column, pa.scalar(2**63 - 1, pa.uint64())).fill_null(False)
            column = pc.if_else(inside, column, pa.scalar(None, pa.uint64()))
        return column.cast(pa.int64()).fill_null(0).to_numpy(), _valid_mask(column)
    values = column.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy(zero_copy_only=False)
    is_integer = np.isfinite(values) & (values == np.floor(values)) & (np.abs(values) < 2**62)
    return np.where(is_integer, values, 0).astype(np.int64), is_integer


def _nan_mask(column: pa.Array) -> Mask:
    if not pa.types.is_floating(column.type):
        return np.zeros(len(column), dtype=bool)
    mask: Mask = np.isnan(column.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False))
    return mask


def _from_strings(strings: pa.Array, order: DateOrder | None) -> ParsedTimestamps:
    coded = pc.utf8_trim_whitespace(strings).dictionary_encode()
    distinct = coded.dictionary
    is_count = pc.match_substring_regex(distinct, r"^[+-]?\d{1,19}$")
    if len(distinct) and pc.all(is_count).as_py():
        try:
            return _from_numbers(strings.cast(pa.int64()))
        except pa.ArrowInvalid:  # beyond an int64
            no_rows = np.zeros(len(strings), dtype=bool)
            return ParsedTimestamps(
                pa.nulls(len(strings), TIMESTAMP), _valid_mask(strings), no_rows, no_rows, False, {}
            )
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
        wall=pa.array([date.wall for date in dates], pa.timestamp("us")),
    )
    return _expand_to_rows(coded, parsed, forms)


class _DistinctTimes(NamedTuple):
    """The parsed texts of a column, each text once; all arrays have the shape [distinct]."""

    timestamps: pa.Array  # timestamp[us, UTC]
    invalid: pa.Array  # bool, as the following ones
    unclear: pa.Array
    clock: pa.Array  # has a time of day
    zone: pa.Array  # has a zone
    wall: pa.Array  # timestamp[us], as written


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
        wall=parsed.wall.take(coded.indices),
    )


def _parse_iso(distinct: pa.Array) -> _DistinctTimes | None:
    """Return the times where every text is plain ISO 8601; None to parse them one by one."""
    pattern = r"^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?(?:Z|[+-]\d{2}:?\d{2})?)?$"
    if not pc.all(pc.match_substring_regex(distinct, pattern)).as_py():
        return None
    clock = pc.greater(pc.binary_length(distinct), 10)
    zone = pc.match_substring_regex(distinct, r"[T ].*(?:Z|[+-]\d{2}:?\d{2})$")
    local = pc.replace_substring_regex(distinct, r"([T ].*?)(?:Z|[+-]\d{2}:?\d{2})$", r"\1")
    null = pa.scalar(None, pa.string())
    try:
        zoned = pc.if_else(zone, distinct, null).cast(TIMESTAMP)
        naive = pc.if_else(zone, null, distinct).cast(pa.timestamp("us")).cast(TIMESTAMP)
        wall = local.cast(pa.timestamp("us"))
    except pa.ArrowInvalid:  # such as 30 February: one by one
        return None
    timestamps = pc.coalesce(zoned, naive)
    return _DistinctTimes(
        timestamps=timestamps,
        invalid=pc.is_null(timestamps),
        unclear=pa.repeat(pa.scalar(False), len(distinct)),
        clock=clock,
        zone=zone,
        wall=wall,
    )


def _valid_mask(column: pa.Array) -> Mask:
    mask: Mask = pc.is_valid(column).to_numpy(zero_copy_only=False)
    return mask
