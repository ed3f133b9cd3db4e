"""The door to Ray's job server: typed jobs in, Ray's states out. No text of a user reaches it."""

from __future__ import annotations

import sys
from functools import cached_property
from typing import Protocol

from ray.job_submission import JobStatus, JobSubmissionClient

from quantis.types.jobs import JOB_KINDS, Job, JobState


class JobServer(Protocol):
    """Interface of the reconciler to the server that runs the jobs."""

    def submit(self, job: Job, submission_id: str) -> None:
        """Start a job; the same submission id twice starts it once."""
        ...

    def state(self, submission_id: str) -> tuple[JobState, str] | None:
        """Return state and message; None for an unknown job."""
        ...

    def stop(self, submission_id: str) -> None: ...

    def logs(self, submission_id: str) -> str: ...


class RayJobs:
    """Ray's job server; connected at its first use, since Ray may come up later."""

    def __init__(self, address: str, memory: int | None = None) -> None:
        """Each job's driver declares `memory` bytes to Ray, which starts it on a node that has them."""
        self._address, self._memory = address, memory

    @cached_property
    def _client(self) -> JobSubmissionClient:
        return JobSubmissionClient(self._address)

    def submit(self, job: Job, submission_id: str) -> None:
        if self.state(submission_id) is not None:
            return
        try:
            self._client.submit_job(
                entrypoint=f"{sys.executable} -m {JOB_KINDS[job.kind].module} --job {job.id}",
                submission_id=submission_id,
                entrypoint_memory=self._memory,
                metadata={"quantis_job": job.id, "kind": job.kind},
            )
        except RuntimeError:
            if self.state(submission_id) is None:  # else another reconciler was first
                raise

    def state(self, submission_id: str) -> tuple[JobState, str] | None:
        try:
            info = self._client.get_job_info(submission_id)
        except RuntimeError as error:
            if "404" in str(error) or "does not exist" in str(error):
                return None
            raise
        return _STATES[info.status], info.message or ""

    def stop(self, submission_id: str) -> None:
        if self.state(submission_id) is not None:
            self._client.stop_job(submission_id)

    def logs(self, submission_id: str) -> str:
        return self._client.get_job_logs(submission_id) if self.state(submission_id) else ""


_STATES = {status: JobState(status.value) for status in JobStatus}


class FakeJobs:
    """A job server in memory, for tests: the same contract, no Ray."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.states: dict[str, JobState] = {}

    def submit(self, job: Job, submission_id: str) -> None:
        if submission_id not in self.jobs:
            self.jobs[submission_id] = job
            self.states[submission_id] = JobState.pending

    def state(self, submission_id: str) -> tuple[JobState, str] | None:
        state = self.states.get(submission_id)
        return (state, "") if state else None

    def stop(self, submission_id: str) -> None:
        if submission_id in self.states and not self.states[submission_id].final:
            self.states[submission_id] = JobState.stopped

    def logs(self, submission_id: str) -> str:
        return f"log of {submission_id}\n" if submission_id in self.jobs else ""
