"""Rows of jobs and their events, within the transaction of a caller: of a request, a schedule or a pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import NAMESPACE_URL, uuid4, uuid5

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from cluster.database.tables import JobEventRow, JobRow
from cluster.repositories import idempotency
from cluster.repositories.inventory import JOB, find_tombstone
from cluster.repositories.operations.alert_changes import promise_events
from cluster.repositories.outbox import SUBMIT, promise
from quantis.errors import NotFound, TooManyRequests
from quantis.types.job_specs import JobSpec
from quantis.types.jobs import Job, JobError, JobEvent, JobOrder, JobState, Priority, read_result
from quantis.types.operations.alert_channels import PlatformEvent, PlatformEventKind

_SPEC: TypeAdapter[JobSpec] = TypeAdapter(JobSpec)
EventKind = Literal["state", "step", "progress", "metric", "result"]
WAITING = "waiting"
ANY_ORDER = JobOrder()
PRIORITIES = {Priority.low: -1, Priority.normal: 0, Priority.high: 1}
_PRIORITY_NAMES = {number: priority for priority, number in PRIORITIES.items()}
RETRY_SECONDS = 5


def request(
    session: Session,
    team: str,
    user: str,
    spec: JobSpec,
    *,
    key: str | None = None,
    job_id: str | None = None,
    waiting_limit: int | None = None,
    order: JobOrder = ANY_ORDER,
) -> Job:
    """Record a job and the promise to submit it; `Jobs.request` says what a key and a limit do."""
    order_json = order.model_dump_json(include=set(JobOrder.model_fields))
    in_order = () if order_json == ANY_ORDER.model_dump_json() else (order_json,)  # keys of before have none
    hashed = idempotency.request_hash(spec.model_dump_json(), *in_order)
    if key and (job_id := idempotency.find(session, team, user, key, hashed)):
        return to_job(session.get_one(JobRow, (team, job_id)))
    if waiting_limit is not None:
        check_waiting(session, team, waiting_limit)
    row = insert(session, team, user, spec, job_id)
    row.priority, row.retries = PRIORITIES[order.priority], order.retries
    if order.after:
        hold_for(session, row, order.after)
        release(session, row)
    else:
        promise(session, team, SUBMIT, row.id)
    if key:
        idempotency.save(session, team, user, key, hashed=hashed, object_id=row.id)
    return to_job(row)


def hold_for(session: Session, row: JobRow, after: Sequence[str]) -> None:
    """Let a job wait for others of its team; NotFound for one that is not there."""
    for job_id in after:
        find(session, row.team_id, job_id)
    row.after = list(dict.fromkeys(after))
    row.message = f"waits for {len(row.after)} other jobs"


def followed(session: Session, row: JobRow) -> dict[str, JobState]:
    """Return the states of the jobs that a job waits for."""
    ids = row.after or ()
    return {job_id: JobState(session.get_one(JobRow, (row.team_id, job_id)).state) for job_id in ids}


def release(session: Session, row: JobRow) -> None:
    """Promise a job whose predecessors have all succeeded; end it where one of them has not."""
    states = followed(session, row)
    lost = [job_id for job_id, state in states.items() if state in (JobState.failed, JobState.stopped)]
    if lost:
        end(session, row, JobState.stopped, f"job {lost[0]}, which it was to follow, is {states[lost[0]]}")
    elif all(state == JobState.succeeded for state in states.values()):
        row.after, row.message = None, WAITING
        add_event(session, row, "state", "what it waited for has succeeded", {"state": row.state})
        promise(session, row.team_id, SUBMIT, row.id)


def retry(session: Session, row: JobRow, reason: str, *, user: str, retries: int) -> JobRow:
    """Record another attempt of a job, with the reason, and the promise to submit it."""
    attempt = insert(session, row.team_id, user, _SPEC.validate_python(row.spec))
    attempt.priority, attempt.retries, attempt.retry_of = row.priority, retries, row.id
    add_event(session, attempt, "state", f"retry of {row.id}: {reason}", {"state": attempt.state})
    promise(session, row.team_id, SUBMIT, attempt.id)
    return attempt


def derived_id(team: str, key: str) -> str:
    """Return the id of what a key starts: the database takes an id once, so nothing is started twice."""
    return str(uuid5(NAMESPACE_URL, f"quantis:{team}:{key}"))


def now() -> datetime:
    return datetime.now(UTC)


def waiting_of(team: str) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of a team's jobs that Ray was not given yet."""
    return (JobRow.team_id == team, JobRow.state == JobState.pending, JobRow.submission_id.is_(None))


def check_waiting(session: Session, team: str, limit: int) -> None:
    count = session.scalar(select(func.count()).where(*waiting_of(team))) or 0
    if count >= limit:
        raise TooManyRequests(
            f"{count} jobs of the team wait already, and at most {limit} may (quota jobs_waiting, by default "
            "QUANTIS_QUOTA_JOBS_WAITING); stop some, or try again when some have started",
            retry_after=RETRY_SECONDS,
        )


def insert(session: Session, team: str, user: str, spec: JobSpec, job_id: str | None = None) -> JobRow:
    row = JobRow(
        id=job_id or str(uuid4()),
        team_id=team,
        kind=spec.kind,
        state=JobState.pending,
        spec=spec.model_dump(mode="json"),
        created_at=now(),
        created_by=user,
        progress=0.0,
        message=WAITING,
        stop_requested=False,
    )
    session.add(row)
    session.flush()
    add_event(session, row, "state", "requested", {"state": JobState.pending})
    return row


def find(session: Session, team: str, job_id: str) -> JobRow:
    row = session.get(JobRow, (team, job_id))
    if row is not None and (tombstone := find_tombstone(session, team, JOB, job_id)):
        raise NotFound(f"job {job_id} {tombstone}")
    if row is None:
        raise NotFound(f"no job {job_id[:60]!r}; `quantis jobs ls` lists them")
    return row


def set_state(session: Session, row: JobRow, state: JobState, message: str) -> None:
    row.state = state
    row.message = message
    if state == JobState.running:
        row.started_at = now()
    if state.final:
        row.ended_at = now()
    if state == JobState.succeeded:
        row.progress = 1.0
    add_event(session, row, "state", message, {"state": state})
    if state.final:
        promise_events(session, row.team_id, [_end_event(row)])


def end(session: Session, row: JobRow, state: JobState, message: str) -> None:
    set_state(session, row, state, message)
    if row.started_at and row.ended_at and not row.cpu_seconds:  # it was killed before it could say
        row.cpu_seconds = (row.ended_at - row.started_at).total_seconds()


def _end_event(row: JobRow) -> PlatformEvent:
    """Return the event of a job's end, for the channels that take it."""
    state, model, dataset = JobState(row.state), row.spec.get("model"), row.spec.get("dataset")
    subject = model.partition("@")[0].partition(":")[0] if isinstance(model, str) else dataset
    return PlatformEvent(
        kind=PlatformEventKind(f"job.{state.lower()}"),
        key=f"job {row.id} {state}",
        at=row.ended_at or now(),
        subject=subject or row.kind,
        message=f"{row.kind} job {row.id} {state.lower()}: {row.message}",
        detail={"job": row.id, "kind": row.kind, "model": model, "dataset": dataset, "user": row.created_by},
    )


def add_event(session: Session, row: JobRow, kind: EventKind, message: str, data: dict[str, Any]) -> None:
    of_job = (JobEventRow.team_id == row.team_id) & (JobEventRow.job_id == row.id)
    last = session.scalar(select(func.max(JobEventRow.seq)).where(of_job)) or 0
    session.add(
        JobEventRow(
            job_id=row.id, seq=last + 1, team_id=row.team_id, at=now(), kind=kind, message=message, data=data
        )
    )
    session.flush()


def to_job(row: JobRow) -> Job:
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
        priority=_PRIORITY_NAMES.get(row.priority or 0, Priority.normal),
        after=tuple(row.after) if row.after else None,
        retry_of=row.retry_of,
    )


def to_event(row: JobEventRow) -> JobEvent:
    return JobEvent(seq=row.seq, at=row.at, kind=row.kind, message=row.message, data=row.data)  # type: ignore[arg-type]
