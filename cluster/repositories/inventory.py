"""Inventory of stored datasets across all teams, for backups, verification and the sweeper; and of what was deleted.

A tombstone is the name or id of what was deleted. It stays, so that the name never comes to mean something else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

from sqlalchemy import ColumnElement, delete, exists, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from cluster.database.automation_tables import PurgeRow
from cluster.database.engine import Database
from cluster.database.tables import DatasetRow, DatasetVersionRow, JobRow, TombstoneRow
from quantis.types.jobs import JobState

DeletedKind = Literal["dataset", "model", "model_version", "job"]
DATASET: DeletedKind = "dataset"
MODEL: DeletedKind = "model"
VERSION: DeletedKind = "model_version"
JOB: DeletedKind = "job"


@dataclass(frozen=True)
class StoredVersion:
    number: int
    content_hash: str
    pins: dict[str, Any]
    rows: int


@dataclass(frozen=True)
class StoredDataset:
    """A dataset with its versions, oldest first."""

    team: str
    name: str
    versions: list[StoredVersion] = field(default_factory=list)


class Inventory:
    def __init__(self, database: Database) -> None:
        self._database = database

    def datasets(self) -> list[StoredDataset]:
        with self._database.read() as session:
            return list(_datasets(session))

    def versions(self, team: str, name: str) -> list[StoredVersion]:
        """Return the present versions of a dataset; none when it does not exist."""
        matches = [dataset for dataset in self.datasets() if (dataset.team, dataset.name) == (team, name)]
        return matches[0].versions if matches else []

    def live_jobs(self) -> set[str]:
        """Return the ids of the jobs that have not ended."""
        with self._database.read() as session:
            rows = session.execute(select(JobRow.id, JobRow.state))
            return {job_id for job_id, state in rows if not JobState(state).final}


def _datasets(session: Session) -> Iterator[StoredDataset]:
    datasets = {
        row.id: StoredDataset(row.team_id, row.name)
        for row in session.scalars(select(DatasetRow).order_by(DatasetRow.team_id, DatasetRow.name))
        if find_tombstone(session, row.team_id, DATASET, row.name) is None
    }
    for row in session.scalars(select(DatasetVersionRow).order_by(DatasetVersionRow.number)):
        if row.dataset_id in datasets:
            version = StoredVersion(row.number, row.content_hash, row.pins, row.rows)
            datasets[row.dataset_id].versions.append(version)
    yield from datasets.values()


@dataclass(frozen=True)
class Tombstone:
    """A deleted object of a team; `removed_at` is when its data went, None while some may be left."""

    team: str
    kind: DeletedKind
    name: str
    deleted_at: datetime
    deleted_by: str
    removed_at: datetime | None

    def __str__(self) -> str:
        return f"was deleted by {self.deleted_by!r} at {self.deleted_at:%Y-%m-%d %H:%M} UTC"


def is_deleted(team: str, kind: DeletedKind, name: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """Return the condition that the object of a row is deleted, for queries of other tables."""
    return exists().where(TombstoneRow.team_id == team, TombstoneRow.kind == kind, TombstoneRow.name == name)


def find_tombstone(session: Session, team: str, kind: DeletedKind, name: str) -> Tombstone | None:
    row = session.get(TombstoneRow, (team, kind, name))
    return _tombstone(row) if row else None


def add_tombstone(session: Session, team: str, kind: DeletedKind, name: str, user: str) -> None:
    """Add the tombstone of an object that has none."""
    session.add(
        TombstoneRow(
            team_id=team, kind=kind, name=name, deleted_at=datetime.now(UTC), deleted_by=user, removed_at=None
        )
    )


class Tombstones:
    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, team: str, kind: DeletedKind, name: str) -> Tombstone | None:
        with self._database.read() as session:
            return find_tombstone(session, team, kind, name)

    def add(self, team: str, kind: DeletedKind, name: str, user: str) -> None:
        """Add a tombstone; one that is there stays as it is."""
        with self._database.write() as session:
            if find_tombstone(session, team, kind, name) is None:
                add_tombstone(session, team, kind, name, user)

    def all(self) -> list[Tombstone]:
        """Return the tombstones of every team, oldest first."""
        with self._database.read() as session:
            query = select(TombstoneRow).order_by(TombstoneRow.deleted_at, TombstoneRow.name)
            return [_tombstone(row) for row in session.scalars(query)]

    def mark_removed(self, tombstone: Tombstone) -> None:
        """Record that nothing is left of an object's data."""
        with self._database.write() as session:
            session.execute(
                update(TombstoneRow)
                .where(
                    TombstoneRow.team_id == tombstone.team,
                    TombstoneRow.kind == tombstone.kind,
                    TombstoneRow.name == tombstone.name,
                )
                .values(removed_at=datetime.now(UTC))
            )


@dataclass(frozen=True)
class Purge:
    """Series of a dataset that were removed for good, or all of it (None), whose forecasts have to go, too."""

    team: str
    id: str
    dataset: str
    series: tuple[str, ...] | None


class Purges:
    """Promises to remove forecasts and scores of what was purged, kept until that is done."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def pending(self, team: str) -> list[Purge]:
        with self._database.read() as session:
            rows = session.scalars(
                select(PurgeRow).where(PurgeRow.team_id == team).order_by(PurgeRow.created_at)
            )
            return [_purge(row) for row in rows]

    def add(self, team: str, dataset: str, series: Sequence[str] | None = None) -> None:
        with self._database.write() as session:
            promise_purge(session, team, dataset, series)

    def settle(self, purge: Purge) -> None:
        """Forget a purge that is done; not even the names of its series stay."""
        with self._database.write() as session:
            session.execute(delete(PurgeRow).where(PurgeRow.team_id == purge.team, PurgeRow.id == purge.id))


def promise_purge(session: Session, team: str, dataset: str, series: Sequence[str] | None) -> None:
    """Promise to remove forecasts and scores of series, or of a dataset, in the transaction that removes these."""
    names = None if series is None else list(series)
    session.add(
        PurgeRow(team_id=team, id=str(uuid4()), dataset=dataset, series=names, created_at=datetime.now(UTC))
    )


def _purge(row: PurgeRow) -> Purge:
    return Purge(row.team_id, row.id, row.dataset, None if row.series is None else tuple(row.series))


def _tombstone(row: TombstoneRow) -> Tombstone:
    return Tombstone(
        team=row.team_id,
        kind=row.kind,  # type: ignore[arg-type]
        name=row.name,
        deleted_at=row.deleted_at,
        deleted_by=row.deleted_by,
        removed_at=row.removed_at,
    )
