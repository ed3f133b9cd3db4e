"""Ids of series: parsed from any plain column, with a finding for each that breaks a rule."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantis.panel import ID
from quantis.reading.exact_numbers import find_rounded_ids
from quantis.types.arrays import Mask
from quantis.types.base import MAX_SERIES_ID
from quantis.types.findings import Severity
from quantis.validation.findings import RULES, Findings
from quantis.validation.value_parsing import quote_cell, to_strings


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
