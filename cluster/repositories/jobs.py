"""Jobs and their events: the record of all work. Ray only does it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.orm import Session

from cluster.database.tables import JobEventRow, JobRow
from cluster.repositories import idempotency, paging
from cluster.repositories.inventory import JOB, add_tombstone, find_tombstone, is_deleted
from cluster.repositories.outbox import STOP, SUBMIT, Outbox, promise, withdraw
from quantis.errors import Conflict, NotFound, TooManyRequests
from quantis.types.base import Page
from quantis.types.job_specs import JobSpec
from quantis.types.jobs import Job, JobError, JobEvent, JobState, read_result

_SPEC: TypeAdapter[JobSpec] = TypeAdapter(JobSpec)
EventKind = Literal["state", "step", "progress", "metric", "result"]
WAITING = "waiting"
RETRY_SECONDS = 5
AT_RAY = (JobRow.state.in_([JobState.pending, JobState.running]), JobRow.submission_id.is_not(None))
"""Conditions of a job that Ray was given and that has not ended."""


class Jobs(Outbox):
    """The record of all work, with the promises that concern it."""

    def request(
        self, team: str, user: str, spec: JobSpec, key: str | None = None, *, waiting_limit: int | None = None
    ) -> Job:
        """Record a job and the promise to submit it, in one transaction.

        The same key with the same request returns the job that is there already; with another request it is a
        Conflict. TooManyRequests for a team with `waiting_limit` jobs that Ray does not have yet.
        """
        hashed = idempotency.request_hash(spec.model_dump_json())
        with self._database.write() as session:
            if key and (job_id := idempotency.find(session, team, user, key, hashed)):
                return _job(session.get_one(JobRow, (team, job_id)))
            if waiting_limit is not None:
                _check_waiting(session, team, waiting_limit)
            row = _insert(session, team, user, spec)
            promise(session, team, SUBMIT, row.id)
            if key:
                idempotency.save(session, team, user, key, hashed=hashed, object_id=row.id)
            return _job(row)

    def adopt(self, team: str, user: str, spec: JobSpec, submission_id: str | None) -> Job:
        """Record a job that was submitted to Ray by hand and runs already."""
        with self._database.write() as session:
            row = _insert(session, team, user, spec)
            row.submission_id = submission_id
            _set_state(session, row, JobState.running, "submitted by hand")
            return _job(row)

    def get(self, team: str, job_id: str) -> Job:
        with self._database.read() as session:
            return _job(_find(session, team, job_id))

    def team_of(self, job_id: str) -> str:
        with self._database.read() as session:
            team = session.scalar(select(JobRow.team_id).where(JobRow.id == job_id))
            if team is None:
                raise NotFound(f"no job {job_id[:60]!r} in this database")
            return team

    def submission(self, team: str, job_id: str) -> str | None:
        with self._database.read() as session:
            return _find(session, team, job_id).submission_id

    def page(
        self,
        team: str,
        *,
        state: JobState | None = None,
        kind: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Job]:
        """Return a page, newest first."""
        query = (
            select(JobRow).where(JobRow.team_id == team).order_by(JobRow.created_at.desc(), JobRow.id.desc())
        ).where(~is_deleted(team, JOB, JobRow.id))
        if state:
            query = query.where(JobRow.state == state)
        if kind:
            query = query.where(JobRow.kind == kind)
        if cursor:
            at, last = paging.decode(cursor, 2)
            timestamp = paging.timestamp(at)
            query = query.where(
                or_(JobRow.created_at < timestamp, (JobRow.created_at == timestamp) & (JobRow.id < last))
            )
        with self._database.read() as session:
            rows = session.scalars(query.limit(limit + 1)).all()
            return paging.page(rows, limit, _job, lambda row: (row.created_at.isoformat(), row.id))

    def events(self, team: str, job_id: str, after: int = 0, limit: int = 500) -> list[JobEvent]:
        with self._database.read() as session:
            _find(session, team, job_id)
            query = (
                select(JobEventRow)
                .where(JobEventRow.team_id == team, JobEventRow.job_id == job_id, JobEventRow.seq > after)
                .order_by(JobEventRow.seq)
                .limit(limit)
            )
            return [_event(row) for row in session.scalars(query)]

    def add_event(
        self,
        team: str,
        job_id: str,
        kind: EventKind,
        message: str,
        *,
        progress: float | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        """Add one event; events of ended jobs are ignored."""
        with self._database.write() as session:
            row = _find(session, team, job_id)
            if JobState(row.state).final:
                return
            if progress is not None:
                row.progress = min(1.0, max(row.progress, progress))
            row.message = message
            _add_event(session, row, kind, message, data or {})

    def start(self, team: str, job_id: str) -> Job:
        """Mark a job as running and return it; Conflict when it ended or was stopped before."""
        with self._database.write() as session:
            row = _find(session, team, job_id)
            if JobState(row.state).final:
                raise Conflict(f"job {job_id} is {row.state} already; submit a new one")
            if row.state != JobState.running:
                _set_state(session, row, JobState.running, "running")
            return _job(row)

    def fail(self, team: str, job_id: str, error: JobError) -> bool:
        """Record that a job failed, and why; return False when it had ended already."""
        with self._database.write() as session:
            row = _find(session, team, job_id)
            if JobState(row.state).final:
                return False
            row.error = error.model_dump()
            _end(session, row, JobState.failed, error.message)
            return True

    def error_details(self, team: str, job_id: str) -> str | None:
        """Return what the machine said of a failure: paths and process ids are among it."""
        with self._database.read() as session:
            error = _find(session, team, job_id).error
            return JobError.model_validate(error).details if error else None

    def finish(
        self, team: str, job_id: str, state: JobState, message: str, result: dict[str, Any] | None = None
    ) -> bool:
        """Set the final state once; return False when it had ended already."""
        with self._database.write() as session:
            row = _find(session, team, job_id)
            if JobState(row.state).final:
                return False
            if result is not None:
                row.result = result
                _add_event(session, row, "result", message, result)
            _end(session, row, state, message)
            return True

    def charge(self, team: str, job_id: str, cpu_seconds: float, gpu_seconds: float = 0.0) -> None:
        """Add the resource use of a process of the job, for the team's quota."""
        with self._database.append() as session:
            session.execute(
                update(JobRow)
                .where(JobRow.team_id == team, JobRow.id == job_id)
                .values(
                    cpu_seconds=JobRow.cpu_seconds + cpu_seconds, gpu_seconds=JobRow.gpu_seconds + gpu_seconds
                )
            )

    def request_stop(self, team: str, job_id: str) -> Job:
        """Stop a job that waits at once, and promise to stop one that runs; an ended one stays as it is.

        Whoever submits the job meanwhile finds it stopped, and Ray is told to stop what it may have been given.
        """
        with self._database.write() as session:
            row = _find(session, team, job_id)
            if JobState(row.state).final or row.stop_requested:
                return _job(row)
            row.stop_requested = True
            _add_event(session, row, "state", "stop requested", {"state": row.state})
            was_tried = withdraw(session, team, row.id)
            if was_tried or row.submission_id or row.state == JobState.running:
                promise(session, team, STOP, row.id)
            if row.state == JobState.pending:
                _set_state(session, row, JobState.stopped, "stopped on request")
            return _job(row)

    def delete(self, team: str, user: str, job_id: str) -> None:
        """Delete an ended job's events and result; its row counts the team's use of the machine."""
        with self._database.write() as session:
            row = _find(session, team, job_id)
            if not JobState(row.state).final:
                raise Conflict(f"job {job_id} is {row.state}; stop it, and delete it once it has ended")
            add_tombstone(session, team, JOB, job_id, user)
            row.result, row.error, row.message = None, None, ""
            session.execute(
                delete(JobEventRow).where(JobEventRow.team_id == team, JobEventRow.job_id == job_id)
            )

    # What the reconciler needs.

    def mark_submitted(self, team: str, job_id: str, submission_id: str) -> None:
        with self._database.write() as session:
            _find(session, team, job_id).submission_id = submission_id

    def running_by_team(self) -> dict[str, int]:
        """Return the number of jobs that Ray has now, of each team that has any."""
        with self._database.read() as session:
            query = select(JobRow.team_id, func.count()).where(*AT_RAY).group_by(JobRow.team_id)
            return {row[0]: row[1] for row in session.execute(query)}

    def explain_waiting(self, team: str, message: str, limit: int = 100) -> None:
        """Say in each waiting job of a team why it waits; the first reason becomes an event."""
        with self._database.read() as session:
            outdated = (*_waiting(team), JobRow.message != message)
            ids = session.scalars(select(JobRow.id).where(*outdated).limit(limit)).all()
        if not ids:
            return
        with self._database.write() as session:
            for row in session.scalars(select(JobRow).where(*_waiting(team), JobRow.id.in_(ids))):
                if row.message == WAITING:
                    _add_event(session, row, "state", message, {"state": row.state})
                row.message = message

    def list_unfinished(self) -> list[tuple[str, Job, str]]:
        """Return (team, job, submission id) of every job that Ray was given and that has not ended."""
        with self._database.read() as session:
            query = select(JobRow).where(*AT_RAY)
            return [(row.team_id, _job(row), row.submission_id or "") for row in session.scalars(query)]

    def counts(self) -> dict[tuple[str, str], int]:
        """Return the number of jobs by (state, kind)."""
        with self._database.read() as session:
            query = select(JobRow.state, JobRow.kind, func.count()).group_by(JobRow.state, JobRow.kind)
            return {(state, kind): count for state, kind, count in session.execute(query)}


def _now() -> datetime:
    return datetime.now(UTC)


def _waiting(team: str) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of a team's jobs that Ray was not given yet."""
    return (JobRow.team_id == team, JobRow.state == JobState.pending, JobRow.submission_id.is_(None))


def _check_waiting(session: Session, team: str, limit: int) -> None:
    count = session.scalar(select(func.count()).where(*_waiting(team))) or 0
    if count >= limit:
        raise TooManyRequests(
            f"{count} jobs of the team wait already, and at most {limit} may (quota jobs_waiting, by default "
            "QUANTIS_QUOTA_JOBS_WAITING); stop some, or try again when some have started",
            retry_after=RETRY_SECONDS,
        )


def _insert(session: Session, team: str, user: str, spec: JobSpec) -> JobRow:
    row = JobRow(
        id=str(uuid4()),
        team_id=team,
        kind=spec.kind,
        state=JobState.pending,
        spec=spec.model_dump(mode="json"),
        created_at=_now(),
        created_by=user,
        progress=0.0,
        message=WAITING,
        stop_requested=False,
    )
    session.add(row)
    session.flush()
    _add_event(session, row, "state", "requested", {"state": JobState.pending})
    return row


def _find(session: Session, team: str, job_id: str) -> JobRow:
    row = session.get(JobRow, (team, job_id))
    if row is not None and (tombstone := find_tombstone(session, team, JOB, job_id)):
        raise NotFound(f"job {job_id} {tombstone}")
    if row is None:
        raise NotFound(f"no job {job_id[:60]!r}; `quantis jobs ls` lists them")
    return row


def _set_state(session: Session, row: JobRow, state: JobState, message: str) -> None:
    row.state = state
    row.message = message
    if state == JobState.running:
        row.started_at = _now()
    if state.final:
        row.ended_at = _now()
    if state == JobState.succeeded:
        row.progress = 1.0
    _add_event(session, row, "state", message, {"state": state})


def _end(session: Session, row: JobRow, state: JobState, message: str) -> None:
    _set_state(session, row, state, message)
    if row.started_at and row.ended_at and not row.cpu_seconds:  # it was killed before it could say
        row.cpu_seconds = (row.ended_at - row.started_at).total_seconds()


def _add_event(session: Session, row: JobRow, kind: EventKind, message: str, data: dict[str, Any]) -> None:
    of_job = (JobEventRow.team_id == row.team_id) & (JobEventRow.job_id == row.id)
    last = session.scalar(select(func.max(JobEventRow.seq)).where(of_job)) or 0
    session.add(
        JobEventRow(
            job_id=row.id, seq=last + 1, team_id=row.team_id, at=_now(), kind=kind, message=message, data=data
        )
    )
    session.flush()


def _job(row: JobRow) -> Job:
    spec = _SPEC.validate_python(row.spec)
    return Job(
        id=row.id,
        kind=spec.kind,
        state=JobState(row.state),
        spec=spec,
        created_at=row.created_at,
        created_by=row.created_by,
        started_at=row.started_at,
        ended_at=row.ended_at,
        progress=row.progress,
        message=row.message,
        result=read_result(spec.kind, row.result),
        error=JobError.model_validate({**row.error, "details": None}) if row.error else None,
    )


def _event(row: JobEventRow) -> JobEvent:
    return JobEvent(seq=row.seq, at=row.at, kind=row.kind, message=row.message, data=row.data)  # type: ignore[arg-type]
