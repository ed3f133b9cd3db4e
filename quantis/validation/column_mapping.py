"""Map the columns of a file to the panel's: by a mapping, or by usual names; and detect the wide format."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from quantis.panel import DS, ID, KNOWN_AT, Y
from quantis.reading import printable
from quantis.reading.column_aliases import ALIASES, describe_values_as_header, is_date, normalize_name
from quantis.types.datasets import RESERVED_COLUMNS, Roles, find_name_clashes
from quantis.types.reading import ReadOptions
from quantis.validation.findings import Findings

_STORE_COLUMNS = RESERVED_COLUMNS - {ID, DS, Y, KNOWN_AT} | {"given"}
_MIN_WIDE_COLUMNS = 2  # columns of numbers beside the time, or of times
_MAX_EXAMPLES, _MAX_PRESENT = 3, 8  # of them in a message, and of the columns that are there


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
    names_in_file = {key: name for name, key in mapped.items()}
    present = _list_names([names_in_file.get(name, name) for name in table.column_names], _MAX_PRESENT)
    for column in missing:
        suggestion = _suggest_column(table, column)
        findings.add(
            "D003", f"column {column!r} is not in the file, which has {present}{suggestion}", column=column
        )
    for column, text in find_name_clashes(roles.columns).items():
        findings.add("D015", text, column=column)
    if {ID, Y} & set(missing) and _report_other_format(table, names_in_file, findings):
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


def _report_other_format(table: pa.Table, names_in_file: dict[str, str], findings: Findings) -> bool:
    """Report what gives a missing header or the wide format away; False where nothing does."""
    values = describe_values_as_header(table.column_names)
    if values:
        findings.add(
            "D006", values, remedy="add a first line with the names unique_id, ds and y in their order"
        )
        return True
    wide = _describe_wide_format(table, names_in_file)
    if wide:
        findings.add("D006", wide)
    return wide is not None


def _describe_wide_format(table: pa.Table, names_in_file: dict[str, str]) -> str | None:
    """Return what gives the wide format away (a column per series, or per time), or None."""
    names = table.column_names
    dates = [name for name in names if is_date(name)]
    if len(dates) >= _MIN_WIDE_COLUMNS:
        return f"the names of {len(dates):,} columns are times ({_list_names(dates, _MAX_EXAMPLES)})"
    numeric = [
        field.name
        for field in table.schema
        if pa.types.is_floating(field.type) or pa.types.is_integer(field.type)
    ]
    unnumbered = [name for name in names if name not in numeric]
    if len(numeric) < _MIN_WIDE_COLUMNS or len(unnumbered) > 1 or ID in names or Y in names:
        return None
    times = f", beside the times in {names_in_file.get(unnumbered[0], unnumbered[0])}" if unnumbered else ""
    listed = _list_names(numeric, _MAX_EXAMPLES)
    return f"{len(numeric):,} columns of numbers ({listed}) look like one column per series{times}"


def _list_names(names: Sequence[str], longest: int) -> str:
    """Return the first names, and the number of the others."""
    listed = ", ".join(printable(name, 40) for name in names[:longest])
    return f"{listed} and {len(names) - longest:,} more" if len(names) > longest else listed
