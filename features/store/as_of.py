"""The as-of operator and what follows from it: what is the latest, what is new.

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

_NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True)
class NewRecords:
    """Records that say something new, sorted by key and time; how often each was said before; new keys."""

    records: pa.Table
    ranks: Integers
    new_keys: int


def latest(records: pa.Table, key: Sequence[str]) -> pa.Table:
    """Per key the record with the largest (known_at, recorded_at), sorted by key."""
    columns = [sort_codes(records[name]) for name in key]
    if _ascending(columns, strictly=True):
        return records
    order = np.lexsort((epoch_us(records[RECORDED_AT]), epoch_us(records[KNOWN_AT]), *reversed(columns)))
    changed = np.zeros(len(order) - 1, dtype=bool)
    for column in columns:
        changed |= np.diff(column[order]) != 0
    return records.take(pa.array(order[np.append(changed, True)])).combine_chunks()


def sort_by_key(records: pa.Table, key: Sequence[str]) -> pa.Table:
    """The records sorted by key, then `known_at` and `recorded_at` where they have them."""
    by = [*key, *(name for name in (KNOWN_AT, RECORDED_AT) if name in records.column_names)]
    columns = [sort_codes(records[name]) for name in by]
    if _ascending(columns, strictly=False):
        return records
    return records.take(pa.array(np.lexsort(columns[::-1])))


def select_new(stored: pa.Table, incoming: pa.Table, key: Sequence[str]) -> NewRecords:
    """The incoming records that say something new, a correction dated by when it was recorded.

    A record with a given `known_at` is old when what is stored for that very time says the same;
    one without is old when the latest stored record says the same. Columns that only stored records
    have keep their latest values.
    """
    if stored.num_rows == 0:
        return NewRecords(incoming, np.zeros(incoming.num_rows, dtype=np.int64), count_keys(incoming, key))
    incoming = _carried_over(latest(stored, key), incoming, key)
    given = incoming[GIVEN].to_numpy()
    dated, undated = incoming.filter(pa.array(given)), incoming.filter(pa.array(~given))
    current = latest(stored, key)
    place = _match(current, undated, key)
    same = _same_values(current, undated, place, key)
    # A correction wins from the moment it is recorded, even over a value dated later.
    moments, known = epoch_us(undated[RECORDED_AT]), epoch_us(undated[KNOWN_AT])
    known = np.where(place >= 0, np.maximum(moments, _at(epoch_us(current[KNOWN_AT]), place)), known)
    corrected = pa.array(known).cast(pa.timestamp("us")).cast(TIMESTAMP)
    position = undated.schema.get_field_index(KNOWN_AT)
    fresh = undated.set_column(position, KNOWN_AT, corrected).filter(pa.array(~same))

    finest = [*key, KNOWN_AT]
    by_time = latest(stored, finest)
    same = _same_values(by_time, dated, _match(by_time, dated, finest), key)
    records = sort_by_key(pa.concat_tables([fresh, dated.filter(pa.array(~same))]), key)
    unseen = records.filter(pa.array(_match(current, records, key) < 0))
    return NewRecords(records, _said_before(stored, records, key), count_keys(unseen, key))


def count_keys(records: pa.Table, key: Sequence[str]) -> int:
    """How many keys there are in records sorted by key."""
    if records.num_rows == 0:
        return 0
    changed = np.zeros(records.num_rows - 1, dtype=bool)
    for name in key:
        changed |= np.diff(sort_codes(records[name])) != 0
    return int(changed.sum()) + 1


def ranks(records: pa.Table, key: Sequence[str]) -> Integers:
    """How many earlier records have the same key and the same stated `known_at`. Shape [rows].

    Only there does the order of recording say something that the values do not.
    """
    columns = [*(sort_codes(records[name]) for name in key), _stated(records)]
    order = np.lexsort((epoch_us(records[RECORDED_AT]), *reversed(columns)))
    changed = np.zeros(max(len(order) - 1, 0), dtype=bool)
    for column in columns:
        changed |= np.diff(column[order]) != 0
    starts = np.flatnonzero(np.append(True, changed)) if len(order) else np.zeros(0, dtype=np.int64)
    within = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    found = np.empty(len(order), dtype=np.int64)
    found[order] = within
    return found


def sort_codes(column: pa.ChunkedArray) -> Integers:
    """Integers in the order of the column's values, null first. Shape [rows]."""
    if not pa.types.is_string(column.type):
        return epoch_us(column)
    codes = column.combine_chunks().dictionary_encode()
    codes = codes.combine_chunks() if isinstance(codes, pa.ChunkedArray) else codes
    indices = codes.indices.to_numpy(zero_copy_only=False)
    order = pc.sort_indices(codes.dictionary).to_numpy()
    if len(order) < 2 or bool((np.diff(order.astype(np.int64)) > 0).all()):
        return np.asarray(indices, dtype=np.int32)
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    found: Integers = places[indices]
    return found


def epoch_us(column: pa.ChunkedArray | pa.Array) -> Integers:
    """Timestamps as microseconds, null as the smallest. Shape [rows]."""
    filled = column.cast(pa.int64())
    filled = filled.fill_null(_NEVER) if filled.null_count else filled
    found: Integers = (
        filled.to_numpy(zero_copy_only=False) if isinstance(filled, pa.Array) else filled.to_numpy()
    )
    return found


def datetime_epoch_us(moment: datetime | None) -> int | None:
    """A time in microseconds since 1970."""
    return None if moment is None else int(pa.scalar(moment, TIMESTAMP).value)


def _ascending(columns: Sequence[Integers], *, strictly: bool) -> bool:
    """Whether rows are in the order of their columns, the first one the most important."""
    rows = len(columns[0])
    for start in range(0, rows - 1, 1_000_000):
        part = slice(start, start + 1_000_001)
        tied = np.ones(len(columns[0][part]) - 1, dtype=bool)
        for column in columns:
            here, after = column[part][:-1], column[part][1:]
            if bool((tied & (after < here)).any()):
                return False
            tied &= after == here
        if strictly and bool(tied.any()):
            return False
    return True


def _carried_over(current: pa.Table, incoming: pa.Table, key: Sequence[str]) -> pa.Table:
    """With the columns that it leaves out, as they are now."""
    missing = [name for name in current.column_names if name not in incoming.column_names]
    if missing:
        place = _match(current, incoming, key)
        for name in missing:
            incoming = incoming.append_column(name, current[name].take(pa.array(place, mask=place < 0)))
    return incoming


def _said_before(stored: pa.Table, incoming: pa.Table, key: Sequence[str]) -> Integers:
    """How many stored records have each incoming one's key and stated `known_at`. Shape [incoming]."""
    codes = _codes(stored, incoming, key)
    stated = np.concatenate([_stated(stored), _stated(incoming)])
    codes = np.unique(np.stack([codes, stated]), axis=1, return_inverse=True)[1].ravel()
    counts = np.bincount(codes[: stored.num_rows], minlength=int(codes.max(initial=-1)) + 1)
    found: Integers = counts[codes[stored.num_rows :]]
    return found


def _stated(records: pa.Table) -> Integers:
    """`known_at` in microseconds where it was given, else the smallest. Shape [rows]."""
    if KNOWN_AT not in records.column_names:
        return np.full(records.num_rows, _NEVER)
    known = epoch_us(records[KNOWN_AT])
    if GIVEN not in records.column_names:
        return known
    return np.where(records[GIVEN].to_numpy(), known, _NEVER)


def _same_values(stored: pa.Table, incoming: pa.Table, place: Integers, key: Sequence[str]) -> Mask:
    """Whether each incoming row has a stored one with equal values, null equal to null."""
    same = place >= 0
    twins = stored.take(pa.array(place, mask=place < 0))
    for name in incoming.column_names:
        if name in (*key, KNOWN_AT, RECORDED_AT, GIVEN):
            continue
        new = incoming[name]
        old = twins[name] if name in twins.column_names else pa.nulls(len(new), new.type)
        equal = pc.or_kleene(pc.equal(new, old), pc.and_(pc.is_null(new), pc.is_null(old))).fill_null(False)
        same &= equal.to_numpy()
    return same


def _match(stored: pa.Table, incoming: pa.Table, key: Sequence[str]) -> Integers:
    """The row of `stored` with each incoming row's key, -1 where there is none."""
    codes = _codes(stored, incoming, key)
    place = np.full(int(codes.max(initial=-1)) + 1, -1, dtype=np.int64)
    place[codes[: stored.num_rows]] = np.arange(stored.num_rows)
    return place[codes[stored.num_rows :]]


def _codes(stored: pa.Table, incoming: pa.Table, key: Sequence[str]) -> Integers:
    """One integer per distinct key of both tables, stored rows first. Shape [stored + incoming]."""
    codes = np.zeros(stored.num_rows + incoming.num_rows, dtype=np.int64)
    for name in key:
        both = pa.chunked_array([*stored[name].chunks, *incoming[name].chunks], stored[name].type)
        # Dense ranks keep the product below 2 ** 63 for any number of rows that fits in memory.
        dense = np.unique(sort_codes(both), return_inverse=True)[1].astype(np.int64)
        codes = codes * (int(dense.max(initial=0)) + 1) + dense
        codes = np.unique(codes, return_inverse=True)[1].astype(np.int64)
    return codes


def _at(values: Integers, place: Integers) -> Integers:
    """`values[place]`, anything where place is -1."""
    return values[place] if len(values) else np.zeros(len(place), dtype=np.int64)
