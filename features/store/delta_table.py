"""One Delta table of records: read at a version, appended to, rewritten; the door to `deltalake`.

A change is made on a base version that the caller has read. What another writer left after it without
recording it in the database is taken back first; if another writer is at it now, Conflict.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import and_
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
from quantis.errors import Conflict, NotFound
from quantis.files import sync_folder
from quantis.panel import DS, ID, KNOWN_AT, RECORDED_AT, TIMESTAMP, Y

TIMES = (KNOWN_AT, RECORDED_AT, GIVEN)
"""The columns of a record that are not of the panel."""

_ROWS_PER_GROUP = 8192  # so that reading one series decodes little else
_FILE_BYTES = 16 * 2**20  # about two million rows; files hold ranges of series, so most are never opened
_OPENED = 16  # versions kept open
_CHECKPOINTS = {"delta.checkpointInterval": "10"}  # so that opening a version reads few commits
_ONE_BY_ONE = 16  # ids up to which comparing is cheaper than a set

_COARSE = timedelta(milliseconds=1)  # to which bounds of times may be cut
_COMMIT = CommitProperties(max_commit_retries=0)
_HOOKS = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)


@dataclass(frozen=True)
class _Written:
    """What a version that was just written is known to be without opening it: its files have bounds."""

    version: int
    schema: pa.Schema
    files: pa.Table

    @classmethod
    def of(cls, table: DeltaTable) -> _Written:
        schema = pa.schema(table.schema().to_arrow())
        return cls(int(table.version()), schema, pa.table(table.get_add_actions(flatten=True)))


class GroupTable:
    """The records of one role group."""

    def __init__(self, folder: Path, key: Sequence[str]) -> None:
        self.folder, self.key = folder, tuple(key)
        self._lock = threading.Lock()  # of what follows
        self._opened: OrderedDict[int, pads.Dataset] = OrderedDict()
        self._held: dict[int, pads.Dataset] = {}
        self._newest: DeltaTable | None = None
        self._written: _Written | None = None

    def records(
        self,
        version: int,
        *,
        series: Sequence[str] | None = None,
        between: tuple[str, str] | None = None,
        without: Sequence[str] = (),
        known_to: datetime | None = None,
        recorded_to: int | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        columns: list[str] | None = None,
    ) -> pa.Table:
        """The records of a version within the bounds given, all of them included; in no order.

        `between` bounds ids, `recorded_to` is in microseconds since 1970.
        """
        chosen = self._filter(series, between, without, known_to, recorded_to, start, end)
        try:
            return self._dataset(version).to_table(columns=columns, filter=chosen)
        except FileNotFoundError as error:
            raise self._gone(version) from error

    def count(
        self,
        version: int,
        *,
        between: tuple[str, str] | None = None,
        recorded_to: int | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> int:
        """How many records lie within the bounds; far cheaper than reading them."""
        chosen = self._filter(None, between, (), None, recorded_to, start, end)
        return int(self._dataset(version).count_rows(filter=chosen))

    def batches(self, version: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
        yield from self._dataset(version).to_batches(columns=columns)

    def schema(self, version: int) -> pa.Schema:
        written = self._written
        return written.schema if written and written.version == version else self._dataset(version).schema

    def may_contain(
        self, version: int, between: tuple[str, str], start: datetime | None, end: datetime | None
    ) -> bool:
        """False where the last write here has left bounds of all files, and nothing lies within these."""
        written = self._written
        if written is None or written.version != version:
            return True
        files, inside = written.files, pc.scalar(True)
        for name, low, high in ((ID, *between), (DS, start, end)):
            if f"max.{name}" in files.column_names and low is not None and high is not None:
                least, most = pc.field(f"min.{name}"), pc.field(f"max.{name}")
                late = most if name == ID else pc.add(most, _COARSE)
                here = (least <= pa.scalar(high)) & (late >= pa.scalar(low))
                inside &= here | least.is_null() | most.is_null()
        return bool(files.filter(inside).num_rows)

    @contextmanager
    def keep_open(self, version: int) -> Iterator[None]:
        """Have a version open meanwhile.

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
        """Add records after a base version (None: there is none); the new version."""
        with self._alone(base):
            table = self._healed(base)
            return self._write(table, chunks, schema, "append" if base is not None else "overwrite", base)

    def rewrite(self, chunks: Iterable[pa.Table], base: int) -> int:
        """Put records in place of those of a base version, whose files stay; the new version.

        From now on these files are old, whenever they were written: their time of writing is now.
        """
        with self._alone(base), self.keep_open(base):
            version = self._write(self._healed(base), chunks, self.schema(base), "overwrite", base)
        for path in data_files(self.folder, base):
            path.touch()
        return version

    def vacuum(self, version: int) -> int:
        """Remove every file and commit that reading the latest version, this one, does not need.

        Older versions cannot be read any more. How many files were removed.
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
            self._newest = self._written = None
        data = [path for path in self.folder.rglob("*.parquet") if LOG not in path.parts]
        old = [path for path in data if path.name not in needed]
        old += [path for path in (self.folder / LOG).iterdir() if _commit_number(path) < version]
        for path in old:
            path.unlink(missing_ok=True)
        sync_folder(self.folder / LOG)
        sync_folder(self.folder)
        return len(old)

    def _write(
        self,
        table: DeltaTable | None,
        chunks: Iterable[pa.Table],
        schema: pa.Schema,
        mode: Any,
        base: int | None,
    ) -> int:
        reader = pa.RecordBatchReader.from_batches(
            schema, (batch for chunk in chunks for batch in _shaped(chunk, schema).to_batches())
        )
        write_deltalake(
            table or str(self.folder),
            reader,
            mode=mode,
            schema_mode=None if table is None else "merge" if mode == "append" else "overwrite",
            target_file_size=_FILE_BYTES,
            writer_properties=_writer(schema),
            commit_properties=_COMMIT,
            post_commithook_properties=_HOOKS,
            configuration=_CHECKPOINTS if table is None else None,
        )
        version = int(table.version()) if table is not None else 0
        sync_commits(self.folder, version, base)
        with self._lock:
            self._newest = table
            self._written = None if table is None else _Written.of(table)
        return version

    def _healed(self, base: int | None) -> DeltaTable | None:
        """The table with nothing after the base version; None when nothing was ever written."""
        with self._lock:  # it changes from here on, so no reader may have it
            table, self._newest = self._newest, None
        if table is not None and base is not None and _caught_up(table) == base:
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
        with self._lock:
            found = self._held.get(version) or self._opened.get(version)
            if found is None and self._newest is not None and self._newest.version() == version:
                found = self._opened[version] = self._newest.to_pyarrow_dataset()
        if found is None:
            try:
                found = DeltaTable(str(self.folder), version=version).to_pyarrow_dataset()
            except (DeltaError, FileNotFoundError) as error:
                raise self._gone(version) from error
        with self._lock:
            self._opened[version] = found
            self._opened.move_to_end(version)
            while len(self._opened) > _OPENED:
                self._opened.popitem(last=False)
        return found

    def _gone(self, version: int) -> NotFound:
        return NotFound(
            f"version {version} of {self.folder.name!r} is not stored (any more): its retention time is over, "
            "or its series were purged; open the dataset anew"
        )

    @contextmanager
    def _alone(self, base: int | None) -> Iterator[None]:
        """Turns a commit that another writer's got in the way of into Conflict."""
        try:
            yield
        except CommitFailedError as error:
            if latest_version(self.folder) != base:
                raise Conflict(f"another writer changed {self.folder.name!r} meanwhile; try again") from error
            raise

    def _filter(
        self,
        series: Sequence[str] | None,
        between: tuple[str, str] | None,
        without: Sequence[str],
        known_to: datetime | None,
        recorded_to: int | None,
        start: datetime | None,
        end: datetime | None,
    ) -> Any:
        bounds = []
        if series is not None and 0 < len(series) <= _ONE_BY_ONE:
            bounds.append(reduce(lambda one, other: one | other, (pc.field(ID) == name for name in series)))
        elif series is not None:
            bounds.append(pc.field(ID).isin(pa.array(series, pa.string())))
        if between is not None:
            bounds += [pc.field(ID) >= between[0], pc.field(ID) <= between[1]]
        if without:
            bounds.append(~pc.field(ID).isin(pa.array(without, pa.string())))
        if known_to is not None:
            bounds.append(pc.field(KNOWN_AT) <= moment(known_to))
        if recorded_to is not None:
            bounds.append(pc.field(RECORDED_AT) <= pa.scalar(recorded_to, pa.timestamp("us")).cast(TIMESTAMP))
        if DS in self.key:
            bounds += [pc.field(DS) >= moment(start)] if start is not None else []
            bounds += [pc.field(DS) <= moment(end)] if end is not None else []
        return reduce(and_, bounds) if bounds else None


def _caught_up(table: DeltaTable) -> int | None:
    """The newest version of an open table; None when that cannot be told from what is open."""
    try:
        table.update_incremental()
    except (DeltaError, OSError):
        return None
    return int(table.version())


def _shaped(chunk: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of the schema, null where the chunk has none."""
    columns = [
        chunk[field.name] if field.name in chunk.column_names else pa.nulls(chunk.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema.names).cast(schema)


def _commit_number(path: Path) -> float:
    """Of a commit or checkpoint; no number is beyond all."""
    return int(path.name[:20]) if path.name[:20].isdigit() else float("inf")


def moment(value: datetime) -> pa.Scalar:
    return pa.scalar(value, TIMESTAMP)


def _writer(schema: pa.Schema) -> WriterProperties:
    """Times packed by their differences: a regular grid takes next to nothing."""
    packed = ColumnProperties(encoding="DELTA_BINARY_PACKED", dictionary_enabled=False)
    plain = ColumnProperties(dictionary_enabled=False)
    columns = {name: packed for name in (DS, KNOWN_AT, RECORDED_AT) if name in schema.names}
    columns |= {name: plain for name in schema.names if name == Y}
    return WriterProperties(
        compression="ZSTD",
        compression_level=1,
        max_row_group_size=_ROWS_PER_GROUP,
        column_properties=columns,
    )
