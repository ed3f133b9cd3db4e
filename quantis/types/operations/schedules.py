"""Schedules: work that is started by the clock, and the record of each planned run."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from quantis.types.base import Duration, Frozen, Name, RequestBody, Timestamp
from quantis.types.job_specs import JobSpec, require_bounded
from quantis.types.reading import TimeZone

MAX_BACKFILL = 100
"""Missed runs that a schedule makes up at most."""

CronText = Annotated[
    str, StringConstraints(pattern=r"^[0-9A-Za-z*,/#-]+( [0-9A-Za-z*,/#-]+){4}$", max_length=100)
]
"""Five fields: minute, hour, day of month, month, day of week."""


class Overlap(StrEnum):
    """Treatment of a run whose predecessor has not ended: it is left out, waits, or starts beside it."""

    skip = "skip"
    queue = "queue"
    allow = "allow"


class Backfill(StrEnum):
    """Missed runs, such as those of a night without the platform, that are made up."""

    none = "none"
    latest = "latest"
    all = "all"


class JobTarget(RequestBody):
    """A job, as `POST /v1/jobs` takes it."""

    kind: Literal["job"] = "job"
    spec: Annotated[JobSpec, AfterValidator(require_bounded)]


class PipelineTarget(RequestBody):
    """A run of a pipeline, of its version at that time."""

    kind: Literal["pipeline"] = "pipeline"
    pipeline: Name


Target = Annotated[JobTarget | PipelineTarget, Field(discriminator="kind")]
"""The work that a schedule starts."""


class NewSchedule(RequestBody):
    name: Name
    cron: CronText = Field(description="Minute, hour, day of month, month, day of week: 30 6 * * MON-FRI.")
    time_zone: TimeZone = Field(default="UTC", description="The zone of the clock that it follows.")
    jitter: Duration = Field(
        default=timedelta(0),
        ge=timedelta(0),
        le=timedelta(hours=1),
        description="Start each run later by a part of this, the same for every run of this schedule.",
    )
    overlap: Overlap = Field(default=Overlap.skip, description="When the run before has not ended.")
    backfill: Backfill = Field(default=Backfill.none, description="Which missed runs are made up.")
    backfill_limit: int = Field(
        default=10, ge=1, le=MAX_BACKFILL, description="With `all`: how many of them, the latest ones."
    )
    paused: bool = False
    starts: Target


class ScheduleChange(RequestBody):
    """A change; what is absent stays. Whoever makes it is the one for whom the schedule acts from then on."""

    cron: CronText | None = None
    time_zone: TimeZone | None = None
    jitter: Duration | None = Field(default=None, ge=timedelta(0), le=timedelta(hours=1))
    overlap: Overlap | None = None
    backfill: Backfill | None = None
    backfill_limit: int | None = Field(default=None, ge=1, le=MAX_BACKFILL)
    paused: bool | None = Field(default=None, description="True pauses, false resumes from now on.")
    starts: Target | None = None


class Schedule(Frozen):
    id: str
    name: str
    cron: str
    time_zone: str
    jitter: Duration
    overlap: Overlap
    backfill: Backfill
    backfill_limit: int
    starts: Target
    created_at: Timestamp
    created_by: str
    acts_for: str = Field(description="The account by whose rights it starts its runs.")
    paused: bool
    pause_reason: str | None = Field(default=None, description="Why it paused itself.")
    next_at: Timestamp | None = Field(default=None, description="The next planned time; null while paused.")


class ScheduleRunState(StrEnum):
    """State of a planned run: what became of it, and of what it started."""

    queued = "queued"
    running = "running"
    succeeded = "succeeded"
    failed = "failed"
    stopped = "stopped"
    skipped = "skipped"
    missed = "missed"
    refused = "refused"


class ScheduleRun(Frozen):
    """A planned run. Each planned time has one, whatever happens to the platform meanwhile."""

    planned_at: Timestamp
    state: ScheduleRunState
    job_id: str | None = None
    pipeline_run_id: str | None = None
    reason: str | None = Field(default=None, description="Why it was not started, or not at its time.")
    recorded_at: Timestamp
