"""Jobs and their events: the record of all work. Ray only does it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, or_, select, update

from cluster.database.tables import JobEventRow, JobRow
from cluster.repositories import idempotency, paging
from cluster.repositories.inventory import JOB, add_tombstone, is_deleted
from cluster.repositories.operations import job_rows
from cluster.repositories.operations.job_rows import WAITING, EventKind
from cluster.repositories.outbox import STOP, Outbox, promise, withdraw
from quantis.errors import Conflict, NotFound
from quantis.types.base import Page
from quantis.types.job_specs import JobSpec
from quantis.types.jobs import Job, JobError, JobEvent, JobOrder, JobState

AT_RAY = (JobRow.state.in_([JobState.pending, JobState.running]), JobRow.submission_id.is_not(None))
"""Conditions of a job that Ray was given and that has not ended."""


class Jobs(Outbox):
    """The record of all work, with the promises that concern it."""

    def request(
        self,
        team: str,
        user: str,
        spec: JobSpec,
        key: str | None = None,
        *,
        waiting_limit: int | None = None,
        order: JobOrder = job_rows.ANY_ORDER,
    ) -> Job:
        """Record a job and the promise to submit it, in one transaction.

        The same key with the same request returns the job that is there already; with another request it is a
        Conflict. TooManyRequests for a team with `waiting_limit` jobs that Ray does not have yet.
        """
        with self._database.write() as session:
            return job_rows.request(
                session, team, user, spec, key=key, waiting_limit=waiting_limit, order=order
            )

    def adopt(self, team: str, user: str, spec: JobSpec, submission_id: str | None) -> Job:
        """Record a job that was submitted to Ray by hand and runs already."""
        with self._database.write() as session:
            row = job_rows.insert(session, team, user, spec)
            row.submission_id = submission_id
            job_rows.set_state(session, row, JobState.running, "submitted by hand")
            return job_rows.to_job(row)

    def get(self, team: str, job_id: str) -> Job:
        with self._database.read() as session:
            return job_rows.to_job(job_rows.find(session, team, job_id))

    def team_of(self, job_id: str) -> str:
        with self._database.read() as session:
            team = session.scalar(select(JobRow.team_id).where(JobRow.id == job_id))
            if team is None:
                raise NotFound(f"no job {job_id[:60]!r} in this database")
            return team

    def submission(self, team: str, job_id: str) -> str | None:
        with self._database.read() as session:
            return job_rows.find(session, team, job_id).submission_id

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
            return paging.page(rows, limit, job_rows.to_job, lambda row: (row.created_at.isoformat(), row.id))

    def events(self, team: str, job_id: str, after: int = 0, limit: int = 500) -> list[JobEvent]:
        with self._database.read() as session:
            job_rows.find(session, team, job_id)
            query = (
                select(JobEventRow)
                .where(JobEventRow.team_id == team, JobEventRow.job_id == job_id, JobEventRow.seq > after)
                .order_by(JobEventRow.seq)
                .limit(limit)
            )
            return [job_rows.to_event(row) for row in session.scalars(query)]

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
            row = job_rows.find(session, team, job_id)
            if JobState(row.state).final:
                return
            if progress is not None:
                row.progress = min(1.0, max(row.progress, progress))
            row.message = message
            job_rows.add_event(session, row, kind, message, data or {})

    def start(self, team: str, job_id: str) -> Job:
        """Mark a job as running and return it; Conflict when it ended or was stopped before."""
        with self._database.write() as session:
            row = job_rows.find(session, team, job_id)
            if JobState(row.state).final:
                raise Conflict(f"job {job_id} is {row.state} already; submit a new one")
            if row.state != JobState.running:
                job_rows.set_state(session, row, JobState.running, "running")
            return job_rows.to_job(row)

    def fail(self, team: str, job_id: str, error: JobError) -> bool:
        """Record that a job failed, and why; return False when it had ended already."""
        with self._database.write() as session:
            row = job_rows.find(session, team, job_id)
            if JobState(row.state).final:
                return False
            row.error = error.model_dump()
            job_rows.end(session, row, JobState.failed, error.message)
            if row.retries and not row.stop_requested:
                job_rows.retry(session, row, error.cause, user=row.created_by, retries=row.retries - 1)
            return True

    def error_details(self, team: str, job_id: str) -> str | None:
        """Return what the machine said of a failure: paths and process ids are among it."""
        with self._database.read() as session:
            error = job_rows.find(session, team, job_id).error
            return JobError.model_validate(error).details if error else None

    def finish(
        self, team: str, job_id: str, state: JobState, message: str, result: dict[str, Any] | None = None
    ) -> bool:
        """Set the final state once; return False when it had ended already."""
        with self._database.write() as session:
            row = job_rows.find(session, team, job_id)
            if JobState(row.state).final:
                return False
            if result is not None:
                row.result = result
                job_rows.add_event(session, row, "result", message, result)
            job_rows.end(session, row, state, message)
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
            row = job_rows.find(session, team, job_id)
            if JobState(row.state).final or row.stop_requested:
                return job_rows.to_job(row)
            row.stop_requested = True
            job_rows.add_event(session, row, "state", "stop requested", {"state": row.state})
            was_tried = withdraw(session, team, row.id)
            if was_tried or row.submission_id or row.state == JobState.running:
                promise(session, team, STOP, row.id)
            if row.state == JobState.pending:
                job_rows.set_state(session, row, JobState.stopped, "stopped on request")
            return job_rows.to_job(row)

    def retry(
        self, team: str, user: str, job_id: str, reason: str, *, key: str | None, waiting_limit: int | None
    ) -> Job:
        """Record another attempt of a job that failed or was stopped; Conflict for any other."""
        hashed = idempotency.request_hash("retry", job_id, reason)
        with self._database.write() as session:
            if key and (known_id := idempotency.find(session, team, user, key, hashed)):
                return job_rows.to_job(job_rows.find(session, team, known_id))
            row = job_rows.find(session, team, job_id)
            if row.state not in (JobState.failed, JobState.stopped):
                raise Conflict(
                    f"job {job_id} is {row.state}; only a failed or stopped one is tried again; clone it"
                )
            if waiting_limit is not None:
                job_rows.check_waiting(session, team, waiting_limit)
            attempt = job_rows.retry(session, row, reason or "asked for", user=user, retries=0)
            if key:
                idempotency.save(session, team, user, key, hashed=hashed, object_id=attempt.id)
            return job_rows.to_job(attempt)

    def release_followers(self) -> None:
        """Start, or end, the jobs of all teams whose predecessors have ended."""
        waiting = (
            JobRow.state == JobState.pending,
            JobRow.submission_id.is_(None),
            JobRow.after.is_not(None),
        )
        with self._database.read() as session:
            rows = session.scalars(select(JobRow).where(*waiting)).all()
            decided = [row for row in rows if _is_decided(job_rows.followed(session, row).values())]
            keys = [(row.team_id, row.id) for row in decided]
        for key in keys:
            with self._database.write() as session:
                row = session.get_one(JobRow, key)
                if row.after and not JobState(row.state).final:
                    job_rows.release(session, row)

    def ids_of(self, team: str, kind: str, dataset: str) -> list[str]:
        """Return the ids of a team's jobs of a kind on a dataset."""
        query = select(JobRow.id, JobRow.spec).where(JobRow.team_id == team, JobRow.kind == kind)
        with self._database.read() as session:
            return [job_id for job_id, spec in session.execute(query) if spec.get("dataset") == dataset]

    def usual_duration(self, team: str, kind: str, dataset: str, of: int = 10) -> timedelta | None:
        """Return the median duration of the latest jobs of a kind on a dataset that succeeded; None without any."""
        query = select(JobRow).where(
            JobRow.team_id == team, JobRow.kind == kind, JobRow.state == JobState.succeeded
        )
        query = query.order_by(JobRow.created_at.desc(), JobRow.id.desc()).limit(20 * of)
        with self._database.read() as session:
            durations = [
                row.ended_at - row.started_at
                for row in session.scalars(query)
                if row.spec["dataset"] == dataset and row.started_at and row.ended_at
            ][:of]
        return sorted(durations)[len(durations) // 2] if durations else None

    def delete(self, team: str, user: str, job_id: str) -> None:
        """Delete an ended job's events and result; its row counts the team's use of the machine."""
        with self._database.write() as session:
            row = job_rows.find(session, team, job_id)
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
            job_rows.find(session, team, job_id).submission_id = submission_id

    def running_by_team(self) -> dict[str, int]:
        """Return the number of jobs that Ray has now, of each team that has any."""
        with self._database.read() as session:
            query = select(JobRow.team_id, func.count()).where(*AT_RAY).group_by(JobRow.team_id)
            return {row[0]: row[1] for row in session.execute(query)}

    def explain_waiting(self, team: str, message: str, limit: int = 100) -> None:
        """Say in each waiting job of a team why it waits; the first reason becomes an event."""
        with self._database.read() as session:
            outdated = (*job_rows.waiting_of(team), JobRow.message != message)
            ids = session.scalars(select(JobRow.id).where(*outdated).limit(limit)).all()
        if not ids:
            return
        with self._database.write() as session:
            for row in session.scalars(select(JobRow).where(*job_rows.waiting_of(team), JobRow.id.in_(ids))):
                if row.message == WAITING:
                    job_rows.add_event(session, row, "state", message, {"state": row.state})
                row.message = message

    def list_unfinished(self) -> list[tuple[str, Job, str]]:
        """Return (team, job, submission id) of every job that Ray was given and that has not ended."""
        with self._database.read() as session:
            query = select(JobRow).where(*AT_RAY)
            return [
                (row.team_id, job_rows.to_job(row), row.submission_id or "") for row in session.scalars(query)
            ]

    def counts(self) -> dict[tuple[str, str], int]:
        """Return the number of jobs by (state, kind)."""
        with self._database.read() as session:
            query = select(JobRow.state, JobRow.kind, func.count()).group_by(JobRow.state, JobRow.kind)
            return {(state, kind): count for state, kind, count in session.execute(query)}


def _is_decided(states: Collection[JobState]) -> bool:
    """Return True where all predecessors succeeded, or one never will."""
    lost = any(state in (JobState.failed, JobState.stopped) for state in states)
    return lost or all(state == JobState.succeeded for state in states)
