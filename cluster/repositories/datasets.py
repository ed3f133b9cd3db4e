"""The catalogue of datasets: what was declared, and which table versions each version pins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from cluster.database.engine import Database
from cluster.database.tables import DatasetRow, DatasetVersionRow
from quantis.errors import Conflict, NotFound
from quantis.types.datasets import Dataset, DatasetSpec, DatasetVersion


@dataclass(frozen=True)
class Pinned:
    """A version with what its tables are pinned at."""

    spec: DatasetSpec
    version: DatasetVersion
    pins: dict[str, Any]


@dataclass(frozen=True)
class NewVersion:
    content_hash: str
    pins: dict[str, Any]
    freq: str
    rows: int
    series: int
    first_ds: datetime
    last_ds: datetime


class Datasets:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, team: str, user: str, spec: DatasetSpec) -> Dataset:
        with self._database.write() as session:
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
            return _dataset(row, _latest(session, row.id))

    def find(self, team: str, name: str) -> DatasetSpec | None:
        with self._database.read() as session:
            row = _row(session, team, name)
            return DatasetSpec.model_validate(row.spec) if row else None

    def all(self, team: str) -> list[Dataset]:
        with self._database.read() as session:
            rows = session.scalars(
                select(DatasetRow).where(DatasetRow.team_id == team).order_by(DatasetRow.name)
            )
            return [_dataset(row, _latest(session, row.id)) for row in rows.all()]

    def versions(self, team: str, name: str) -> Sequence[DatasetVersion]:
        """Newest first."""
        with self._database.read() as session:
            row = _find(session, team, name)
            query = (
                select(DatasetVersionRow)
                .where(DatasetVersionRow.dataset_id == row.id)
                .order_by(DatasetVersionRow.number.desc())
            )
            return [_version(name, version) for version in session.scalars(query)]

    def pinned(self, team: str, name: str, number: int | None = None) -> Pinned:
        """One version, the latest when no number is given; NotFound when there is none."""
        with self._database.read() as session:
            row = _find(session, team, name)
            version = _latest(session, row.id) if number is None else _numbered(session, row.id, number)
            if version is None:
                which = "no version yet; upload a file first" if number is None else f"no version {number}"
                raise NotFound(f"dataset {name!r} has {which}")
            return Pinned(DatasetSpec.model_validate(row.spec), _version(name, version), version.pins)

    def add_version(
        self, team: str, name: str, user: str, new: NewVersion, expected: int | None
    ) -> DatasetVersion:
        """Add the version after `expected`; Conflict when another writer was first."""
        with self._database.write() as session:
            row = _find(session, team, name)
            latest = _latest(session, row.id)
            number = latest.number if latest else None
            if number != expected:
                raise Conflict(f"dataset {name!r} got version {number} meanwhile; check and upload again")
            version = DatasetVersionRow(
                id=str(uuid4()),
                team_id=team,
                dataset_id=row.id,
                number=(number or 0) + 1,
                parent=number,
                content_hash=new.content_hash,
                pins=new.pins,
                freq=new.freq,
                rows=new.rows,
                series=new.series,
                first_ds=new.first_ds,
                last_ds=new.last_ds,
                created_at=datetime.now(UTC),
                created_by=user,
            )
            session.add(version)
            session.flush()
            return _version(name, version)


def _row(session: Session, team: str, name: str) -> DatasetRow | None:
    return session.scalar(select(DatasetRow).where(DatasetRow.team_id == team, DatasetRow.name == name))


def _find(session: Session, team: str, name: str) -> DatasetRow:
    row = _row(session, team, name)
    if row is None:
        raise NotFound(f"no dataset {name[:63]!r}; `quantis data ls` lists them")
    return row


def _latest(session: Session, dataset_id: str) -> DatasetVersionRow | None:
    query = select(DatasetVersionRow).where(DatasetVersionRow.dataset_id == dataset_id)
    return session.scalar(query.order_by(DatasetVersionRow.number.desc()).limit(1))


def _numbered(session: Session, dataset_id: str, number: int) -> DatasetVersionRow | None:
    return session.scalar(
        select(DatasetVersionRow).where(
            DatasetVersionRow.dataset_id == dataset_id, DatasetVersionRow.number == number
        )
    )


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
        rows=row.rows,
        series=row.series,
        freq=row.freq,
        first_ds=row.first_ds,
        last_ds=row.last_ds,
        created_at=row.created_at,
        created_by=row.created_by,
    )
