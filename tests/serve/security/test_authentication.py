"""Principals: held for a second, looked up without a query per request, believed in an outage for a time."""

from __future__ import annotations

import asyncio
import time
from typing import cast

import pytest
from sqlalchemy import event

from cluster.database.engine import Database
from cluster.repositories.principals import Principals
from quantis.errors import Unauthenticated, Unavailable
from serve.security import authentication
from serve.security.authentication import Authenticator
from tests.serve.api.test_sessions_api import signed_in


class Flaky:
    """The principals of a database that can be out of reach."""

    def __init__(self, principals):
        self.real, self.down, self.asked = principals, False, 0

    def user(self, *arguments):
        self.asked += 1
        if self.down:
            raise Unavailable("the database did not answer")
        return self.real.user(*arguments)


@pytest.fixture
def flaky(world):
    found = world.services.authenticator
    found._principals = Flaky(found._principals)
    return found._principals


def test_when_the_same_caller_comes_again_within_a_second_then_the_database_is_not_asked(world, flaky):
    client, _ = signed_in(world)
    assert {
        client.get("/openapi.json").status_code,
        *(client.get("/v1/usage").status_code for _ in range(5)),
    } == {200}
    assert flaky.asked <= 2


def test_when_an_authenticated_forecast_is_asked_for_then_knowing_the_caller_costs_no_query(world):
    client, _ = signed_in(world)
    body = {"series": [{"unique_id": "JFK/B6"}]}
    path = "/v1/models/demand/forecasts"
    assert client.post(path, json=body).status_code == 200
    statements = []

    def note(connection, cursor, statement, *rest):
        statements.append(statement)

    event.listen(world.database.engine, "before_cursor_execute", note)
    assert client.get("/v1/users/me").status_code == 200  # so that the principal is fresh
    statements.clear()
    assert client.post(path, json=body).status_code == 200
    event.remove(world.database.engine, "before_cursor_execute", note)
    tables = ("users", "sessions", "teams", "api_keys", "audit_events", "refresh_tokens")
    assert [one for one in statements if any(f" {table}" in one for table in tables)] == []
    assert any("INSERT INTO forecasts" in one for one in statements)


def test_when_the_database_is_out_of_reach_then_reads_and_forecasts_go_on_and_changes_do_not(
    world, flaky, problem, monkeypatch
):
    monkeypatch.setattr(authentication, "PRINCIPAL_SECONDS", 0.0)
    monkeypatch.setattr(authentication, "RETRY_SECONDS", 0.2)
    client, _ = signed_in(world, "ml_engineer")
    stranger, _ = signed_in(world, "analyst")
    assert client.get("/v1/datasets").status_code == 200
    flaky.down = True
    assert client.get("/v1/datasets").status_code == 200
    forecast = client.post("/v1/models/demand/forecasts", json={"series": [{"unique_id": "JFK/B6"}]})
    assert forecast.status_code == 200
    for method, path in (("PUT", "/v1/models/demand/aliases/challenger"), ("POST", "/v1/jobs")):
        body = problem(client.request(method, path, json={"version": 1}), 503, "unavailable")
        assert "only reads and forecasts" in body["detail"]
    problem(stranger.get("/v1/datasets"), 503, "unavailable")  # never seen here before
    flaky.down = False
    time.sleep(0.25)
    assert client.put("/v1/models/demand/aliases/challenger", json={"version": 1}).status_code == 200


def test_when_no_server_listens_where_the_database_was_then_known_callers_read_on(
    world, problem, monkeypatch
):
    """A real connection that fails, instead of a stand-in."""
    monkeypatch.setattr(authentication, "PRINCIPAL_SECONDS", 0.0)
    client, _ = signed_in(world, "ml_engineer")
    assert client.get("/v1/models").status_code == 200
    gone = Database("postgresql+psycopg://quantis@127.0.0.1:1/gone")
    world.services.authenticator._principals = Principals(gone)
    assert client.get("/v1/models").status_code == 200
    assert client.get("/v1/models/demand/versions").status_code == 200
    problem(client.put("/v1/models/demand/aliases/challenger", json={"version": 1}), 503, "unavailable")
    gone.close()


def test_when_the_outage_lasts_longer_than_the_stated_time_then_nobody_is_believed(world, monkeypatch):
    monkeypatch.setattr(authentication, "PRINCIPAL_SECONDS", 0.0)
    monkeypatch.setattr(authentication, "RETRY_SECONDS", 0.0)
    answer = signed_in(world)[1]
    flaky = Flaky(world.services.authenticator._principals)
    known = Authenticator(cast(Principals, flaky), world.services.token_keys, outage_seconds=5)
    assert not asyncio.run(known.authenticate(answer["access_token"])).unconfirmed
    flaky.down = True
    assert asyncio.run(known.authenticate(answer["access_token"])).unconfirmed
    time.sleep(5.05)
    with pytest.raises(Unavailable):
        asyncio.run(known.authenticate(answer["access_token"]))


def test_when_an_account_was_gone_before_the_outage_then_the_outage_does_not_bring_it_back(
    world, monkeypatch
):
    monkeypatch.setattr(authentication, "PRINCIPAL_SECONDS", 0.0)
    client, answer = signed_in(world)
    assert client.get("/v1/users/me").status_code == 200
    world.client("admin").patch(f"/v1/users/{world.user_id('viewer')}", json={"disabled": True})
    assert client.get("/v1/users/me").status_code == 401
    flaky = Flaky(world.services.authenticator._principals)
    world.services.authenticator._principals, flaky.down = flaky, True
    with pytest.raises((Unauthenticated, Unavailable)):
        asyncio.run(world.services.authenticator.authenticate(answer["access_token"]))


def test_when_keys_are_rotated_then_tokens_of_the_one_before_hold_until_it_is_taken_out(world):
    answer = signed_in(world)[1]
    old, new = world.services.token_keys[0], b"another key of thirty-two bytes or more"
    principals = world.services.authenticator._principals
    both, after = Authenticator(principals, (new, old), 60), Authenticator(principals, (new,), 60)
    assert asyncio.run(both.authenticate(answer["access_token"])).principal.user_name == "viewer"
    with pytest.raises(Unauthenticated):
        asyncio.run(after.authenticate(answer["access_token"]))
