"""Schedules: made, listed, changed, paused and deleted; and what became of their runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from cluster.automation.planning import RunTimes
from cluster.repositories.principals import Author
from quantis.types.base import Id, Page
from quantis.types.operations.schedules import (
    JobTarget,
    NewSchedule,
    Schedule,
    ScheduleChange,
    ScheduleRun,
    Target,
)
from serve.api.dependencies import AppServices, Audited, CurrentUser, check_job
from serve.api.job_checks import require_runnable
from serve.api.strict_route import StrictRoute
from serve.services import Services

router = APIRouter(prefix="/v1/schedules", tags=["schedules"], route_class=StrictRoute)
TIMES = frozenset({"cron", "time_zone", "jitter"})


@router.post("", status_code=201)
def create_schedule(
    new: NewSchedule,
    response: Response,
    principal: CurrentUser,
    services: AppServices,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> Schedule:
    """Start a job or a pipeline by the clock, with your rights as they are at each run.

    The same Idempotency-Key makes one.
    """
    _require_startable(principal, services, new.starts)
    first = RunTimes.from_schedule(principal.team, new).next_after(datetime.now(UTC))
    schedule = services.schedules.create(
        principal.team, Author.from_principal(principal), new, first, key=idempotency_key
    )
    response.headers["Location"] = f"/v1/schedules/{schedule.id}"
    return schedule


@router.get("")
def schedules(
    principal: CurrentUser,
    services: AppServices,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Page[Schedule]:
    """List schedules, by name."""
    return services.schedules.page(principal.team, cursor=cursor, limit=limit)


@router.get("/{schedule_id}")
def schedule(schedule_id: Id, principal: CurrentUser, services: AppServices) -> Schedule:
    """Return a schedule, by its id or name."""
    return services.schedules.get(principal.team, schedule_id)


@router.patch("/{schedule_id}")
def change_schedule(
    schedule_id: Id, change: ScheduleChange, principal: CurrentUser, services: AppServices, call: Audited
) -> Schedule:
    """Change, pause or resume a schedule. But for a pause, it acts for you from then on.

    Times are planned anew from now on when it resumes, or follows another clock: nothing before counts as missed.
    """
    call.detail = {"changed": sorted(change.model_fields_set)}
    schedule = services.schedules.get(principal.team, schedule_id)
    if change == ScheduleChange(paused=True):
        return services.schedules.pause(principal.team, schedule.id, None)
    values = schedule.model_dump(include=set(NewSchedule.model_fields)) | change.model_dump(exclude_none=True)
    changed = NewSchedule.model_validate(values)
    _require_startable(principal, services, changed.starts)
    resumes = schedule.paused and not changed.paused
    first = None
    if resumes or TIMES & change.model_fields_set:
        first = RunTimes.from_schedule(principal.team, changed).next_after(datetime.now(UTC))
    return services.schedules.change(
        principal.team, schedule.id, Author.from_principal(principal), changed, first
    )


@router.delete("/{schedule_id}", status_code=204)
def delete_schedule(schedule_id: Id, principal: CurrentUser, services: AppServices) -> None:
    """Delete a schedule and the record of its runs; what they started stays."""
    services.schedules.delete(principal.team, schedule_id)


@router.get("/{schedule_id}/runs")
def schedule_runs(
    schedule_id: Id,
    principal: CurrentUser,
    services: AppServices,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Page[ScheduleRun]:
    """List the planned runs, newest first: what each started, or why it started nothing."""
    return services.schedules.runs(principal.team, schedule_id, cursor=cursor, limit=limit)


def _require_startable(principal: CurrentUser, services: Services, target: Target) -> None:
    """Raise Forbidden, NotFound or InvalidInput for a target that could not be started now."""
    if isinstance(target, JobTarget):
        check_job(principal, target.spec)
        require_runnable(services, principal.team, target.spec)
        return
    for step in services.pipelines.get(principal.team, target.pipeline).definition.steps:
        if step.job is not None:
            check_job(principal, step.job)
