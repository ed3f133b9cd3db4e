"""The panel store: one Delta table per role group, read as of any time; the only door to `deltalake`.

Every record has `known_at` (when the world knew the value) and `recorded_at` (when the store got
it). A correction is a further record; nothing is overwritten or removed. `given` says whether
`known_at` came with the data or was assigned here.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
from deltalake import DeltaTable, WriterProperties, write_deltalake

from features.asof import GIVEN, canonical_hash, latest, unknown_to
from features.table_files import make_durable
from quantis.errors import NotFound
from quantis.panel import DS, ID, KNOWN_AT, RECORDED_AT, TIMESTAMP, Panel

ALWAYS = datetime(1900, 1, 1, tzinfo=UTC)
"""`known_at` of known-future and static values that came without one."""

GROUPS = {"target": (ID, DS), "future": (ID, DS), "static": (ID,)}
"""Role groups and the key of their records."""

_TIMES = (KNOWN_AT, RECORDED_AT, GIVEN)
_ROWS_PER_GROUP = 8192  # so that reading one series decodes little else
_MANY_SERIES = 200  # beyond this, one scan is cheaper than a filter


@dataclass(frozen=True)
class Pins:
    """The Delta version of each role group: what a dataset version stands for."""

    target: int
    future: int
    static: int


class PanelStore:
    """One dataset in one folder."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._opened: dict[tuple[str, int], pads.Dataset] = {}

    def pins(self) -> Pins | None:
        """The latest version of each table; None before the first write."""
        tables = [self._latest(group) for group in GROUPS]
        return None if None in tables else Pins(*(table.version() for table in tables if table is not None))

    def write(self, panel: Panel, *, recorded_at: datetime, publication_lag: timedelta) -> Pins:
        """Append what is new or changed; equal pins before and after mean that nothing was.

        Without `known_at` a new history value counts as known at ds + publication_lag, a new future
        or static value as known always, and a changed value as known when recorded.
        """
        with self._alone():
            moment = self._next_moment(recorded_at)
            versions = {
                group: self._append(group, getattr(panel, group), moment, publication_lag) for group in GROUPS
            }
        return Pins(**versions)

    def read(
        self,
        pins: Pins,
        *,
        as_of: datetime,
        series: Sequence[str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> Panel:
        """What was known at `as_of`: per key the record of the latest known_at, then recorded_at.

        `start` and `end` bound `ds`, both included. Tables are sorted by their key.
        """
        return Panel(
            **{
                group: latest(
                    self._records(group, getattr(pins, group), as_of, series, start, end), key
                ).drop(list(_TIMES))
                for group, key in GROUPS.items()
            }
        )

    def series(self, pins: Pins, *, as_of: datetime | None = None) -> pa.Table:
        """Each series' `unique_id, rows, first_ds, last_ds` and static values, sorted."""
        target = latest(
            self._records("target", pins.target, as_of, columns=[ID, DS, *_TIMES]), GROUPS["target"]
        )
        static = latest(self._records("static", pins.static, as_of), GROUPS["static"]).drop(list(_TIMES))
        counted = target.group_by(ID).aggregate([(DS, "count"), (DS, "min"), (DS, "max")])
        named = counted.rename_columns({"ds_count": "rows", "ds_min": "first_ds", "ds_max": "last_ds"})
        return named.join(static, ID, join_type="left outer").sort_by(ID)

    def content_hash(self, pins: Pins) -> str:
        """The hash of all records up to a version, corrections included; see `content_hash`."""
        return canonical_hash(
            {group: _without_assigned(self._records(group, getattr(pins, group))) for group in GROUPS}, GROUPS
        )

    def _append(self, group: str, rows: pa.Table, moment: datetime, lag: timedelta) -> int:
        table = self._latest(group)
        since = int(table.version()) if table is not None else None
        incoming = _as_records(group, rows, moment, lag)
        if table is not None:
            ids = pc.unique(rows[ID]).to_pylist()
            stored = self._records(group, table.version(), series=ids if len(ids) <= _MANY_SERIES else None)
            incoming = unknown_to(stored, incoming, GROUPS[group])
            if incoming.num_rows == 0:
                return int(table.version())
        write_deltalake(
            table or str(self.folder / group),
            incoming.sort_by([(name, "ascending") for name in GROUPS[group]]),
            mode="append",
            schema_mode="merge" if table is not None else None,
            writer_properties=WriterProperties(compression="ZSTD", max_row_group_size=_ROWS_PER_GROUP),
        )
        written = self._latest(group)
        assert written is not None
        make_durable(self.folder / group, int(written.version()), since)
        return int(written.version())

    def _next_moment(self, recorded_at: datetime) -> datetime:
        """`recorded_at`, or just after the last one stored: it never goes back, and no two are equal."""
        last: list[datetime | None] = [
            pc.max(self._records(group, table.version(), columns=[RECORDED_AT])[RECORDED_AT]).as_py()
            for group in GROUPS
            if (table := self._latest(group)) is not None
        ]
        later = [moment + timedelta(microseconds=1) for moment in last if moment is not None]
        return max([recorded_at.astimezone(UTC), *later])

    def _records(
        self,
        group: str,
        version: int,
        as_of: datetime | None = None,
        series: Sequence[str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        columns: list[str] | None = None,
    ) -> pa.Table:
        bounds = [pc.field(ID).isin(pa.array(series, pa.string()))] if series is not None else []
        if as_of is not None:
            bounds.append(pc.field(KNOWN_AT) <= _scalar(as_of))
        if DS in GROUPS[group]:
            bounds += [pc.field(DS) >= _scalar(start)] if start is not None else []
            bounds += [pc.field(DS) <= _scalar(end)] if end is not None else []
        chosen: Any = None
        for bound in bounds:
            chosen = bound if chosen is None else chosen & bound
        return self._dataset(group, version).to_table(columns=columns, filter=chosen)

    def _dataset(self, group: str, version: int) -> pads.Dataset:
        if (group, version) not in self._opened:
            try:
                table = DeltaTable(str(self.folder / group), version=version)
            except Exception as error:
                raise NotFound(f"version {version} of {group!r} is not stored; list the versions") from error
            self._opened[group, version] = table.to_pyarrow_dataset()
        return self._opened[group, version]

    def _latest(self, group: str) -> DeltaTable | None:
        folder = str(self.folder / group)
        return DeltaTable(folder) if DeltaTable.is_deltatable(folder) else None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One writer at a time on this machine; two could store the same correction twice."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def content_hash(panel: Panel) -> str:
    """sha256 of what a panel says: names, types, values and given `known_at`.

    Row order, column order, file layout and assigned times do not change it.
    """
    return canonical_hash({group: getattr(panel, group) for group in GROUPS}, GROUPS)


def _as_records(group: str, rows: pa.Table, moment: datetime, lag: timedelta) -> pa.Table:
    """Rows with `known_at`, `recorded_at` and `given`."""
    if group == "target":
        assigned = pc.add(rows[DS], pa.scalar(lag, pa.duration("us")))
    else:
        assigned = pa.repeat(_scalar(ALWAYS), rows.num_rows)
    if KNOWN_AT in rows.column_names:
        known, given = pc.coalesce(rows[KNOWN_AT], assigned), pc.is_valid(rows[KNOWN_AT])
        rows = rows.drop([KNOWN_AT])
    else:
        known, given = assigned, pa.repeat(pa.scalar(False), rows.num_rows)
    recorded = pa.repeat(_scalar(moment), rows.num_rows)
    for name, column in ((KNOWN_AT, known), (RECORDED_AT, recorded), (GIVEN, given)):
        rows = rows.append_column(name, column)
    return rows


def _without_assigned(records: pa.Table) -> pa.Table:
    given = pc.if_else(records[GIVEN], records[KNOWN_AT], pa.scalar(None, TIMESTAMP))
    return records.drop([KNOWN_AT, GIVEN]).append_column(KNOWN_AT, given)


def _scalar(moment: datetime) -> pa.Scalar:
    return pa.scalar(moment.astimezone(UTC), TIMESTAMP)
