"""Work that a schedule starts within its own transaction: a job or a pipeline's run, with an id made from a key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy.orm import Session

from cluster.database.automation_tables import PipelineRunRow, ScheduleRunRow
from cluster.database.tables import JobRow
from cluster.repositories.operations import job_rows, pipeline_runs
from cluster.repositories.principals import Author
from quantis.errors import NotFound, TooManyRequests
from quantis.types.jobs import JobState
from quantis.types.operations.pipelines import PipelineState
from quantis.types.operations.schedules import PipelineTarget, ScheduleRunState, Target

_TARGET: TypeAdapter[Target] = TypeAdapter(Target)
_OUTCOMES: dict[str, ScheduleRunState] = {
    JobState.succeeded: ScheduleRunState.succeeded,
    JobState.failed: ScheduleRunState.failed,
    JobState.stopped: ScheduleRunState.stopped,
    PipelineState.succeeded: ScheduleRunState.succeeded,
    PipelineState.failed: ScheduleRunState.failed,
    PipelineState.stopped: ScheduleRunState.stopped,
}


@dataclass(frozen=True)
class StartOrder:
    """A target to start for an author; the same key starts it once."""

    team: str
    author: Author
    target: dict[str, Any]
    key: str
    started_by: str
    waiting_limit: int | None = None


def start(session: Session, order: StartOrder, run: ScheduleRunRow) -> None:
    """Start a run's target and note it in the run; it waits where the team's queue is full."""
    target = _TARGET.validate_python(order.target)
    work_id = job_rows.derived_id(order.team, order.key)
    run.state, run.reason = ScheduleRunState.running, None
    try:
        if isinstance(target, PipelineTarget):
            pipeline_runs.insert_run(
                session,
                order.team,
                order.author,
                target.pipeline,
                started_by=order.started_by,
                run_id=work_id,
            )
            run.pipeline_run_id = work_id
            return
        job_rows.request(
            session,
            order.team,
            order.author.user_name,
            target.spec,
            job_id=work_id,
            waiting_limit=order.waiting_limit,
        )
        run.job_id = work_id
    except TooManyRequests as error:
        run.state, run.reason, run.target = ScheduleRunState.queued, error.message, order.target
    except NotFound as error:
        run.state, run.reason = ScheduleRunState.refused, error.message


def outcome(session: Session, run: ScheduleRunRow) -> ScheduleRunState | None:
    """Return how what a run started has ended; None while it goes on, or is yet to be started."""
    if run.job_id is not None:
        job = session.get(JobRow, (run.team_id, run.job_id))
        return ScheduleRunState.stopped if job is None else _OUTCOMES.get(job.state)
    if run.pipeline_run_id is not None:
        pipeline_run = session.get(PipelineRunRow, (run.team_id, run.pipeline_run_id))
        return ScheduleRunState.stopped if pipeline_run is None else _OUTCOMES.get(pipeline_run.state)
    return None
