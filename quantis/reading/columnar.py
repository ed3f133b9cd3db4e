"""Parquet, Arrow IPC and columnar JSON as batches."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from quantis.errors import InvalidInput, TooLarge
from quantis.reading.batches import Batches
from quantis.reading.exact_numbers import MAX_EXACT
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

_PARQUET = b"PAR1"  # at both ends of a file
_ROWS = 8192  # of Parquet or JSON decoded at a time
_FLOAT_DIGITS, _MOST_DIGITS = 400, 4300  # of integers that may fit a float, and that are read at all


def parquet_batches(source: Source, name: str, limits: ReadLimits) -> Batches:
    """Texts stay dictionary-coded until their length is known."""

    def open_parquet(coded: list[str]) -> pq.ParquetFile:
        return pq.ParquetFile(
            source.open(),
            read_dictionary=coded,
            thrift_string_size_limit=16 * MIB,
            thrift_container_size_limit=1_000_000,
        )

    try:
        first = open_parquet([])
    except pa.ArrowMemoryError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput(_describe_footer(source, name, error)) from error
    check_schema(first.schema_arrow, name, limits)
    check_counts(first.metadata.num_rows, len(first.schema_arrow), name, limits)
    file = open_parquet([field.name for field in first.schema_arrow if is_text(field.type)])
    return Batches(file.schema_arrow.remove_metadata(), _iterate_parquet(file, name), source.packed)


def _describe_footer(source: Source, name: str, error: Exception) -> str:
    end = source.tail(len(_PARQUET))
    if end != _PARQUET:
        return (
            f"{name} cannot be read as parquet: it ends with {printable(repr(end))} where such a file ends with"
            f" {_PARQUET!r}, so it was cut off or altered on its way; send the whole file again"
        )
    reason = printable(str(error).partition("\n")[0], 120)
    return f"{name} cannot be read as parquet: its list of columns is damaged ({reason}); write the file anew"


def _iterate_parquet(file: pq.ParquetFile, name: str) -> Iterator[pa.RecordBatch]:
    try:
        yield from file.iter_batches(batch_size=_ROWS, use_threads=False)
    except pa.ArrowMemoryError:
        raise
    except (pa.ArrowException, OSError) as error:
        reason = printable(str(error).partition("\n")[0], 120)
        raise InvalidInput(
            f"{name} cannot be read as parquet: {_find_damage(file)} ({reason}); write the file anew"
        ) from error


def _find_damage(file: pq.ParquetFile) -> str:
    """Return the first column that cannot be decoded, with its rows."""
    first_row = 1
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        for column in file.schema_arrow.names:
            try:
                for _ in file.iter_batches(_ROWS, row_groups=[group], columns=[column], use_threads=False):
                    pass
            except (pa.ArrowException, OSError):
                return f"column {printable(column)!r} is damaged in rows {first_row:,} to {first_row + rows - 1:,}"
        first_row += rows
    return "its pages are damaged"


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
        value = json.loads(
            text,
            parse_int=_parse_integer,
            parse_float=_parse_float,
            parse_constant=_reject_constant,
            object_pairs_hook=_unique_keys,
        )
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
    if kinds <= {bool}:
        return pa.array(values, pa.bool_() if kinds else pa.null())
    numbers = _to_numbers(values, kinds)
    if numbers is not None:
        return numbers
    texts = [None if value is None else _to_text(value) for value in values]
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"{name} has half a surrogate pair in {printable(key)!r}; write whole characters"
        ) from error


def _to_numbers(values: list[Any], kinds: set[type]) -> pa.Array | None:
    """Return integers or floats, exactly as they were written; None where no type holds them so."""
    if kinds == {int}:
        for kind in (pa.int64(), pa.uint64()):
            with suppress(OverflowError):
                return pa.array(values, kind)
        return None
    if not kinds <= {int, float}:
        return None
    if any(isinstance(value, int) and abs(value) > MAX_EXACT for value in values):
        return None
    return pa.array(values, pa.float64())


def _to_text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) <= MAX_EXACT:
        return str(int(value))  # as in a column of numbers
    return value if isinstance(value, str) else json.dumps(value)


def _parse_integer(digits: str) -> int | str:
    """Return an integer; one beyond every float stays text, for the check to name it."""
    if len(digits) > _MOST_DIGITS:
        raise ValueError(
            f"an integer has {len(digits):,} digits ({digits[:20]}...); a 64-bit float goes to 309"
        )
    return int(digits) if len(digits) <= _FLOAT_DIGITS else digits


def _parse_float(text: str) -> float | str:
    """Return a finite float; one beyond the largest stays text, for the check to name it."""
    value = float(text)
    return value if math.isfinite(value) else text


def _reject_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON; use null for a missing value")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError("an object has the same key twice")
    return mapping
