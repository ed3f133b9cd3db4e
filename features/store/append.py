"""From the rows of a panel to records in a table: dated, compared with what is stored, appended.

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
from quantis.panel import DS, ID, KNOWN_AT, RECORDED_AT, TIMESTAMP

ALWAYS = datetime(1900, 1, 1, tzinfo=UTC)
"""`known_at` of known-future and static values that came without one."""

CHUNK = 125_000
"""Rows of a chunk, unless one series has more."""

_NO_CONTENT = ContentSums.empty()


@dataclass(frozen=True)
class RecordTimes:
    """The times that a write gives its records."""

    recorded_at: datetime
    publication_lag: timedelta
    live: bool

    @cached_property
    def epoch_us(self) -> int:
        """`recorded_at` in microseconds since 1970."""
        return int(pa.scalar(self.recorded_at, TIMESTAMP).value)


@dataclass(frozen=True)
class AppendedRecords:
    """What was appended to one table; `first_ds` and `last_ds` bound its times."""

    version: int
    content: ContentSums = _NO_CONTENT
    new_keys: int = 0
    first_ds: datetime | None = None
    last_ds: datetime | None = None

    def merge(self, later: AppendedRecords) -> AppendedRecords:
        """What this write and a later one appended together."""
        firsts = [time for time in (self.first_ds, later.first_ds) if time is not None]
        lasts = [time for time in (self.last_ds, later.last_ds) if time is not None]
        return AppendedRecords(
            version=later.version,
            content=self.content.merge(later.content),
            new_keys=self.new_keys + later.new_keys,
            first_ds=min(firsts, default=None),
            last_ds=max(lasts, default=None),
        )


@dataclass
class _Tally:
    """Counts what goes by on its way into the table."""

    group: str
    content: ContentSums = _NO_CONTENT
    new_keys: int = 0
    first: datetime | None = None
    last: datetime | None = None

    def count(self, fresh: NewRecords) -> pa.Table:
        self.content = self.content.plus(self.group, fresh.records, fresh.ranks)
        self.new_keys += fresh.new_keys
        if DS in fresh.records.column_names:
            bounds = pc.min_max(fresh.records[DS]).as_py()
            self.first = min(filter(None, (self.first, bounds["min"])), default=None)
            self.last = max(filter(None, (self.last, bounds["max"])), default=None)
        return fresh.records


def add_record_times(group: str, rows: pa.Table, times: RecordTimes) -> pa.Table:
    """Rows with `known_at` where they have none, `recorded_at` and `given`."""
    if KNOWN_AT not in rows.column_names:
        rows = rows.append_column(KNOWN_AT, pa.nulls(rows.num_rows, TIMESTAMP))
    stated = rows[KNOWN_AT]
    known = stated if stated.null_count == 0 else pc.coalesce(stated, _assigned(group, rows, times))
    moment = pa.scalar(times.recorded_at, TIMESTAMP)
    return (
        rows.drop([KNOWN_AT])
        .append_column(KNOWN_AT, known)
        .append_column(RECORDED_AT, pa.repeat(moment, rows.num_rows))
        .append_column(GIVEN, stated.is_valid())
    )


def append_new_records(
    group: str, table: GroupTable, rows: pa.Table, times: RecordTimes, base: int | None
) -> AppendedRecords:
    """Append the rows that say something new after a base version."""
    tally = _Tally(group)
    stamped_chunks = (add_record_times(group, chunk, times) for chunk in _whole_series(rows, table.key))
    fresh = (
        tally.count(select_new(_stored(table, chunk, base), chunk, table.key)) for chunk in stamped_chunks
    )
    chunks = (records for records in fresh if records.num_rows)
    first = next(chunks, None)
    if first is None and base is not None:
        return AppendedRecords(base)
    schema = add_record_times(group, rows.slice(0, 0), times).schema
    if base is not None:
        schema = pa.unify_schemas([schema, table.schema(base)])
    ready = nullcontext() if base is None or rows.num_rows <= CHUNK else table.keep_open(base)
    with ready:
        version = table.append(chain([] if first is None else [first], chunks), schema, base)
    return AppendedRecords(version, tally.content, tally.new_keys, tally.first, tally.last)


def id_ranges(table: GroupTable, version: int) -> Iterator[tuple[str, str] | None]:
    """Bounds of ids that hold about CHUNK records each, in order; None where one chunk holds all."""
    if table.count(version) <= CHUNK:
        yield None
        return
    counts: dict[str, int] = {}
    for batch in table.batches(version, [ID]):
        for one in batch[ID].value_counts().to_pylist():
            counts[one["values"]] = counts.get(one["values"], 0) + one["counts"]
    names = sorted(counts)
    place = np.cumsum([counts[name] for name in names]) // CHUNK
    starts = np.flatnonzero(np.diff(place, prepend=-1))
    for start, end in pairwise([*starts, len(names)]):
        yield names[start], names[end - 1]


def _stored(table: GroupTable, chunk: pa.Table, base: int | None) -> pa.Table:
    """The stored records that may share a key with those of a chunk."""
    if base is None or chunk.num_rows == 0:
        return chunk.slice(0, 0)
    between = (chunk[ID][0].as_py(), chunk[ID][-1].as_py())
    bounds = pc.min_max(chunk[DS]).as_py() if DS in table.key else {"min": None, "max": None}
    if not table.may_contain(base, between, bounds["min"], bounds["max"]):
        return chunk.slice(0, 0)
    if table.count(base, between=between, start=bounds["min"], end=bounds["max"]) == 0:
        return chunk.slice(0, 0)
    return table.records(base, between=between, start=bounds["min"], end=bounds["max"])


def _whole_series(rows: pa.Table, key: Sequence[str]) -> Iterator[pa.Table]:
    """Chunks in the order of the key. Only one is held at a time when each series is together already."""
    if rows.num_rows <= CHUNK:
        yield sort_by_key(rows, key)
        return
    runs = pc.run_end_encode(rows[ID].combine_chunks())
    names = runs.values.to_pylist()
    if names != sorted(set(names)):
        rows = sort_by_key(rows, key)
        runs = pc.run_end_encode(rows[ID].combine_chunks())
    starts = np.append(0, runs.run_ends.to_numpy()[:-1])
    cuts = starts[np.flatnonzero(np.diff(starts // CHUNK, prepend=-1))]
    for start, end in pairwise([*cuts.tolist(), rows.num_rows]):
        yield sort_by_key(rows.slice(start, end - start).combine_chunks(), key)


def _assigned(group: str, rows: pa.Table, times: RecordTimes) -> pa.Array | pa.Scalar:
    moment = pa.scalar(times.recorded_at, TIMESTAMP)
    if group == "target":
        return _later(rows[DS], moment) if times.live else pc.add(rows[DS], times.publication_lag)
    return moment if times.live or group not in ("future", "static") else pa.scalar(ALWAYS, TIMESTAMP)


def _later(times: pa.ChunkedArray, moment: pa.Scalar) -> pa.ChunkedArray:
    """Each time, or the moment where that is later."""
    return pc.if_else(pc.greater(times, moment), times, moment)
