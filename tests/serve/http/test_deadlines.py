"""Who may not call is told before the body is read; whoever is late is told in time."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from quantis.errors import TimedOut
from serve.http import deadlines
from tests.serve.api_under_test import InThisProcess, problem


def scope_of(method="POST", path="/v1/datasets", token=None):
    headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
    if token:
        headers.append((b"authorization", f"Bearer {token}".encode()))
    return {"type": "http", "http_version": "1.1", "method": method, "path": path, "raw_path": path.encode(),
            "query_string": b"", "headers": headers, "client": ("127.0.0.1", 1), "server": ("x", 80),
            "scheme": "http", "root_path": "", "state": {}}  # fmt: skip


def asked(app, scope, chunks, *, ends=True):
    """(status, headers, how many chunks of the body were read) of one call."""
    read: list[int] = []
    sent: list[dict[str, Any]] = []

    async def receive():
        if len(read) < len(chunks):
            read.append(1)
            more = len(read) < len(chunks) or not ends
            return {"type": "http.request", "body": chunks[len(read) - 1], "more_body": more}
        await asyncio.sleep(3600)
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), len(read)


@pytest.mark.parametrize(
    ("role", "path", "status"),
    [(None, "/v1/datasets", 401), ("viewer", "/v1/datasets", 403), ("viewer", "/v1/users", 403),
     (None, "/v1/jobs", 401), ("admin", "/v1/nothing", 404), (None, "/v1/datasets/flights/versions", 401),
     (None, "/v1/models/a/forecasts", 401)],
)  # fmt: skip
def test_when_the_caller_may_not_then_the_answer_comes_without_a_byte_of_the_body(world, role, path, status):
    token = world.token(role) if role else None
    found, headers, read = asked(world.app, scope_of(path=path, token=token), [b"{", b"}"])
    assert (found, read) == (status, 0)
    assert headers[b"connection"] == b"close"


def test_when_the_body_passes_the_limit_then_the_rest_is_not_read(world):
    chunks = [b"[" + b"1," * 150_000] * 50
    found, headers, read = asked(world.app, scope_of(token=world.token("admin")), chunks)
    assert (found, read) == (413, 4)
    assert headers[b"connection"] == b"close"


def test_when_the_body_never_ends_then_it_is_504_and_the_waiting_is_over(world):
    settings = world.settings.model_copy(update={"request_seconds": 0.2})
    app = replace(world, settings=settings).app
    found, headers, read = asked(app, scope_of(token=world.token("admin")), [b"{"], ends=False)
    assert (found, read <= 1) == (504, True)
    assert headers[b"connection"] == b"close"


class Stuck(InThisProcess):
    """A forecaster that hangs in a thread, where nothing can be cancelled."""

    def __init__(self):
        self.free = threading.Event()

    async def forecast(self, team, ref, request):
        from starlette.concurrency import run_in_threadpool

        await run_in_threadpool(self.free.wait)
        raise AssertionError("nobody waits any more")


def test_when_the_work_hangs_then_the_caller_has_a_504_that_says_for_how_long_and_others_are_served(world):
    stuck = Stuck()
    client = replace(world, forecaster=stuck).client("admin")
    body = {"series": [{"unique_id": "JFK/B6"}], "deadline_ms": 1}
    try:
        from serve.api import forecasts

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(forecasts, "GRACE_SECONDS", 0.2)
            with client:
                answer = client.post("/v1/models/demand/forecasts", json=body)
                assert "no answer within 0.2" in problem(answer, 504, "timed_out")["detail"]
                assert client.get("/healthz").status_code == 200
                stuck.free.set()
    finally:
        stuck.free.set()


def run(seconds, app):
    sent = []

    async def send(message):
        sent.append(message["type"])

    async def receive():
        return {"type": "http.disconnect"}

    async def main():
        await deadlines.run_with_deadline(seconds, app, {}, receive, send)

    try:
        asyncio.run(main())
    except TimedOut:
        sent.append("late")
    return sent


def test_when_an_answer_has_begun_then_it_may_take_its_time_and_a_late_one_is_not_sent():
    async def slow_stream(scope, receive, send):
        await send({"type": "start"})
        await asyncio.sleep(0.2)
        await send({"type": "end"})

    async def late(scope, receive, send):
        try:
            await asyncio.sleep(600)
        finally:
            await send({"type": "too late"})

    async def longer(scope, receive, send):
        deadlines.allow(scope, 2)
        await asyncio.sleep(0.2)
        await send({"type": "start"})

    assert run(0.05, slow_stream) == ["start", "end"]
    assert run(0.05, late) == ["late"]
    assert run(0.05, longer) == ["start"]


def test_when_a_stream_gets_long_then_it_ends_and_goes_on_after_the_last_event(world):
    settings = world.settings.model_copy(update={"stream_seconds": 0.5})
    with replace(world, settings=settings).client("admin") as client:
        job = client.post("/v1/jobs", json={"spec": {"kind": "featurize", "dataset": "flights"}}).json()["id"]
        began = time.monotonic()
        first = client.get(f"/v1/jobs/{job}/events").text
        assert "id: 1" in first
        assert time.monotonic() - began > 0.4
        assert "id: 1" not in client.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": "1"}).text
