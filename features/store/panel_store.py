"""The panel store: records per role group, read as of any time, each group one Delta table.

Every record has `known_at` (when the world knew the value) and `recorded_at` (when the store got
it). A correction is a further record; nothing is overwritten, and a deleted series has a record that
says so. `given` says whether `known_at` came with the data or was assigned here.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.store.append import AppendedRecords, RecordTimes, append_new_records, id_ranges
from features.store.as_of import count_keys, datetime_epoch_us, epoch_us, latest, ranks, sort_by_key
from features.store.content_hash import GIVEN, ContentSums
from features.store.delta_files import data_files
from features.store.delta_table import RECORD_COLUMNS, GroupTable
from features.store.record_filter import ALL_RECORDS, UNBOUNDED, Bounds, RecordFilter
from quantis.errors import Conflict
from quantis.panel import DS, ID, KNOWN_AT, RECORDED_AT, TIMESTAMP, Panel, Y

GROUPS = {"target": (ID, DS), "future": (ID, DS), "static": (ID,)}
"""Role groups and the key of their records."""

_REVISION = [KNOWN_AT, "values", "first_ds", "last_ds"]
_SUMMARY = [ID, "rows", "first_ds", "last_ds"]
_COUNTED = pa.schema(
    [(ID, pa.string()), ("ds_count", pa.int64()), ("ds_min", TIMESTAMP), ("ds_max", TIMESTAMP)]
)

TOMBSTONES, DELETED = "deleted", "deleted"
"""The group of tombstones, and its column: true where a series was deleted, false where restored."""


@dataclass(frozen=True)
class VersionPins:
    """The table versions that a dataset version reads, and the time of its last record.

    `deleted` is None before the first deletion. `recorded_to`, in microseconds since 1970, bounds
    `recorded_at`, so that a table which was rewritten with later records in it reads the same.
    """

    target: int
    future: int
    static: int
    deleted: int | None = None
    recorded_to: int | None = None

    @classmethod
    def from_json(cls, pins: Mapping[str, Any]) -> VersionPins:
        return cls(**pins)

    def to_json(self) -> dict[str, int | None]:
        return asdict(self)

    def versions(self) -> dict[str, int]:
        """Return the pinned version of each group's table."""
        versions = {group: getattr(self, group) for group in (*GROUPS, TOMBSTONES)}
        return {group: version for group, version in versions.items() if version is not None}


@dataclass(frozen=True)
class WriteResult:
    """The result of a write; `pins` equal to those before it mean that there was nothing new."""

    pins: VersionPins
    added: Mapping[str, AppendedRecords]

    def content_after(self, content: ContentSums) -> ContentSums:
        """Return the content after the write from that before it."""
        for added in self.added.values():
            content = content.merge(added.content)
        return content


class PanelStore:
    """A dataset in a folder of its own."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.tables = {name: GroupTable(self.folder / name, key) for name, key in GROUPS.items()}
        self.tables[TOMBSTONES] = GroupTable(self.folder / TOMBSTONES, (ID,))

    def __reduce__(self) -> tuple[type[PanelStore], tuple[Path]]:
        """Travel between processes as the folder; open tables stay behind."""
        return type(self), (self.folder,)

    def write(
        self,
        panel: Panel,
        *,
        after: VersionPins | None,
        recorded_at: datetime,
        publication_lag: timedelta,
        live: bool = False,
    ) -> WriteResult:
        """Append what is new or changed since `after` (None: nothing is stored).

        Without `known_at` a new history value counts as known at ds + publication_lag, a new future
        or static value as known always; a `live` one when it was recorded, an observation not before
        its ds. A changed value counts as known when recorded. Conflict when a series is deleted.
        """
        times = RecordTimes(self._next_recorded_at(after, recorded_at), publication_lag, live)
        self._check_not_deleted(panel, after)
        versions, added = dict(after.versions() if after else {}), {}
        for group in GROUPS:
            base = versions.get(group)
            appended = append_new_records(group, self.tables[group], getattr(panel, group), times, base)
            if appended.content.groups:
                added[group] = appended
            versions[group] = appended.version
        if after is not None and not added:
            return WriteResult(after, {})
        return WriteResult(VersionPins(**versions, recorded_to=times.epoch_us), added)

    def set_deleted(
        self, series: str, deleted: bool, *, after: VersionPins, recorded_at: datetime
    ) -> WriteResult:
        """Record that a series is deleted, or restored, from now on; earlier as-of reads do not change."""
        times = RecordTimes(self._next_recorded_at(after, recorded_at), timedelta(0), live=True)
        rows = pa.table({ID: [series], DELETED: [deleted]})
        appended = append_new_records(TOMBSTONES, self.tables[TOMBSTONES], rows, times, after.deleted)
        if not appended.content.groups:
            return WriteResult(after, {})
        versions = {**after.versions(), TOMBSTONES: appended.version}
        return WriteResult(VersionPins(**versions, recorded_to=times.epoch_us), {TOMBSTONES: appended})

    def read(self, pins: VersionPins, *, as_of: datetime, bounds: Bounds = UNBOUNDED) -> Panel:
        """Return the latest record per key known at `as_of`, by known_at, then recorded_at.

        A series that was deleted by then is left out. Tables are sorted by their key.
        """
        where = RecordFilter(bounds, excluded=self.deleted_series(pins, as_of), known_to=as_of)
        tables = {}
        for group, key in GROUPS.items():
            tables[group] = latest(self._records(group, pins, where), key).drop(list(RECORD_COLUMNS))
        return Panel(**tables)

    def deleted_series(self, pins: VersionPins, as_of: datetime | None = None) -> list[str]:
        """Return the series that are deleted at a time; absent, by the version's last record."""
        if pins.deleted is None:
            return []
        tombstones = latest(self._records(TOMBSTONES, pins, RecordFilter(known_to=as_of)), (ID,))
        names: list[str] = tombstones.filter(tombstones[DELETED])[ID].to_pylist()
        return names

    def deleted_at(self, pins: VersionPins, series: str) -> datetime | None:
        """Return the time of a series' deletion; None when it is not deleted."""
        if pins.deleted is None:
            return None
        records = self._records(TOMBSTONES, pins, RecordFilter(Bounds(series=[series])))
        tombstones = latest(records, (ID,)).to_pylist()
        deleted = bool(tombstones) and tombstones[0][DELETED]
        time: datetime | None = tombstones[0][KNOWN_AT] if deleted else None
        return time

    def series(self, pins: VersionPins, *, as_of: datetime | None = None) -> pa.Table:
        """Return each series' `unique_id, rows, first_ds, last_ds` and static values, sorted."""
        where = RecordFilter(known_to=as_of, excluded=self.deleted_series(pins, as_of))
        static = latest(self._records("static", pins, where), GROUPS["static"]).drop(list(RECORD_COLUMNS))
        columns = [ID, DS, KNOWN_AT, RECORDED_AT]
        counted = [
            latest(chunk, GROUPS["target"]).group_by(ID).aggregate([(DS, "count"), (DS, "min"), (DS, "max")])
            for chunk in self.chunks("target", pins, where, columns)
        ]
        summary = pa.concat_tables([_COUNTED.empty_table(), *counted]).rename_columns(_SUMMARY)
        return summary.join(static, ID, join_type="left outer").sort_by(ID)

    def revisions(self, pins: VersionPins, series: str) -> list[dict[str, Any]]:
        """Return the corrections of a series: `known_at, group, values, first_ds, last_ds`, in order."""
        revisions: list[dict[str, Any]] = []
        where = RecordFilter(Bounds(series=[series]))
        for group, key in GROUPS.items():
            if DS not in key:
                continue
            records = self._records(group, pins, where, [ID, DS, KNOWN_AT, RECORDED_AT])
            rows = sort_by_key(records, key)
            ds = epoch_us(rows[DS])
            # Sorted by time: a row with the same ds as the one before it is a correction.
            corrections = rows.filter(pa.array(np.diff(ds, prepend=ds[:1] - 1) == 0))
            grouped = corrections.group_by(KNOWN_AT).aggregate([(DS, "count"), (DS, "min"), (DS, "max")])
            revisions += [{**row, "group": group} for row in grouped.rename_columns(_REVISION).to_pylist()]
        return sorted(revisions, key=lambda row: (row[KNOWN_AT], row["group"]))

    def target_records(self, pins: VersionPins, where: RecordFilter = ALL_RECORDS) -> pa.Table:
        """Return every record of the target, corrections too: `unique_id, ds, y, known_at, recorded_at`."""
        return self._records("target", pins, where, [ID, DS, Y, KNOWN_AT, RECORDED_AT])

    def has_records(self, pins: VersionPins, series: Sequence[str]) -> bool:
        """Return True if there are records of any of the series, deleted or not."""
        where = RecordFilter(Bounds(series=series))
        return any(self._records(group, pins, where, [ID]).num_rows for group in GROUPS)

    def record_counts(self, pins: VersionPins) -> dict[str, int]:
        """Return the number of records of each group of a version."""
        where = RecordFilter(recorded_to=pins.recorded_to)
        return {group: self.tables[group].count(version, where) for group, version in pins.versions().items()}

    def file_count(self, pins: VersionPins) -> int:
        """Return the number of data files that a version reads."""
        versions = pins.versions().items()
        return sum(len(data_files(self.folder / group, version)) for group, version in versions)

    def rewrite(self, pins: VersionPins, excluded: Sequence[str] = ()) -> VersionPins:
        """Write all records, less those of excluded series, as few files in the order of their keys.

        The rewritten tables are new versions; `pins` reads the same as before.
        """
        where = RecordFilter(excluded=excluded)
        versions = {
            group: self.tables[group].rewrite(self.chunks(group, pins, where), version)
            for group, version in pins.versions().items()
        }
        return VersionPins(**versions, recorded_to=datetime_epoch_us(self.recorded_to(pins)))

    def summarize(self, pins: VersionPins) -> dict[str, Any] | None:
        """Return `rows, series, first_ds, last_ds` of the series not deleted; None without a row."""
        where = RecordFilter(excluded=self.deleted_series(pins))
        rows, times = 0, []  # chunk by chunk, since a panel may be larger than memory
        for chunk in self.chunks("target", pins, where):
            rows += count_keys(chunk, GROUPS["target"])
            times += pc.min_max(chunk[DS]).as_py().values()
        if not rows:
            return None
        series = len(pc.unique(self._records("static", pins, where, [ID])[ID]))
        return {"rows": rows, "series": series, "first_ds": min(times), "last_ds": max(times)}

    def columns(self, pins: VersionPins) -> dict[str, str]:
        """Return each column of the panel and its type, as stored."""
        schemas = [self.tables[group].schema(version) for group, version in pins.versions().items()]
        columns = {}
        for field in (field for schema in schemas for field in schema):
            if field.name not in (*RECORD_COLUMNS, DELETED):
                columns[field.name] = str(field.type)
        return columns

    def content(self, pins: VersionPins) -> ContentSums:
        """Return the content of all records of a version, corrections and deletions included."""
        content = ContentSums.empty()
        for group in pins.versions():
            for chunk in self.chunks(group, pins):
                content = content.plus(group, chunk, ranks(chunk, self.tables[group].key))
        return content

    def content_hash(self, pins: VersionPins) -> str:
        """Return the digest of `content`; see the function of the same name."""
        return self.content(pins).digest()

    def chunks(
        self,
        group: str,
        pins: VersionPins,
        where: RecordFilter = ALL_RECORDS,
        columns: list[str] | None = None,
    ) -> Iterator[pa.Table]:
        """Yield the records of a version in the order of their key, whole series at a time."""
        table = self.tables[group]
        for id_range in id_ranges(table, pins.versions()[group]):
            records = self._records(group, pins, replace(where, id_range=id_range), columns)
            if records.num_rows:
                yield sort_by_key(records, table.key)

    @contextmanager
    def write_lock(self) -> Iterator[None]:
        """Hold the dataset's lock against writers on this machine; a commit detects those of others."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _records(
        self,
        group: str,
        pins: VersionPins,
        where: RecordFilter = ALL_RECORDS,
        columns: list[str] | None = None,
    ) -> pa.Table:
        where = replace(where, recorded_to=pins.recorded_to)
        return self.tables[group].records(pins.versions()[group], where, columns)

    def _next_recorded_at(self, after: VersionPins | None, recorded_at: datetime) -> datetime:
        """Return `recorded_at`, or just after the last one stored: it never goes back, and no two are equal."""
        last = self.recorded_to(after) if after else None
        recorded_at = recorded_at.astimezone(UTC)
        return recorded_at if last is None else max(recorded_at, last + timedelta(microseconds=1))

    def recorded_to(self, pins: VersionPins) -> datetime | None:
        """Return the time of a version's last record; None when there is none."""
        if pins.recorded_to is not None:
            last = pa.scalar(pins.recorded_to, pa.timestamp("us")).cast(TIMESTAMP)
        else:
            times = [self._records(group, pins, columns=[RECORDED_AT]) for group in pins.versions()]
            last = pc.max(pa.concat_tables(times)[RECORDED_AT])
        time: datetime | None = last.as_py()
        return time

    def _check_not_deleted(self, panel: Panel, after: VersionPins | None) -> None:
        deleted = set(self.deleted_series(after)) if after is not None else set()
        if not deleted:
            return
        uploaded: set[str] = set()
        for group in GROUPS:
            uploaded |= set(pc.unique(getattr(panel, group)[ID]).to_pylist())
        conflicting = sorted(deleted & uploaded)
        if conflicting:
            examples = ", ".join(repr(name) for name in conflicting[:3])
            raise Conflict(
                f"{len(conflicting)} series of this upload are deleted: {examples}; "
                "restore them, or leave them out"
            )


def content_hash(panel: Panel) -> str:
    """Return the sha256 of a panel's content: names, types, values and given `known_at`.

    Row order, column order, file layout and assigned times do not change it.
    """
    content = ContentSums.empty()
    for group, key in GROUPS.items():
        rows = getattr(panel, group)
        if KNOWN_AT in rows.column_names:
            rows = rows.append_column(GIVEN, rows[KNOWN_AT].is_valid())
        # Nothing of a panel is recorded yet: the order of its rows stands for that of recording.
        order = pa.array(range(rows.num_rows), pa.int64()).cast(pa.timestamp("us")).cast(TIMESTAMP)
        content = content.plus(group, rows, ranks(rows.append_column(RECORDED_AT, order), key))
    return content.digest()
