"""Which column is which: a given mapping, usual names, and files that hold one column per series."""

from __future__ import annotations

import re

import pyarrow as pa

from quantis.panel import DS, ID, KNOWN_AT, Y
from quantis.reading.column_aliases import USUAL, folded
from quantis.types.datasets import RESERVED_COLUMNS, Roles
from quantis.types.reading import ReadOptions
from quantis.validation.findings import Findings

_OURS = RESERVED_COLUMNS - {ID, DS, Y, KNOWN_AT} | {"given"}
_DATE = re.compile(r"\d{4}[-/.]?\d{2}([-/.]?\d{2})?([T ].*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}")
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")
_WIDE_FROM = 3  # columns of numbers beside the time
_NAMED = 3  # of them in a message


def map_columns(table: pa.Table, roles: Roles, options: ReadOptions) -> tuple[pa.Table, dict[str, str]]:
    """The table under the contract's names, and which column was taken for which without being told."""
    given = [options.columns.get(name, name) for name in table.column_names]
    if len(set(given)) == len(given):
        table = table.rename_columns(given)
    mapped: dict[str, str] = {}
    for key in (ID, DS, Y):
        column = _candidate(table, key, roles)
        if column is not None:
            mapped[column] = key
            names = [key if name == column else name for name in table.column_names]
            table = table.rename_columns(names)
    return table, mapped


def _candidate(table: pa.Table, key: str, roles: Roles) -> str | None:
    """The only column with a usual name of an absent one, the most usual name first."""
    if key in table.column_names:
        return None
    unassigned = [name for name in table.column_names if name not in (ID, DS, Y, KNOWN_AT, *roles.columns)]
    for alias in (key, *USUAL[key]):
        matching = [name for name in unassigned if folded(name) == alias]
        if matching:
            alternatives = [name for name in unassigned if folded(name) in USUAL[key] and name not in matching]
            return matching[0] if len(matching) == 1 and not (key == Y and alternatives) else None
    return None


def check_names(table: pa.Table, mapped: dict[str, str], roles: Roles, findings: Findings) -> None:
    """Every column of the contract and of the roles is there; the others are left out."""
    for name, key in mapped.items():
        findings.add("D007", f"column {name!r} is taken as {key}", column=name)
    missing = [column for column in (ID, DS, Y, *roles.columns) if column not in table.column_names]
    for column in missing:
        findings.add("D003", f"column {column!r} is not in the file{_hint(table, column)}", column=column)
    wide = _wide(table) if {ID, Y} & set(missing) else None
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
    """Whether a name means something to the panel or its store, and so cannot be a covariate's."""
    return column in RESERVED_COLUMNS or column in _OURS or column.startswith("__")


def _hint(table: pa.Table, column: str) -> str:
    usual = [name for name in table.column_names if column in USUAL and folded(name) in USUAL[column]]
    if usual:
        return f" ({', '.join(usual[:_NAMED])} might be it: map one)"
    if column == ID and len(table.column_names) == 2:
        return " (of a single series, give it a column with its name in every row)"
    return ""


def _wide(table: pa.Table) -> str | None:
    """What the columns show when the file has one per series, or one per time."""
    names = table.column_names
    dates = [name for name in names if _DATE.fullmatch(name.strip())]
    if len(dates) >= _WIDE_FROM:
        return f"the names of {len(dates):,} columns are times ({', '.join(dates[:_NAMED])} ...)"
    if len(names) >= 2 and any(_NUMBER.fullmatch(name.strip()) for name in names) and dates:
        return "the first line holds values instead of names"
    numeric = [
        field.name
        for field in table.schema
        if pa.types.is_floating(field.type) or pa.types.is_integer(field.type)
    ]
    non_numeric = [name for name in names if name not in numeric]
    if len(numeric) >= _WIDE_FROM and len(non_numeric) <= 1 and ID not in names and Y not in names:
        examples = ", ".join(numeric[:_NAMED])
        return f"{len(numeric):,} columns of numbers ({examples} ...) look like one column per series"
    return None
