"""Inventory of stored datasets across all teams: for backups, verification and the sweeper."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cluster.database.engine import Database
from cluster.database.tables import DatasetRow, DatasetVersionRow, JobRow
from quantis.types.jobs import JobState


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
    }
    for row in session.scalars(select(DatasetVersionRow).order_by(DatasetVersionRow.number)):
        datasets[row.dataset_id].versions.append(
            StoredVersion(row.number, row.content_hash, row.pins, row.rows)
        )
    yield from datasets.values()
