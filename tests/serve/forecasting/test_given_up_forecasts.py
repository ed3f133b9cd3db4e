"""A forecast that nobody waits for is not computed: its caller hung up, its time is over, or another one does it."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from cluster.repositories.accounts import DEFAULT_TEAM
from models.prediction import fallback
from quantis.errors import TimedOut
from quantis.types.forecasts import MAX_REPEATS, ForecastRequest, ForecastResponse, SeriesRequest
from serve.forecasting.cancellation import Cancellation
from serve.forecasting.deployment import ForecasterReplica, RemoteForecaster
from tests.serve.api.test_forecasts_api import own
from tests.serve.api_under_test import InThisProcess, MakesNothingAgain, World
from tests.serve.asgi_call import Call

GOOD = "JFK/B6"
PATH = "/v1/models/demand/forecasts"
BODY = json.dumps({"series": [{"unique_id": GOOD}]}).encode()
SECONDS = 30


class Response:
    """Stands where Ray's DeploymentResponse would; it never comes."""

    def __init__(self) -> None:
        self.is_cancelled = False

    def __await__(self) -> Any:
        return asyncio.sleep(3600).__await__()

    def cancel(self) -> None:
        self.is_cancelled = True


class Handle:
    def __init__(self, response: Response) -> None:
        self.forecast, self.response, self.asked = self, response, asyncio.Event()

    def remote(self, *_: Any) -> Response:
        self.asked.set()
        return self.response


def request_of(*series: SeriesRequest, **options: Any) -> ForecastRequest:
    return ForecastRequest(series=list(series) or [SeriesRequest(unique_id=GOOD)], **options)


def test_when_the_deadline_passes_then_the_replica_is_told() -> None:
    response = Response()
    with pytest.raises(TimedOut):
        asyncio.run(RemoteForecaster(Handle(response)).forecast("t", "demand", request_of(deadline_ms=20)))
    assert response.is_cancelled


def test_when_the_request_is_cancelled_then_the_replica_is_told() -> None:
    async def main() -> None:
        handle = Handle(Response())
        remote = RemoteForecaster(handle)
        call = asyncio.ensure_future(remote.forecast("t", "demand", request_of()))
        await handle.asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert handle.response.is_cancelled

    asyncio.run(main())


class SlowEngine:
    """Goes on until it is told that nobody waits."""

    def __init__(self) -> None:
        self.begun, self.told = threading.Semaphore(0), threading.Semaphore(0)

    def forecast(self, team: str, ref: str, request: ForecastRequest, cancellation: Cancellation) -> None:
        self.begun.release()
        while True:
            try:
                cancellation.check()
            except TimedOut:
                self.told.release()
                raise
            threading.Event().wait(0.01)


class NoCanaries:
    def forecast(self, engine: Any, *request: Any) -> Any:
        return engine.forecast(*request)


def replica_of(engine: Any) -> ForecasterReplica:
    replica = ForecasterReplica.__new__(ForecasterReplica)
    replica._engine, replica._threads = engine, ThreadPoolExecutor(max_workers=1)
    replica._canaries = NoCanaries()  # type: ignore[assignment]
    return replica


def test_when_a_replica_is_told_then_what_runs_ends_and_what_waits_never_begins() -> None:
    async def main() -> None:
        engine = SlowEngine()
        replica = replica_of(engine)
        text = request_of().model_dump_json()
        running, *waiting = [asyncio.ensure_future(replica.forecast("t", "demand", text)) for _ in range(5)]
        assert await asyncio.to_thread(engine.begun.acquire, timeout=SECONDS)
        for call in waiting:
            call.cancel()
        await asyncio.wait(waiting)
        running.cancel()
        await asyncio.wait({running})
        assert await asyncio.to_thread(engine.told.acquire, timeout=SECONDS)
        await asyncio.to_thread(replica._threads.shutdown)
        assert not engine.begun.acquire(blocking=False)

    asyncio.run(main())


def test_when_the_time_of_a_forecast_is_over_then_the_replica_ends_it_by_itself() -> None:
    engine = SlowEngine()
    text = request_of(deadline_ms=50).model_dump_json()
    answer = asyncio.run(replica_of(engine).forecast("t", "demand", text))
    assert (answer["code"], "within 0.05 s" in answer["message"]) == ("timed_out", True)


def issued(world: World) -> int:
    with world.database.read() as session:
        from sqlalchemy import text

        count: int = session.execute(text("select count(*) from forecasts")).scalar_one()
    return count


def test_when_a_forecast_is_cancelled_between_its_rounds_then_it_ends_there_and_is_not_in_the_ledger(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(world.forecaster, InThisProcess)
    cancellation, rounds, forecast = Cancellation(), [], fallback.forecast

    def counted(*arguments: Any, **options: Any) -> Any:
        rounds.append(1)
        cancellation.cancel()
        return forecast(*arguments, **options)

    monkeypatch.setattr(fallback, "forecast", counted)
    series = [SeriesRequest.model_validate(own(GOOD)) for _ in range(5)]
    with pytest.raises(TimedOut, match="given up"):
        world.forecaster.engine.forecast(DEFAULT_TEAM, "demand", request_of(*series), cancellation)
    with pytest.raises(TimedOut, match="given up"):
        world.forecaster.engine.forecast(DEFAULT_TEAM, "demand", request_of(), cancellation)
    assert (len(rounds), issued(world)) == (1, 0)


class Watched(MakesNothingAgain):
    """The port of a forecaster that never answers, and notes what becomes of its calls."""

    def __init__(self) -> None:
        self.begun, self.ended = 0, 0
        self.answer: ForecastResponse | None = None

    async def forecast(self, team: str, ref: str, request: ForecastRequest) -> ForecastResponse:
        self.begun += 1
        try:
            while self.answer is None:
                await asyncio.sleep(0.01)
            return self.answer
        finally:
            self.ended += 1


async def until(condition: Any) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


def keyed(world: World, key: bytes | None) -> Call:
    headers = [(b"idempotency-key", key)] if key else []
    return Call(world.app, "POST", PATH, token=world.token("viewer"), body=BODY, headers=headers)


@pytest.mark.parametrize("key", [None, b"k"])
def test_when_a_caller_hangs_up_then_the_forecast_is_cancelled(world: World, key: bytes | None) -> None:
    watched = Watched()
    watched_world = replace(world, forecaster=watched)

    async def main() -> None:
        call = keyed(watched_world, key)
        await until(lambda: watched.begun)
        await call.hang_up()
        await until(lambda: watched.ended)

    asyncio.run(main())


def test_when_one_key_is_sent_again_and_again_then_it_is_computed_once_while_anybody_waits(
    world: World,
) -> None:
    watched = Watched()
    watched_world = replace(world, forecaster=watched)

    async def main() -> None:
        calls = [keyed(watched_world, b"k") for _ in range(30)]
        other = keyed(watched_world, b"other")
        await until(lambda: watched.begun == 2)
        for call in calls[1:]:
            await call.hang_up()
        assert (watched.begun, watched.ended) == (2, 0)
        await calls[0].hang_up()
        await until(lambda: watched.ended == 1)
        await other.hang_up()
        await until(lambda: watched.ended == 2)
        assert watched.begun == 2

    asyncio.run(main())


def test_when_one_caller_asks_for_many_forecasts_then_they_wait_in_turn_and_others_are_asked_for(
    world: World,
) -> None:
    watched = Watched()
    watched_world = replace(world, forecaster=watched)
    most = 4 * world.settings.forecaster_max_replicas

    async def main() -> None:
        calls = [keyed(watched_world, None) for _ in range(most + 20)]
        await until(lambda: watched.begun == most)
        await asyncio.sleep(0.2)
        assert watched.begun == most
        theirs = Call(watched_world.app, "POST", PATH, token=world.token("admin"), body=BODY)
        await until(lambda: watched.begun == most + 1)
        for call in [*calls, theirs]:
            await call.hang_up()
        await until(lambda: watched.ended == watched.begun)

    asyncio.run(main())


def test_when_a_series_comes_more_often_than_it_may_then_it_is_422_and_named(
    client: Any, problem: Any
) -> None:
    body = {"series": [own(GOOD)] * (MAX_REPEATS + 1)}
    detail = problem(client.post(PATH, json=body), 422, "invalid_input")["detail"]
    assert f"'{GOOD}' comes {MAX_REPEATS + 1} times" in detail
    scenarios = [{"unique_id": GOOD, "futr_exog": {"scheduled": [1.0] * 24}}] * (MAX_REPEATS + 1)
    problem(client.post(PATH, json={"series": scenarios}), 422, "invalid_input")
    assert client.post(PATH, json={"series": [own(GOOD)] * MAX_REPEATS}).status_code == 200
    assert client.post(PATH, json={"series": [{"unique_id": GOOD}] * 100}).status_code == 200
