"""Pipelines: a declared chain of jobs with conditions, its versions, its runs and their steps."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, model_validator

from quantis.types.base import Duration, Frozen, Name, Number, RequestBody, Timestamp
from quantis.types.job_specs import JobSpec, require_bounded

MAX_STEPS = 50
MAX_CONDITION = 500
"""Characters of a condition."""

Condition = Annotated[str, StringConstraints(min_length=1, max_length=MAX_CONDITION)]
"""A comparison of results of earlier steps and of facts: `steps.score.state == "succeeded"`."""


class PipelineStep(RequestBody):
    """A job, or a mere check of a condition, that begins once the steps it needs have succeeded."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    name: Name
    job: Annotated[JobSpec, AfterValidator(require_bounded)] | None = Field(
        default=None, description="As POST /v1/jobs takes it; a step without one only checks its condition."
    )
    needs: tuple[Name, ...] = Field(default=(), max_length=MAX_STEPS, description="Steps before it.")
    condition: Condition | None = Field(
        default=None,
        alias="if",
        description="Else it is left out: facts.demand.live_wape > 0.2 and steps.score.result.h >= 24.",
    )
    retries: int = Field(default=0, ge=0, le=5, description="Attempts after one that failed.")

    @model_validator(mode="after")
    def _does_something(self) -> PipelineStep:
        if self.job is None and self.condition is None:
            raise ValueError(f"the step {self.name!r} does nothing; give it a job, or a condition (if)")
        return self


class PipelineTrigger(RequestBody):
    """A policy that starts runs by itself, as for training again: by facts, by time, or both."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    condition: Condition | None = Field(
        default=None, alias="if", description="On facts alone: facts.demand.live_wape_over_naive > 1."
    )
    every: Duration | None = Field(
        default=None, ge=timedelta(hours=1), description="When the latest run began longer ago than this."
    )
    cool_down: Duration = Field(
        default=timedelta(days=1),
        ge=timedelta(minutes=10),
        description="No run begins by itself within this after the latest one, whoever started that.",
    )

    @model_validator(mode="after")
    def _has_reason(self) -> PipelineTrigger:
        if self.condition is None and self.every is None:
            raise ValueError("a trigger needs a condition (if), or a time (every)")
        return self


class PipelineDefinition(RequestBody):
    description: Annotated[str, StringConstraints(max_length=500)] = ""
    trigger: PipelineTrigger | None = Field(default=None, description="What starts a run by itself.")
    steps: tuple[PipelineStep, ...] = Field(min_length=1, max_length=MAX_STEPS)

    @model_validator(mode="after")
    def _steps_stand_in_order(self) -> PipelineDefinition:
        """Let each step need earlier ones alone, so that no chain is a circle."""
        before: set[str] = set()
        for step in self.steps:
            if step.name in before:
                raise ValueError(f"two steps are called {step.name!r}; give each a name of its own")
            unknown = sorted(set(step.needs) - before)
            if unknown:
                raise ValueError(
                    f"the step {step.name!r} needs {unknown[0]!r}, which is no step before it; "
                    "list steps in the order in which they run"
                )
            before.add(step.name)
        return self


class Pipeline(Frozen):
    name: str
    version: Number
    definition: PipelineDefinition
    created_at: Timestamp
    created_by: str
    changed_at: Timestamp
    acts_for: str = Field(description="The account that applied it last, by whose rights its steps start.")


class PipelineVersion(Frozen):
    version: Number
    definition: PipelineDefinition
    created_at: Timestamp
    created_by: str


class PipelineState(StrEnum):
    """State of a run or a step. A run succeeds where no step failed or was stopped; steps may be left out."""

    waiting = "waiting"
    running = "running"
    succeeded = "succeeded"
    failed = "failed"
    stopped = "stopped"
    skipped = "skipped"

    @property
    def final(self) -> bool:
        return self not in (PipelineState.waiting, PipelineState.running)


class PipelineStepRun(Frozen):
    """A step of a run. Each attempt is a job, whose id follows from run, step and attempt."""

    name: str
    state: PipelineState
    attempt: int = 0
    job_id: str | None = None
    reason: str | None = Field(default=None, description="Why it was left out, tried again, or has failed.")
    started_at: Timestamp | None = None
    ended_at: Timestamp | None = None


class PipelineRun(Frozen):
    id: str
    pipeline: str
    version: Number
    state: PipelineState
    started_by: str = Field(description="A user, a schedule, or a trigger with its reason.")
    created_at: Timestamp
    ended_at: Timestamp | None = None
    steps: list[PipelineStepRun]
