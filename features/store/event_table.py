"""An append-only Delta table whose appends are numbered, so that none is made twice, whoever is killed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from features.store.delta_files import latest_version, remove_commits, sync_commits
from quantis.errors import Conflict

_HOOKS = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)
_CONFIGURATION = {"delta.checkpointInterval": "20"}
_MANY_FILES = 200
"""Files from which on they are written together: each append makes one."""


class EventTable:
    """Rows that are never changed, in a folder that the first append makes.

    Each append advances counters, which the same commit records: `progress` says what is in the table. A writer that
    was killed asks it and goes on from there.
    """

    def __init__(self, folder: Path, schema: pa.Schema, sort_by: Sequence[str]) -> None:
        """`sort_by` orders the rows of a file, so that a read of few keys opens little."""
        self.folder = folder
        self.schema = schema
        self._sort_by = [(name, "ascending") for name in sort_by]

    def progress(self, counter: str) -> int | None:
        """Return the number to which the appends have advanced a counter; None before the first."""
        table = self._table()
        return None if table is None else table.transaction_version(counter)

    def append(
        self, rows: pa.Table, counters: Mapping[str, int], marks: Mapping[str, int] | None = None
    ) -> bool:
        """Append rows and advance the counters; False, with nothing done, where all are there already.

        `marks` are written with them, and do not decide that: they say when, not how far. Conflict when another writer
        committed meanwhile: ask for the progress again.
        """
        table = self._table()
        if table is not None and all(
            (table.transaction_version(name) or 0) >= number for name, number in counters.items()
        ):
            return False
        base = None if table is None else int(table.version())
        commit = CommitProperties(
            max_commit_retries=0,
            app_transactions=[
                Transaction(name, number) for name, number in {**counters, **(marks or {})}.items()
            ],
        )
        try:
            if table is not None and not rows.num_rows:  # the counters alone, without an empty file
                table.create_write_transaction(
                    [], "append", table.schema(), commit_properties=commit, post_commithook_properties=_HOOKS
                )
            else:
                write_deltalake(
                    table if table is not None else str(self.folder),
                    rows.select(self.schema.names).cast(self.schema).sort_by(self._sort_by),
                    mode="append",
                    commit_properties=commit,
                    post_commithook_properties=_HOOKS,
                    configuration=_CONFIGURATION if table is None else None,
                )
        except CommitFailedError as error:
            raise Conflict(f"another writer changed {self.folder.name!r} meanwhile; try again") from error
        sync_commits(self.folder, 0 if base is None else base + 1, base)
        return True

    def read(self, condition: Any = None, columns: list[str] | None = None) -> pa.Table:
        """Return the rows that meet an Arrow expression, in no order."""
        try:
            return self._read(condition, columns)
        except FileNotFoundError:  # files were written together meanwhile
            return self._read(condition, columns)

    def _read(self, condition: Any, columns: list[str] | None) -> pa.Table:
        table = self._table()
        if table is None:
            names = columns or self.schema.names
            return pa.schema([self.schema.field(name) for name in names]).empty_table()
        return table.to_pyarrow_dataset(schema=self.schema).to_table(columns=columns, filter=condition)

    def count(self, condition: Any = None) -> int:
        table = self._table()
        return 0 if table is None else int(table.to_pyarrow_dataset().count_rows(filter=condition))

    def compact(self) -> bool:
        """Write the files together where they have become many, and remove the old ones; True if that was done."""
        table = self._table()
        if table is None or len(table.file_uris()) < _MANY_FILES:
            return False
        table.optimize.z_order([name for name, _ in self._sort_by], post_commithook_properties=_HOOKS)
        self._remove_unread(table)
        table.cleanup_metadata()
        return True

    def delete(self, predicate: str) -> int:
        """Delete the rows that meet a SQL predicate for good, and return their number."""
        table = self._table()
        if table is None:
            return 0
        deleted = int(table.delete(predicate, post_commithook_properties=_HOOKS)["num_deleted_rows"])
        if deleted:
            self._remove_unread(table)
        return deleted

    def purge(self, predicate: str) -> int:
        """Delete rows like `delete`, and the commits of before too, whose statistics may name what was in them."""
        deleted = self.delete(predicate)
        table = self._table()
        if deleted and table is not None:
            table.create_write_transaction([], "append", table.schema())  # one that names nothing
            table.create_checkpoint()
            remove_commits(self.folder, int(table.version()))
        return deleted

    def _remove_unread(self, table: DeltaTable) -> None:
        table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)

    def _table(self) -> DeltaTable | None:
        return DeltaTable(str(self.folder)) if latest_version(self.folder) is not None else None
