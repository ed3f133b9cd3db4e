"""Progress of a running job: events, timed steps and metrics in the job's record."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cluster.repositories.jobs import Jobs


@dataclass(frozen=True)
class JobReporter:
    """Adds to the events of one job, which its readers follow."""

    jobs: Jobs
    team: str
    job_id: str

    def event(self, message: str, progress: float | None = None, **data: Any) -> None:
        """Report a message and, if given, the progress of the job from 0 to 1."""
        self.jobs.add_event(self.team, self.job_id, "progress", message, progress=progress, data=data)

    def metric(self, model: str, values: Mapping[str, Any]) -> None:
        """Report the metrics of a model."""
        self.jobs.add_event(self.team, self.job_id, "metric", model, data=dict(values))

    @contextmanager
    def step(self, name: str, progress: float) -> Iterator[None]:
        """Report the start of a step and, at its end, its seconds and the `progress` that the job has reached."""
        started = time.monotonic()
        self.event(name)
        yield
        seconds = round(time.monotonic() - started, 1)
        self.jobs.add_event(
            self.team, self.job_id, "step", name, progress=progress, data={"seconds": seconds}
        )
