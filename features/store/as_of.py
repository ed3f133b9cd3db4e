"""The as-of operator over records: the latest version of each key, and which incoming records are new.

Pure functions over records: rows with a key, values, `known_at`, `recorded_at` and `given`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.store.content_hash import GIVEN
from quantis.panel import KNOWN_AT, RECORDED_AT, TIMESTAMP
from quantis.types.arrays import Integers, Mask

_NULL = np.iinfo(np.int64).min
_BLOCK = 1_000_000  # rows whose order is checked at once


@dataclass(frozen=True)
class NewRecords:
    """Records that are new or changed, sorted by key and time, their ranks, and the number of new keys."""

    records: pa.Table
    ranks: Integers
    new_keys: int


def latest(records: pa.Table, key: Sequence[str]) -> pa.Table:
    """Return per key the record with the largest (known_at, recorded_at), sorted by key."""
    columns = [sort_codes(records[name]) for name in key]
    if _is_sorted(columns, strictly=True):
        return records
    # lexsort's last key is the most significant one; the latest record of a key comes last.
    order = np.lexsort((epoch_us(records[RECORDED_AT]), epoch_us(records[KNOWN_AT]), *reversed(columns)))
    last_of_key = np.append(_key_changes(columns, order), True)
    return records.take(pa.array(order[last_of_key])).combine_chunks()


def sort_by_key(records: pa.Table, key: Sequence[str]) -> pa.Table:
    """Return the records sorted by key, then `known_at` and `recorded_at` where they have them."""
    times = [name for name in (KNOWN_AT, RECORDED_AT) if name in records.column_names]
    columns = [sort_codes(records[name]) for name in (*key, *times)]
    if _is_sorted(columns, strictly=False):
        return records
    return records.take(pa.array(np.lexsort(columns[::-1])))


def select_new(stored: pa.Table, incoming: pa.Table, key: Sequence[str]) -> NewRecords:
    """Return the incoming records that are new or changed; a correction is known when it is recorded.

    A record with a given `known_at` is old when the stored one of that very time has its values; one
    without is old when the latest stored record has them. Columns that only stored records have keep
    their latest values.
    """
    if stored.num_rows == 0:
        return NewRecords(incoming, np.zeros(incoming.num_rows, dtype=np.int64), count_keys(incoming, key))
    incoming = _fill_missing_columns(latest(stored, key), incoming, key)
    is_dated = incoming[GIVEN].to_numpy()
    dated, undated = incoming.filter(pa.array(is_dated)), incoming.filter(pa.array(~is_dated))
    current = latest(stored, key)
    corrections = _changed_values(current, undated, key)

    finest_key = [*key, KNOWN_AT]
    by_time = latest(stored, finest_key)
    unchanged = _same_values(by_time, dated, _match(by_time, dated, finest_key), key)
    records = sort_by_key(pa.concat_tables([corrections, dated.filter(pa.array(~unchanged))]), key)
    unseen = records.filter(pa.array(_match(current, records, key) < 0))
    return NewRecords(records, _stored_ranks(stored, records, key), count_keys(unseen, key))


def _changed_values(current: pa.Table, undated: pa.Table, key: Sequence[str]) -> pa.Table:
    """Return the records without a given `known_at` whose values differ from the current ones."""
    rows = _match(current, undated, key)
    unchanged = _same_values(current, undated, rows, key)
    recorded_at, known_at = epoch_us(undated[RECORDED_AT]), epoch_us(undated[KNOWN_AT])
    # A correction wins from the moment it is recorded, even over a value dated later.
    current_known_at = _take_or_any(epoch_us(current[KNOWN_AT]), rows)
    known_at = np.where(rows >= 0, np.maximum(recorded_at, current_known_at), known_at)
    column = pa.array(known_at).cast(pa.timestamp("us")).cast(TIMESTAMP)
    position = undated.schema.get_field_index(KNOWN_AT)
    return undated.set_column(position, KNOWN_AT, column).filter(pa.array(~unchanged))


def count_keys(records: pa.Table, key: Sequence[str]) -> int:
    """Return the number of distinct keys of records sorted by key."""
    if records.num_rows == 0:
        return 0
    changed = np.zeros(records.num_rows - 1, dtype=bool)
    for name in key:
        changed |= np.diff(sort_codes(records[name])) != 0
    return int(changed.sum()) + 1


def ranks(records: pa.Table, key: Sequence[str]) -> Integers:
    """Return the number of earlier records with the same key and stated `known_at`. Shape [rows].

    Only among those does the order of recording carry information that the values do not.
    """
    columns = [*(sort_codes(records[name]) for name in key), _stated_known_at(records)]
    order = np.lexsort((epoch_us(records[RECORDED_AT]), *reversed(columns)))
    if len(order) == 0:
        return np.zeros(0, dtype=np.int64)
    starts = np.flatnonzero(np.append(True, _key_changes(columns, order)))
    rank_in_group = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    result = np.empty(len(order), dtype=np.int64)
    result[order] = rank_in_group
    return result


def sort_codes(column: pa.ChunkedArray) -> Integers:
    """Return integers in the order of the column's values, null first. Shape [rows]."""
    if not pa.types.is_string(column.type):
        return epoch_us(column)
    encoded = column.combine_chunks().dictionary_encode()
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    indices = encoded.indices.to_numpy(zero_copy_only=False)
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    # Sorted rows have a sorted dictionary, whose indices are the codes already.
    if len(order) < 2 or bool((np.diff(order.astype(np.int64)) > 0).all()):
        return np.asarray(indices, dtype=np.int32)
    rank_of_value = np.empty(len(order), dtype=np.int64)
    rank_of_value[order] = np.arange(len(order))
    codes: Integers = rank_of_value[indices]
    return codes


def epoch_us(column: pa.ChunkedArray | pa.Array) -> Integers:
    """Return timestamps as microseconds since 1970, null as the smallest integer. Shape [rows]."""
    numbers = column.cast(pa.int64())
    numbers = numbers.fill_null(_NULL) if numbers.null_count else numbers
    if isinstance(numbers, pa.Array):
        values: Integers = numbers.to_numpy(zero_copy_only=False)
    else:
        values = numbers.to_numpy()
    return values


def datetime_epoch_us(time: datetime | None) -> int | None:
    """Return a time in microseconds since 1970."""
    return None if time is None else int(pa.scalar(time, TIMESTAMP).value)


def _key_changes(columns: Sequence[Integers], order: Integers) -> Mask:
    """Return where a row of this order has another key than the one before it. Shape [rows - 1]."""
    changes = np.zeros(len(order) - 1, dtype=bool)
    for column in columns:
        changes |= np.diff(column[order]) != 0
    return changes


def _is_sorted(columns: Sequence[Integers], *, strictly: bool) -> bool:
    """Return True if the rows are sorted by the columns, the first one the most significant."""
    rows = len(columns[0])
    for start in range(0, rows - 1, _BLOCK):
        block = slice(start, start + _BLOCK + 1)
        tied = np.ones(len(columns[0][block]) - 1, dtype=bool)
        for column in columns:
            current, following = column[block][:-1], column[block][1:]
            if bool((tied & (following < current)).any()):
                return False
            tied &= following == current
        if strictly and bool(tied.any()):
            return False
    return True


def _fill_missing_columns(current: pa.Table, incoming: pa.Table, key: Sequence[str]) -> pa.Table:
    """Return the incoming records with the columns that they leave out, at their current values."""
    missing = [name for name in current.column_names if name not in incoming.column_names]
    if missing:
        rows = _match(current, incoming, key)
        for name in missing:
            incoming = incoming.append_column(name, current[name].take(pa.array(rows, mask=rows < 0)))
    return incoming


def _stored_ranks(stored: pa.Table, incoming: pa.Table, key: Sequence[str]) -> Integers:
    """Return the number of stored records with each incoming key and stated `known_at`. Shape [incoming]."""
    codes = _key_codes(stored, incoming, key)
    stated = np.concatenate([_stated_known_at(stored), _stated_known_at(incoming)])
    # One code per pair of key and stated time: [2, stored + incoming] -> [stored + incoming].
    codes = np.unique(np.stack([codes, stated]), axis=1, return_inverse=True)[1].ravel()
    counts = np.bincount(codes[: stored.num_rows], minlength=int(codes.max(initial=-1)) + 1)
    stored_counts: Integers = counts[codes[stored.num_rows :]]
    return stored_counts


def _stated_known_at(records: pa.Table) -> Integers:
    """Return `known_at` in microseconds where it was given, else the smallest integer. Shape [rows]."""
    if KNOWN_AT not in records.column_names:
        return np.full(records.num_rows, _NULL)
    known_at = epoch_us(records[KNOWN_AT])
    if GIVEN not in records.column_names:
        return known_at
    return np.where(records[GIVEN].to_numpy(), known_at, _NULL)


def _same_values(stored: pa.Table, incoming: pa.Table, rows: Integers, key: Sequence[str]) -> Mask:
    """Return True where the stored row of an incoming one has equal values, null equal to null.

    `rows` is from `_match`. Shape [incoming].
    """
    same = rows >= 0
    counterparts = stored.take(pa.array(rows, mask=rows < 0))
    for name in incoming.column_names:
        if name in (*key, KNOWN_AT, RECORDED_AT, GIVEN):
            continue
        new = incoming[name]
        old = counterparts[name] if name in counterparts.column_names else pa.nulls(len(new), new.type)
        equal = pc.or_kleene(pc.equal(new, old), pc.and_(pc.is_null(new), pc.is_null(old))).fill_null(False)
        same &= equal.to_numpy()
    return same


def _match(stored: pa.Table, incoming: pa.Table, key: Sequence[str]) -> Integers:
    """Return the row of `stored` with each incoming row's key, -1 where there is none. Shape [incoming]."""
    codes = _key_codes(stored, incoming, key)
    row_of_code = np.full(int(codes.max(initial=-1)) + 1, -1, dtype=np.int64)
    row_of_code[codes[: stored.num_rows]] = np.arange(stored.num_rows)
    return row_of_code[codes[stored.num_rows :]]


def _key_codes(stored: pa.Table, incoming: pa.Table, key: Sequence[str]) -> Integers:
    """Return one integer per distinct key of both tables, stored rows first. Shape [stored + incoming]."""
    codes = np.zeros(stored.num_rows + incoming.num_rows, dtype=np.int64)
    for name in key:
        column = pa.chunked_array([*stored[name].chunks, *incoming[name].chunks], stored[name].type)
        # Dense ranks keep the product below 2 ** 63 for any number of rows that fits in memory.
        dense = np.unique(sort_codes(column), return_inverse=True)[1].astype(np.int64)
        codes = codes * (int(dense.max(initial=0)) + 1) + dense
        codes = np.unique(codes, return_inverse=True)[1].astype(np.int64)
    return codes


def _take_or_any(values: Integers, rows: Integers) -> Integers:
    """Return `values[rows]`, any value where a row is -1. Shape as `rows`."""
    return values[rows] if len(values) else np.zeros(len(rows), dtype=np.int64)
