"""A file as a stream of plain batches, counted as they come; its own claim of its size is not trusted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantis.errors import InvalidInput
from quantis.reading.limits import (
    ReadLimits,
    cell_too_long,
    check_counts,
    check_growth,
    check_schema,
    is_text,
    is_view,
    printable,
    value_type,
)

NOTES = b"quantis.notes"
"""Schema metadata under which the notes of a read travel to the check: a JSON list."""


@dataclass(frozen=True)
class Note:
    """An assumption of the reader, as the code of a finding."""

    code: str
    message: str
    column: str | None = None


@dataclass
class Batches:
    """Batches of a file as they are read, with the size of the file itself."""

    schema: pa.Schema
    stream: Iterable[pa.RecordBatch]
    packed: int
    notes: list[Note] = field(default_factory=list)

    def to_plain_batches(self, name: str, limits: ReadLimits) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """Return the schema and batches of plain columns; TooLarge at the batch that breaks a limit."""
        check_schema(self.schema, name, limits)
        fields = [pa.field(field.name, plain_type(field.type)) for field in self.schema]
        schema = pa.schema(fields, metadata=notes_to_metadata(self.notes))
        return schema, self._check_batches(schema, name, limits)

    def _check_batches(self, schema: pa.Schema, name: str, limits: ReadLimits) -> Iterator[pa.RecordBatch]:
        rows = size = 0
        for batch in self.stream:
            batch.validate(full=True)
            rows += batch.num_rows
            check_counts(rows, len(schema), name, limits)
            for field_, column in zip(schema, batch.columns, strict=True):
                size += _plain_size(column, field_.name, name, limits)
            check_growth(size, limits.memory, self.packed, name, limits)
            if batch.num_rows:
                columns = [
                    to_plain(column, field_, name)
                    for field_, column in zip(schema, batch.columns, strict=True)
                ]
                yield pa.record_batch(columns, schema=schema)


def notes_to_metadata(notes: list[Note]) -> dict[bytes, bytes] | None:
    """Return notes as schema metadata."""
    rows = [asdict(note) for note in notes]
    return {NOTES: json.dumps(rows).encode()} if rows else None


def read_notes(table: pa.Table) -> list[Note]:
    """Return the notes that reading left in a table."""
    raw = (table.schema.metadata or {}).get(NOTES)
    return [Note(**row) for row in json.loads(raw)] if raw else []


def _plain_size(column: pa.Array, column_name: str, name: str, limits: ReadLimits) -> int:
    """Bytes of a column once it is plain; TooLarge for a cell that is too long."""
    kind = column.type
    if not is_text(value_type(kind)):
        return int(column.nbytes)
    coded = pa.types.is_dictionary(kind)
    lengths = _text_lengths(column.dictionary if coded else column)
    max_length = pc.max(lengths).as_py() or 0
    if max_length > limits.cell_bytes:
        raise cell_too_long(column_name, max_length, name, limits)
    size = int(pc.sum(lengths).as_py() or 0) if is_view(value_type(kind)) and coded else 0  # cast as a whole
    if coded:
        lengths = lengths.take(column.indices)
    return size + int(pc.sum(lengths).as_py() or 0) + 4 * len(column)


def _text_lengths(texts: pa.Array) -> pa.Array:
    """Return the bytes of each text; of views from the views, since many may share the same bytes."""
    if not is_view(texts.type):
        return pc.binary_length(texts)
    # A view is four 32-bit words, of which the first is the length.
    words = np.frombuffer(texts.buffers()[1], np.int32)[
        4 * texts.offset : 4 * (texts.offset + len(texts)) : 4
    ]
    return pa.array(words.astype(np.int64), mask=~texts.is_valid().to_numpy(zero_copy_only=False))


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of a column once it is plain: texts of any layout are strings, dictionaries their values."""
    value = value_type(kind)
    return pa.string() if is_text(value) else value


def to_plain(column: pa.Array, field_: pa.Field, name: str) -> pa.Array:
    """Return a column as its plain type; InvalidInput names one of bytes that are no text."""
    kind = column.type
    if kind == field_.type:
        return column
    if pa.types.is_dictionary(kind) and is_view(kind.value_type):  # which Arrow does not decode
        words = to_plain(column.dictionary, field_, name)
        return words.take(column.indices)
    try:
        return column.cast(field_.type)
    except pa.ArrowInvalid as error:
        if not is_text(value_type(kind)):
            raise
        raise InvalidInput(
            f"{name} has column {printable(field_.name)!r} of bytes that are no UTF-8; write it as text"
        ) from error
