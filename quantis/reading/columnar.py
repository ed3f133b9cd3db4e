"""Parquet, Arrow IPC and columnar JSON as batches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from quantis.errors import InvalidInput, TooLarge
from quantis.reading.batches import Batches
from quantis.reading.limits import (
    MIB,
    ReadLimits,
    check_counts,
    check_names,
    check_schema,
    is_text,
    printable,
)
from quantis.reading.sources import Source

_ROWS = 8192  # of Parquet or JSON decoded at a time


def parquet_batches(source: Source, name: str, limits: ReadLimits) -> Batches:
    """Texts stay dictionary-coded until their length is known."""

    def open_parquet(coded: list[str]) -> pq.ParquetFile:
        return pq.ParquetFile(
            source.open(),
            read_dictionary=coded,
            thrift_string_size_limit=16 * MIB,
            thrift_container_size_limit=1_000_000,
        )

    first = open_parquet([])
    check_schema(first.schema_arrow, name, limits)
    check_counts(first.metadata.num_rows, len(first.schema_arrow), name, limits)
    file = open_parquet([field.name for field in first.schema_arrow if is_text(field.type)])
    stream = file.iter_batches(batch_size=_ROWS, use_threads=False)
    return Batches(file.schema_arrow.remove_metadata(), stream, source.packed)


def arrow_batches(source: Source, name: str, limits: ReadLimits) -> Batches:
    if source.head(6) == b"ARROW1":
        file = pa.ipc.open_file(source.open())
        stream: Iterator[pa.RecordBatch] = (file.get_batch(i) for i in range(file.num_record_batches))
        return Batches(file.schema, stream, source.packed)
    reader = pa.ipc.open_stream(source.open())
    return Batches(reader.schema, iter(reader), source.packed)


def json_batches(source: Source, name: str, limits: ReadLimits) -> Batches:
    """`{"unique_id": [...], "ds": [...], "y": [...]}`: one list of equal length per column."""
    if source.size > limits.json_bytes:
        raise TooLarge(
            f"{name} has {source.size:,} bytes of JSON; at most {limits.json_bytes:,} are read: send Parquet"
        )
    columns = _parse_object(source.head(source.size), name)
    check_names(list(columns), name, limits)
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1:
        examples = ", ".join(f"{printable(key)} {len(values):,}" for key, values in list(columns.items())[:5])
        raise InvalidInput(
            f"{name} has columns of different lengths ({examples}); give one value per row in each"
        )
    rows = lengths.pop()
    check_counts(rows, len(columns), name, limits)
    table = pa.table({key: _to_array(key, values, name) for key, values in columns.items()})
    return Batches(table.schema, iter(table.to_batches(max_chunksize=_ROWS)), source.packed)


def _parse_object(raw: bytes, name: str) -> dict[str, list[Any]]:
    try:
        text = raw.decode("utf-8-sig")
        value = json.loads(text, parse_constant=_reject_constant, object_pairs_hook=_unique_keys)
    except RecursionError:
        raise InvalidInput(f"{name} cannot be read as json: it is nested too deep") from None
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{name} cannot be read as json: byte {error.start:,} is not UTF-8") from error
    except ValueError as error:
        raise InvalidInput(f"{name} cannot be read as json: {printable(str(error), 120)}") from error
    if isinstance(value, list):
        raise InvalidInput(
            f'{name} is a list; give an object with one list per column: {{"unique_id": [...]}}'
        )
    if not isinstance(value, dict) or not value:
        raise InvalidInput(f"{name} holds no columns; give an object with one list per column")
    for key, values in value.items():
        if not isinstance(values, list):
            raise InvalidInput(f"{name} has {printable(key)!r} that is no list; give one list per column")
    return value


def _to_array(key: str, values: list[Any], name: str) -> pa.Array:
    """Return an array of numbers, booleans or texts; a mixture is text, for the check to name what does not fit."""
    kinds = {type(value) for value in values} - {type(None)}
    for row, value in enumerate(values) if kinds - {bool, int, float, str} else ():
        if isinstance(value, list | dict):
            raise InvalidInput(
                f"{name} has a nested value in {printable(key)!r} at row {row + 1:,}; use plain ones"
            )
    if kinds <= {int, float} and kinds:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if kinds <= {bool}:
        return pa.array(values, pa.bool_() if kinds else pa.null())
    texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"{name} has half a surrogate pair in {printable(key)!r}; write whole characters"
        ) from error


def _reject_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON; use null for a missing value")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError("an object has the same key twice")
    return mapping
