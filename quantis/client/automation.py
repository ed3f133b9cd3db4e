"""Work that runs by itself, from the client: schedules."""

from __future__ import annotations

import uuid
from typing import Any

from quantis.client.bodies import quote_segment
from quantis.client.connection import Request
from quantis.client.problems import validate
from quantis.client.protocol import ApiCaller
from quantis.types.job_specs import JobSpec
from quantis.types.operations.schedules import (
    JobTarget,
    NewSchedule,
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
        spec: JobSpec,
        *,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> Schedule:
        """Start a job by the clock, with one's own rights as they are at each run.

        `options` are those of a schedule: time_zone, jitter, overlap (skip, queue, allow), backfill (none, latest,
        all), backfill_limit, paused.
        """
        new = validate(NewSchedule, name=name, cron=cron, starts=JobTarget(spec=spec), **options)
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
