"""A Delta table of records: read at a version, appended to, rewritten; the door to `deltalake`.

A change is made on a base version that the caller has read. What another writer left after it without
recording it in the database is rolled back first; if another writer is at work, Conflict.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
from deltalake import (
    ColumnProperties,
    CommitProperties,
    DeltaTable,
    PostCommitHookProperties,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import CommitFailedError, DeltaError

from features.store.content_hash import GIVEN
from features.store.delta_files import LOG, data_files, latest_version, sync_commits
from features.store.record_filter import ALL_RECORDS, RecordFilter
from quantis.errors import Conflict, NotFound
from quantis.files import sync_folder
from quantis.panel import DS, ID, KNOWN_AT, RECORDED_AT, Y

RECORD_COLUMNS = (KNOWN_AT, RECORDED_AT, GIVEN)
"""The columns of a record that are not of the panel."""

_ROWS_PER_GROUP = 8192  # so that reading one series decodes little else
_FILE_BYTES = 16 * 2**20  # about two million rows; files hold ranges of series, so most are never opened
_MAX_OPEN = 16  # versions
_CHECKPOINTS = {"delta.checkpointInterval": "10"}  # so that opening a version reads few commits

_STATISTICS_PRECISION = timedelta(milliseconds=1)  # to which the bounds of times in the log may be cut
_COMMIT = CommitProperties(max_commit_retries=0)
_HOOKS = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)


@dataclass(frozen=True)
class _LatestWrite:
    """The version that was just written, with the bounds of its files, known without opening it."""

    version: int
    schema: pa.Schema
    files: pa.Table

    @classmethod
    def from_table(cls, table: DeltaTable) -> _LatestWrite:
        schema = pa.schema(table.schema().to_arrow())
        return cls(int(table.version()), schema, pa.table(table.get_add_actions(flatten=True)))


class GroupTable:
    """The records of one role group."""

    def __init__(self, folder: Path, key: Sequence[str]) -> None:
        self.folder, self.key = folder, tuple(key)
        self._lock = threading.Lock()  # of the attributes below
        self._opened: OrderedDict[int, pads.Dataset] = OrderedDict()
        self._held: dict[int, pads.Dataset] = {}
        self._newest: DeltaTable | None = None
        self._latest_write: _LatestWrite | None = None

    def records(
        self, version: int, where: RecordFilter = ALL_RECORDS, columns: list[str] | None = None
    ) -> pa.Table:
        """Return the records of a version that pass the filter, in no order."""
        try:
            return self._dataset(version).to_table(columns=columns, filter=where.expression(self.key))
        except FileNotFoundError as error:
            raise self._version_missing(version) from error

    def count(self, version: int, where: RecordFilter = ALL_RECORDS) -> int:
        """Return the number of records that pass the filter; far cheaper than reading them."""
        return int(self._dataset(version).count_rows(filter=where.expression(self.key)))

    def batches(
        self, version: int, columns: list[str], where: RecordFilter = ALL_RECORDS
    ) -> Iterator[pa.RecordBatch]:
        yield from self._dataset(version).to_batches(columns=columns, filter=where.expression(self.key))

    def schema(self, version: int) -> pa.Schema:
        write = self._latest_write
        return write.schema if write and write.version == version else self._dataset(version).schema

    def may_contain(self, version: int, where: RecordFilter) -> bool:
        """Return False where the log of the latest write rules out records in the filter's ranges.

        `where` has an `id_range`. True for any version but the latest written by this object.
        """
        write = self._latest_write
        if write is None or write.version != version:
            return True
        assert where.id_range is not None
        files, overlap = write.files, pc.scalar(True)
        for name, low, high in ((ID, *where.id_range), (DS, where.bounds.start, where.bounds.end)):
            if f"max.{name}" not in files.column_names or low is None or high is None:
                continue
            file_min, file_max = pc.field(f"min.{name}"), pc.field(f"max.{name}")
            end = file_max if name == ID else pc.add(file_max, _STATISTICS_PRECISION)
            overlaps = (file_min <= pa.scalar(high)) & (end >= pa.scalar(low))
            # A file without statistics may hold anything.
            overlap &= overlaps | file_min.is_null() | file_max.is_null()
        return bool(files.filter(overlap).num_rows)

    @contextmanager
    def keep_open(self, version: int) -> Iterator[None]:
        """Keep a version open meanwhile.

        The library takes the chunks of a write in threads of its own, and nothing can be opened there.
        """
        dataset = self._dataset(version)
        with self._lock:
            self._held[version] = dataset
        try:
            yield
        finally:
            with self._lock:
                self._held.pop(version, None)

    def append(self, chunks: Iterable[pa.Table], schema: pa.Schema, base: int | None) -> int:
        """Add records after a base version (None: the table is new) and return the new version."""
        with self._concurrent_commit_as_conflict(base):
            table = self._table_at(base)
            return self._write(table, chunks, schema, base)

    def rewrite(self, chunks: Iterable[pa.Table], base: int) -> int:
        """Replace the records of a base version, whose files stay, and return the new version.

        From now on these files are old, whenever they were written: their time of writing is now.
        """
        with self._concurrent_commit_as_conflict(base), self.keep_open(base):
            table = self._table_at(base)
            version = self._write(table, chunks, self.schema(base), base, replace=True)
        for path in data_files(self.folder, base):
            path.touch()
        return version

    def vacuum(self, version: int) -> int:
        """Remove every file and commit that reading the latest version does not need; their number.

        Older versions cannot be read any more. Conflict when `version` is not the latest one.
        """
        table = DeltaTable(str(self.folder))
        if table.version() != version:
            raise Conflict(
                f"another writer has changed {self.folder.name!r} since version {version}; try again"
            )
        table.create_checkpoint()
        needed = {path.name for path in data_files(self.folder)}
        with self._lock:
            self._opened.clear()
            self._newest = self._latest_write = None
        data = [path for path in self.folder.rglob("*.parquet") if LOG not in path.parts]
        removed = [path for path in data if path.name not in needed]
        removed += [path for path in (self.folder / LOG).iterdir() if _commit_number(path) < version]
        for path in removed:
            path.unlink(missing_ok=True)
        sync_folder(self.folder / LOG)
        sync_folder(self.folder)
        return len(removed)

    def _write(
        self,
        table: DeltaTable | None,
        chunks: Iterable[pa.Table],
        schema: pa.Schema,
        base: int | None,
        *,
        replace: bool = False,
    ) -> int:
        """Commit the chunks after `base`, instead of its records with `replace`, and return the version."""
        batches = (batch for chunk in chunks for batch in _conform(chunk, schema).to_batches())
        schema_mode: Any = None
        if table is not None:
            schema_mode = "overwrite" if replace or base is None else "merge"
        write_deltalake(
            table or str(self.folder),
            pa.RecordBatchReader.from_batches(schema, batches),
            mode="overwrite" if replace or base is None else "append",
            schema_mode=schema_mode,
            target_file_size=_FILE_BYTES,
            writer_properties=_writer_properties(schema),
            commit_properties=_COMMIT,
            post_commithook_properties=_HOOKS,
            configuration=_CHECKPOINTS if table is None else None,
        )
        version = int(table.version()) if table is not None else 0
        sync_commits(self.folder, version, base)
        with self._lock:
            self._newest = table
            self._latest_write = None if table is None else _LatestWrite.from_table(table)
        return version

    def _table_at(self, base: int | None) -> DeltaTable | None:
        """Return the table with nothing after the base version; None when nothing was ever written."""
        with self._lock:  # the table changes from here on, so no reader may have it
            table, self._newest = self._newest, None
        if table is not None and base is not None and _update_version(table) == base:
            return table
        if not DeltaTable.is_deltatable(str(self.folder)):
            if base is not None:
                raise NotFound(f"version {base} of {self.folder.name!r} is not stored; restore a backup")
            return None
        table = DeltaTable(str(self.folder))
        if base is not None and table.version() != base:
            table.restore(base, commit_properties=_COMMIT, post_commithook_properties=_HOOKS)
        return table

    def _dataset(self, version: int) -> pads.Dataset:
        """Return the Arrow dataset of a version, from the cache where it is open."""
        with self._lock:
            dataset = self._held.get(version) or self._opened.get(version)
            if dataset is None and self._newest is not None and self._newest.version() == version:
                dataset = self._opened[version] = self._newest.to_pyarrow_dataset()
        if dataset is None:
            try:
                dataset = DeltaTable(str(self.folder), version=version).to_pyarrow_dataset()
            except (DeltaError, FileNotFoundError) as error:
                raise self._version_missing(version) from error
        with self._lock:
            self._opened[version] = dataset
            self._opened.move_to_end(version)
            while len(self._opened) > _MAX_OPEN:
                self._opened.popitem(last=False)
        return dataset

    def _version_missing(self, version: int) -> NotFound:
        return NotFound(
            f"version {version} of {self.folder.name!r} is not stored (any more): its retention time is over, "
            "or its series were purged; open the dataset anew"
        )

    @contextmanager
    def _concurrent_commit_as_conflict(self, base: int | None) -> Iterator[None]:
        """Raise Conflict for a commit that failed because another writer committed after `base`."""
        try:
            yield
        except CommitFailedError as error:
            if latest_version(self.folder) != base:
                raise Conflict(f"another writer changed {self.folder.name!r} meanwhile; try again") from error
            raise


def _update_version(table: DeltaTable) -> int | None:
    """Read new commits and return the newest version; None when the open table cannot be updated."""
    try:
        table.update_incremental()
    except (DeltaError, OSError):
        return None
    return int(table.version())


def _conform(chunk: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the columns of the schema, null where the chunk has none."""
    columns = [
        chunk[field.name] if field.name in chunk.column_names else pa.nulls(chunk.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema.names).cast(schema)


def _commit_number(path: Path) -> float:
    """Return the number of a commit or checkpoint; infinity for any other file."""
    return int(path.name[:20]) if path.name[:20].isdigit() else float("inf")


def _writer_properties(schema: pa.Schema) -> WriterProperties:
    """Return the encodings; times are packed by their differences, so a regular grid takes next to nothing."""
    delta_packed = ColumnProperties(encoding="DELTA_BINARY_PACKED", dictionary_enabled=False)
    no_dictionary = ColumnProperties(dictionary_enabled=False)
    columns = {name: delta_packed for name in (DS, KNOWN_AT, RECORDED_AT) if name in schema.names}
    if Y in schema.names:
        columns[Y] = no_dictionary
    return WriterProperties(
        compression="ZSTD",
        compression_level=1,
        max_row_group_size=_ROWS_PER_GROUP,
        column_properties=columns,
    )
