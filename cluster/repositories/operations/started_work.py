"""Work that a schedule starts within its own transaction: a job with an id of its own, made from the run's key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from pydantic import TypeAdapter
from sqlalchemy.orm import Session

from cluster.database.automation_tables import ScheduleRunRow
from cluster.database.tables import JobRow
from cluster.repositories.operations import job_rows
from cluster.repositories.principals import Author
from quantis.errors import TooManyRequests
from quantis.types.jobs import JobState
from quantis.types.operations.schedules import JobTarget, ScheduleRunState

_TARGET: TypeAdapter[JobTarget] = TypeAdapter(JobTarget)
_OUTCOMES = {
    JobState.succeeded: ScheduleRunState.succeeded,
    JobState.failed: ScheduleRunState.failed,
    JobState.stopped: ScheduleRunState.stopped,
}


@dataclass(frozen=True)
class StartOrder:
    """A target to start for an author; the same key starts it once."""

    team: str
    author: Author
    target: dict[str, Any]
    key: str
    waiting_limit: int | None = None


def derived_id(team: str, key: str) -> str:
    """Return the id of what a key starts: the database takes an id once, so nothing is started twice."""
    return str(uuid5(NAMESPACE_URL, f"quantis:{team}:{key}"))


def start(session: Session, order: StartOrder, run: ScheduleRunRow) -> str | None:
    """Start a run's target and note it in the run; return why not where the team's queue is full."""
    target = _TARGET.validate_python(order.target)
    try:
        job = job_rows.request(
            session,
            order.team,
            order.author.user_name,
            target.spec,
            job_id=derived_id(order.team, order.key),
            waiting_limit=order.waiting_limit,
        )
    except TooManyRequests as error:
        return error.message
    run.job_id = job.id
    return None


def outcome(session: Session, run: ScheduleRunRow) -> ScheduleRunState | None:
    """Return how what a run started has ended; None while it goes on, or is yet to be started."""
    if run.job_id is None:
        return None
    job = session.get(JobRow, (run.team_id, run.job_id))
    return ScheduleRunState.stopped if job is None else _OUTCOMES.get(JobState(job.state))
