"""Jobs: submit, follow, stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from models.evaluation.evaluated import CUTOFF
from quantis.client.problems import to_invalid_input
from quantis.errors import Conflict, NotFound
from quantis.panel import DS, ID, Y
from quantis.types.accounts import Role
from quantis.types.base import MAX_INTEGER, Id, Page, SeriesId
from quantis.types.forecasts import CrossValidationRecord, ForecastRecord
from quantis.types.job_specs import JobKind
from quantis.types.jobs import Job, JobClone, JobEvent, JobRequest, JobRetry, JobState, LogText
from serve.api.dependencies import AppServices, CurrentUser, OpenStream, check_job, still_admitted
from serve.api.job_checks import require_runnable
from serve.api.strict_route import StrictRoute
from serve.http import table_response
from serve.http.table_response import StreamedTable

POLL_SECONDS = 0.5
MAX_POLLS = 40
"""Looks for news a second, of all streams of the process; with more than twenty streams each looks less often."""

MAX_LOG = 1_000_000
router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=StrictRoute)


@router.post("", status_code=202)
def submit(
    body: JobRequest,
    response: Response,
    principal: CurrentUser,
    services: AppServices,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> Job:
    """Record a job; it starts as soon as Ray takes it. The same Idempotency-Key gives the same job."""
    check_job(principal, body.spec)
    require_runnable(services, principal.team, body.spec)
    job = services.jobs.request(
        principal.team,
        principal.user_name,
        body.spec,
        idempotency_key,
        waiting_limit=services.quotas.with_defaults(principal.quota).jobs_waiting,
        order=body,
    )
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return job


@router.get("")
def jobs(
    principal: CurrentUser,
    services: AppServices,
    state: JobState | None = None,
    kind: JobKind | None = None,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Page[Job]:
    """List jobs, newest first."""
    return services.jobs.page(principal.team, state=state, kind=kind, cursor=cursor, limit=limit)


@router.get("/{job_id}")
def job(job_id: Id, principal: CurrentUser, services: AppServices) -> Job:
    """Return a job; of one that failed, admins see what the machine said, too (`error.details`)."""
    job = services.jobs.get(principal.team, job_id)
    if job.state == JobState.running and job.started_at:
        usual = services.jobs.usual_duration(principal.team, job.kind, job.spec.dataset)
        job = job if usual is None else job.model_copy(update={"eta": job.started_at + usual})
    if job.error is None or not principal.has_role(Role.admin):
        return job
    details = services.jobs.error_details(principal.team, job_id)
    return job.model_copy(update={"error": job.error.model_copy(update={"details": details})})


@router.delete("/{job_id}", status_code=204)
def delete_job(job_id: Id, principal: CurrentUser, services: AppServices) -> None:
    """Delete a job that has ended, with its events, result and files; 409 before that. What it published stays."""
    services.deletion.delete_job(principal.team, principal.user_name, job_id)


def _existing_job(job_id: Id, principal: CurrentUser, services: AppServices) -> str:
    """Raise NotFound before a stream begins; after that only the connection could break."""
    return services.jobs.get(principal.team, job_id).id


async def _open_stream(
    _: Annotated[str, Depends(_existing_job)], request: Request, services: AppServices
) -> AsyncIterator[None]:
    """Count the stream until its answer ends; TooManyRequests before it begins."""
    with services.open_streams.hold(request):
        yield


@router.get(
    "/{job_id}/events",
    response_class=EventSourceResponse,
    responses={
        200: {"model": JobEvent, "description": "`id` is the seq, `event` the kind, `data` this as JSON."}
    },
)
async def events(
    job_id: Annotated[str, Depends(_existing_job)],
    _: Annotated[None, Depends(_open_stream)],
    request: Request,
    principal: CurrentUser,
    services: AppServices,
    last_event_id: Annotated[int, Header(ge=0, le=MAX_INTEGER)] = 0,
) -> AsyncIterator[ServerSentEvent]:
    """Stream the job's events (SSE) from `Last-Event-ID` on, until the job ends.

    A long stream is ended, too: connect again with `Last-Event-ID`, as browsers do by themselves.
    """
    last_seq, ends = last_event_id, time.monotonic() + services.settings.stream_seconds
    while time.monotonic() < ends and not await request.is_disconnected():
        if not await still_admitted(request):
            return
        state = (await run_in_threadpool(services.jobs.get, principal.team, job_id)).state
        news = await run_in_threadpool(services.jobs.events, principal.team, job_id, last_seq)
        for event in news:
            last_seq = event.seq
            yield ServerSentEvent(id=str(event.seq), event=event.kind, raw_data=event.model_dump_json())
        if state.final and not news:
            return
        await asyncio.sleep(0 if news else max(POLL_SECONDS, services.open_streams.total / MAX_POLLS))


@router.get("/{job_id}/logs")
def logs(job_id: Id, principal: CurrentUser, services: AppServices) -> LogText:
    """Return the last megabyte of the job's output."""
    submission = services.jobs.submission(principal.team, job_id)
    return LogText(text=services.job_server.logs(submission)[-MAX_LOG:] if submission else "")


@router.get(
    "/{job_id}/forecasts",
    response_model=None,
    responses={200: {"model": Page[ForecastRecord | CrossValidationRecord], "content": table_response.TABLE}},
)
def job_forecasts(
    job_id: Id,
    request: Request,
    principal: CurrentUser,
    services: AppServices,
    _: OpenStream,
    series: Annotated[list[SeriesId] | None, Query(max_length=100)] = None,
    model: Annotated[str | None, Query(max_length=100)] = None,
) -> Response:
    """Return all forecasts of a forecast job, or those of a backtest beside the actuals, a row per series and step.

    As JSON, CSV, Parquet or an Arrow stream, by Accept. A backtest's rows are those of a cross-validation:
    `unique_id, ds, cutoff, y`, the `model` and its forecast.
    """
    media_type = table_response.choose_format(request)
    job = services.jobs.get(principal.team, job_id)
    if job.kind not in ("forecast", "backtest"):
        raise NotFound(f"job {job_id} is a {job.kind} job; forecast and backtest jobs have forecasts")
    if job.state != JobState.succeeded:
        raise Conflict(f"job {job_id} is {job.state}; it has forecasts once it has succeeded")
    if job.kind == "forecast":
        file = services.batch_forecasts.open(principal.team, job_id)
        schema = file.schema_arrow.remove_metadata()
    else:
        file = services.backtests.open_forecasts(principal.team, job_id)
        schema = _cross_validation_schema(file.schema_arrow)
    conditions = [pc.field(ID).isin(series)] if series else []
    conditions += [pc.field("model") == model] if model else []
    batches = table_response.file_batches(file, schema, conditions)
    return table_response.table_response(
        request, media_type, StreamedTable(schema, batches, f"forecasts-{job_id}")
    )


def _cross_validation_schema(stored: pa.Schema) -> pa.Schema:
    """Return the columns of a backtest's forecasts in the order of a cross-validation frame."""
    first = [ID, DS, CUTOFF, Y, "model"]
    names = [*first, *(name for name in stored.names if name not in first)]
    return pa.schema([stored.field(name) for name in names])


@router.post("/{job_id}/retry", status_code=202)
def retry_job(
    job_id: Id,
    body: JobRetry,
    response: Response,
    principal: CurrentUser,
    services: AppServices,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> Job:
    """Try a job again that failed or was stopped: a new job with the same specification, which names the old one."""
    check_job(principal, services.jobs.get(principal.team, job_id).spec)
    limit = services.quotas.with_defaults(principal.quota).jobs_waiting
    job = services.jobs.retry(
        principal.team,
        principal.user_name,
        job_id,
        body.reason,
        key=idempotency_key,
        waiting_limit=limit,
    )
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return job


@router.post("/{job_id}/clone", status_code=202)
def clone_job(
    job_id: Id,
    body: JobClone,
    response: Response,
    principal: CurrentUser,
    services: AppServices,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> Job:
    """Start a job with another one's specification, but for what changes."""
    original = services.jobs.get(principal.team, job_id).spec
    try:
        request = JobRequest.model_validate({"spec": original.model_dump(mode="json") | body.changes})
    except ValidationError as error:
        raise to_invalid_input(error) from None
    return submit(request, response, principal, services, idempotency_key)


@router.post("/{job_id}/stop", status_code=202)
def stop(job_id: Id, principal: CurrentUser, services: AppServices) -> Job:
    """Ask a job to stop; one that has ended stays as it is."""
    return services.jobs.request_stop(principal.team, job_id)
