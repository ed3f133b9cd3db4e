"""Usual names of the key columns, as other tools write them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from quantis.types.reading import ReadOptions

ID, DS, Y, KNOWN_AT = "unique_id", "ds", "y", "known_at"

ALIASES: dict[str, tuple[str, ...]] = {
    ID: ("id", "item_id", "series_id", "series", "ts_id", "item", "uid", "series_name", "key"),
    DS: ("date", "datetime", "timestamp", "time", "day", "month", "week", "period", "date_time", "ts"),
    Y: ("target", "value", "values", "y_true", "actual", "actuals", "observation", "sales", "demand"),
}
"""Names that stand for a column of the contract when it is absent itself."""


_DATE = re.compile(r"\d{4}[-/.]?\d{2}([-/.]?\d{2})?([T ].*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}([T ].*)?")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_MAX_DATES = 2  # in a line of values: the time and known_at
_MAX_EXAMPLES = 5  # of values in a message


def is_date(name: str) -> bool:
    """Return True for a name that reads as a date."""
    return _DATE.fullmatch(name.strip()) is not None


def describe_values_as_header(names: Sequence[str]) -> str | None:
    """Return what shows the first line to hold values instead of names; None where it may be a header.

    A header names a column of the contract in some usual way, or holds no date beside a number.
    """
    usual = {alias for key, aliases in ALIASES.items() for alias in (key, *aliases)}
    dates = [name for name in names if is_date(name)]
    numbers = [name for name in names if _NUMBER.fullmatch(name.strip())]
    if usual & {normalize_name(name) for name in names} or not 1 <= len(dates) <= _MAX_DATES or not numbers:
        return None
    examples = ", ".join(repr(name) for name in names[:_MAX_EXAMPLES])
    return f"its first line holds values instead of names ({examples}{' ...' if len(names) > _MAX_EXAMPLES else ''})"


def normalize_name(column: str) -> str:
    """Return a name without case, spaces and dashes, for comparing."""
    return column.strip().lower().replace(" ", "_").replace("-", "_")


def is_key(column: str, names: Sequence[str], options: ReadOptions) -> bool:
    """Return True for a column that is, or will be mapped to, an id or a time; its cells stay as they are."""
    if options.columns.get(column, column) in (ID, DS, KNOWN_AT):
        return True
    present = {options.columns.get(name, name) for name in names}
    name = normalize_name(column)
    return any(name in (key, *ALIASES[key]) for key in (ID, DS) if key not in present)
