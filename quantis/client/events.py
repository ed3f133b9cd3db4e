"""Following a job: its event stream, resumed where it broke, with polling beside it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from quantis.client.connection import Connection, Request
from quantis.errors import QuantisError, TimedOut, Unavailable
from quantis.types.jobs import Job, JobEvent

OnEvent = Callable[[JobEvent], None]

SILENCE = 30.0  # s without a byte, after which a stream counts as broken
LAST_WORDS = 5.0  # the same once the job is known to have ended
PATIENCE = 60.0  # s for which a server may be away
LONGEST_PAUSE = 5.0  # s between two looks at the job


@dataclass(frozen=True)
class ServerEvent:
    """One event of the wire format (WHATWG HTML, "Server-sent events")."""

    id: str
    event: str
    data: str


def server_events(chunks: Iterable[str]) -> Iterator[ServerEvent]:
    """The complete events of a text stream; an unfinished one at its end is dropped."""
    last_id, event, data = "", "message", list[str]()
    for line in _lines(chunks):
        if not line:
            if data:
                yield ServerEvent(last_id, event, "\n".join(data))
            event, data = "message", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            last_id = value
        elif name == "event":
            event = value
        elif name == "data":
            data.append(value)


def _lines(chunks: Iterable[str]) -> Iterator[str]:
    """Lines as the format ends them: CR, LF or both, and nothing else (a value may hold U+2028)."""
    rest = ""
    for chunk in chunks:
        *whole, rest = re.split(r"\r\n|\n|\r(?=.)", rest + chunk, flags=re.DOTALL)
        yield from whole


class Follower:
    """Waits for one job to end. `seq` is the newest event handed on; none is handed on twice."""

    def __init__(
        self, connection: Connection, job_id: str, on_event: OnEvent | None, timeout: float | None
    ) -> None:
        self._connection, self._job_id, self._on_event = connection, job_id, on_event
        self._timeout = timeout
        self._ends = None if timeout is None else time.monotonic() + timeout
        self._streams = True
        self.seq = 0

    def wait(self) -> Job:
        pause, away_since = 0.2, None
        while True:
            before = self.seq
            self._read_events(SILENCE)
            try:
                job = self._job()
                away_since = None
            except Unavailable:
                away_since = away_since or time.monotonic()
                if time.monotonic() - away_since > PATIENCE:
                    raise
                job = None
            if job and job.state.final:
                self._read_events(LAST_WORDS)
                return job
            self._check_time(job)
            pause = 0.2 if self.seq > before else min(2 * pause, LONGEST_PAUSE)
            time.sleep(min(pause, self._left()))

    def _job(self) -> Job:
        return self._connection.read(Job, Request("GET", f"/v1/jobs/{self._job_id}", repeatable=True))

    def _read_events(self, silence: float) -> None:
        """Hand on what the stream says until it ends or breaks; a cut may look like an end."""
        if not self._streams:
            return
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": str(self.seq)} if self.seq else {})
        request = Request("GET", f"/v1/jobs/{self._job_id}/events", headers=headers)
        try:
            with self._connection.stream(
                request, read_timeout=max(0.1, min(SILENCE, self._left()))
            ) as response:
                if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
                    self._streams = False
                    return
                for event in server_events(response.iter_text()):
                    self._hand_on(event)
                    if self._left() <= 0:
                        return
        except (Unavailable, TimedOut):
            return
        except QuantisError as error:
            if error.status in (401, 403):
                raise
            self._streams = False  # the job's own route says whether it exists

    def _hand_on(self, raw: ServerEvent) -> None:
        try:
            event = JobEvent.model_validate_json(raw.data, extra="ignore")
        except ValidationError:
            return  # a kind that this client does not know yet
        if event.seq <= self.seq:
            return
        self.seq = event.seq
        if self._on_event:
            self._on_event(event)

    def _left(self) -> float:
        return float("inf") if self._ends is None else self._ends - time.monotonic()

    def _check_time(self, job: Job | None) -> None:
        if self._left() <= 0:
            state = job.state.value if job else "out of reach"
            raise TimedOut(
                f"job {self._job_id} is {state} after {self._timeout:g} s and goes on; "
                f"follow it with `quantis jobs watch {self._job_id}`"
            )
