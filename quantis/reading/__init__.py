"""Reading an uploaded file safely: CSV, Parquet, Arrow IPC or columnar JSON, each also as gzip or zstd.

A file's claim about its own size is not trusted: batches are counted as they come. Untrusted files
are read by `quantis.sandbox.client`, in a process of its own with limits of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from quantis.errors import InvalidInput, TooLarge
from quantis.reading.batches import Batches, read_notes
from quantis.reading.columnar import arrow_batches, json_batches, parquet_batches
from quantis.reading.delimited import csv_batches
from quantis.reading.limits import ReadLimits, printable
from quantis.reading.sources import ARROW, CSV, MEDIA_TYPES, PARQUET, Source, detect_kind, open_source
from quantis.types.reading import ReadOptions

__all__ = ["MEDIA_TYPES", "ReadLimits", "ReadOptions", "printable", "read_notes", "read_table", "write_arrow"]


def read_table(
    source: Path | bytes,
    *,
    name: str,
    media_type: str | None = None,
    limits: ReadLimits | None = None,
    options: ReadOptions | None = None,
) -> pa.Table:
    """Read a file as a table with plain columns; ids and times of a CSV are strings.

    The kind follows the media type, else the content.

    Raises
    ------
    InvalidInput
        If the file is broken, or is of another kind.
    UnsupportedMedia
        If the media type is not one of `MEDIA_TYPES`.
    TooLarge
        If a limit is exceeded.
    NotFound
        If there is no such file.
    """
    with _open_stream(source, name, media_type, limits or ReadLimits(), options or ReadOptions()) as (
        schema,
        batches,
    ):
        return pa.Table.from_batches(list(batches), schema).combine_chunks()


def write_arrow(
    source: Path, target: Path, *, name: str, media_type: str | None, limits: ReadLimits, options: ReadOptions
) -> int:
    """Write a file as an Arrow file of plain columns, a batch at a time; return the rows."""
    rows = 0
    with (
        _open_stream(source, name, media_type, limits, options) as (schema, batches),
        pa.OSFile(str(target), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


@contextmanager
def _open_stream(
    source: Path | bytes, name: str, media_type: str | None, limits: ReadLimits, options: ReadOptions
) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    display_name = printable(name)
    with open_source(source, display_name, limits) as content:
        kind = detect_kind(content, media_type, display_name)
        try:
            yield _read_batches(kind, content, display_name, limits, options).to_plain_batches(
                display_name, limits
            )
        except MemoryError as error:  # Arrow's own is one of them
            raise TooLarge(
                f"{display_name} unpacks to more memory than is allowed, though it has {content.packed:,} bytes;"
                " split it by series"
            ) from error
        except (
            pa.ArrowException,
            OSError,
            ValueError,
            KeyError,
            NotImplementedError,
            OverflowError,
        ) as error:
            reason = printable(str(error).partition("\n")[0], 200)
            raise InvalidInput(
                f"{display_name} cannot be read as {kind}: {reason}; write the file anew, or as another kind"
            ) from error


def _read_batches(kind: str, source: Source, name: str, limits: ReadLimits, options: ReadOptions) -> Batches:
    if kind == CSV:
        return csv_batches(source, name, limits, options)
    if kind == PARQUET:
        return parquet_batches(source, name, limits)
    return arrow_batches(source, name, limits) if kind == ARROW else json_batches(source, name, limits)
