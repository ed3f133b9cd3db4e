"""Declared datasets, and the table versions that each of their versions pins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from cluster.database.engine import Database
from cluster.database.tables import DatasetRow, DatasetVersionRow
from cluster.repositories.inventory import DATASET, find_tombstone, is_deleted, promise_purge
from quantis.errors import Conflict, NotFound, suggest
from quantis.types.datasets import (
    CheckReport,
    Dataset,
    DatasetSpec,
    DatasetVersion,
    Roles,
    VersionAction,
)


@dataclass(frozen=True)
class PinnedVersion:
    """A version with the table versions it reads (`pins`) and its content sums."""

    spec: DatasetSpec
    version: DatasetVersion
    pins: dict[str, Any]
    content: dict[str, Any] | None


@dataclass(frozen=True)
class NewVersion:
    """The record of a version; see `DatasetVersion`. `pins` and `content` are for the store."""

    content_hash: str
    pins: dict[str, Any]
    content: dict[str, Any]
    columns: dict[str, str]
    action: VersionAction
    freq: str
    rows: int
    series: int
    first_ds: datetime
    last_ds: datetime
    report: dict[str, Any] | None = None


@dataclass(frozen=True)
class RewrittenVersion:
    """A version after its tables were rewritten."""

    pins: dict[str, Any]
    content_hash: str
    content: dict[str, Any]
    rows: int
    series: int
    first_ds: datetime
    last_ds: datetime
    purged_at: datetime | None


class Datasets:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, team: str, user: str, spec: DatasetSpec) -> Dataset:
        with self._database.write() as session:
            if tombstone := find_tombstone(session, team, DATASET, spec.name):
                raise Conflict(f"dataset {spec.name!r} {tombstone}; its name stays taken, choose another one")
            if _row(session, team, spec.name):
                raise Conflict(
                    f"dataset {spec.name!r} exists already; upload a version to it, or choose another name"
                )
            row = DatasetRow(
                id=str(uuid4()),
                team_id=team,
                name=spec.name,
                spec=spec.model_dump(mode="json"),
                created_at=datetime.now(UTC),
                created_by=user,
            )
            session.add(row)
            session.flush()
            return _dataset(row, None)

    def get(self, team: str, name: str) -> Dataset:
        with self._database.read() as session:
            row = _find(session, team, name)
            return _dataset(row, _latest(session, row))

    def find(self, team: str, name: str) -> DatasetSpec | None:
        with self._database.read() as session:
            row = _row(session, team, name)
            return DatasetSpec.model_validate(row.spec) if row else None

    def all(self, team: str) -> list[Dataset]:
        with self._database.read() as session:
            rows = session.scalars(
                select(DatasetRow)
                .where(DatasetRow.team_id == team, ~_is_deleted(team))
                .order_by(DatasetRow.name)
            )
            return [_dataset(row, _latest(session, row)) for row in rows.all()]

    def newest_versions(self, team: str) -> dict[str, int]:
        """Return the number of the newest version of each dataset that has one; one query, safe to poll."""
        newest = (
            select(DatasetRow.name, func.max(DatasetVersionRow.number))
            .join(DatasetVersionRow, DatasetVersionRow.dataset_id == DatasetRow.id)
            .where(DatasetRow.team_id == team, ~_is_deleted(team))
            .group_by(DatasetRow.name)
        )
        with self._database.read() as session:
            return {row[0]: row[1] for row in session.execute(newest)}

    def versions(self, team: str, name: str) -> Sequence[DatasetVersion]:
        """Return the versions, newest first."""
        with self._database.read() as session:
            row = _find(session, team, name)
            query = _versions(row).order_by(DatasetVersionRow.number.desc())
            return [_version(name, version) for version in session.scalars(query)]

    def report(self, team: str, name: str, number: int) -> CheckReport:
        """Return the check report of the uploaded file of a version; NotFound when no file made it."""
        with self._database.read() as session:
            version = _version_row(session, _find(session, team, name), number)
            if version is None or version.report is None:
                raise NotFound(
                    f"there is no report of version {number} of dataset {name!r}; only uploads have one"
                )
            return CheckReport.model_validate(version.report)

    def version(self, team: str, name: str, number: int | None = None) -> PinnedVersion:
        """Return a version, the latest without a number; NotFound when there is none."""
        with self._database.read() as session:
            row = _find(session, team, name)
            version = _latest(session, row) if number is None else _version_row(session, row, number)
            if version is None:
                missing = "no version yet; upload a file first" if number is None else f"no version {number}"
                raise NotFound(f"dataset {name!r} has {missing}")
            return _pinned_version(row, version)

    def latest_version(self, team: str, name: str) -> PinnedVersion | None:
        """Return the latest version; None before the first."""
        with self._database.read() as session:
            row = _find(session, team, name)
            version = _latest(session, row)
            return _pinned_version(row, version) if version else None

    def all_versions(self, team: str, name: str) -> list[PinnedVersion]:
        """Return all versions, oldest first."""
        with self._database.read() as session:
            row = _find(session, team, name)
            versions = session.scalars(_versions(row).order_by(DatasetVersionRow.number))
            return [_pinned_version(row, version) for version in versions]

    def add_version(
        self, team: str, name: str, user: str, new: NewVersion, after: PinnedVersion | None
    ) -> DatasetVersion:
        """Add the version after another; Conflict when a writer was faster, or the tables were rewritten."""
        with self._database.write() as session:
            row = _find(session, team, name)
            latest = _latest(session, row)
            _check_unchanged(name, latest, after)
            number = latest.number if latest else None
            version = DatasetVersionRow(
                id=str(uuid4()),
                team_id=team,
                dataset_id=row.id,
                number=(number or 0) + 1,
                parent=number,
                roles=row.spec["roles"],
                created_at=datetime.now(UTC),
                created_by=user,
                **vars(new),
            )
            session.add(version)
            session.flush()
            return _version(name, version)

    def repin(
        self,
        team: str,
        name: str,
        versions: Mapping[int, RewrittenVersion],
        after: PinnedVersion,
        purged: Sequence[str] = (),
    ) -> None:
        """Pin versions to rewritten tables, all at once; Conflict when another writer was faster.

        Forecasts and scores of the series that were purged are promised to go, too.
        """
        with self._database.write() as session:
            row = _find(session, team, name)
            _check_unchanged(name, _latest(session, row), after)
            for number, rewritten in versions.items():
                version = _version_row(session, row, number)
                assert version is not None
                for field, value in vars(rewritten).items():
                    if field != "purged_at" or value is not None:
                        setattr(version, field, value)
                if rewritten.purged_at is not None:
                    version.report = None  # its findings may name what was purged
            if purged:
                promise_purge(session, team, name, purged)


def _check_unchanged(name: str, latest: DatasetVersionRow | None, after: PinnedVersion | None) -> None:
    current = (latest.number, latest.pins) if latest else None
    if current != ((after.version.number, after.pins) if after else None):
        number = latest.number if latest else None
        raise Conflict(f"another writer was faster: dataset {name!r} is at version {number}; send it again")


def _pinned_version(row: DatasetRow, version: DatasetVersionRow) -> PinnedVersion:
    spec = DatasetSpec.model_validate(row.spec)
    return PinnedVersion(spec, _version(row.name, version), version.pins, version.content)


def _row(session: Session, team: str, name: str) -> DatasetRow | None:
    return session.scalar(
        select(DatasetRow).where(DatasetRow.team_id == team, DatasetRow.name == name, ~_is_deleted(team))
    )


def _is_deleted(team: str) -> ColumnElement[bool]:
    return is_deleted(team, DATASET, DatasetRow.name)


def _find(session: Session, team: str, name: str) -> DatasetRow:
    row = _row(session, team, name)
    if row is None:
        stored = select(DatasetRow.name).where(DatasetRow.team_id == team, ~_is_deleted(team))
        remedy = suggest(name[:63], session.scalars(stored).all())
        raise NotFound(f"no dataset {name[:63]!r}; {remedy} (`quantis data ls` lists them)")
    return row


def _versions(row: DatasetRow) -> Select[DatasetVersionRow]:
    return select(DatasetVersionRow).where(
        DatasetVersionRow.team_id == row.team_id, DatasetVersionRow.dataset_id == row.id
    )


def _latest(session: Session, row: DatasetRow) -> DatasetVersionRow | None:
    return session.scalar(_versions(row).order_by(DatasetVersionRow.number.desc()).limit(1))


def _version_row(session: Session, row: DatasetRow, number: int) -> DatasetVersionRow | None:
    return session.scalar(_versions(row).where(DatasetVersionRow.number == number))


def _dataset(row: DatasetRow, latest: DatasetVersionRow | None) -> Dataset:
    spec = DatasetSpec.model_validate(row.spec)
    return Dataset(
        **{**spec.model_dump(), "freq": spec.freq or (latest.freq if latest else None)},
        created_at=row.created_at,
        created_by=row.created_by,
        latest_version=latest.number if latest else None,
        rows=latest.rows if latest else None,
        series=latest.series if latest else None,
    )


def _version(name: str, row: DatasetVersionRow) -> DatasetVersion:
    return DatasetVersion(
        dataset=name,
        number=row.number,
        content_hash=row.content_hash,
        parent=row.parent,
        action=VersionAction(row.action),
        columns=row.columns or {},
        roles=Roles.model_validate(row.roles or {}),
        rows=row.rows,
        series=row.series,
        freq=row.freq,
        first_ds=row.first_ds,
        last_ds=row.last_ds,
        created_at=row.created_at,
        created_by=row.created_by,
        purged_at=row.purged_at,
    )
