"""The as-of operator and what follows from it: what is the latest, what is new, what is the same.

Pure functions over records: rows with a key, values, `known_at`, `recorded_at` and `given`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from quantis.panel import KNOWN_AT, RECORDED_AT, TIMESTAMP

Integers = npt.NDArray[np.int64]

GIVEN = "given"


def latest(records: pa.Table, key: Sequence[str]) -> pa.Table:
    """Per key the record with the largest (known_at, recorded_at), sorted by key."""
    columns = [_ranks(records[name]) for name in key]
    order = np.lexsort((_ticks(records[RECORDED_AT]), _ticks(records[KNOWN_AT]), *reversed(columns)))
    if len(order) == 0:
        return records
    changed = np.zeros(len(order) - 1, dtype=bool)
    for column in columns:
        changed |= np.diff(column[order]) != 0
    return records.take(pa.array(order[np.append(changed, True)])).combine_chunks()


def unknown_to(stored: pa.Table, incoming: pa.Table, key: Sequence[str]) -> pa.Table:
    """The incoming records that say something new, a correction dated by when it was recorded.

    A record with a given `known_at` is old when what is stored for that very time says the same;
    one without is old when the latest stored record says the same.
    """
    given = incoming[GIVEN].to_numpy()
    dated, undated = incoming.filter(pa.array(given)), incoming.filter(pa.array(~given))
    current = latest(stored, key)
    place = _match(current, undated, key)
    same = _same_values(current, undated, place, key)
    # A correction wins from the moment it is recorded, even over a value dated later.
    moments = _ticks(undated[RECORDED_AT])
    known = _ticks(undated[KNOWN_AT])
    known = np.where(place >= 0, np.maximum(moments, _at(_ticks(current[KNOWN_AT]), place)), known)
    corrected = pa.array(known).cast(pa.timestamp("us")).cast(TIMESTAMP)
    position = undated.schema.get_field_index(KNOWN_AT)
    fresh = undated.set_column(position, KNOWN_AT, corrected).filter(pa.array(~same))

    finest = [*key, KNOWN_AT]
    by_time = latest(stored, finest)
    same = _same_values(by_time, dated, _match(by_time, dated, finest), key)
    return pa.concat_tables([fresh, dated.filter(pa.array(~same))])


def canonical_hash(groups: Mapping[str, pa.Table], keys: Mapping[str, Sequence[str]]) -> str:
    """sha256 over each group's names, types and values, rows in the order of their key and times.

    `known_at` counts, null where it was not given; `recorded_at` only orders equal keys.
    """
    digest = hashlib.sha256(b"quantis content 1")
    for group, rows in groups.items():
        if KNOWN_AT not in rows.column_names:
            rows = rows.append_column(KNOWN_AT, pa.nulls(rows.num_rows, TIMESTAMP))
        by = [name for name in (*keys[group], KNOWN_AT, RECORDED_AT) if name in rows.column_names]
        order = np.lexsort([_ranks(rows[name]) for name in reversed(by)])
        names = sorted(name for name in rows.column_names if name != RECORDED_AT)
        digest.update(f"\n{group} {rows.num_rows}".encode())
        for name in names:
            digest.update(f"\n{name!r} {rows[name].type} ".encode())
            _update(digest, rows[name].take(pa.array(order)))
    return digest.hexdigest()


def _update(digest: hashlib._Hash, column: pa.ChunkedArray) -> None:
    """Feed validity and values; null has no value, -0.0 is 0.0."""
    array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    digest.update(np.packbits(pc.is_valid(array).to_numpy(zero_copy_only=False)).tobytes())
    if pa.types.is_string(array.type):
        filled = array.fill_null("")
        digest.update(pc.binary_length(filled).to_numpy(zero_copy_only=False).astype("<i4").tobytes())
        digest.update("".join(filled.to_pylist()).encode("utf-8", "surrogatepass"))
    elif pa.types.is_floating(array.type):
        values = array.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False)
        digest.update((values + 0.0).astype("<f8").tobytes())
    else:
        digest.update(_ticks(array).astype("<i8").tobytes())


def _same_values(
    stored: pa.Table, incoming: pa.Table, place: Integers, key: Sequence[str]
) -> npt.NDArray[np.bool_]:
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
    codes = np.zeros(stored.num_rows + incoming.num_rows, dtype=np.int64)
    for name in key:
        both = pa.chunked_array([*stored[name].chunks, *incoming[name].chunks], stored[name].type)
        # Dense ranks keep the product below 2 ** 63 for any number of rows that fits in memory.
        ranks = np.unique(_ranks(both), return_inverse=True)[1].astype(np.int64)
        codes = codes * (int(ranks.max(initial=0)) + 1) + ranks
        codes = np.unique(codes, return_inverse=True)[1].astype(np.int64)
    place = np.full(int(codes.max(initial=-1)) + 1, -1, dtype=np.int64)
    place[codes[: stored.num_rows]] = np.arange(stored.num_rows)
    return place[codes[stored.num_rows :]]


def _ranks(column: pa.ChunkedArray) -> Integers:
    """Integers in the order of the column's values, null first."""
    if not pa.types.is_string(column.type):
        return _ticks(column)
    codes = column.combine_chunks().dictionary_encode()
    codes = codes.combine_chunks() if isinstance(codes, pa.ChunkedArray) else codes
    order = pc.sort_indices(codes.dictionary).to_numpy()
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order))
    ranked: Integers = ranks[codes.indices.to_numpy(zero_copy_only=False)]
    return ranked


def _ticks(column: pa.ChunkedArray | pa.Array) -> Integers:
    """Timestamps as microseconds, null as the smallest. Shape [rows]."""
    filled = column.cast(pa.int64()).fill_null(np.iinfo(np.int64).min)
    ticks: Integers = (
        filled.to_numpy(zero_copy_only=False) if isinstance(filled, pa.Array) else filled.to_numpy()
    )
    return ticks


def _at(values: Integers, place: Integers) -> Integers:
    """`values[place]`, anything where place is -1."""
    return values[place] if len(values) else np.zeros(len(place), dtype=np.int64)
