"""Pipelines: applied by name, run, and their runs with every step."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from cluster.automation.pipeline_runner import check_conditions
from cluster.repositories.principals import Author
from quantis.types.base import Id, Name, Page
from quantis.types.job_specs import BacktestSpec, ForecastSpec, IngestSpec, JobSpec, TrainSpec, TuneSpec
from quantis.types.operations.pipelines import Pipeline, PipelineDefinition, PipelineRun, PipelineVersion
from serve.api.dependencies import AppServices, Audited, CurrentUser, check_job
from serve.api.job_checks import require_runnable
from serve.api.strict_route import StrictRoute
from serve.services import Services

router = APIRouter(prefix="/v1/pipelines", tags=["pipelines"], route_class=StrictRoute)


@router.get("")
def pipelines(
    principal: CurrentUser,
    services: AppServices,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Page[Pipeline]:
    """List pipelines, by name."""
    return services.pipelines.page(principal.team, cursor=cursor, limit=limit)


@router.put("/{pipeline}")
def apply_pipeline(
    pipeline: Name,
    definition: PipelineDefinition,
    principal: CurrentUser,
    services: AppServices,
    call: Audited,
    dry_run: Annotated[bool, Query(description="Check it only: nothing is stored.")] = False,
) -> Pipeline | PipelineDefinition:
    """Make a pipeline, or give it another definition as a new version; the same again makes none.

    Its steps start with your rights, as they are then. A dry run answers the definition as it would be stored.
    """
    check_conditions(definition)
    _require_startable(principal, services, definition)
    call.detail = {"dry_run": dry_run}
    if dry_run:
        return definition
    applied = services.pipelines.apply(principal.team, Author.from_principal(principal), pipeline, definition)
    call.detail = {"version": applied.version}
    return applied


@router.get("/{pipeline}")
def pipeline(pipeline: Name, principal: CurrentUser, services: AppServices) -> Pipeline:
    return services.pipelines.get(principal.team, pipeline)


@router.delete("/{pipeline}", status_code=204)
def delete_pipeline(pipeline: Name, principal: CurrentUser, services: AppServices) -> None:
    """Delete a pipeline with the record of its runs; 409 while one goes on. What its steps made stays."""
    services.pipelines.delete(principal.team, pipeline)


@router.get("/{pipeline}/versions")
def pipeline_versions(
    pipeline: Name,
    principal: CurrentUser,
    services: AppServices,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Page[PipelineVersion]:
    """List the definitions, newest first."""
    return services.pipelines.versions(principal.team, pipeline, cursor=cursor, limit=limit)


@router.post("/{pipeline}/runs", status_code=202)
def run_pipeline(
    pipeline: Name,
    response: Response,
    principal: CurrentUser,
    services: AppServices,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> PipelineRun:
    """Start a run with your rights. The same Idempotency-Key gives the same run."""
    stored = services.pipelines.get(principal.team, pipeline)
    for step in stored.definition.steps:
        if step.job is not None:
            check_job(principal, step.job)
    author = Author.from_principal(principal)
    run = services.pipeline_runs.start(
        principal.team, author, pipeline, principal.user_name, key=idempotency_key
    )
    response.headers["Location"] = f"/v1/pipelines/{pipeline}/runs/{run.id}"
    return run


@router.get("/{pipeline}/runs")
def pipeline_runs(
    pipeline: Name,
    principal: CurrentUser,
    services: AppServices,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Page[PipelineRun]:
    """List the runs with their steps, newest first."""
    return services.pipeline_runs.page(principal.team, pipeline, cursor=cursor, limit=limit)


@router.get("/{pipeline}/runs/{run_id}")
def pipeline_run(pipeline: Name, run_id: Id, principal: CurrentUser, services: AppServices) -> PipelineRun:
    """Return a run with its steps: what each waits for, has started, or was left out for."""
    return services.pipeline_runs.get(principal.team, pipeline, run_id)


@router.post("/{pipeline}/runs/{run_id}/stop", status_code=202)
def stop_pipeline_run(
    pipeline: Name, run_id: Id, principal: CurrentUser, services: AppServices
) -> PipelineRun:
    """Start no further step, and stop the jobs of those that run; a run that has ended stays as it is."""
    run = services.pipeline_runs.stop(principal.team, pipeline, run_id)
    for step in run.steps:
        if step.job_id and not step.state.final:
            services.jobs.request_stop(principal.team, step.job_id)
    return run


def _require_startable(principal: CurrentUser, services: Services, definition: PipelineDefinition) -> None:
    """Raise for a step that could only fail; what an earlier step makes need not be there yet."""
    models, datasets = set[str](), set[str]()
    for step in definition.steps:
        if step.job is None:
            continue
        check_job(principal, step.job)
        if not (step.job.dataset in datasets or models & _models_of(step.job)):
            require_runnable(services, principal.team, step.job)
        if isinstance(step.job, TrainSpec | TuneSpec):
            models.add(step.job.model)
        if isinstance(step.job, IngestSpec):
            datasets.add(step.job.dataset)


def _models_of(spec: JobSpec) -> set[str]:
    """Return the models that a job needs, without alias or version."""
    if isinstance(spec, ForecastSpec):
        return {spec.model}
    if isinstance(spec, BacktestSpec) and spec.model:
        return {spec.model.partition("@")[0].partition(":")[0]}
    return set()
