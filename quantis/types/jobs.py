"""Jobs: their state, their events and their results."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field, model_validator

from quantis.types.base import Frozen, RequestBody, Timestamp
from quantis.types.job_kinds import JOB_KINDS, read_result
from quantis.types.job_results import JobResult
from quantis.types.job_specs import JobKind, JobSpec


class JobState(StrEnum):
    """Ray's five states."""

    pending = "PENDING"
    running = "RUNNING"
    stopped = "STOPPED"
    succeeded = "SUCCEEDED"
    failed = "FAILED"

    @property
    def final(self) -> bool:
        return self in (JobState.stopped, JobState.succeeded, JobState.failed)


class JobRequest(RequestBody):
    spec: JobSpec


class Job(Frozen):
    id: str
    kind: JobKind
    state: JobState
    spec: JobSpec
    created_at: Timestamp
    created_by: str
    started_at: Timestamp | None = None
    ended_at: Timestamp | None = None
    progress: float = Field(default=0.0, ge=0, le=1)
    message: str = ""
    result: JobResult | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_result(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or not isinstance(data.get("result"), Mapping):
            return data
        kind = data.get("kind")
        return {**data, "result": read_result(kind, data["result"])} if kind in JOB_KINDS else data


class JobEvent(Frozen):
    """A progress event of a job; `seq` counts from 1 within the job."""

    seq: int
    at: Timestamp
    kind: Literal["state", "step", "progress", "metric", "result"]
    message: str
    data: dict[str, Any] = {}


class LogText(Frozen):
    text: str
