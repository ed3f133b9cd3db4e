"""The outbox: what was promised about a job in the transaction that recorded it, until Ray has been told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import CursorResult, case, func, select, update
from sqlalchemy.orm import Session

from cluster.database.engine import Database
from cluster.database.tables import JobRow, OutboxRow

SUBMIT, STOP = "submit", "stop"


@dataclass(frozen=True)
class OutboxItem:
    """A promise: to submit a job, or to stop it."""

    id: int
    team: str
    topic: str
    job_id: str
    attempts: int


class Outbox:
    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, limit: int = 20, topic: str | None = None) -> list[OutboxItem]:
        """Return what is to be done now, stops first, each kind in the order of the promises."""
        with self._database.read() as session:
            query = select(OutboxRow).where(OutboxRow.done_at.is_(None), OutboxRow.not_before <= _now())
            if topic:
                query = query.where(OutboxRow.topic == topic)
            query = query.order_by(case((OutboxRow.topic == STOP, 0), else_=1), OutboxRow.id)
            return [_item(row) for row in session.scalars(query.limit(limit))]

    def first_submissions(self) -> list[OutboxItem]:
        """Return the job to submit of each team that is first by its priority, then the oldest."""
        with self._database.read() as session:
            of_job = (JobRow.team_id == OutboxRow.team_id) & (JobRow.id == OutboxRow.subject)
            order = (func.coalesce(JobRow.priority, 0).desc(), OutboxRow.id)
            turn = func.row_number().over(partition_by=OutboxRow.team_id, order_by=order)
            waiting = (
                select(OutboxRow.id, turn.label("turn"))
                .outerjoin(JobRow, of_job)
                .where(OutboxRow.done_at.is_(None), OutboxRow.topic == SUBMIT, OutboxRow.not_before <= _now())
                .subquery()
            )
            firsts = select(waiting.c.id).where(waiting.c.turn == 1)
            query = select(OutboxRow).where(OutboxRow.id.in_(firsts)).order_by(OutboxRow.id)
            return [_item(row) for row in session.scalars(query)]

    def claim(self, item: OutboxItem) -> bool:
        """Count an attempt before it is made; False for what was settled or withdrawn meanwhile."""
        with self._database.write() as session:
            result = session.execute(
                update(OutboxRow)
                .where(OutboxRow.id == item.id, OutboxRow.done_at.is_(None))
                .values(attempts=OutboxRow.attempts + 1)
            )
            return isinstance(result, CursorResult) and result.rowcount == 1

    def settle(self, item: OutboxItem) -> None:
        with self._database.write() as session:
            session.execute(update(OutboxRow).where(OutboxRow.id == item.id).values(done_at=_now()))

    def postpone(self, item: OutboxItem, delay: timedelta) -> None:
        """Count an attempt that failed, and let the next one wait."""
        with self._database.write() as session:
            session.execute(
                update(OutboxRow)
                .where(OutboxRow.id == item.id)
                .values(attempts=OutboxRow.attempts + 1, not_before=_now() + delay)
            )

    def delay(self, item: OutboxItem, delay: timedelta) -> None:
        """Let the next attempt of a claimed item wait."""
        with self._database.write() as session:
            session.execute(
                update(OutboxRow).where(OutboxRow.id == item.id).values(not_before=_now() + delay)
            )

    def pending_outbox(self) -> int:
        with self._database.read() as session:
            query = select(func.count()).select_from(OutboxRow).where(OutboxRow.done_at.is_(None))
            return session.scalar(query) or 0


def promise(session: Session, team: str, topic: str, job_id: str) -> None:
    """Add a promise about a job, due at once, to the transaction that records the job."""
    session.add(
        OutboxRow(team_id=team, topic=topic, subject=job_id, attempts=0, not_before=_now(), created_at=_now())
    )


def withdraw(session: Session, team: str, job_id: str) -> bool:
    """Take back the promise to submit a job; return True if that was tried already, so that Ray may have it."""
    rows = session.scalars(
        select(OutboxRow).where(
            OutboxRow.team_id == team,
            OutboxRow.subject == job_id,
            OutboxRow.topic == SUBMIT,
            OutboxRow.done_at.is_(None),
        )
    ).all()
    for row in rows:
        row.done_at = _now()
    return any(row.attempts for row in rows)


def _item(row: OutboxRow) -> OutboxItem:
    return OutboxItem(row.id, row.team_id, row.topic, row.subject, row.attempts)


def _now() -> datetime:
    return datetime.now(UTC)
