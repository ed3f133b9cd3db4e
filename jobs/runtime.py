"""What every job does around its work: read its request, tell its story, end with a result."""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any, Generic, TypeVar, cast

import numpy as np

from cluster.backend import Backend
from cluster.database.engine import Database
from cluster.datasets.catalogue import Catalogue, OpenDataset
from cluster.model_ops.lineage import lineage
from cluster.model_ops.promotion import Promotion
from cluster.ray.session import RESOURCE_USAGE, session
from cluster.repositories.accounts import DEFAULT_TEAM
from cluster.repositories.jobs import Jobs
from cluster.repositories.vintages import Vintages
from cluster.settings import Settings, application_root, ray_submission_id
from features.store.snapshots import latest_known_ds
from jobs.config import read_config
from models.registry.mlflow_registry import Registry
from monitoring import instruments, logs
from quantis.errors import Conflict, InvalidInput, QuantisError, Unavailable
from quantis.frequency import to_datetime64
from quantis.panel import Task
from quantis.types.job_kinds import JOB_KINDS
from quantis.types.job_results import JobResult
from quantis.types.job_specs import WorkSpec
from quantis.types.jobs import JobState
from quantis.types.registry import Lineage

Spec = TypeVar("Spec", bound=WorkSpec)
BY_HAND = "by-hand"


@dataclass
class Context(Generic[Spec]):
    """One running job."""

    settings: Settings
    team: str
    job_id: str
    spec: Spec
    jobs: Jobs
    database: Database

    @cached_property
    def as_of(self) -> datetime:
        return self.spec.as_of or datetime.now(UTC)

    @cached_property
    def backend(self) -> Backend:
        return Backend(self.settings, self.database)

    @property
    def catalogue(self) -> Catalogue:
        return self.backend.catalogue

    @cached_property
    def dataset(self) -> OpenDataset:
        return self.catalogue.open(self.team, self.spec.dataset, self.spec.version)

    @property
    def registry(self) -> Registry:
        return self.backend.registry(self.team)

    @property
    def vintages(self) -> Vintages:
        return self.backend.vintages

    @property
    def families(self) -> dict[str, str]:
        return self.backend.families

    @cached_property
    def lineage(self) -> Lineage:
        """What makes the models of this job."""
        return lineage(application_root())

    @property
    def promotion(self) -> Promotion:
        """Promotes under the model's policy, on behalf of whoever asked for the job."""
        return self.backend.promotion(self.team)

    @cached_property
    def user(self) -> str:
        return self.jobs.get(self.team, self.job_id).created_by

    @property
    def folder(self) -> Path:
        """A folder of its own for what it writes while it works."""
        return self.settings.data_layout.training / self.job_id

    def last_cutoff(self, task: Task) -> np.datetime64:
        """The last `ds` whose value is known at the job's as-of time."""
        version = self.dataset.version
        end = to_datetime64(version.last_ds)
        limit = latest_known_ds(self.as_of, self.dataset.spec.publication_lag)
        cutoff = task.frequency.floor(limit, end)
        if cutoff <= to_datetime64(version.first_ds):
            raise InvalidInput(
                f"nothing of dataset {version.dataset!r} was known at {self.as_of:%Y-%m-%dT%H:%MZ}; "
                f"it begins at {version.first_ds:%Y-%m-%dT%H:%MZ}, take a later as_of"
            )
        return cutoff

    def tell(self, message: str, progress: float | None = None, **data: Any) -> None:
        self.jobs.add_event(self.team, self.job_id, "progress", message, progress=progress, data=data)

    @contextmanager
    def step(self, name: str, progress: float) -> Iterator[None]:
        """A named part of the work; its seconds are told when it ends, at `progress` of the whole."""
        started = time.monotonic()
        self.tell(name)
        yield
        seconds = round(time.monotonic() - started, 1)
        self.jobs.add_event(
            self.team, self.job_id, "step", name, progress=progress, data={"seconds": seconds}
        )


def run(kind: type[Spec], work: Callable[[Context[Spec]], JobResult]) -> int:
    """The main function of every job module; gives the exit code."""
    arguments = _arguments(kind)
    settings = Settings()
    settings.data_layout.prepare()
    logs.configure("job")
    with suppress(Unavailable):  # started by hand, outside of a platform: nobody scrapes it
        instruments.configure(settings.data_layout.metrics)
    database = Database(settings.sql_url)
    jobs = Jobs(database)
    try:
        team, job_id = _identify(arguments, kind, database)
        spec = jobs.start(team, job_id).spec
    except QuantisError as error:
        sys.stderr.write(f"quantis: {error.message}\n")
        return error.exit_code
    if not isinstance(spec, kind):
        sys.stderr.write(
            f"quantis: job {job_id} is a {spec.kind} job; run `python -m {JOB_KINDS[spec.kind].module}`\n"
        )
        return InvalidInput.exit_code
    context = Context(settings, team, job_id, cast("Spec", spec), jobs, database)
    signal.signal(signal.SIGTERM, _raise_stopped)
    with logs.bound(job_id=job_id):
        return _carry_out(context, work)


def _carry_out(context: Context[Spec], work: Callable[[Context[Spec]], JobResult]) -> int:
    log = logs.logger("quantis.job")
    state, message, result = JobState.failed, "", None
    started = time.monotonic()
    try:
        with session(context.settings):
            result = work(context).model_dump(mode="json")
        state, message = JobState.succeeded, "done"
    except (KeyboardInterrupt, _Stopped):
        state, message = JobState.stopped, "stopped"
    except QuantisError as error:
        message = error.message
        log.error("job failed", code=error.code, reason=error.message)
    except Exception as error:
        message = f"{type(error).__name__}: {error}"[:2000]
        log.exception("job failed")
    with suppress(QuantisError):
        context.jobs.charge(context.team, context.job_id, _cpu_seconds(), RESOURCE_USAGE.gpu_seconds)
    if context.jobs.finish(context.team, context.job_id, state, message, result):
        instruments.observe_job(context.spec.kind, state, time.monotonic() - started)  # type: ignore[attr-defined]
    sys.stdout.write(f"{context.spec.kind} job {context.job_id}: {state} {message}\n")  # type: ignore[attr-defined]
    return 0 if state == JobState.succeeded else 1


def _cpu_seconds() -> float:
    """The CPU time of this process, of its children, and of what it had others do."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime + RESOURCE_USAGE.cpu_seconds


class _Stopped(BaseException):
    """The job was asked to end."""


def _raise_stopped(number: int, frame: FrameType | None) -> None:
    raise _Stopped


def _arguments(kind: type[WorkSpec]) -> argparse.Namespace:
    name = kind.model_fields["kind"].default
    parser = argparse.ArgumentParser(prog=f"python -m {JOB_KINDS[name].module}")
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--job", help="the id of a job that the API recorded")
    given.add_argument("--config", type=Path, help="a YAML file with the same fields as the API's request")
    parser.add_argument("--team", default=DEFAULT_TEAM, help="whose dataset and model (with --config)")
    return parser.parse_args()


def _identify(arguments: argparse.Namespace, kind: type[Spec], database: Database) -> tuple[str, str]:
    """(team, job id): of the recorded job, or of one recorded now for a configuration file."""
    jobs = Jobs(database)
    if arguments.job:
        return jobs.team_of(arguments.job), arguments.job
    spec = read_config(arguments.config)
    if not isinstance(spec, kind):
        raise Conflict(
            f"{arguments.config} asks for a {spec.kind} job; run `python -m {JOB_KINDS[spec.kind].module}`"
        )
    return arguments.team, jobs.adopt(arguments.team, BY_HAND, spec, ray_submission_id()).id
