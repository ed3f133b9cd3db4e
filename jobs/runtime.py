"""Runs a job: reads its request, reports its progress and records its result."""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Generic, TypeVar, cast

from cluster.backend import Backend
from cluster.machine import BOUNDS, MIB
from cluster.ray.failures import explain
from cluster.ray.session import RESOURCE_USAGE, session
from cluster.repositories.accounts import DEFAULT_TEAM
from cluster.repositories.jobs import Jobs
from cluster.settings import ray_submission_id
from jobs.config import read_config
from jobs.dataset_view import DatasetView
from jobs.reporter import JobReporter
from models.registry.mlflow_registry import Registry
from monitoring import instruments, logs
from quantis.errors import Conflict, InvalidInput, QuantisError, Unavailable
from quantis.types.job_results import JobResult
from quantis.types.job_specs import WorkSpec
from quantis.types.jobs import JOB_KINDS, JobState

Spec = TypeVar("Spec", bound=WorkSpec)
BY_HAND = "by-hand"


@dataclass
class Context(Generic[Spec]):
    """A running job: its specification and the backend that it works with."""

    backend: Backend
    team: str
    job_id: str
    spec: Spec

    @cached_property
    def dataset(self) -> DatasetView:
        """The dataset version that the job names, as of the job's time."""
        dataset = self.backend.catalogue.open(self.team, self.spec.dataset, self.spec.version)
        return DatasetView(dataset, self.spec.as_of or datetime.now(UTC))

    @property
    def registry(self) -> Registry:
        return self.backend.registry(self.team)

    @property
    def reporter(self) -> JobReporter:
        return JobReporter(self.backend.jobs, self.team, self.job_id)

    @property
    def user(self) -> str:
        """The name of the user who requested the job."""
        return self.backend.jobs.get(self.team, self.job_id).created_by

    @property
    def folder(self) -> Path:
        """The working folder of this job alone."""
        return self.backend.data_layout.training / self.job_id


def run(kind: type[Spec], work: Callable[[Context[Spec]], JobResult]) -> int:
    """Run a job as the main function of its module; return the exit code."""
    arguments = _parse_arguments(kind)
    backend = Backend.from_settings()
    backend.data_layout.prepare()
    logs.configure("job")
    with suppress(Unavailable):  # started by hand, outside of a platform: no metrics are scraped
        instruments.configure(backend.data_layout.metrics)
    try:
        team, job_id = _identify(arguments, kind, backend.jobs)
        spec = backend.jobs.start(team, job_id).spec
    except QuantisError as error:
        sys.stderr.write(f"quantis: {error.message}\n")
        return error.exit_code
    if not isinstance(spec, kind):
        module = JOB_KINDS[spec.kind].module
        sys.stderr.write(f"quantis: job {job_id} is a {spec.kind} job; run `python -m {module}`\n")
        return InvalidInput.exit_code
    context = Context(backend, team, job_id, cast("Spec", spec))
    signal.signal(signal.SIGTERM, _raise_stopped)
    with logs.bound(job_id=job_id):
        return _run_to_end(context, spec.kind, work)


def _run_to_end(context: Context[Spec], kind: str, work: Callable[[Context[Spec]], JobResult]) -> int:
    """Do the work, charge its resources and record the job's end; return the exit code."""
    log, jobs = logs.logger("quantis.job"), context.backend.jobs
    state, message, result, failure = JobState.failed, "", None, None
    started = time.monotonic()
    try:
        with session(context.backend.settings):
            BOUNDS.set(context.backend.settings.job_memory_mb * MIB)
            result = work(context).model_dump(mode="json")
        state, message = JobState.succeeded, "done"
    except (KeyboardInterrupt, _Stopped):
        state, message = JobState.stopped, "stopped"
    except QuantisError as error:
        failure = explain(error)
        log.error("job failed", code=error.code, reason=error.message)
    except Exception as error:
        failure = explain(error)
        log.exception("job failed")
    with suppress(QuantisError):
        jobs.charge(context.team, context.job_id, _cpu_seconds(), RESOURCE_USAGE.gpu_seconds)
    if failure is not None:
        message = failure.message
        recorded = jobs.fail(context.team, context.job_id, failure)
    else:
        recorded = jobs.finish(context.team, context.job_id, state, message, result)
    if recorded:
        instruments.observe_job(kind, state, time.monotonic() - started)
    sys.stdout.write(f"{kind} job {context.job_id}: {state} {message}\n")
    return 0 if state == JobState.succeeded else 1


def _cpu_seconds() -> float:
    """Return the CPU time of this process, of its children and of its Ray tasks."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime + RESOURCE_USAGE.cpu_seconds


class _Stopped(BaseException):
    """The job was stopped on request."""


def _raise_stopped(number: int, frame: FrameType | None) -> None:
    raise _Stopped


def _parse_arguments(kind: type[WorkSpec]) -> argparse.Namespace:
    name = kind.model_fields["kind"].default
    parser = argparse.ArgumentParser(prog=f"python -m {JOB_KINDS[name].module}")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--job", help="the id of a job that the API recorded")
    source.add_argument("--config", type=Path, help="a YAML file with the same fields as the API's request")
    parser.add_argument("--team", default=DEFAULT_TEAM, help="whose dataset and model (with --config)")
    return parser.parse_args()


def _identify(arguments: argparse.Namespace, kind: type[Spec], jobs: Jobs) -> tuple[str, str]:
    """Return (team, job id) of the recorded job, or record a job for a configuration file."""
    if arguments.job:
        return jobs.team_of(arguments.job), arguments.job
    spec = read_config(arguments.config)
    if not isinstance(spec, kind):
        module = JOB_KINDS[spec.kind].module
        raise Conflict(f"{arguments.config} asks for a {spec.kind} job; run `python -m {module}`")
    return arguments.team, jobs.adopt(arguments.team, BY_HAND, spec, ray_submission_id()).id
