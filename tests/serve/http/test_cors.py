"""What browsers are told: whose pages may call, and that a page of elsewhere may not use the cookie."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quantis.errors import InvalidInput
from serve.api.application import create_app
from tests.serve.api_under_test import PASSWORD, problem

PREFLIGHT = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST",
             "Access-Control-Request-Headers": "authorization, content-type"}  # fmt: skip


def with_origins(world, origins):
    return replace(world, settings=world.settings.model_copy(update={"cors_origins": origins}))


def test_when_no_origin_is_named_then_no_other_page_may_call(world):
    client = world.client("viewer")
    for answer in (
        client.options("/v1/datasets", headers=PREFLIGHT),
        client.get("/v1/datasets", headers={"Origin": "https://app.example"}),
        client.get("/healthz", headers={"Origin": "null"}),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_when_an_origin_is_named_then_its_pages_may_call_and_no_others_and_no_cookie_goes_along(world):
    client = with_origins(world, "https://app.example, http://localhost:5173").client("viewer")
    answer = client.options("/v1/datasets", headers=PREFLIGHT)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert "access-control-allow-credentials" not in answer.headers
    asked = client.get("/v1/datasets", headers={"Origin": "http://localhost:5173"})
    assert asked.headers["access-control-allow-origin"] == "http://localhost:5173"
    assert asked.headers["vary"] == "Origin"
    for origin in ("https://app.example.evil", "http://app.example", "https://APP.example:444", "null", ""):
        assert (
            "access-control-allow-origin"
            not in client.get("/v1/datasets", headers={"Origin": origin}).headers
        )


@pytest.mark.parametrize(
    "origins", ["*", "https://*.example", "app.example", "https://a.example/path", "javascript://x"]
)
def test_when_an_origin_is_no_origin_then_the_server_does_not_start(world, origins):
    with pytest.raises(InvalidInput, match="is no origin"):
        create_app(with_origins(world, origins).services)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_when_a_page_of_elsewhere_sends_the_cookie_then_it_is_refused_and_the_session_lives(world, site):
    client = world.client()
    form = {"grant_type": "password", "client_id": "web", "username": "viewer", "password": PASSWORD}
    assert client.post("/v1/oauth/token", data=form).status_code == 200
    refresh = {"grant_type": "refresh_token", "client_id": "web"}
    for path, data in (("/v1/oauth/token", refresh), ("/v1/oauth/revoke", {"client_id": "web"})):
        answer = client.post(path, data=data, headers={"Sec-Fetch-Site": site})
        problem(answer, 403, "forbidden")
        assert "set-cookie" not in answer.headers
    assert (
        client.post("/v1/oauth/token", data=refresh, headers={"Sec-Fetch-Site": "same-origin"}).status_code
        == 200
    )
    assert client.post("/v1/oauth/revoke", data={"client_id": "web"}).status_code == 204
    assert client.post("/v1/oauth/token", data=refresh).status_code == 401


def test_when_a_number_is_sent_as_something_else_then_it_is_refused(world):
    client = world.client("admin")
    for version in (True, "1", 1.5, [1]):
        problem(
            client.put("/v1/models/demand/aliases/shadow", json={"version": version}), 422, "invalid_input"
        )
    assert client.put("/v1/models/demand/aliases/shadow", json={"version": 1.0}).status_code in (200, 202)
    body = {"series": [{"unique_id": "a", "start": "2024-01-01T00:00:00Z", "y": [1, "2"]}]}
    problem(client.post("/v1/models/demand/forecasts", json=body), 422, "invalid_input")
    for lag in (3600, True, "3600"):
        spec = {"name": "shop", "publication_lag": lag}
        problem(client.post("/v1/datasets", json=spec), 422, "invalid_input")


def test_when_a_method_is_not_taken_then_the_answer_names_those_that_are(world):
    client = world.client("admin")
    for path, methods in (
        ("/v1/users/me", "GET"), ("/v1/jobs", "GET, POST"), ("/healthz", "GET"),
        ("/v1/datasets/flights/series/JFK/B6/restore", "POST"),
    ):  # fmt: skip
        for method in ("OPTIONS", "TRACE"):
            answer = client.request(method, path)
            problem(answer, 405, "method_not_allowed")
            assert answer.headers["allow"] == methods
