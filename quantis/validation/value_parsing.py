"""Columns as read turned into what a panel holds: ids, quantities, categories (times: `quantis.validation.timestamps`).

Each function says which rows it could not turn; none raises over a value.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantis.types.arrays import Mask


class ParsedNumbers(NamedTuple):
    values: pa.Array  # float64, null where absent or bad
    bad: Mask


def to_strings(column: pa.Array) -> pa.Array:
    """Any plain column as strings, the empty one null."""
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), pa.string())
    strings = column.cast(pa.string())
    return pc.if_else(pc.equal(strings, ""), pa.scalar(None, pa.string()), strings)


def parse_numbers(column: pa.Array) -> ParsedNumbers:
    """A column as float64, NaN null; texts are read as numbers where they are."""
    kind, no_rows = column.type, np.zeros(len(column), dtype=bool)
    if pa.types.is_null(kind):
        return ParsedNumbers(pa.nulls(len(column), pa.float64()), no_rows)
    if pa.types.is_temporal(kind):
        invalid = pc.is_valid(column).to_numpy(zero_copy_only=False)
        return ParsedNumbers(pa.nulls(len(column), pa.float64()), invalid)
    if pa.types.is_string(kind):
        return _numbers_of(to_strings(column))
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    return ParsedNumbers(_without_nan(column.cast(pa.float64(), safe=False)), no_rows)


def _numbers_of(strings: pa.Array) -> ParsedNumbers:
    coded = pc.utf8_trim_whitespace(strings).dictionary_encode()
    is_plain = pc.match_substring_regex(coded.dictionary, r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$")
    is_missing = pc.is_in(pc.utf8_lower(coded.dictionary), pa.array(["nan", "na", "n/a", "null", "none", ""]))
    is_infinite = pc.match_substring_regex(pc.utf8_lower(coded.dictionary), r"^[+-]?inf(?:inity)?$")
    readable = pc.if_else(pc.or_(is_plain, is_infinite), coded.dictionary, pa.scalar(None, pa.string()))
    values = pc.replace_substring_regex(readable, r"^\+", "").cast(pa.float64()).take(coded.indices)
    invalid = pc.invert(pc.or_(pc.or_(is_plain, is_infinite), is_missing)).take(coded.indices)
    return ParsedNumbers(_without_nan(values), invalid.fill_null(False).to_numpy(zero_copy_only=False))


def _without_nan(values: pa.Array) -> pa.Array:
    return pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
