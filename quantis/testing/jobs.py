"""Jobs of the in-memory platform: nothing runs, a test emits its events."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

import httpx

from quantis.errors import Conflict
from quantis.testing.accounts import FakeAccounts, require_role
from quantis.testing.datasets import FakeDatasets
from quantis.testing.responses import json_response, page_response, raise_not_found
from quantis.types.jobs import JOB_KINDS, Job, JobError, JobEvent, JobRequest, JobState, LogText


class FakeJobQueue:
    def __init__(self, accounts: FakeAccounts, datasets: FakeDatasets) -> None:
        self._accounts, self._datasets = accounts, datasets
        self.jobs: dict[str, Job] = {}
        self._events: dict[str, list[JobEvent]] = {}
        self._logs: dict[str, str] = {}
        self._keys: dict[str, tuple[str, str]] = {}

    def emit(
        self,
        job_id: str,
        message: str,
        *,
        state: JobState | None = None,
        progress: float | None = None,
        result: dict[str, Any] | None = None,
        error: JobError | None = None,
    ) -> None:
        now, kind = datetime.now(UTC), "step"
        job, events = self._job(job_id), self._events[job_id]
        change: dict[str, Any] = {
            "message": message,
            "progress": job.progress if progress is None else progress,
        }
        if state is not None:
            kind, change["state"] = "state", state
            change["started_at"] = job.started_at or now
            change["ended_at"] = now if state.final else None
        if result is not None:
            change["result"] = result
        if error is not None:
            change["error"] = error
        self.jobs[job_id] = Job.model_validate({**job.model_dump(), **change})
        data = {"state": state.value} if state else {}
        events.append(
            JobEvent.model_validate(
                {"seq": len(events) + 1, "at": now, "kind": kind, "message": message, "data": data}
            )
        )
        self._logs[job_id] += message + "\n"

    def post_jobs(self, request: httpx.Request) -> httpx.Response:
        user = self._accounts.user(request)
        spec = JobRequest.model_validate_json(request.content).spec
        require_role(user, JOB_KINDS[spec.kind].role)
        self._datasets.dataset(spec.dataset)
        key, body = request.headers.get("Idempotency-Key"), request.content.decode()
        if key in self._keys:
            if self._keys[key][1] != body:
                raise Conflict(f"idempotency key {key!r} was used for another request; take a new one")
            return json_response(self._job(self._keys[key][0]), 202)
        job = Job(
            id=secrets.token_hex(8),
            kind=spec.kind,
            state=JobState.pending,
            spec=spec,
            created_at=datetime.now(UTC),
            created_by=user.user_name,
        )
        self.jobs[job.id], self._events[job.id], self._logs[job.id] = job, [], ""
        if key:
            self._keys[key] = (job.id, body)
        return json_response(job, 202, {"Location": f"/v1/jobs/{job.id}"})

    def get_jobs(self, request: httpx.Request) -> httpx.Response:
        filters = {key: request.url.params.get(key) for key in ("state", "kind")}
        jobs = [job for job in reversed(self.jobs.values()) if filters["state"] in (None, job.state.value)]
        return page_response(request, [job for job in jobs if filters["kind"] in (None, job.kind)])

    def get_job(self, request: httpx.Request, job_id: str) -> httpx.Response:
        return json_response(self._job(job_id))

    def get_events(self, request: httpx.Request, job_id: str) -> httpx.Response:
        """Return the events so far; the stream then ends, and a follower connects again."""
        self._job(job_id)
        last = int(request.headers.get("Last-Event-ID", "0"))
        news = [event for event in self._events[job_id] if event.seq > last]
        text = "".join(f"id: {e.seq}\nevent: {e.kind}\ndata: {e.model_dump_json()}\n\n" for e in news)
        return httpx.Response(200, text=text, headers={"Content-Type": "text/event-stream; charset=utf-8"})

    def get_logs(self, request: httpx.Request, job_id: str) -> httpx.Response:
        self._job(job_id)
        return json_response(LogText(text=self._logs[job_id]))

    def post_stop(self, request: httpx.Request, job_id: str) -> httpx.Response:
        if not self._job(job_id).state.final:
            self.emit(job_id, "stopped", state=JobState.stopped)
        return json_response(self._job(job_id))

    def _job(self, job_id: str) -> Job:
        return self.jobs.get(job_id) or raise_not_found(f"there is no job {job_id!r}")
