"""Parse ids, quantities and categories of a panel (times: `quantis.validation.timestamps`).

Rows that cannot be parsed are marked, or named in findings; nothing raises over a value.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantis.panel import ID
from quantis.reading import printable
from quantis.reading.exact_numbers import find_rounded_ids
from quantis.types.arrays import Mask
from quantis.types.base import MAX_SERIES_ID, PATH_STEPS
from quantis.types.findings import Severity
from quantis.validation.findings import RULES, Findings


class ParsedNumbers(NamedTuple):
    values: pa.Array  # float64, null where absent or bad; infinite where too large
    invalid: Mask
    too_large: Mask  # beyond the largest 64-bit float


def to_strings(column: pa.Array) -> pa.Array:
    """Return any plain column as strings, empty ones null; of whole numbers the digits, without point or exponent."""
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), pa.string())
    if pa.types.is_floating(column.type):
        return _floats_to_strings(column)
    strings = column.cast(pa.string())
    if pa.types.is_decimal(column.type):
        strings = pc.replace_substring_regex(strings, r"^(-?\d+)\.0+$", r"\1")
    return pc.if_else(pc.equal(strings, ""), pa.scalar(None, pa.string()), strings)


def _floats_to_strings(column: pa.Array) -> pa.Array:
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())
    coded = column.dictionary_encode()
    texts = coded.dictionary.cast(pa.string()).to_pylist()
    for index, value in enumerate(coded.dictionary.cast(pa.float64()).to_pylist()):
        if value != value:
            texts[index] = None
        elif value.is_integer():
            texts[index] = str(int(value))
    return pa.array(texts, pa.string()).take(coded.indices)


def parse_numbers(column: pa.Array) -> ParsedNumbers:
    """Return a column as float64, NaN null; texts are parsed as numbers."""
    kind, no_rows = column.type, np.zeros(len(column), dtype=bool)
    if pa.types.is_null(kind):
        return ParsedNumbers(pa.nulls(len(column), pa.float64()), no_rows, no_rows)
    if pa.types.is_temporal(kind):
        invalid = pc.is_valid(column).to_numpy(zero_copy_only=False)
        return ParsedNumbers(pa.nulls(len(column), pa.float64()), invalid, no_rows)
    if pa.types.is_string(kind):
        return _parse_number_strings(to_strings(column))
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    return ParsedNumbers(_nan_to_null(column.cast(pa.float64(), safe=False)), no_rows, no_rows)


def _parse_number_strings(strings: pa.Array) -> ParsedNumbers:
    coded = pc.utf8_trim_whitespace(strings).dictionary_encode()
    is_plain = pc.match_substring_regex(coded.dictionary, r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$")
    is_missing = pc.is_in(pc.utf8_lower(coded.dictionary), pa.array(["nan", "na", "n/a", "null", "none", ""]))
    is_infinite = pc.match_substring_regex(pc.utf8_lower(coded.dictionary), r"^[+-]?inf(?:inity)?$")
    readable = pc.if_else(pc.or_(is_plain, is_infinite), coded.dictionary, pa.scalar(None, pa.string()))
    values = pc.replace_substring_regex(readable, r"^\+", "").cast(pa.float64()).take(coded.indices)
    invalid = pc.invert(pc.or_(pc.or_(is_plain, is_infinite), is_missing)).take(coded.indices)
    too_large = pc.and_(pc.is_inf(values), is_plain.take(coded.indices))
    return ParsedNumbers(_nan_to_null(values), _to_mask(invalid), _to_mask(too_large))


def _to_mask(flags: pa.Array) -> Mask:
    mask: Mask = flags.fill_null(False).to_numpy(zero_copy_only=False)
    return mask


def _nan_to_null(values: pa.Array) -> pa.Array:
    return pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)


def quote_cell(column: pa.Array, row: int) -> str:
    """Return a cell as a finding names it."""
    value = to_strings(column.slice(row, 1))[0].as_py()
    return "the cell is empty" if value is None else f"{printable(value)!r}"


class _BrokenRule(NamedTuple):
    code: str
    ids: pa.Array  # that break it, each once
    text: str = ""  # of the finding, after the id


def parse_ids(column: pa.Array, findings: Findings) -> pa.Array | None:
    """Return ids as strings, of whole numbers their digits; None where they do not allow a further check."""
    ids = to_strings(column)
    unnamed = np.flatnonzero(ids.is_null().to_numpy(zero_copy_only=False)).tolist()
    findings.add_rows("D010", unnamed, lambda row: "the row has no unique_id", column=ID)
    broken = [rule for rule in _broken_rules(column, ids) if len(rule.ids)]
    for rule in broken:
        _report(rule, ids, findings)
    is_fatal = any(RULES[rule.code].severity is Severity.error for rule in broken)
    return None if unnamed or is_fatal else ids


def _broken_rules(column: pa.Array, ids: pa.Array) -> list[_BrokenRule]:
    distinct = pc.unique(ids).drop_null()
    is_formula = pc.and_(
        pc.match_substring_regex(distinct, r"^[=+@\-\t\r]"),
        pc.invert(pc.match_substring_regex(distinct, r"^[+-]?[\d .,:/-]+$")),
    )
    rounded = find_rounded_ids(column)
    kind = f"a {column.type.bit_width}-bit float" if pa.types.is_floating(column.type) else "a number"
    return [
        _BrokenRule("D011", distinct.filter(pc.greater(pc.utf8_length(distinct), MAX_SERIES_ID))),
        _BrokenRule("D012", distinct.filter(is_formula)),
        _BrokenRule("D013", distinct.filter(pc.match_substring_regex(distinct, r"[\x00-\x1f\x7f]"))),
        _BrokenRule("D014", distinct.filter(pc.match_substring_regex(distinct, r"^\s|\s$"))),
        _BrokenRule("D016", distinct.filter(pc.is_in(distinct, pa.array(PATH_STEPS)))),
        _BrokenRule("D017", _filter(ids, rounded.lost), f" was rounded to {kind}: its last digits are lost"),
        _BrokenRule(
            "D018", _filter(ids, rounded.large), f" is {kind}, which stands for several integers of this size"
        ),
    ]


def _filter(ids: pa.Array, mask: Mask) -> pa.Array:
    return pc.unique(ids.filter(pa.array(mask)))


def _report(rule: _BrokenRule, ids: pa.Array, findings: Findings) -> None:
    """Add a finding per id, at its first row."""
    findings.add_rows(
        rule.code,
        sorted(pc.index_in(rule.ids, ids).to_pylist()),
        lambda row: quote_cell(ids, row) + rule.text,
        column=ID,
        series=lambda row: ids[row].as_py()[:MAX_SERIES_ID],
    )
