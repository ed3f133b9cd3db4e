"""Size limits of a file, and the errors when one is exceeded."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from quantis.errors import InvalidInput, TooLarge
from quantis.types.base import MAX_COLUMN_NAME, MAX_COLUMNS

MIB = 2**20

_PLAIN = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal,
    pa.types.is_boolean,
    pa.types.is_timestamp,
    pa.types.is_date,
    pa.types.is_null,
)
_TEXTS = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
)


@dataclass(frozen=True)
class ReadLimits:
    """Size limits of a file; beyond them TooLarge is raised before the memory is taken."""

    file_bytes: int = 512 * MIB
    json_bytes: int = 64 * MIB  # JSON is parsed whole
    rows: int = 20_000_000
    columns: int = MAX_COLUMNS
    cells: int = 100_000_000
    cell_bytes: int = 32_768
    unpacked: int = 2048 * MIB  # bytes of a gzip or zstd file once unpacked
    memory: int = 2048 * MIB  # bytes of the table once decoded
    ratio: int = 200  # of unpacked or decoded bytes to those of the file
    ratio_from: int = 64 * MIB  # below this, any ratio is harmless
    seconds: float = 10.0  # of a processor, by a reader
    working_memory: int = 1024 * MIB  # of a reader, beyond what its interpreter takes

    @property
    def elapsed_seconds(self) -> float:
        """Seconds by the clock after which a reader is given up: a busy machine alone refuses no file."""
        return 6 * self.seconds


def printable(text: str, length: int = 80) -> str:
    """Return a text that is safe to show: control characters replaced, cut to `length`."""
    safe = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text[:1000])
    return safe if len(safe) <= length else safe[: length - 1] + "…"


def check_size(size: int, name: str, limits: ReadLimits) -> None:
    if size > limits.file_bytes:
        raise TooLarge(
            f"{name} has {size:,} bytes; at most {limits.file_bytes:,} are read: split it by series"
        )
    if size == 0:
        raise InvalidInput(f"{name} is empty; give a header and at least one row")


def check_growth(size: int, max_size: int, packed: int, name: str, limits: ReadLimits) -> None:
    """Refuse what unpacks to more than is allowed, or to many times its size."""
    if size > limits.ratio_from and size > limits.ratio * packed:
        raise TooLarge(
            f"{name} unpacks to more than {limits.ratio} times its {packed:,} bytes; send it less compressed"
        )
    if size > max_size:
        raise TooLarge(f"{name} decodes to more than {max_size:,} bytes; split it by series")


def check_counts(rows: int, columns: int, name: str, limits: ReadLimits) -> None:
    if columns > limits.columns:
        raise TooLarge(
            f"{name} has {columns:,} columns; at most {limits.columns:,} are read: drop the others"
            " (a file with one column per series is turned to long format)"
        )
    if rows > limits.rows or rows * columns > limits.cells:
        raise TooLarge(
            f"{name} has {rows:,} rows or more of {columns} columns; at most {limits.rows:,} rows and"
            f" {limits.cells:,} cells are read: split it by series"
        )


def check_names(names: list[str], name: str, limits: ReadLimits) -> None:
    if len(names) > limits.columns:
        listed = ", ".join(printable(column, 30) for column in names[:3])
        raise TooLarge(
            f"{name} has {len(names):,} columns ({listed} ...); at most {limits.columns:,} are read: drop the others,"
            " or turn a file with one column per series to the long format (unique_id, ds, y)"
        )
    names_so_far: set[str] = set()
    for number, column in enumerate(names, 1):
        if not column:
            before = f", after {printable(names[number - 2], 30)!r}" if number > 1 else ""
            raise InvalidInput(
                f"{name} has no name for column {number}{before}; use 1 to {MAX_COLUMN_NAME} printable characters,"
                " or leave the column out"
            )
        if len(column) > MAX_COLUMN_NAME or not column.isprintable():
            raise InvalidInput(
                f"{name} has a column named {printable(column)!r}; use 1 to {MAX_COLUMN_NAME} printable characters"
            )
        if column in names_so_far:
            raise InvalidInput(
                f"{name} has column {column!r} twice, as column {names.index(column) + 1} and {number}; rename one"
            )
        names_so_far.add(column)


def check_schema(schema: pa.Schema, name: str, limits: ReadLimits) -> None:
    check_names(schema.names, name, limits)
    for field in schema:
        kind = value_type(field.type)
        if not (is_text(kind) or any(accepts(kind) for accepts in _PLAIN)):
            raise InvalidInput(
                f"{name} has column {field.name!r} of type {printable(str(kind))}; use plain values"
            )


def cell_too_long(column: str, length: int, name: str, limits: ReadLimits) -> TooLarge:
    return TooLarge(
        f"{name} has a cell of {length:,} bytes in column {printable(column)!r}; at most"
        f" {limits.cell_bytes:,} are read: shorten it"
    )


def value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def is_text(kind: pa.DataType) -> bool:
    """Return True for strings of any layout, and for bytes, as old writers keep texts."""
    return any(accepts(kind) for accepts in _TEXTS)


def is_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string_view(kind) or pa.types.is_binary_view(kind))
