"""Appending a panel's rows to a table: they get their times, and those that change nothing are left out.

Rows go through in chunks of whole series, so that a large panel is never held twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import chain, pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.store.as_of import NewRecords, select_new, sort_by_key
from features.store.content_hash import GIVEN, ContentSums
from features.store.delta_table import GroupTable
from features.store.record_filter import Bounds, RecordFilter
from quantis.panel import DS, ID, KNOWN_AT, RECORDED_AT, TIMESTAMP

ALWAYS = datetime(1900, 1, 1, tzinfo=UTC)
"""`known_at` of known-future and static values that came without one."""

CHUNK = 125_000
"""Rows of a chunk, unless one series has more."""

_NO_CONTENT = ContentSums.empty()


@dataclass(frozen=True)
class RecordTimes:
    """The time of a write, and the rule for the `known_at` of values that came without one."""

    recorded_at: datetime
    publication_lag: timedelta
    live: bool

    @cached_property
    def epoch_us(self) -> int:
        """`recorded_at` in microseconds since 1970."""
        return int(pa.scalar(self.recorded_at, TIMESTAMP).value)


@dataclass(frozen=True)
class AppendedRecords:
    """The result of appending to one table; `first_ds` and `last_ds` bound the records' times."""

    version: int
    content: ContentSums = _NO_CONTENT
    new_keys: int = 0
    first_ds: datetime | None = None
    last_ds: datetime | None = None

    def merge(self, later: AppendedRecords) -> AppendedRecords:
        """Return the result of this write and a later one together."""
        first_times = [time for time in (self.first_ds, later.first_ds) if time is not None]
        last_times = [time for time in (self.last_ds, later.last_ds) if time is not None]
        return AppendedRecords(
            version=later.version,
            content=self.content.merge(later.content),
            new_keys=self.new_keys + later.new_keys,
            first_ds=min(first_times, default=None),
            last_ds=max(last_times, default=None),
        )


@dataclass
class _AppendCounter:
    """Running totals of the records on their way into the table."""

    group: str
    content: ContentSums = _NO_CONTENT
    new_keys: int = 0
    first_ds: datetime | None = None
    last_ds: datetime | None = None

    def count(self, new: NewRecords) -> pa.Table:
        """Add the records to the totals and return them."""
        self.content = self.content.plus(self.group, new.records, new.ranks)
        self.new_keys += new.new_keys
        if DS in new.records.column_names:
            first_ds, last_ds = _time_range(new.records)
            self.first_ds = min(filter(None, (self.first_ds, first_ds)), default=None)
            self.last_ds = max(filter(None, (self.last_ds, last_ds)), default=None)
        return new.records


def add_record_times(group: str, rows: pa.Table, times: RecordTimes) -> pa.Table:
    """Return the rows with `known_at` where they have none, `recorded_at` and `given`."""
    if KNOWN_AT not in rows.column_names:
        rows = rows.append_column(KNOWN_AT, pa.nulls(rows.num_rows, TIMESTAMP))
    stated = rows[KNOWN_AT]
    known_at = stated
    if stated.null_count:
        known_at = pc.coalesce(stated, _assigned_known_at(group, rows, times))
    recorded_at = pa.scalar(times.recorded_at, TIMESTAMP)
    return (
        rows.drop([KNOWN_AT])
        .append_column(KNOWN_AT, known_at)
        .append_column(RECORDED_AT, pa.repeat(recorded_at, rows.num_rows))
        .append_column(GIVEN, stated.is_valid())
    )


def append_new_records(
    group: str, table: GroupTable, rows: pa.Table, times: RecordTimes, base: int | None
) -> AppendedRecords:
    """Append the rows that are new or changed since a base version; the base itself when there are none."""
    counter = _AppendCounter(group)
    timed_chunks = (add_record_times(group, chunk, times) for chunk in _whole_series(rows, table.key))
    # Generators: a chunk is timed, compared and counted only when the library takes it.
    new_chunks = (
        counter.count(select_new(_stored_records(table, chunk, base), chunk, table.key))
        for chunk in timed_chunks
    )
    chunks = (records for records in new_chunks if records.num_rows)
    first = next(chunks, None)
    if first is None and base is not None:
        return AppendedRecords(base)
    schema = add_record_times(group, rows.slice(0, 0), times).schema
    if base is not None:
        schema = pa.unify_schemas([schema, table.schema(base)])
    # Later chunks are compared with the stored records while the library writes.
    keep_open = nullcontext() if base is None or rows.num_rows <= CHUNK else table.keep_open(base)
    with keep_open:
        version = table.append(chain([] if first is None else [first], chunks), schema, base)
    return AppendedRecords(version, counter.content, counter.new_keys, counter.first_ds, counter.last_ds)


def id_ranges(table: GroupTable, version: int) -> Iterator[tuple[str, str] | None]:
    """Yield ranges of ids with about CHUNK records each, in order; None where one chunk holds all."""
    if table.count(version) <= CHUNK:
        yield None
        return
    counts: dict[str, int] = {}
    for batch in table.batches(version, [ID]):
        for entry in batch[ID].value_counts().to_pylist():
            counts[entry["values"]] = counts.get(entry["values"], 0) + entry["counts"]
    names = sorted(counts)
    # Each id belongs to the chunk in which its last record would lie, [ids].
    chunk_numbers = np.cumsum([counts[name] for name in names]) // CHUNK
    starts = np.flatnonzero(np.diff(chunk_numbers, prepend=-1))
    for start, end in pairwise([*starts, len(names)]):
        yield names[start], names[end - 1]


def _stored_records(table: GroupTable, chunk: pa.Table, base: int | None) -> pa.Table:
    """Return the stored records that may share a key with those of a chunk, which is sorted by id."""
    if base is None or chunk.num_rows == 0:
        return chunk.slice(0, 0)
    first_ds, last_ds = _time_range(chunk) if DS in table.key else (None, None)
    where = RecordFilter(
        Bounds(start=first_ds, end=last_ds), id_range=(chunk[ID][0].as_py(), chunk[ID][-1].as_py())
    )
    if not table.may_contain(base, where) or table.count(base, where) == 0:
        return chunk.slice(0, 0)
    return table.records(base, where)


def _time_range(records: pa.Table) -> tuple[datetime | None, datetime | None]:
    """Return the first and last `ds`; None of no records."""
    extremes = pc.min_max(records[DS]).as_py()
    return extremes["min"], extremes["max"]


def _whole_series(rows: pa.Table, key: Sequence[str]) -> Iterator[pa.Table]:
    """Yield chunks in the order of the key.

    Only one of them is held at a time when the rows of each series lie together, series in order.
    """
    if rows.num_rows <= CHUNK:
        yield sort_by_key(rows, key)
        return
    runs = pc.run_end_encode(rows[ID].combine_chunks())
    names = runs.values.to_pylist()
    if names != sorted(set(names)):
        rows = sort_by_key(rows, key)
        runs = pc.run_end_encode(rows[ID].combine_chunks())
    starts = np.append(0, runs.run_ends.to_numpy()[:-1])  # the first row of each series, [series]
    # A chunk ends before the first series that begins in the next CHUNK rows.
    cuts = starts[np.flatnonzero(np.diff(starts // CHUNK, prepend=-1))]
    for start, end in pairwise([*cuts.tolist(), rows.num_rows]):
        yield sort_by_key(rows.slice(start, end - start).combine_chunks(), key)


def _assigned_known_at(group: str, rows: pa.Table, times: RecordTimes) -> pa.Array | pa.Scalar:
    """Return the `known_at` of rows that came without one: a column, or one value for all."""
    recorded_at = pa.scalar(times.recorded_at, TIMESTAMP)
    if group == "target" and times.live:
        return _maximum(rows[DS], recorded_at)
    if group == "target":
        return pc.add(rows[DS], times.publication_lag)
    if times.live or group not in ("future", "static"):
        return recorded_at
    return pa.scalar(ALWAYS, TIMESTAMP)


def _maximum(times: pa.ChunkedArray, earliest: pa.Scalar) -> pa.ChunkedArray:
    return pc.if_else(pc.greater(times, earliest), times, earliest)
