"""Map the columns of a file to the panel's: by a mapping, or by usual names; and detect the wide format."""

from __future__ import annotations

import re

import pyarrow as pa

from quantis.panel import DS, ID, KNOWN_AT, Y
from quantis.reading.column_aliases import ALIASES, normalize_name
from quantis.types.datasets import RESERVED_COLUMNS, Roles
from quantis.types.reading import ReadOptions
from quantis.validation.findings import Findings

_STORE_COLUMNS = RESERVED_COLUMNS - {ID, DS, Y, KNOWN_AT} | {"given"}
_DATE = re.compile(r"\d{4}[-/.]?\d{2}([-/.]?\d{2})?([T ].*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}")
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")
_MIN_WIDE_COLUMNS = 3  # columns of numbers beside the time
_MAX_EXAMPLES = 3  # of them in a message


def map_columns(table: pa.Table, roles: Roles, options: ReadOptions) -> tuple[pa.Table, dict[str, str]]:
    """Return the table under the contract's names, and the columns that were mapped by a usual name."""
    mapped_names = [options.columns.get(name, name) for name in table.column_names]
    if len(set(mapped_names)) == len(mapped_names):
        table = table.rename_columns(mapped_names)
    mapped: dict[str, str] = {}
    for key in (ID, DS, Y):
        column = _find_candidate(table, key, roles)
        if column is not None:
            mapped[column] = key
            names = [key if name == column else name for name in table.column_names]
            table = table.rename_columns(names)
    return table, mapped


def _find_candidate(table: pa.Table, key: str, roles: Roles) -> str | None:
    """Return the only column with a usual name of an absent one; the most usual name first."""
    if key in table.column_names:
        return None
    unassigned = [name for name in table.column_names if name not in (ID, DS, Y, KNOWN_AT, *roles.columns)]
    for alias in (key, *ALIASES[key]):
        matching = [name for name in unassigned if normalize_name(name) == alias]
        if matching:
            alternatives = [
                name for name in unassigned if normalize_name(name) in ALIASES[key] and name not in matching
            ]
            return matching[0] if len(matching) == 1 and not (key == Y and alternatives) else None
    return None


def check_names(table: pa.Table, mapped: dict[str, str], roles: Roles, findings: Findings) -> None:
    """Check that the columns of the contract and of the roles are there; the others are left out."""
    for name, key in mapped.items():
        findings.add("D007", f"column {name!r} is taken as {key}", column=name)
    missing = [column for column in (ID, DS, Y, *roles.columns) if column not in table.column_names]
    for column in missing:
        findings.add(
            "D003", f"column {column!r} is not in the file{_suggest_column(table, column)}", column=column
        )
    wide = _describe_wide_format(table) if {ID, Y} & set(missing) else None
    if wide:
        findings.add("D006", wide)
        return
    for column in table.column_names:
        if column in (ID, DS, Y, KNOWN_AT, *roles.columns):
            continue
        if is_reserved(column):
            findings.add("D009", f"column {column!r} has a name of the store's own", column=column)
        else:
            findings.add("D004", f"column {column!r} has no role", column=column)


def is_reserved(column: str) -> bool:
    """Return True for a name that the panel or its store uses, which no covariate can have."""
    return column in RESERVED_COLUMNS or column in _STORE_COLUMNS or column.startswith("__")


def _suggest_column(table: pa.Table, column: str) -> str:
    usual = [
        name for name in table.column_names if column in ALIASES and normalize_name(name) in ALIASES[column]
    ]
    if usual:
        return f" ({', '.join(usual[:_MAX_EXAMPLES])} might be it: map one)"
    if column == ID and len(table.column_names) == 2:
        return " (of a single series, give it a column with its name in every row)"
    return ""


def _describe_wide_format(table: pa.Table) -> str | None:
    """Return what gives the wide format away (a column per series, or per time), or None."""
    names = table.column_names
    dates = [name for name in names if _DATE.fullmatch(name.strip())]
    if len(dates) >= _MIN_WIDE_COLUMNS:
        return f"the names of {len(dates):,} columns are times ({', '.join(dates[:_MAX_EXAMPLES])} ...)"
    if len(names) >= 2 and any(_NUMBER.fullmatch(name.strip()) for name in names) and dates:
        return "the first line holds values instead of names"
    numeric = [
        field.name
        for field in table.schema
        if pa.types.is_floating(field.type) or pa.types.is_integer(field.type)
    ]
    non_numeric = [name for name in names if name not in numeric]
    if len(numeric) >= _MIN_WIDE_COLUMNS and len(non_numeric) <= 1 and ID not in names and Y not in names:
        examples = ", ".join(numeric[:_MAX_EXAMPLES])
        return f"{len(numeric):,} columns of numbers ({examples} ...) look like one column per series"
    return None
