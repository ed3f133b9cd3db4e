"""Parse ids, quantities and categories of a panel (times: `quantis.validation.timestamps`).

Each function marks the rows that it could not parse; none raises over a value.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantis.types.arrays import Mask


class ParsedNumbers(NamedTuple):
    values: pa.Array  # float64, null where absent or bad
    invalid: Mask


def to_strings(column: pa.Array) -> pa.Array:
    """Return any plain column as strings, empty ones null."""
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), pa.string())
    strings = column.cast(pa.string())
    return pc.if_else(pc.equal(strings, ""), pa.scalar(None, pa.string()), strings)


def parse_numbers(column: pa.Array) -> ParsedNumbers:
    """Return a column as float64, NaN null; texts are parsed as numbers."""
    kind, no_rows = column.type, np.zeros(len(column), dtype=bool)
    if pa.types.is_null(kind):
        return ParsedNumbers(pa.nulls(len(column), pa.float64()), no_rows)
    if pa.types.is_temporal(kind):
        invalid = pc.is_valid(column).to_numpy(zero_copy_only=False)
        return ParsedNumbers(pa.nulls(len(column), pa.float64()), invalid)
    if pa.types.is_string(kind):
        return _parse_number_strings(to_strings(column))
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    return ParsedNumbers(_nan_to_null(column.cast(pa.float64(), safe=False)), no_rows)


def _parse_number_strings(strings: pa.Array) -> ParsedNumbers:
    coded = pc.utf8_trim_whitespace(strings).dictionary_encode()
    is_plain = pc.match_substring_regex(coded.dictionary, r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$")
    is_missing = pc.is_in(pc.utf8_lower(coded.dictionary), pa.array(["nan", "na", "n/a", "null", "none", ""]))
    is_infinite = pc.match_substring_regex(pc.utf8_lower(coded.dictionary), r"^[+-]?inf(?:inity)?$")
    readable = pc.if_else(pc.or_(is_plain, is_infinite), coded.dictionary, pa.scalar(None, pa.string()))
    values = pc.replace_substring_regex(readable, r"^\+", "").cast(pa.float64()).take(coded.indices)
    invalid = pc.invert(pc.or_(pc.or_(is_plain, is_infinite), is_missing)).take(coded.indices)
    return ParsedNumbers(_nan_to_null(values), invalid.fill_null(False).to_numpy(zero_copy_only=False))


def _nan_to_null(values: pa.Array) -> pa.Array:
    return pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
