"""Requests that a caller leaves open are bounded for them, their team and all, and given back however they end."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from cluster.repositories.accounts import DEFAULT_TEAM
from quantis.types.accounts import Role
from serve.http import body_arrival
from serve.security import concurrency_limits
from serve.security.concurrency_limits import ConcurrencyBounds
from tests.serve.api_under_test import PASSWORD, World
from tests.serve.asgi_call import Call

FORM = b"application/x-www-form-urlencoded"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_arrival, "PROMPT_SECONDS", 0.05)


def submitted(world: World) -> str:
    with world.client("admin") as client:
        job: str = client.post("/v1/jobs", json={"spec": {"kind": "featurize", "dataset": "flights"}}).json()[
            "id"
        ]
    return job


def test_when_strangers_leave_bodies_open_then_each_address_has_its_bound_and_others_are_served(
    world: World,
) -> None:
    async def main() -> None:
        mine = [Call(world.app, "POST", "/v1/oauth/token", kind=FORM) for _ in range(40)]
        refused: list[Call] = []
        while len(refused) < 40 - concurrency_limits.BODIES.caller:
            open_calls = {call.task for call in mine if call not in refused}
            await asyncio.wait(open_calls, timeout=20, return_when=asyncio.FIRST_COMPLETED)
            refused = [call for call in mine if call.task.done()]
        await asyncio.sleep(0.5)
        assert len([call for call in mine if call.begun.is_set()]) == len(refused)
        for call in refused:
            assert (call.status, call.headers["connection"]) == (429, "close")
            assert int(call.headers["retry-after"]) > 0
        assert "the address 203.0.113.1 has 8 request bodies" in refused[0].problem()["detail"]
        elsewhere = Call(world.app, "POST", "/v1/oauth/token", kind=FORM, address="203.0.113.2")
        assert await elsewhere.answer(0.5) == 0  # it may still be sent
        assert await Call(world.app, "GET", "/healthz").answer() == 200
        for call in [*mine, elsewhere]:
            await call.hang_up()
        assert world.services.open_bodies.total == 0

    asyncio.run(main())


def test_when_a_body_is_there_at_once_then_it_is_served_beside_any_number_of_slow_ones(world: World) -> None:
    async def main() -> None:
        slow = [Call(world.app, "POST", "/v1/oauth/token", kind=FORM) for _ in range(12)]
        await asyncio.sleep(0.5)
        prompt = Call(world.app, "POST", "/v1/oauth/token", kind=FORM)
        prompt.incoming.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        assert await prompt.answer() not in (0, 429)
        for call in slow:
            await call.hang_up()

    asyncio.run(main())


def test_when_a_user_leaves_bodies_open_then_the_user_the_team_and_the_server_have_bounds(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.services.BODIES", ConcurrencyBounds(caller=2, team=3, process=4))
    world.services.accounts.create(DEFAULT_TEAM, "second", PASSWORD, Role.analyst)
    app, path = world.app, "/v1/datasets/flights/check"

    async def main() -> None:
        calls: list[Call] = []

        async def one_more(**options: Any) -> Call:
            call = Call(app, "POST", path if "token" in options else "/v1/oauth/token", **options)
            calls.append(call)
            await call.answer(0.6)
            return call

        admin, second = world.token("admin"), world.token("second")
        assert [(await one_more(token=admin)).status for _ in range(3)] == [None, None, 429]
        assert "the user admin has 2" in calls[-1].problem()["detail"]
        assert [(await one_more(token=second)).status for _ in range(2)] == [None, 429]
        assert "the team default has 3" in calls[-1].problem()["detail"]
        assert [(await one_more(kind=FORM)).status for _ in range(2)] == [None, 429]
        assert "this server has 4" in calls[-1].problem()["detail"]
        for call in calls:
            await call.hang_up()
        assert (await one_more(token=admin)).status is None
        await calls[-1].hang_up()

    asyncio.run(main())


def test_when_a_body_comes_too_slowly_then_it_is_given_up_with_its_speed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_arrival, "GRACE_SECONDS", 0.3)

    async def main() -> None:
        call = Call(world.app, "POST", "/v1/datasets/flights/versions", token=world.token("admin"))
        assert await call.answer() == 408
        assert call.problem()["code"] == "too_slow"
        assert "less than 4096 a second" in call.problem()["detail"]
        assert call.headers["connection"] == "close"
        assert world.services.open_bodies.total == 0

    asyncio.run(main())


def test_when_a_viewer_opens_120_streams_then_those_beyond_the_bound_are_429_and_the_rest_go_on(
    world: World,
) -> None:
    job, viewer, most = submitted(world), world.token("viewer"), concurrency_limits.STREAMS.caller

    async def main() -> None:
        streams = [Call(world.app, "GET", f"/v1/jobs/{job}/events", token=viewer) for _ in range(120)]
        statuses = [await stream.answer() for stream in streams]
        assert sorted(statuses) == [200] * most + [429] * (120 - most)
        refused = streams[statuses.index(429)]
        assert int(refused.headers["retry-after"]) > 0
        assert f"the user viewer has {most} streams of events" in refused.problem()["detail"]
        assert await Call(world.app, "GET", f"/v1/jobs/{job}", token=viewer).answer() == 200
        other = Call(world.app, "GET", f"/v1/jobs/{job}/events", token=world.token("admin"))
        assert await other.answer() == 200
        for stream in [*streams, other]:
            await stream.hang_up()
        assert world.services.open_streams.total == 0

    asyncio.run(main())


def test_when_the_users_of_a_team_open_streams_then_the_team_has_a_bound(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.services.STREAMS", ConcurrencyBounds(caller=2, team=3, process=9))
    job = submitted(world)

    async def main() -> None:
        streams = []
        for role in ("viewer", "viewer", "analyst", "admin"):
            streams.append(Call(world.app, "GET", f"/v1/jobs/{job}/events", token=world.token(role)))
            await streams[-1].answer()
        assert [stream.status for stream in streams] == [200, 200, 200, 429]
        assert "the team default has 3" in streams[-1].problem()["detail"]
        for stream in streams:
            await stream.hang_up()

    asyncio.run(main())


def test_when_an_unknown_job_is_streamed_then_it_is_404_and_takes_no_stream(world: World) -> None:
    with world.client("viewer") as client:
        assert client.get("/v1/jobs/none/events").status_code == 404
    assert world.services.open_streams.total == 0


def test_when_replica_and_bounds_are_compared_then_most_of_its_requests_are_left_for_others() -> None:
    from serve.app import MAX_ONGOING_REQUESTS

    left_open = concurrency_limits.BODIES.process + concurrency_limits.STREAMS.process
    assert 3 * left_open < MAX_ONGOING_REQUESTS


def test_when_one_caller_reads_more_at_once_than_there_are_threads_then_others_are_served_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, page = threading.Event(), world.services.jobs.page

    def slow_page(*arguments: Any, **options: Any) -> Any:
        assert free.wait(60)
        return page(*arguments, **options)

    monkeypatch.setattr(world.services.jobs, "page", slow_page)

    async def main() -> None:
        viewer = world.token("viewer")
        many = [Call(world.app, "GET", "/v1/jobs", token=viewer) for _ in range(60)]
        await asyncio.sleep(0.5)
        assert await Call(world.app, "GET", "/v1/datasets", token=world.token("admin")).answer() == 200
        assert await Call(world.app, "GET", "/healthz").answer() == 200
        free.set()
        assert {await call.answer() for call in many} == {200}

    try:
        asyncio.run(main())
    finally:
        free.set()
