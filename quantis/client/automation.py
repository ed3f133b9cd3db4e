"""Work that runs by itself, from the client: schedules, pipelines, and jobs tried again."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from quantis.client.bodies import quote_segment
from quantis.client.connection import Request
from quantis.client.problems import validate
from quantis.client.protocol import ApiCaller
from quantis.types.job_specs import JobSpec
from quantis.types.jobs import Job, JobClone, JobRetry
from quantis.types.operations.pipelines import (
    Pipeline,
    PipelineDefinition,
    PipelineRun,
    PipelineVersion,
)
from quantis.types.operations.schedules import (
    JobTarget,
    NewSchedule,
    PipelineTarget,
    Schedule,
    ScheduleChange,
    ScheduleRun,
)


class AutomationMixin:
    """Mixed into the client."""

    def create_schedule(
        self: ApiCaller,
        name: str,
        cron: str,
        starts: JobSpec | JobTarget | PipelineTarget,
        *,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> Schedule:
        """Start a job, or a pipeline, by the clock, with one's own rights as they are at each run.

        `options` are those of a schedule: time_zone, jitter, overlap (skip, queue, allow), backfill (none, latest,
        all), backfill_limit, paused.
        """
        is_target = isinstance(starts, JobTarget | PipelineTarget)
        target = starts if is_target else validate(JobTarget, spec=starts)
        new = validate(NewSchedule, name=name, cron=cron, starts=target, **options)
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return self._send(
            Schedule, "POST", "/schedules", new.model_dump_json(), headers=headers, repeatable=True
        )

    def schedules(self: ApiCaller, *, limit: int = 1000) -> list[Schedule]:
        """List the schedules, by name."""
        return self._get_all(Schedule, "/schedules", limit)

    def schedule(self: ApiCaller, schedule: str) -> Schedule:
        """Return a schedule, by its name or id."""
        return self._get(Schedule, f"/schedules/{quote_segment(schedule)}")

    def change_schedule(self: ApiCaller, schedule: str, **changes: Any) -> Schedule:
        """Change what is named: cron, time_zone, starts and the rest; it acts for oneself from then on."""
        body = validate(ScheduleChange, **changes).model_dump_json(exclude_unset=True)
        return self._send(Schedule, "PATCH", f"/schedules/{quote_segment(schedule)}", body)

    def pause_schedule(self: ApiCaller, schedule: str) -> Schedule:
        """Start nothing more, until it is resumed."""
        body = ScheduleChange(paused=True).model_dump_json(exclude_unset=True)
        return self._send(Schedule, "PATCH", f"/schedules/{quote_segment(schedule)}", body)

    def resume_schedule(self: ApiCaller, schedule: str) -> Schedule:
        """Go on from now: no time of the pause counts as missed. It acts for oneself from then on."""
        body = ScheduleChange(paused=False).model_dump_json(exclude_unset=True)
        return self._send(Schedule, "PATCH", f"/schedules/{quote_segment(schedule)}", body)

    def delete_schedule(self: ApiCaller, schedule: str) -> None:
        """Delete a schedule and the record of its runs; what they started stays."""
        self._connection.send(Request("DELETE", f"/v1/schedules/{quote_segment(schedule)}", repeatable=True))

    def schedule_runs(self: ApiCaller, schedule: str, *, limit: int = 100) -> list[ScheduleRun]:
        """List the planned runs, newest first: what each started, or why it started nothing."""
        return self._get_all(ScheduleRun, f"/schedules/{quote_segment(schedule)}/runs", limit)

    def apply_pipeline(self: ApiCaller, name: str, definition: PipelineDefinition) -> Pipeline:
        """Make a pipeline, or give it another definition as a new version; the same again makes none."""
        path = f"/pipelines/{quote_segment(name)}"
        return self._send(Pipeline, "PUT", path, definition.model_dump_json(), repeatable=True)

    def check_pipeline(self: ApiCaller, name: str, definition: PipelineDefinition) -> PipelineDefinition:
        """Return the definition as it would be stored, or raise what is wrong with it; nothing is stored."""
        return self._send(
            PipelineDefinition,
            "PUT",
            f"/pipelines/{quote_segment(name)}",
            definition.model_dump_json(),
            params={"dry_run": "true"},
            repeatable=True,
        )

    def pipelines(self: ApiCaller, *, limit: int = 1000) -> list[Pipeline]:
        """List the pipelines, by name."""
        return self._get_all(Pipeline, "/pipelines", limit)

    def pipeline(self: ApiCaller, name: str) -> Pipeline:
        return self._get(Pipeline, f"/pipelines/{quote_segment(name)}")

    def pipeline_versions(self: ApiCaller, name: str, *, limit: int = 1000) -> list[PipelineVersion]:
        """List the definitions of a pipeline, newest first."""
        return self._get_all(PipelineVersion, f"/pipelines/{quote_segment(name)}/versions", limit)

    def delete_pipeline(self: ApiCaller, name: str) -> None:
        """Delete a pipeline with the record of its runs; Conflict while one goes on. What its steps made stays."""
        self._connection.send(Request("DELETE", f"/v1/pipelines/{quote_segment(name)}", repeatable=True))

    def run_pipeline(self: ApiCaller, name: str, *, idempotency_key: str | None = None) -> PipelineRun:
        """Start a run with one's own rights; the same key again gives the same run."""
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        path = f"/pipelines/{quote_segment(name)}/runs"
        return self._send(PipelineRun, "POST", path, None, headers=headers, repeatable=True)

    def pipeline_runs(self: ApiCaller, name: str, *, limit: int = 100) -> list[PipelineRun]:
        """List the runs of a pipeline with their steps, newest first."""
        return self._get_all(PipelineRun, f"/pipelines/{quote_segment(name)}/runs", limit)

    def pipeline_run(self: ApiCaller, name: str, run_id: str) -> PipelineRun:
        return self._get(PipelineRun, f"/pipelines/{quote_segment(name)}/runs/{quote_segment(run_id)}")

    def stop_pipeline_run(self: ApiCaller, name: str, run_id: str) -> PipelineRun:
        """Start no further step, and stop the jobs of those that run."""
        path = f"/pipelines/{quote_segment(name)}/runs/{quote_segment(run_id)}/stop"
        return self._send(PipelineRun, "POST", path, None, repeatable=True)

    def retry_job(
        self: ApiCaller, job_id: str, reason: str = "", *, idempotency_key: str | None = None
    ) -> Job:
        """Try a job again that failed or was stopped: a new job with the same specification."""
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        body = validate(JobRetry, reason=reason).model_dump_json()
        path = f"/jobs/{quote_segment(job_id)}/retry"
        return self._send(Job, "POST", path, body, headers=headers, repeatable=True)

    def clone_job(
        self: ApiCaller,
        job_id: str,
        changes: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> Job:
        """Start a job with another one's specification, but for what changes."""
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        body = validate(JobClone, changes=dict(changes or {})).model_dump_json()
        path = f"/jobs/{quote_segment(job_id)}/clone"
        return self._send(Job, "POST", path, body, headers=headers, repeatable=True)
