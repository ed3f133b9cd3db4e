"""The panel store: records per role group, read as of any time, each group one Delta table.

Every record has `known_at` (when the world knew the value) and `recorded_at` (when the store got
it). A correction is a further record; nothing is overwritten, and a deleted series has a record that
says so. `given` says whether `known_at` came with the data or was assigned here.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
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
from features.store.delta_table import TIMES, GroupTable
from quantis.errors import Conflict
from quantis.panel import DS, ID, KNOWN_AT, RECORDED_AT, TIMESTAMP, Panel

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
    """What a dataset version stands for: a version of each table, and the last record that counts.

    `deleted` is None before the first deletion. `recorded_to`, in microseconds since 1970, bounds
    `recorded_at`, so that a table which was rewritten with later records in it reads the same.
    """

    target: int
    future: int
    static: int
    deleted: int | None = None
    recorded_to: int | None = None

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> VersionPins:
        """The inverse of `kept`."""
        return cls(**kept)

    def to_json(self) -> dict[str, int | None]:
        """As JSON keeps it."""
        return asdict(self)

    def versions(self) -> dict[str, int]:
        """The pinned version of each group's table."""
        found = {group: getattr(self, group) for group in (*GROUPS, TOMBSTONES)}
        return {group: version for group, version in found.items() if version is not None}


@dataclass(frozen=True)
class WriteResult:
    """What a write did. `pins` equal to those before it mean that there was nothing new."""

    pins: VersionPins
    added: Mapping[str, AppendedRecords]

    def content_after(self, before: ContentSums) -> ContentSums:
        """The content after the write."""
        for added in self.added.values():
            before = before.merge(added.content)
        return before


class PanelStore:
    """One dataset in one folder."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.tables = {name: GroupTable(self.folder / name, key) for name, key in GROUPS.items()}
        self.tables[TOMBSTONES] = GroupTable(self.folder / TOMBSTONES, (ID,))

    def __reduce__(self) -> tuple[type[PanelStore], tuple[Path]]:
        """How it travels between processes: as its folder."""
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
        stamp = RecordTimes(self._moment(after, recorded_at), publication_lag, live)
        self._check_not_deleted(panel, after)
        versions, added = dict(after.versions() if after else {}), {}
        for group in GROUPS:
            base = versions.get(group)
            done = append_new_records(group, self.tables[group], getattr(panel, group), stamp, base)
            if done.content.groups:
                added[group] = done
            versions[group] = done.version
        if after is not None and not added:
            return WriteResult(after, {})
        return WriteResult(VersionPins(**versions, recorded_to=stamp.epoch_us), added)

    def set_deleted(
        self, series: str, deleted: bool, *, after: VersionPins, recorded_at: datetime
    ) -> WriteResult:
        """Record that a series is deleted from now on, or is back; as-of reads before now do not change."""
        stamp = RecordTimes(self._moment(after, recorded_at), timedelta(0), live=True)
        rows = pa.table({ID: [series], DELETED: [deleted]})
        done = append_new_records(TOMBSTONES, self.tables[TOMBSTONES], rows, stamp, after.deleted)
        if not done.content.groups:
            return WriteResult(after, {})
        pins = {**after.versions(), TOMBSTONES: done.version}
        return WriteResult(VersionPins(**pins, recorded_to=stamp.epoch_us), {TOMBSTONES: done})

    def read(
        self,
        pins: VersionPins,
        *,
        as_of: datetime,
        series: Sequence[str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> Panel:
        """What was known at `as_of`: per key the record of the latest known_at, then recorded_at.

        A series that was deleted by then is not there. `start` and `end` bound `ds`, both included.
        Tables are sorted by their key.
        """
        gone = self.deleted_series(pins, as_of)
        bounds = {"series": series, "start": start, "end": end, "known_to": as_of, "without": gone}
        return Panel(
            **{
                group: latest(self._records(group, pins, **bounds), key).drop(list(TIMES))
                for group, key in GROUPS.items()
            }
        )

    def deleted_series(self, pins: VersionPins, as_of: datetime | None = None) -> list[str]:
        """The series that are deleted at a time, at the end when absent."""
        if pins.deleted is None:
            return []
        marks = latest(self._records(TOMBSTONES, pins, known_to=as_of), (ID,))
        names: list[str] = marks.filter(marks[DELETED])[ID].to_pylist()
        return names

    def deleted_at(self, pins: VersionPins, series: str) -> datetime | None:
        """When a series that is deleted was; None when it is not."""
        if pins.deleted is None:
            return None
        marks = latest(self._records(TOMBSTONES, pins, series=[series]), (ID,)).to_pylist()
        found: datetime | None = marks[0][KNOWN_AT] if marks and marks[0][DELETED] else None
        return found

    def series(self, pins: VersionPins, *, as_of: datetime | None = None) -> pa.Table:
        """Each series' `unique_id, rows, first_ds, last_ds` and static values, sorted."""
        bounds = {"known_to": as_of, "without": self.deleted_series(pins, as_of)}
        static = latest(self._records("static", pins, **bounds), GROUPS["static"]).drop(list(TIMES))
        times = [ID, DS, KNOWN_AT, RECORDED_AT]
        counted = [
            latest(chunk, GROUPS["target"]).group_by(ID).aggregate([(DS, "count"), (DS, "min"), (DS, "max")])
            for chunk in self.chunks("target", pins, columns=times, **bounds)
        ]
        named = pa.concat_tables([_COUNTED.empty_table(), *counted]).rename_columns(_SUMMARY)
        return named.join(static, ID, join_type="left outer").sort_by(ID)

    def revisions(self, pins: VersionPins, series: str) -> list[dict[str, Any]]:
        """When values of a series were corrected: `known_at, group, values, first_ds, last_ds`, in order."""
        found: list[dict[str, Any]] = []
        for group, key in GROUPS.items():
            if DS not in key:
                continue
            columns = [ID, DS, KNOWN_AT, RECORDED_AT]
            rows = sort_by_key(self._records(group, pins, series=[series], columns=columns), key)
            again = rows.filter(
                pa.array(np.diff(epoch_us(rows[DS]), prepend=epoch_us(rows[DS])[:1] - 1) == 0)
            )
            grouped = again.group_by(KNOWN_AT).aggregate([(DS, "count"), (DS, "min"), (DS, "max")])
            found += [{**row, "group": group} for row in grouped.rename_columns(_REVISION).to_pylist()]
        return sorted(found, key=lambda row: (row[KNOWN_AT], row["group"]))

    def has_records(self, pins: VersionPins, series: Sequence[str]) -> bool:
        """Whether there are records of any of the series, deleted or not."""
        return any(self._records(group, pins, series=series, columns=[ID]).num_rows for group in GROUPS)

    def record_counts(self, pins: VersionPins) -> dict[str, int]:
        """How many records of each group a version has."""
        return {
            group: self.tables[group].count(version, recorded_to=pins.recorded_to)
            for group, version in pins.versions().items()
        }

    def file_count(self, pins: VersionPins) -> int:
        """How many data files a version reads."""
        return sum(len(data_files(self.folder / group, v)) for group, v in pins.versions().items())

    def rewrite(self, pins: VersionPins, without: Sequence[str] = ()) -> VersionPins:
        """Write all records, less those of some series, as few files in the order of their keys.

        The rewritten tables are new versions; `pins` reads the same as before.
        """
        versions = {
            group: self.tables[group].rewrite(self.chunks(group, pins, without=without), version)
            for group, version in pins.versions().items()
        }
        return VersionPins(**versions, recorded_to=datetime_epoch_us(self.recorded_to(pins)))

    def summarize(self, pins: VersionPins) -> dict[str, Any] | None:
        """`rows, series, first_ds, last_ds` of the series that are not deleted; None when none is left."""
        gone, times = self.deleted_series(pins), []
        rows = 0
        for chunk in self.chunks("target", pins, without=gone):
            rows += count_keys(chunk, GROUPS["target"])
            times += pc.min_max(chunk[DS]).as_py().values()
        series = len(pc.unique(self._records("static", pins, without=gone, columns=[ID])[ID]))
        return (
            {"rows": rows, "series": series, "first_ds": min(times), "last_ds": max(times)} if rows else None
        )

    def columns(self, pins: VersionPins) -> dict[str, str]:
        """Each column of the panel and its type, as stored."""
        schemas = [self.tables[group].schema(version) for group, version in pins.versions().items()]
        fields = [field for schema in schemas for field in schema if field.name not in (*TIMES, DELETED)]
        return {field.name: str(field.type) for field in fields}

    def content(self, pins: VersionPins) -> ContentSums:
        """What all records of a version say, corrections and deletions included."""
        content = ContentSums.empty()
        for group in pins.versions():
            for chunk in self.chunks(group, pins):
                content = content.plus(group, chunk, ranks(chunk, self.tables[group].key))
        return content

    def content_hash(self, pins: VersionPins) -> str:
        """The digest of `content`; see the function of the same name."""
        return self.content(pins).digest()

    def chunks(self, group: str, pins: VersionPins, **bounds: Any) -> Iterator[pa.Table]:
        """The records of a version in the order of their key, whole series at a time."""
        table = self.tables[group]
        for between in id_ranges(table, pins.versions()[group]):
            records = self._records(group, pins, between=between, **bounds)
            if records.num_rows:
                yield sort_by_key(records, table.key)

    @contextmanager
    def write_lock(self) -> Iterator[None]:
        """One writer at a time on this machine; those of others are found out by the commit."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _records(self, group: str, pins: VersionPins, **bounds: Any) -> pa.Table:
        return self.tables[group].records(pins.versions()[group], recorded_to=pins.recorded_to, **bounds)

    def _moment(self, after: VersionPins | None, recorded_at: datetime) -> datetime:
        """`recorded_at`, or just after the last one stored: it never goes back, and no two are equal."""
        last = self.recorded_to(after) if after else None
        moment = recorded_at.astimezone(UTC)
        return moment if last is None else max(moment, last + timedelta(microseconds=1))

    def recorded_to(self, pins: VersionPins) -> datetime | None:
        """The time of a version's last record; None when there is none."""
        if pins.recorded_to is not None:
            last = pa.scalar(pins.recorded_to, pa.timestamp("us")).cast(TIMESTAMP)
        else:
            times = [self._records(group, pins, columns=[RECORDED_AT]) for group in pins.versions()]
            last = pc.max(pa.concat_tables(times)[RECORDED_AT])
        found: datetime | None = last.as_py()
        return found

    def _check_not_deleted(self, panel: Panel, after: VersionPins | None) -> None:
        gone = set(self.deleted_series(after)) if after is not None else set()
        if not gone:
            return
        named = gone & {name for group in GROUPS for name in pc.unique(getattr(panel, group)[ID]).to_pylist()}
        if named:
            shown = ", ".join(repr(name) for name in sorted(named)[:3])
            raise Conflict(
                f"{len(named)} series of this upload are deleted: {shown}; restore them, or leave them out"
            )


def content_hash(panel: Panel) -> str:
    """sha256 of what a panel says: names, types, values and given `known_at`.

    Row order, column order, file layout and assigned times do not change it.
    """
    content = ContentSums.empty()
    for group, key in GROUPS.items():
        rows = getattr(panel, group)
        if KNOWN_AT in rows.column_names:
            rows = rows.append_column(GIVEN, rows[KNOWN_AT].is_valid())
        order = pa.array(range(rows.num_rows), pa.int64()).cast(pa.timestamp("us")).cast(TIMESTAMP)
        content = content.plus(group, rows, ranks(rows.append_column(RECORDED_AT, order), key))
    return content.digest()
