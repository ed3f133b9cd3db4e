"""Without the database: who is known goes on to read and forecast, and no forecast is lost."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from cluster.database.engine import Database
from quantis.errors import Unavailable
from serve.forecasting.engine import Engine
from serve.forecasting.stale_cache import StaleCache
from serve.security import authentication
from tests.serve.api.test_sessions_api import signed_in
from tests.serve.api_under_test import InThisProcess

FORECAST = "/v1/models/demand/forecasts"
BODY = {"series": [{"unique_id": "JFK/B6"}], "as_of": "2024-01-20T00:00:00Z"}


@pytest.fixture
def lasting(world, monkeypatch):
    """The platform as it serves: with an engine that goes on for a minute."""
    monkeypatch.setattr(authentication, "PRINCIPAL_SECONDS", 0.0)
    monkeypatch.setattr("serve.forecasting.routing.ALIAS_SECONDS", 0.0)  # before the engine is made
    services = world.services
    services.vintages._waiting = world.settings.data_layout.waiting
    engine = Engine(lambda team: world.registry, services.catalogue, services.vintages, outage_seconds=60.0)
    services.forecaster = InThisProcess(engine)
    return world


@contextmanager
def outage(world):
    """Nothing listens where the database was."""
    gone, database = Database("postgresql+psycopg://quantis@127.0.0.1:1/gone"), world.database
    before = database.engine, database._writer
    database.engine, database._writer = gone.engine, gone._writer
    yield
    database.engine, database._writer = before
    gone.close()


def test_when_the_database_is_gone_then_forecasts_are_answered_and_enter_the_ledger_afterwards(
    lasting, problem
):
    client, _ = signed_in(lasting)
    before = client.post(FORECAST, json=BODY).json()
    waiting = lasting.settings.data_layout.waiting
    with outage(lasting):
        answers = [client.post(FORECAST, json=BODY) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200] * 3
        assert answers[0].json()["forecasts"] == before["forecasts"]
        assert len(list(waiting.iterdir())) == 3
        assert all(path.stat().st_mode & 0o077 == 0 for path in waiting.iterdir())
        problem(client.get(f"/v1/forecasts/{before['forecast_id']}"), 503, "unavailable")
        problem(client.post("/v1/api-keys", json={"name": "key"}), 503, "unavailable")
    assert client.post(FORECAST, json=BODY).status_code == 200
    assert list(waiting.iterdir()) == []
    for answer in answers:
        kept = client.get(f"/v1/forecasts/{answer.json()['forecast_id']}")
        assert kept.json() == answer.json()


def test_when_a_waiting_forecast_is_brought_in_twice_then_it_is_in_the_ledger_once(lasting):
    client, _ = signed_in(lasting)
    client.post(FORECAST, json=BODY)
    waiting = lasting.settings.data_layout.waiting
    with outage(lasting):
        client.post(FORECAST, json=BODY)
    (path,) = waiting.iterdir()
    copy = path.read_text()
    client.post(FORECAST, json=BODY)
    path.write_text(copy)  # as if the process had been killed between the two steps
    assert client.post(FORECAST, json=BODY).status_code == 200
    assert list(waiting.iterdir()) == []


def test_when_a_model_was_never_asked_for_then_an_outage_says_so(lasting, problem):
    client, _ = signed_in(lasting)
    assert client.get("/v1/models").status_code == 200
    with outage(lasting):
        problem(client.post(FORECAST, json=BODY), 503, "unavailable")


def test_when_looking_fails_then_the_last_value_holds_for_its_time_and_answers_that_are_errors_go_through():
    known = StaleCache[int](60.0)
    found = iter([1, Unavailable("gone"), 2, RuntimeError("odd"), KeyError("x")])

    def look():
        value = next(found)
        if isinstance(value, Exception):
            raise value
        return value

    assert [known.get("a", look) for _ in range(4)] == [1, 1, 2, 2]
    with pytest.raises(KeyError):
        StaleCache[int](60.0).get("a", look)


def test_when_the_time_is_over_then_the_outage_shows():
    known = StaleCache[int](0.0)
    assert known.get("a", lambda: 1) == 1

    def gone():
        raise Unavailable("gone")

    with pytest.raises(Unavailable):
        known.get("a", gone)
