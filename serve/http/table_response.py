"""Tables as Arrow, Parquet, CSV or JSON, as the Accept header asks, written while they are sent."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from fastapi import Request
from starlette.responses import StreamingResponse

from quantis.errors import InvalidInput, NotAcceptable
from quantis.reading.delimited import escape_formulas

JSON, CSV = "application/json", "text/csv"
PARQUET, ARROW = "application/vnd.apache.parquet", "application/vnd.apache.arrow.stream"
_SUFFIXES = {JSON: "json", CSV: "csv", PARQUET: "parquet", ARROW: "arrows"}
ROWS_PER_BATCH = 20_000

TABLE = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in (PARQUET, ARROW)} | {
    CSV: {"schema": {"type": "string"}}
}
"""The formats beside JSON of a route's answer in the document."""


@dataclass(frozen=True)
class StreamedTable:
    """A table that is read batch by batch; `name` is its file's, `next_cursor` leads to the next page."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    name: str
    next_cursor: str | None = None


def choose_format(request: Request) -> str:
    """Return the media type that the Accept header prefers, JSON where it leaves the choice; else NotAcceptable."""
    header = ",".join(request.headers.getlist("accept")).strip()
    if not header:
        return JSON
    qualities = dict(_read_range(part) for part in header.split(",") if part.strip())
    best = max(_SUFFIXES, key=lambda kind: _quality(kind, qualities))  # the first of equals
    if _quality(best, qualities) <= 0:
        raise NotAcceptable(
            f"none of the formats that Accept names is made here; ask for {', '.join(_SUFFIXES)}"
        )
    return best


def table_response(request: Request, media_type: str, table: StreamedTable) -> StreamingResponse:
    """Return a table that is written while it is sent; a next page is linked to, too (RFC 8288)."""
    headers = {
        "Content-Disposition": f'attachment; filename="{table.name}.{_SUFFIXES[media_type]}"',
        "Vary": "Accept",
    }
    if table.next_cursor is not None:
        address = request.url.include_query_params(cursor=table.next_cursor)
        headers["Link"] = f'<{address.path}?{address.query}>; rel="next"'
    kind = f"{CSV}; charset=utf-8" if media_type == CSV else media_type
    return StreamingResponse(_WRITERS[media_type](table), media_type=kind, headers=headers)


def _read_range(text: str) -> tuple[str, float]:
    """Return a media range and its quality; InvalidInput for a quality that is no number from 0 to 1."""
    kind, *parameters = (part.strip().lower() for part in text.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return kind, min(max(float(value), 0.0), 1.0)
            except ValueError:
                raise InvalidInput("the quality of a type in Accept is a number from 0 to 1") from None
    return kind, 1.0


def _quality(kind: str, qualities: dict[str, float]) -> float:
    """Return the quality of a media type: that of the most specific range that has it."""
    ranges = (kind, f"{kind.partition('/')[0]}/*", "*/*")
    return next((qualities[each] for each in ranges if each in qualities), 0.0)


class _Sink(io.RawIOBase):
    """A file that only keeps what was written since it was last taken."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._parts.append(bytes(content))
        return len(self._parts[-1])

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


def _written(
    table: StreamedTable,
    open_writer: Callable[[_Sink, pa.Schema], Any],
    schema: pa.Schema,
    change: Any = None,
) -> Iterator[bytes]:
    """Yield what a writer of Arrow's makes of each batch; all that is in memory is one batch."""
    sink = _Sink()
    with open_writer(sink, schema) as writer:
        for batch in table.batches:
            writer.write_batch(change(batch) if change else batch)
            if content := sink.take():
                yield content
    yield sink.take()


def _arrow(table: StreamedTable) -> Iterator[bytes]:
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    return _written(
        table, lambda sink, schema: pa.ipc.new_stream(sink, schema, options=options), table.schema
    )


def _parquet(table: StreamedTable) -> Iterator[bytes]:
    return _written(
        table, lambda sink, schema: pq.ParquetWriter(sink, schema, compression="zstd"), table.schema
    )


def _csv(table: StreamedTable) -> Iterator[bytes]:
    kinds = [pa.string() if pa.types.is_timestamp(field.type) else field.type for field in table.schema]
    schema = pa.schema(list(zip(table.schema.names, kinds, strict=True)))

    def to_text(batch: pa.RecordBatch) -> pa.RecordBatch:
        texts = escape_formulas(pa.Table.from_batches([batch]))
        columns = [_format_times(column.combine_chunks()) for column in texts.columns]
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    return _written(table, pacsv.CSVWriter, schema, to_text)


def _format_times(column: pa.Array) -> pa.Array:
    """Return times as ISO 8601 in UTC; other columns as they are."""
    if not pa.types.is_timestamp(column.type):
        return column
    whole = column.cast(pa.timestamp("s", "UTC"), safe=False)
    exact = pc.all(pc.equal(whole.cast(column.type), column)).as_py() in (True, None)
    return pc.strftime(whole if exact else column, "%Y-%m-%dT%H:%M:%SZ")


def _json(table: StreamedTable) -> Iterator[bytes]:
    """Yield a page of records, each with its quantiles by their level."""
    yield b'{"items":['
    separator = ""
    for batch in table.batches:
        records = [_dump(record) for record in batch.to_pylist()]
        if records:
            yield (separator + ",".join(records)).encode()
            separator = ","
    yield f'],"next_cursor":{json.dumps(table.next_cursor)}}}'.encode()


def _dump(record: dict[str, Any]) -> str:
    levels = [name for name in record if name.startswith("q") and name[1:2].isdigit()]
    record["quantiles"] = {name[1:]: record.pop(name) for name in levels}
    for cells in (record, record["quantiles"]):
        cells |= {name: None for name, value in cells.items() if value != value}  # NaN is no JSON
    return json.dumps(record, default=_format_time, allow_nan=False)


def _format_time(value: Any) -> str:
    return str(value.isoformat()).replace("+00:00", "Z")


def file_batches(
    file: pq.ParquetFile, schema: pa.Schema, conditions: Sequence[pc.Expression]
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a Parquet file that fulfil every condition, with the columns of the schema."""
    with file:
        for batch in file.iter_batches(ROWS_PER_BATCH, columns=schema.names):
            table = pa.Table.from_batches([batch]).select(schema.names).cast(schema)
            for condition in conditions:
                table = table.filter(condition)
            yield from table.to_batches()


def table_batches(tables: Iterator[pa.Table]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of tables of one schema, as batches of a bounded length."""
    return chain.from_iterable(table.to_batches(max_chunksize=ROWS_PER_BATCH) for table in tables)


_WRITERS: dict[str, Callable[[StreamedTable], Iterator[bytes]]] = {
    JSON: _json,
    CSV: _csv,
    PARQUET: _parquet,
    ARROW: _arrow,
}
