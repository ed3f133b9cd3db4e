"""Columns as read turned into what a panel holds: ids, times, quantities, categories.

Each function says which rows it could not turn; none raises over a value.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from quantis.panel import TIMESTAMP

Mask = npt.NDArray[np.bool_]

_DATE = r"\d{4}-\d{2}-\d{2}"
_CLOCK = r"[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?"
_ZONE = r"(?:Z|[+-]\d{2}:?\d{2})"
_ISO = f"^{_DATE}(?:{_CLOCK}{_ZONE}?)?$"
_ZONED = f"^{_DATE}{_CLOCK}{_ZONE}$"


class Times(NamedTuple):
    values: pa.Array  # timestamp[us, UTC], null where absent or bad
    bad: Mask  # not a time though not empty
    naive: bool  # some moment came without its zone


class Numbers(NamedTuple):
    values: pa.Array  # float64, null where absent or bad
    bad: Mask


def texts(column: pa.Array) -> pa.Array:
    """Any plain column as strings, the empty one null."""
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), pa.string())
    strings = column.cast(pa.string())
    return pc.if_else(pc.equal(strings, ""), pa.scalar(None, pa.string()), strings)


def times(column: pa.Array) -> Times:
    """Timestamps, dates or ISO 8601 texts as UTC moments; a time without zone is taken as UTC."""
    kind, nothing = column.type, np.zeros(len(column), dtype=bool)
    if pa.types.is_timestamp(kind):
        return Times(_in_microseconds(column), nothing, kind.tz is None)
    if pa.types.is_date(kind):
        return Times(column.cast(pa.timestamp("us"), safe=False).cast(TIMESTAMP), nothing, False)
    if not (pa.types.is_string(kind) or pa.types.is_null(kind)):
        return Times(
            pa.nulls(len(column), TIMESTAMP), pc.is_valid(column).to_numpy(zero_copy_only=False), False
        )
    coded = texts(column).dictionary_encode()
    distinct = coded.dictionary
    moments, naive = _parsed(distinct)
    values = moments.take(coded.indices)
    bad = pc.and_(pc.is_valid(coded.indices), pc.is_null(values))
    return Times(values, bad.to_numpy(zero_copy_only=False), naive)


def numbers(column: pa.Array) -> Numbers:
    """A column as float64, NaN null; texts are read as numbers where they are."""
    kind, nothing = column.type, np.zeros(len(column), dtype=bool)
    if pa.types.is_null(kind):
        return Numbers(pa.nulls(len(column), pa.float64()), nothing)
    if pa.types.is_temporal(kind):
        bad = pc.is_valid(column).to_numpy(zero_copy_only=False)
        return Numbers(pa.nulls(len(column), pa.float64()), bad)
    if pa.types.is_string(kind):
        return _numbers_of(texts(column))
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    return Numbers(_without_nan(column.cast(pa.float64(), safe=False)), nothing)


def _numbers_of(strings: pa.Array) -> Numbers:
    coded = pc.utf8_trim_whitespace(strings).dictionary_encode()
    plain = pc.match_substring_regex(coded.dictionary, r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$")
    special = pc.is_in(pc.utf8_lower(coded.dictionary), pa.array(["nan", "na", "n/a", "null", "none", ""]))
    infinite = pc.match_substring_regex(pc.utf8_lower(coded.dictionary), r"^[+-]?inf(?:inity)?$")
    readable = pc.if_else(pc.or_(plain, infinite), coded.dictionary, pa.scalar(None, pa.string()))
    values = pc.replace_substring_regex(readable, r"^\+", "").cast(pa.float64()).take(coded.indices)
    wrong = pc.invert(pc.or_(pc.or_(plain, infinite), special)).take(coded.indices)
    return Numbers(_without_nan(values), wrong.fill_null(False).to_numpy(zero_copy_only=False))


def _without_nan(values: pa.Array) -> pa.Array:
    return pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)


def _in_microseconds(column: pa.Array) -> pa.Array:
    zoned = column.type.tz is not None
    plain = column.cast(pa.timestamp(column.type.unit, tz="UTC")) if zoned else column
    return plain.cast(pa.timestamp("us", tz="UTC" if zoned else None), safe=False).cast(TIMESTAMP)


def _parsed(distinct: pa.Array) -> tuple[pa.Array, bool]:
    """Distinct texts as moments, null where they are not; and whether one had a clock but no zone."""
    iso = pc.match_substring_regex(distinct, _ISO)
    zoned = pc.match_substring_regex(distinct, _ZONED)
    clocked = pc.greater(pc.binary_length(distinct), 10)
    naive = bool(pc.any(pc.and_(iso, pc.and_(clocked, pc.invert(zoned)))).as_py())
    nothing = pa.scalar(None, pa.string())
    try:
        with_zone = pc.if_else(zoned, distinct, nothing).cast(TIMESTAMP)
        bare = (
            pc.if_else(pc.and_(iso, pc.invert(zoned)), distinct, nothing)
            .cast(pa.timestamp("us"))
            .cast(TIMESTAMP)
        )
        return pc.coalesce(with_zone, bare), naive
    except pa.ArrowInvalid:  # such as 30 February, or nanoseconds: one by one
        pairs = zip(distinct.to_pylist(), iso.to_pylist(), strict=True)
        return pa.array([_moment(text) if fits else None for text, fits in pairs], TIMESTAMP), naive


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
