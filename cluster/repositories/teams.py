"""Teams, their quotas, and the resource use of their jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import uuid4

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from cluster.database.engine import Database
from cluster.database.tables import ForecastRow, JobRow, StorageReservationRow, TeamRow, UserRow
from cluster.repositories.vintages import is_served
from quantis.errors import NotFound
from quantis.types.jobs import JobState
from quantis.types.teams import Quota, Team

RESERVED_FOR = timedelta(hours=6)
"""Age at which a reservation counts no more, whose writer must have been killed."""

CLOCK_SKEW = timedelta(seconds=5)
"""Most that the clocks of two nodes are apart."""


class TeamUsage(NamedTuple):
    """Numbers of jobs that Ray has now and that wait, and the jobs' seconds in this calendar month (UTC)."""

    running: int
    waiting: int
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
        at_ray = JobRow.submission_id.is_not(None)
        with self._database.read() as session:
            jobs = select(func.count()).where(JobRow.team_id == name)
            running = jobs.where(JobRow.state.in_([JobState.pending, JobState.running]), at_ray)
            waiting = jobs.where(JobRow.state == JobState.pending, ~at_ray)
            seconds = select(func.sum(JobRow.cpu_seconds), func.sum(JobRow.gpu_seconds)).where(
                JobRow.team_id == name,
                or_(JobRow.ended_at.is_(None), JobRow.ended_at >= month_start()),
            )
            cpu, gpu = session.execute(seconds).one()
            counts = session.scalar(running) or 0, session.scalar(waiting) or 0
            return TeamUsage(*counts, cpu or 0.0, gpu or 0.0)

    def forecast_bytes(self, name: str) -> int:
        """Return the bytes of the forecasts in the ledger that the team got."""
        size = func.sum(func.length(ForecastRow.request) + func.length(ForecastRow.response))
        with self._database.read() as session:
            return int(session.scalar(select(size).where(ForecastRow.team_id == name, is_served())) or 0)

    def reserved_bytes(self, name: str, measured_at: datetime) -> int:
        """Return the bytes of the writes that a measurement of that time cannot have seen whole."""
        with self._database.read() as session:
            return _reserved(session, name, measured_at)

    def reserve_storage(self, name: str, size: int, free: int, measured_at: datetime) -> str | None:
        """Reserve bytes of the `free` ones of a measurement; None when other writes have taken them.

        Writes are one at a time, so that two that come together cannot both take the last bytes.
        """
        now = datetime.now(UTC)
        with self._database.write() as session:
            session.execute(
                delete(StorageReservationRow).where(StorageReservationRow.created_at < now - RESERVED_FOR)
            )
            if _reserved(session, name, measured_at) + size > free:
                return None
            row = StorageReservationRow(id=str(uuid4()), team_id=name, size=size, created_at=now)
            session.add(row)
            return row.id

    def end_reservation(self, name: str, reservation_id: str) -> None:
        """Mark a write as ended; its bytes count until the files are measured again."""
        with self._database.write() as session:
            row = session.get(StorageReservationRow, (name, reservation_id))
            if row is not None:
                row.ended_at = datetime.now(UTC)


def _reserved(session: Session, name: str, measured_at: datetime) -> int:
    rows = StorageReservationRow
    unseen = or_(rows.ended_at.is_(None), rows.ended_at > measured_at - CLOCK_SKEW)
    alive = rows.created_at > datetime.now(UTC) - RESERVED_FOR
    return int(session.scalar(select(func.sum(rows.size)).where(rows.team_id == name, unseen, alive)) or 0)


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
