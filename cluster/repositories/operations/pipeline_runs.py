"""Runs of pipelines: a run and its steps change together with the jobs that they start, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from cluster.database.automation_tables import PipelineRunRow, PipelineStepRow
from cluster.database.engine import Database
from cluster.database.tables import JobRow
from cluster.repositories import idempotency, paging
from cluster.repositories.operations import job_rows, pipelines
from cluster.repositories.operations.pipelines import TriggeredPipeline
from cluster.repositories.principals import Author
from quantis.errors import NotFound, TooManyRequests
from quantis.types.base import Page
from quantis.types.job_specs import JobSpec
from quantis.types.jobs import JobState
from quantis.types.operations.pipelines import (
    PipelineRun,
    PipelineState,
    PipelineStep,
    PipelineStepRun,
)

STOPPED = "the run was stopped"


@dataclass(frozen=True)
class StepProgress:
    """A step and what is known of its latest job."""

    step: PipelineStep
    state: PipelineState
    attempt: int = 0
    job_state: JobState | None = None
    result: dict[str, Any] = field(default_factory=dict)
    failure: str = ""


@dataclass(frozen=True)
class StepChange:
    """A step's next state; one that is to run starts its next attempt."""

    name: str
    state: PipelineState
    reason: str | None = None


@dataclass(frozen=True)
class UnfinishedRun:
    """A run that goes on, for the runner."""

    team: str
    run_id: str
    author: Author
    steps: tuple[StepProgress, ...]


Plan = Callable[[Sequence[StepProgress]], list[StepChange]]


class PipelineRuns:
    def __init__(self, database: Database) -> None:
        self._database = database

    def start(
        self, team: str, author: Author, pipeline: str, started_by: str, *, key: str | None = None
    ) -> PipelineRun:
        """Record a run of a pipeline's version of now; the same key again returns the run that is there already."""
        hashed = idempotency.request_hash("pipeline run", pipeline)
        with self._database.write() as session:
            if key and (run_id := idempotency.find(session, team, author.user_name, key, hashed)):
                return _run(session, _find(session, team, pipeline, run_id))
            row = insert_run(session, team, author, pipeline, started_by=started_by)
            if key:
                idempotency.save(session, team, author.user_name, key, hashed=hashed, object_id=row.id)
            return _run(session, row)

    def get(self, team: str, pipeline: str, run_id: str) -> PipelineRun:
        with self._database.read() as session:
            return _run(session, _find(session, team, pipeline, run_id))

    def page(
        self, team: str, pipeline: str, *, cursor: str | None = None, limit: int = 50
    ) -> Page[PipelineRun]:
        """Return a page, newest first."""
        query = select(PipelineRunRow).where(
            PipelineRunRow.team_id == team, PipelineRunRow.pipeline == pipeline
        )
        if cursor:
            at, last = paging.decode(cursor, 2)
            timestamp = paging.timestamp(at)
            same_time = (PipelineRunRow.created_at == timestamp) & (PipelineRunRow.id < last)
            query = query.where(or_(PipelineRunRow.created_at < timestamp, same_time))
        query = query.order_by(PipelineRunRow.created_at.desc(), PipelineRunRow.id.desc())
        with self._database.read() as session:
            pipelines.find(session, team, pipeline)
            rows = session.scalars(query.limit(limit + 1)).all()
            return paging.page(
                rows, limit, lambda row: _run(session, row), lambda row: (row.created_at.isoformat(), row.id)
            )

    def stop(self, team: str, pipeline: str, run_id: str) -> PipelineRun:
        """Start no further step; return the run, whose jobs of now are yet to be stopped."""
        with self._database.write() as session:
            row = _find(session, team, pipeline, run_id)
            for step in _steps(session, row):
                if step.state == PipelineState.waiting:
                    step.state, step.reason, step.ended_at = PipelineState.stopped, STOPPED, job_rows.now()
            _follow(session, row)
            return _run(session, row)

    # What the runner needs.

    def unfinished(self, limit: int = 500) -> list[UnfinishedRun]:
        """Return the runs of all teams that go on, the oldest first."""
        with self._database.read() as session:
            query = select(PipelineRunRow).where(PipelineRunRow.state == PipelineState.running)
            rows = session.scalars(query.order_by(PipelineRunRow.created_at).limit(limit))
            return [
                UnfinishedRun(row.team_id, row.id, Author(**row.author), tuple(_progress(session, row)))
                for row in rows
            ]

    def start_triggered(self, item: TriggeredPipeline, reason: str, now: datetime) -> bool:
        """Start a run, unless one goes on or began within the cool-down: of many reasons at once, one does."""
        with self._database.write() as session:
            of_pipeline = (PipelineRunRow.team_id == item.team, PipelineRunRow.pipeline == item.name)
            going_on = PipelineRunRow.state == PipelineState.running
            recent = PipelineRunRow.created_at > now - item.trigger.cool_down
            if session.scalar(select(PipelineRunRow.id).where(*of_pipeline, or_(going_on, recent)).limit(1)):
                return False
            started_by = f"trigger: {reason}"[:160]
            row = insert_run(session, item.team, item.author, item.name, started_by=started_by)
            row.created_at = now
            return True

    def advance(self, run: UnfinishedRun, plan: Plan, waiting_limit: int | None) -> None:
        """Make the changes that `plan` says and start their jobs: all of it, or nothing.

        A step's job has an id made from run, step and attempt, which the database takes once.
        """
        with self._database.write() as session:
            row = session.get(PipelineRunRow, (run.team, run.run_id))
            if row is None or row.state != PipelineState.running:
                return
            progress = _progress(session, row)
            jobs = {each.step.name: each.step.job for each in progress}
            steps = {step.name: step for step in _steps(session, row)}
            for change in plan(progress):
                _change(
                    session,
                    row,
                    steps[change.name],
                    change,
                    job=jobs[change.name],
                    waiting_limit=waiting_limit,
                )
            _follow(session, row)


def insert_run(
    session: Session, team: str, author: Author, pipeline: str, *, started_by: str, run_id: str | None = None
) -> PipelineRunRow:
    """Add a run and its steps, all waiting, to the caller's transaction."""
    stored, now = pipelines.find(session, team, pipeline), job_rows.now()
    row = PipelineRunRow(
        team_id=team,
        id=run_id or str(uuid4()),
        pipeline=pipeline,
        version=stored.version,
        state=PipelineState.running,
        author=author.to_json(),
        started_by=started_by,
        created_at=now,
    )
    session.add(row)
    definition = pipelines.definition_of(session, team, pipeline, stored.version)
    for position, step in enumerate(definition.steps):
        session.add(
            PipelineStepRow(
                team_id=team,
                run_id=row.id,
                position=position,
                name=step.name,
                state=PipelineState.waiting,
                attempt=0,
            )
        )
    session.flush()
    return row


def _change(
    session: Session,
    row: PipelineRunRow,
    step: PipelineStepRow,
    change: StepChange,
    *,
    job: JobSpec | None,
    waiting_limit: int | None,
) -> None:
    step.reason = change.reason or step.reason
    if change.state == PipelineState.running and job is not None:
        key = f"pipeline run {row.id} step {step.name} attempt {step.attempt + 1}"
        user = row.author["user_name"]
        try:
            started = job_rows.request(
                session,
                row.team_id,
                user,
                job,
                job_id=job_rows.derived_id(row.team_id, key),
                waiting_limit=waiting_limit,
            )
        except TooManyRequests as error:
            step.reason = error.message
            return
        step.job_id, step.attempt = started.id, step.attempt + 1
        step.started_at = step.started_at or job_rows.now()
    step.state = change.state
    if change.state.final:
        step.ended_at = job_rows.now()


def _follow(session: Session, row: PipelineRunRow) -> None:
    """Let the run end once all of its steps have."""
    session.flush()
    states = [PipelineState(step.state) for step in _steps(session, row)]
    if not all(state.final for state in states):
        return
    row.state, row.ended_at = PipelineState.succeeded, job_rows.now()
    for worse in (PipelineState.stopped, PipelineState.failed):
        if worse in states:
            row.state = worse


def _progress(session: Session, row: PipelineRunRow) -> list[StepProgress]:
    definition = pipelines.definition_of(session, row.team_id, row.pipeline, row.version)
    return [
        _step_progress(session, step, declared)
        for step, declared in zip(_steps(session, row), definition.steps, strict=True)
    ]


def _step_progress(session: Session, step: PipelineStepRow, declared: PipelineStep) -> StepProgress:
    job = session.get(JobRow, (step.team_id, step.job_id)) if step.job_id else None
    if job is None:
        return StepProgress(declared, PipelineState(step.state), step.attempt)
    return StepProgress(
        declared,
        PipelineState(step.state),
        step.attempt,
        JobState(job.state),
        dict(job.result or {}),
        str((job.error or {}).get("cause") or job.message),
    )


def _steps(session: Session, row: PipelineRunRow) -> list[PipelineStepRow]:
    of_run = (PipelineStepRow.team_id == row.team_id, PipelineStepRow.run_id == row.id)
    return list(session.scalars(select(PipelineStepRow).where(*of_run).order_by(PipelineStepRow.position)))


def _find(session: Session, team: str, pipeline: str, run_id: str) -> PipelineRunRow:
    pipelines.find(session, team, pipeline)
    row = session.get(PipelineRunRow, (team, run_id))
    if row is None or row.pipeline != pipeline:
        raise NotFound(
            f"pipeline {pipeline!r} has no run {run_id[:64]!r}; `quantis pipelines runs` lists them"
        )
    return row


def _run(session: Session, row: PipelineRunRow) -> PipelineRun:
    return PipelineRun(
        id=row.id,
        pipeline=row.pipeline,
        version=row.version,
        state=PipelineState(row.state),
        started_by=row.started_by,
        created_at=row.created_at,
        ended_at=row.ended_at,
        steps=[
            PipelineStepRun(
                name=step.name,
                state=PipelineState(step.state),
                attempt=step.attempt,
                job_id=step.job_id,
                reason=step.reason,
                started_at=step.started_at,
                ended_at=step.ended_at,
            )
            for step in _steps(session, row)
        ],
    )
