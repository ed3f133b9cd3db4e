"""Following a job: nothing twice, nothing lost, whatever breaks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantis.client import Client
from quantis.errors import Forbidden, NotFound, TimedOut, Unavailable
from quantis.types.job_specs import TrainSpec
from quantis.types.jobs import JobEvent, JobState

NOW = datetime(2024, 1, 1, tzinfo=UTC).isoformat()


def event(seq: int, message: str = "", kind: str = "step") -> dict[str, Any]:
    return {"seq": seq, "at": NOW, "kind": kind, "message": message or f"step {seq}", "data": {}}


def wire(*events: dict[str, Any]) -> str:
    return "".join(f"id: {e['seq']}\nevent: {e['kind']}\ndata: {json.dumps(e)}\n\n" for e in events)


class Cut(httpx.SyncByteStream):
    """Bytes, and then the line goes dead."""

    def __init__(self, text: str, fault: Exception | None) -> None:
        self.text, self.fault = text, fault

    def __iter__(self) -> Iterator[bytes]:
        yield self.text.encode()
        if self.fault:
            raise self.fault


def stream(text: str, fault: Exception | None = None) -> Callable[[], httpx.Response]:
    return lambda: httpx.Response(200, headers={"Content-Type": "text/event-stream"}, stream=Cut(text, fault))


class JobServer:
    """One job; each request for events gets the next of `streams`, the last one again and again."""

    def __init__(self, states: list[Any], streams: list[Any]) -> None:
        self.states, self.streams = states, streams
        self.last_ids: list[str | None] = []
        self.polls = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/events"):
            self.last_ids.append(request.headers.get("Last-Event-ID"))
            return self._next(self.streams)
        self.polls += 1
        state = self._next(self.states)
        if isinstance(state, httpx.Response):
            return state
        spec = TrainSpec(dataset="d", model="m").model_dump(mode="json")
        job = {
            "id": "j",
            "kind": "train",
            "state": state,
            "spec": spec,
            "created_at": NOW,
            "created_by": "ann",
        }
        return httpx.Response(200, json=job)

    def _next(self, steps: list[Any]) -> Any:
        step = steps.pop(0) if len(steps) > 1 else steps[0]
        if isinstance(step, Exception):
            raise step
        return step() if callable(step) else step

    def follow(self, **options: Any) -> tuple[JobState, list[int]]:
        told: list[JobEvent] = []
        with Client("http://test", "t", transport=httpx.MockTransport(self), retries=0) as client:
            job = client.wait("j", told.append, **options)
        return job.state, [item.seq for item in told]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> None:
    monkeypatch.setattr("quantis.client.events.time.sleep", pauses.append)


def test_when_the_stream_tells_the_whole_story_then_it_is_handed_on_in_order() -> None:
    server = JobServer(["SUCCEEDED"], [stream(wire(event(1), event(2), event(3, kind="state")))])
    assert server.follow() == (JobState.succeeded, [1, 2, 3])
    assert (server.last_ids, server.polls) == ([None, "3"], 1)


def test_when_a_proxy_ends_the_stream_early_then_the_last_events_are_still_told() -> None:
    server = JobServer(
        ["SUCCEEDED"], [stream(wire(event(1))), stream(wire(event(2), event(3, kind="state")))]
    )
    assert server.follow() == (JobState.succeeded, [1, 2, 3])


def test_when_the_stream_breaks_then_it_is_resumed_after_the_last_event() -> None:
    broken = stream(wire(event(1), event(2)) + 'id: 3\ndata: {"seq": 3, "at"', httpx.ReadError("cut"))
    server = JobServer(["RUNNING", "SUCCEEDED"], [broken, stream(wire(event(3), event(4)))])
    assert server.follow() == (JobState.succeeded, [1, 2, 3, 4])
    assert server.last_ids == [None, "2", "4"]


def test_when_the_server_repeats_events_then_they_are_told_once() -> None:
    server = JobServer(
        ["RUNNING", "SUCCEEDED"],
        [stream(wire(event(1), event(2))), stream(wire(event(1), event(2), event(3)))],
    )
    assert server.follow() == (JobState.succeeded, [1, 2, 3])


def test_when_the_job_ends_while_the_stream_is_broken_then_its_last_events_are_still_told() -> None:
    broken = stream(wire(event(1)), httpx.RemoteProtocolError("cut"))
    server = JobServer(["FAILED"], [broken, stream(wire(event(2), event(3, kind="state")))])
    assert server.follow() == (JobState.failed, [1, 2, 3])


def test_when_there_is_no_stream_then_the_job_is_polled_with_growing_pauses(pauses: list[float]) -> None:
    server = JobServer(["PENDING"] * 6 + ["SUCCEEDED"], [httpx.Response(404, json={"code": "not_found"})])
    assert server.follow() == (JobState.succeeded, [])
    assert len(server.last_ids) == 1
    assert pauses == sorted(pauses)
    assert pauses[-1] == 5.0


def test_when_something_else_than_a_stream_answers_then_the_job_is_polled() -> None:
    server = JobServer(["RUNNING", "SUCCEEDED"], [httpx.Response(200, text="<html>")])
    assert server.follow() == (JobState.succeeded, [])
    assert len(server.last_ids) == 1


def test_when_the_server_restarts_meanwhile_then_the_wait_goes_on() -> None:
    gone = httpx.ConnectError("refused")
    server = JobServer(["RUNNING", gone, gone, "RUNNING", "SUCCEEDED"], [stream(wire(event(1))), gone])
    assert server.follow() == (JobState.succeeded, [1])


def test_when_serve_restarts_then_the_wait_goes_on_whatever_is_heard_and_asks_again_by_itself() -> None:
    bare = httpx.Response(500, text="Internal Server Error")
    no_route = httpx.Response(404, text="Path '/v1/jobs/j' not found.")
    away = httpx.Response(503, json={"code": "unavailable", "detail": "away"}, headers={"Retry-After": "2"})
    late = httpx.Response(504, json={"code": "timed_out", "detail": "late"})
    outage = [bare, no_route, away, late, httpx.ReadError("cut")]
    server = JobServer(["RUNNING", *outage, "RUNNING", "SUCCEEDED"], [stream(wire(event(1))), *outage, bare])
    assert server.follow() == (JobState.succeeded, [1])


def test_when_there_are_too_many_streams_then_the_job_is_asked_for_and_the_stream_later() -> None:
    full = httpx.Response(429, json={"code": "too_many_requests", "detail": "10 streams"})
    server = JobServer(["RUNNING", "RUNNING", "SUCCEEDED"], [full, stream(wire(event(1)))])
    assert server.follow() == (JobState.succeeded, [1])
    assert len(server.last_ids) > 2


def test_when_the_server_stays_away_then_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantis.client.events.MAX_OUTAGE", -1.0)
    gone = httpx.ConnectError("refused")
    with pytest.raises(Unavailable):
        JobServer([gone], [gone]).follow()


def test_when_the_time_is_over_then_timed_out_says_that_the_job_goes_on() -> None:
    with pytest.raises(TimedOut, match=r"job j is RUNNING .* goes on; .*quantis jobs watch j"):
        JobServer(["RUNNING"], [stream(wire(event(1)))]).follow(timeout=0)


def test_when_there_is_no_such_job_then_not_found_at_once() -> None:
    missing = httpx.Response(404, json={"code": "not_found", "detail": "there is no job 'j'"})
    with pytest.raises(NotFound, match="no job"):
        JobServer([missing], [missing]).follow()


def test_when_one_may_not_read_the_job_then_forbidden() -> None:
    with pytest.raises(Forbidden):
        JobServer(["RUNNING"], [httpx.Response(403, json={"code": "forbidden", "detail": "no"})]).follow()


def test_when_an_event_is_of_a_kind_of_the_future_then_the_others_are_told() -> None:
    odd = {**event(2), "kind": "weather"}
    server = JobServer(["SUCCEEDED"], [stream(wire(event(1), odd, event(3)))])
    assert server.follow() == (JobState.succeeded, [1, 3])


MESSAGES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


class Chunks(httpx.SyncByteStream):
    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.chunks)


@settings(deadline=None)
@given(st.lists(MESSAGES, max_size=5), st.sampled_from(["\n", "\r\n", "\r"]), st.data())
def test_when_a_stream_is_cut_into_chunks_anywhere_then_the_same_events_come_out(
    messages: list[str], newline: str, data: st.DataObject
) -> None:
    events = [event(seq, message) for seq, message in enumerate(messages, 1)]
    text = "".join(
        f"id: {e['seq']}\ndata: {json.dumps(e, ensure_ascii=False)}\n: a comment\n\n" for e in events
    )
    raw = (text.replace("\n", newline) + ":").encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    chunks = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    headers = {"Content-Type": "text/event-stream"}
    server = JobServer(["SUCCEEDED"], [lambda: httpx.Response(200, headers=headers, stream=Chunks(chunks))])
    received: list[JobEvent] = []
    with Client("http://test", "t", transport=httpx.MockTransport(server), retries=0) as client:
        client.wait("j", received.append)
    assert [(e.seq, e.message) for e in received] == [(e["seq"], e["message"]) for e in events]


def test_when_data_has_several_lines_then_they_are_joined() -> None:
    text = (
        "id: 1\n" + "".join(f"data:{line}\n" for line in json.dumps(event(1), indent=1).splitlines()) + "\n"
    )
    assert JobServer(["SUCCEEDED"], [stream(text + "retry: 5\n\n")]).follow() == (JobState.succeeded, [1])
