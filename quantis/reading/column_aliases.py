"""Usual names of the key columns, as other tools write them."""

from __future__ import annotations

from collections.abc import Sequence

from quantis.types.reading import ReadOptions

ID, DS, Y, KNOWN_AT = "unique_id", "ds", "y", "known_at"

ALIASES: dict[str, tuple[str, ...]] = {
    ID: ("id", "item_id", "series_id", "series", "ts_id", "item", "uid", "series_name", "key"),
    DS: ("date", "datetime", "timestamp", "time", "day", "month", "week", "period", "date_time", "ts"),
    Y: ("target", "value", "values", "y_true", "actual", "actuals", "observation", "sales", "demand"),
}
"""Names that stand for a column of the contract when it is absent itself."""


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
