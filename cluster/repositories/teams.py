"""Teams, their quotas, and the resource use of their jobs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from cluster.database.engine import Database
from cluster.database.tables import JobRow, TeamRow, UserRow
from quantis.errors import NotFound
from quantis.types.jobs import JobState
from quantis.types.teams import Quota, Team


class TeamUsage(NamedTuple):
    """Number of jobs that Ray has now, and the jobs' seconds in this calendar month (UTC)."""

    running: int
    cpu_seconds: float
    gpu_seconds: float


class Teams:
    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[Team]:
        with self._database.read() as session:
            return [_team(session, row) for row in session.scalars(select(TeamRow).order_by(TeamRow.id))]

    def get(self, name: str) -> Team:
        with self._database.read() as session:
            return _team(session, _find(session, name))

    def set_quota(self, name: str, quota: Quota) -> Team:
        with self._database.write() as session:
            row = _find(session, name)
            row.quota = _to_json(quota)
            return _team(session, row)

    def quota(self, name: str) -> Quota:
        """Return the quota that was set for a team; its gaps are the platform's defaults."""
        with self._database.read() as session:
            row = session.get(TeamRow, name)
            return Quota.model_validate(row.quota) if row else Quota()

    def work(self, name: str) -> TeamUsage:
        with self._database.read() as session:
            running = select(func.count()).where(
                JobRow.team_id == name,
                JobRow.state.in_([JobState.pending, JobState.running]),
                JobRow.submission_id.is_not(None),
            )
            seconds = select(func.sum(JobRow.cpu_seconds), func.sum(JobRow.gpu_seconds)).where(
                JobRow.team_id == name,
                or_(JobRow.ended_at.is_(None), JobRow.ended_at >= month_start()),
            )
            cpu, gpu = session.execute(seconds).one()
            return TeamUsage(session.scalar(running) or 0, cpu or 0.0, gpu or 0.0)


def month_start() -> datetime:
    return datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _find(session: Session, name: str) -> TeamRow:
    row = session.get(TeamRow, name)
    if row is None:
        raise NotFound(f"no team {name[:60]!r}; GET /v1/teams lists them")
    return row


def _to_json(quota: Quota) -> dict[str, int]:
    return quota.model_dump(exclude_none=True)


def _team(session: Session, row: TeamRow) -> Team:
    users = session.scalar(select(func.count()).where(UserRow.team_id == row.id)) or 0
    return Team(name=row.id, created_at=row.created_at, users=users, quota=Quota.model_validate(row.quota))
