"""Job kinds: one table of the specification, the result, the role and the module of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quantis.types.accounts import Role
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
    TrainSpec,
    TuneSpec,
    WorkSpec,
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
