"""Follow a job: its event stream, resumed where it broke, with polling beside it."""

from __future__ import annotations

import time
from collections.abc import Callable

from httpx_sse import EventSource, ServerSentEvent
from pydantic import ValidationError

from quantis.client.connection import Connection, Request
from quantis.errors import QuantisError, TimedOut, TooManyRequests, Unavailable
from quantis.types.jobs import Job, JobEvent

OnEvent = Callable[[JobEvent], None]

STREAM_TIMEOUT = 30.0  # s without a byte, after which a stream counts as broken
FINAL_STREAM_TIMEOUT = 5.0  # the same once the job is known to have ended
MAX_OUTAGE = 300.0  # s for which a server may be away: the job goes on meanwhile
MIN_POLL_INTERVAL, MAX_POLL_INTERVAL = 0.2, 5.0  # s between two requests for the job


_PASSING = (Unavailable, TimedOut, TooManyRequests)


class JobFollower:
    """Waits for one job to end. `seq` is the newest event handed on; none is handed on twice."""

    def __init__(
        self, connection: Connection, job_id: str, on_event: OnEvent | None, timeout: float | None
    ) -> None:
        self._connection, self._job_id, self._on_event = connection, job_id, on_event
        self._timeout = timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._has_stream = True
        self.seq = 0

    def wait(self) -> Job:
        """Return the job once it has ended; TimedOut at the deadline, Unavailable after a long outage."""
        interval, outage_started = MIN_POLL_INTERVAL, None
        while True:
            previous_seq = self.seq
            self._read_events(STREAM_TIMEOUT)
            try:
                job = self._get_job()
                outage_started = None
            except _PASSING:
                outage_started = outage_started or time.monotonic()
                if time.monotonic() - outage_started > MAX_OUTAGE:
                    raise
                job = None
            if job and job.state.final:
                self._read_events(FINAL_STREAM_TIMEOUT)
                return job
            self._check_deadline(job)
            progressed = self.seq > previous_seq
            interval = MIN_POLL_INTERVAL if progressed else min(2 * interval, MAX_POLL_INTERVAL)
            time.sleep(min(interval, self._seconds_left()))

    def _get_job(self) -> Job:
        """Return the job; one attempt, for `wait` makes the next."""
        return self._connection.read(Job, Request("GET", f"/v1/jobs/{self._job_id}", single_attempt=True))

    def _read_events(self, timeout: float) -> None:
        """Hand on the events of the stream until it ends or breaks; a cut may look like an end."""
        if not self._has_stream:
            return
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": str(self.seq)} if self.seq else {})
        request = Request("GET", f"/v1/jobs/{self._job_id}/events", headers=headers)
        read_timeout = max(0.1, min(timeout, self._seconds_left()))
        try:
            with self._connection.stream(request, read_timeout=read_timeout) as response:
                if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
                    self._has_stream = False
                    return
                for event in EventSource(response).iter_sse():
                    self._emit(event)
                    if self._seconds_left() <= 0:
                        return
        except _PASSING:
            return  # one stream too many is an answer, too: another may end
        except QuantisError as error:
            if error.status in (401, 403):
                raise
            self._has_stream = False  # the job's own route says whether it exists

    def _emit(self, message: ServerSentEvent) -> None:
        try:
            event = JobEvent.model_validate_json(message.data, extra="ignore")
        except ValidationError:
            return  # a kind that this client does not know yet
        if event.seq <= self.seq:
            return
        self.seq = event.seq
        if self._on_event:
            self._on_event(event)

    def _seconds_left(self) -> float:
        return float("inf") if self._deadline is None else self._deadline - time.monotonic()

    def _check_deadline(self, job: Job | None) -> None:
        if self._seconds_left() <= 0:
            state = job.state.value if job else "out of reach"
            raise TimedOut(
                f"job {self._job_id} is {state} after {self._timeout:g} s and goes on; "
                f"follow it with `quantis jobs watch {self._job_id}`"
            )
