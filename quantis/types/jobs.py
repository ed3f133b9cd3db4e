"""Jobs: the table of their kinds, their state and their events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from quantis.types.accounts import Role
from quantis.types.base import Frozen, Id, RequestBody, Timestamp, is_none
from quantis.types.job_results import (
    BacktestResult,
    CompactResult,
    FeaturizeResult,
    ForecastResult,
    IngestResult,
    JobResult,
    TrainResult,
    TuneResult,
)
from quantis.types.job_specs import (
    BacktestSpec,
    CompactSpec,
    FeaturizeSpec,
    ForecastSpec,
    IngestSpec,
    JobKind,
    JobSpec,
    TrainSpec,
    TuneSpec,
    WorkSpec,
    require_bounded,
)


@dataclass(frozen=True)
class JobKindEntry:
    """A kind of job: the role that may submit it and the module that `python -m` runs."""

    spec: type[WorkSpec]
    result: type[JobResult]
    role: Role
    module: str


JOB_KINDS: dict[str, JobKindEntry] = {
    "featurize": JobKindEntry(FeaturizeSpec, FeaturizeResult, Role.ml_engineer, "jobs.featurize"),
    "train": JobKindEntry(TrainSpec, TrainResult, Role.ml_engineer, "jobs.train"),
    "backtest": JobKindEntry(BacktestSpec, BacktestResult, Role.analyst, "jobs.backtest"),
    "tune": JobKindEntry(TuneSpec, TuneResult, Role.ml_engineer, "jobs.tune"),
    "forecast": JobKindEntry(ForecastSpec, ForecastResult, Role.analyst, "jobs.forecast"),
    "compact": JobKindEntry(CompactSpec, CompactResult, Role.admin, "jobs.compact"),
    "ingest": JobKindEntry(IngestSpec, IngestResult, Role.analyst, "jobs.ingest"),
}


def read_result(kind: str, stored: Mapping[str, Any] | None) -> JobResult | None:
    """Read a stored result as its job's kind says: a result does not name its own type."""
    return None if stored is None else JOB_KINDS[kind].result.model_validate(stored)


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


class Priority(StrEnum):
    """Order among the jobs of a team that wait; teams take turns whatever their priorities."""

    low = "low"
    normal = "normal"
    high = "high"


class JobOrder(RequestBody):
    """The place of a job among others, and its attempts."""

    priority: Priority = Field(default=Priority.normal, description="Before the team's other jobs that wait.")
    after: tuple[Id, ...] = Field(
        default=(),
        max_length=20,
        description="Jobs that are to succeed first; it is stopped where one does not.",
    )
    retries: int = Field(default=0, ge=0, le=5, description="Attempts after one that failed, each a job.")


class JobRequest(JobOrder):
    spec: Annotated[JobSpec, AfterValidator(require_bounded)]


class JobRetry(RequestBody):
    reason: Annotated[str, StringConstraints(max_length=500)] = ""


_Scalar = Annotated[str, Field(max_length=1000)] | bool | int | float | None
_Row = Annotated[list[_Scalar], Field(max_length=100)]
_FieldName = Annotated[str, Field(max_length=64)]
_Change = (
    _Scalar
    | Annotated[list[_Scalar | _Row], Field(max_length=1000)]
    | Annotated[dict[_FieldName, _Scalar | _Row], Field(max_length=50)]
)


class JobClone(RequestBody):
    """Fields of the specification that the clone has otherwise."""

    changes: dict[_FieldName, _Change] = Field(default={}, max_length=50)


class JobError(Frozen):
    """The cause of a failure and its remedy, a sentence each; the details are for admins."""

    cause: str
    remedy: str
    details: str | None = Field(
        default=None, description="What the machine said: for admins, in the answer for one job."
    )

    @property
    def message(self) -> str:
        return f"{self.cause} {self.remedy}"


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
    error: JobError | None = Field(default=None, exclude_if=is_none, description="Of a job that failed.")
    priority: Priority = Field(
        default=Priority.normal,
        exclude_if=lambda priority: priority is Priority.normal,
        description="Absent where it is normal.",
    )
    after: tuple[str, ...] | None = Field(
        default=None, exclude_if=is_none, description="Jobs that it waits for."
    )
    retry_of: str | None = Field(
        default=None, exclude_if=is_none, description="The job that it is another attempt of."
    )
    eta: Timestamp | None = Field(
        default=None,
        exclude_if=is_none,
        description="Of one job that runs: its probable end, by earlier ones of its kind on its dataset.",
    )

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
