"""Reading an uploaded file safely: CSV, Parquet or Arrow IPC, within limits, or InvalidInput.

What a file says about its own size is not believed: batches are counted as they come, and texts
stay dictionary-coded until their length is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from quantis.errors import InvalidInput, NotFound, TooLarge, UnsupportedMedia
from quantis.panel import DS, ID, KNOWN_AT

CSV, PARQUET, ARROW = "csv", "parquet", "arrow"
MEDIA_TYPES = {
    "text/csv": CSV,
    "application/csv": CSV,
    "application/vnd.apache.parquet": PARQUET,
    "application/vnd.apache.arrow.stream": ARROW,
    "application/vnd.apache.arrow.file": ARROW,
}
_SNIFFED = 65_536  # bytes that decide delimiter and decimal sign
_BATCH = 8192  # rows of Parquet decoded at a time

_PLAIN = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal,
    pa.types.is_boolean,
    pa.types.is_timestamp,
    pa.types.is_date,
    pa.types.is_null,
)


@dataclass(frozen=True)
class ReadLimits:
    """What a file may hold; beyond it TooLarge is raised before the memory is taken."""

    file_bytes: int = 512 * 2**20
    rows: int = 20_000_000
    columns: int = 512
    cells: int = 100_000_000
    memory: int = 2 * 2**30  # bytes of the table once decoded


def read_table(
    source: Path | bytes, *, name: str, media_type: str | None = None, limits: ReadLimits | None = None
) -> pa.Table:
    """The file as a table with plain columns; ids and times of a CSV are strings.

    The kind follows the media type, else the content. Raises InvalidInput, UnsupportedMedia,
    TooLarge, or NotFound when there is no such file.
    """
    limits, shown = limits or ReadLimits(), printable(name)
    data = _buffer(source, shown, limits)
    kind = _kind(data, media_type)
    try:
        if kind == CSV:
            return _read_csv(data, shown, limits)
        if kind == PARQUET:
            return _read_parquet(data, shown, limits)
        return _read_arrow(data, shown, limits)
    except (pa.ArrowException, OSError, ValueError, KeyError, NotImplementedError) as error:
        reason = printable(str(error).partition("\n")[0], 200)
        raise InvalidInput(f"{shown} cannot be read as {kind}: {reason}") from error


def printable(text: str, length: int = 80) -> str:
    """A text that is safe to show: control characters replaced, cut to `length`."""
    safe = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return safe if len(safe) <= length else safe[: length - 1] + "…"


def _buffer(source: Path | bytes, name: str, limits: ReadLimits) -> bytes:
    try:
        size = source.stat().st_size if isinstance(source, Path) else len(source)
        if size > limits.file_bytes:
            raise TooLarge(
                f"{name} has {size:,} bytes; at most {limits.file_bytes:,} are read: split it by series"
            )
        if size == 0:
            raise InvalidInput(f"{name} is empty; give a header and at least one row")
        return source.read_bytes() if isinstance(source, Path) else source
    except FileNotFoundError as error:
        raise NotFound(f"{name} does not exist; check the path") from error
    except OSError as error:
        raise InvalidInput(f"{name} cannot be opened: {error.strerror}") from error


def _kind(data: bytes, media_type: str | None) -> str:
    if media_type is not None:
        bare = media_type.partition(";")[0].strip().lower()
        if bare in MEDIA_TYPES:
            return MEDIA_TYPES[bare]
        if bare != "application/octet-stream":
            known = ", ".join(sorted(MEDIA_TYPES))
            raise UnsupportedMedia(f"media type {printable(bare)!r} is not read; send one of {known}")
    if data.startswith(b"PAR1"):
        return PARQUET
    return ARROW if data.startswith((b"ARROW1", b"\xff\xff\xff\xff")) else CSV


def _read_csv(data: bytes, name: str, limits: ReadLimits) -> pa.Table:
    head = data[:_SNIFFED].decode("utf-8-sig", "replace")
    first, _, rest = head.partition("\n")
    delimiter = max(",;\t|", key=first.count)
    _count(data.count(b"\n") - 1, first.count(delimiter) + 1, name, limits)
    decimal_comma = delimiter == ";" and re.search(r'(^|;)"?-?\d+,\d+"?(;|\r?$)', rest, re.MULTILINE)
    options = pacsv.ConvertOptions(
        column_types={column: pa.string() for column in (ID, DS, KNOWN_AT)},
        decimal_point="," if decimal_comma else ".",
        strings_can_be_null=False,
    )
    table = pacsv.read_csv(
        pa.BufferReader(data), parse_options=pacsv.ParseOptions(delimiter=delimiter), convert_options=options
    )
    return _checked(table, name, limits)


def _read_parquet(data: bytes, name: str, limits: ReadLimits) -> pa.Table:
    def opened(coded: list[str]) -> pq.ParquetFile:
        return pq.ParquetFile(
            pa.BufferReader(data),
            read_dictionary=coded,
            thrift_string_size_limit=16 * 2**20,
            thrift_container_size_limit=1_000_000,
        )

    schema = opened([]).schema_arrow
    _check_schema(schema, name, limits)
    file = opened([field.name for field in schema if _is_text(field.type)])
    return _gathered(file.iter_batches(batch_size=_BATCH, use_threads=False), file.schema_arrow, name, limits)


def _read_arrow(data: bytes, name: str, limits: ReadLimits) -> pa.Table:
    source = pa.BufferReader(data)
    if data.startswith(b"ARROW1"):
        file = pa.ipc.open_file(source)
        batches: Iterator[pa.RecordBatch] = (file.get_batch(i) for i in range(file.num_record_batches))
        schema = file.schema
    else:
        schema, batches = (stream := pa.ipc.open_stream(source)).schema, iter(stream)
    _check_schema(schema, name, limits)
    return _gathered(batches, schema, name, limits)


def _gathered(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, name: str, limits: ReadLimits
) -> pa.Table:
    """The batches as one table of plain columns; stops at the batch that breaks a limit."""
    kept, rows, size = [], 0, 0
    for batch in batches:
        batch.validate(full=True)
        rows += batch.num_rows
        size += sum(_plain_size(column) for column in batch.columns)
        _count(rows, len(schema), name, limits)
        if size > limits.memory:
            raise TooLarge(f"{name} decodes to more than {limits.memory:,} bytes; split it by series")
        kept.append(batch)
    return _checked(pa.Table.from_batches(kept, schema), name, limits)


def _plain_size(column: pa.Array) -> int:
    """Bytes of a column once it is no longer dictionary-coded."""
    if pa.types.is_dictionary(column.type) and _is_text(column.type.value_type):
        lengths = pc.binary_length(column.dictionary).take(column.indices)
        return int(pc.sum(lengths).as_py() or 0) + 4 * len(column)
    return int(column.nbytes)


def _checked(table: pa.Table, name: str, limits: ReadLimits) -> pa.Table:
    """The table with texts as `string`, its names and size checked."""
    _check_schema(table.schema, name, limits)
    _count(table.num_rows, table.num_columns, name, limits)
    for place, field in enumerate(table.schema):
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        plain = pa.string() if _is_text(kind) else kind
        if plain != field.type:
            table = table.set_column(place, field.name, table.column(place).cast(plain))
    return table.replace_schema_metadata(None).combine_chunks()


def _check_schema(schema: pa.Schema, name: str, limits: ReadLimits) -> None:
    _count(1, len(schema), name, limits)
    for column in schema.names:
        if not column or len(column) > 128 or not column.isprintable():
            raise InvalidInput(
                f"{name} has a column named {printable(column)!r}; use 1 to 128 printable characters"
            )
        if schema.names.count(column) > 1:
            raise InvalidInput(f"{name} has column {column!r} twice; rename one")
    for field in schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if not (_is_text(kind) or any(accepts(kind) for accepts in _PLAIN)):
            raise InvalidInput(
                f"{name} has column {field.name!r} of type {printable(str(kind))}; use plain values"
            )


def _count(rows: int, columns: int, name: str, limits: ReadLimits) -> None:
    if columns > limits.columns:
        raise TooLarge(
            f"{name} has {columns:,} columns; at most {limits.columns:,} are read: drop the others"
        )
    if rows > limits.rows or rows * columns > limits.cells:
        raise TooLarge(
            f"{name} has {rows:,} rows or more of {columns} columns; at most {limits.rows:,} rows and"
            f" {limits.cells:,} cells are read: split it by series"
        )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
