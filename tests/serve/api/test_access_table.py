from __future__ import annotations

import re

import pytest
from fastapi import Depends, FastAPI
from fastapi.routing import iter_route_contexts

from quantis.types.accounts import REAUTHENTICATION_HEADER, Role
from quantis.types.jobs import JOB_KINDS
from serve.api.dependencies import authorise
from serve.security.policy import POLICY

ROLES = [None, *Role]
RANK = {None: -1, Role.viewer: 0, Role.analyst: 1, Role.ml_engineer: 2, Role.admin: 3}
VALUES = {
    "{name}": "flights", "{unique_id:path}": "JFK/B6", "{job_id}": "no-such-job", "{user_id}": "no-such-user",
    "{version}": "1", "{alias}": "challenger", "{ref}": "demand", "{forecast_id}": "no-such-forecast",
    "{session_id}": "no-such-session", "{key_id}": "no-such-key", "{client_id}": "no-such-client",
    "{team}": "no-such-team", "{approval_id}": "no-such-approval", "{number}": "1",
    "{dimension}": "series", "{alert_id}": "no-such-alert", "{channel_id}": "no-such-channel",
    "{delivery_id}": "no-such-delivery", "{rule_id}": "no-such-rule", "{schedule_id}": "no-such-schedule",
    "{pipeline}": "no-such-pipeline", "{run_id}": "no-such-run", "{experiment_id}": "no-such-experiment",
}  # fmt: skip


NOTHING = "/v1/{rest:path}"  # answers 404 to whatever is no route


def routes_of(app):
    """Every (method, path) that the application answers, hidden ones too."""
    return {
        (method, route.path)
        for route in iter_route_contexts(app.routes)
        for method in getattr(route, "methods", None) or {"*"}
        if route.path != NOTHING
    }


def without_policy(app):
    return routes_of(app) - POLICY.keys()


def without_guard(app):
    """The routes that answer without having looked at the table."""
    return {
        route.path
        for route in iter_route_contexts(app.routes)
        if authorise not in {one.call for one in route.dependant.dependencies}
    }


def test_when_the_application_is_built_then_every_route_has_a_policy_and_every_policy_a_route(world):
    assert without_policy(world.app) == set()
    assert POLICY.keys() - routes_of(world.app) == set()
    assert without_guard(world.app) == {NOTHING}


def test_when_a_route_has_a_parameter_then_the_walks_over_all_routes_have_a_value_for_it():
    assert {name for _, path in POLICY for name in re.findall(r"\{[^}]+\}", path)} <= VALUES.keys()


def test_when_the_document_is_read_then_it_names_the_same_routes_but_two(world):
    described = {
        (method.upper(), path) for path, item in world.app.openapi()["paths"].items() for method in item
    }
    plain = {(method, path.replace(":path}", "}")) for method, path in POLICY}
    assert described == plain - {("GET", "/docs"), ("GET", "/openapi.json")}
    ids = [one["operationId"] for item in world.app.openapi()["paths"].values() for one in item.values()]
    assert len(ids) == len(set(ids))


def test_when_a_route_is_forgotten_then_the_checks_name_it_and_the_guard_serves_nobody(world, problem):
    app: FastAPI = world.app

    @app.get("/forgotten", dependencies=[Depends(authorise)])
    def forgotten() -> dict[str, str]:
        return {"secret": "yes"}

    @app.get("/open")
    def unguarded() -> dict[str, str]:
        return {"secret": "yes"}

    assert without_policy(app) == {("GET", "/forgotten"), ("GET", "/open")}
    assert without_guard(app) == {NOTHING, "/open"}
    problem(world.client("admin").get("/forgotten"), 404, "not_found")


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nothing", "/v1/jobs/1/2/3", "/v2/models", "/nothing"])
def test_when_there_is_no_route_then_everybody_gets_the_same_404(world, problem, path):
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        problem(world.client().request(method, path), 404, "not_found")


@pytest.mark.parametrize("role", ROLES)
def test_when_a_role_calls_every_route_then_it_is_refused_exactly_as_the_table_says(world, role):
    client, wrong = world.client(role), {}
    for (method, template), minimum_role in POLICY.items():
        path = template
        for name, value in VALUES.items():
            path = path.replace(name, value)
        status = client.request(
            method, path, json={} if method in ("POST", "PUT", "PATCH") else None
        ).status_code
        if minimum_role is not None and role is None:
            expected = {401}
        elif minimum_role is not None and RANK[role] < RANK[minimum_role.minimum_role]:
            expected = {403}
        else:
            expected = {200, 201, 202, 204, 404, 409, 415, 422, 503}
        if status not in expected:
            wrong[method, template] = status
    assert wrong == {}


@pytest.mark.parametrize("role", Role)
def test_when_a_role_starts_a_kind_of_job_then_the_kind_decides(world, role):
    client, found = world.client(role), {}
    (world.settings.data_layout.inbox("default") / "may").mkdir(parents=True)
    for kind in JOB_KINDS:
        model = {"ingest": {"folder": "may"}, "featurize": {}, "compact": {}}.get(kind, {"model": "demand"})
        spec = {"kind": kind, "dataset": "flights"} | model
        found[kind] = client.post("/v1/jobs", json={"spec": spec}).status_code
    assert found == {
        kind: 202 if RANK[role] >= RANK[entry.role] else 403 for kind, entry in JOB_KINDS.items()
    }


def test_when_a_forecast_job_stops_short_of_the_rank_then_nothing_is_recorded(world):
    world.client("analyst").post(
        "/v1/jobs", json={"spec": {"kind": "train", "dataset": "flights", "model": "m"}}
    )
    assert world.services.jobs.counts() == {}
    assert world.services.jobs.pending_outbox() == 0


def test_when_every_kind_of_job_is_known_then_each_has_a_policy(world):
    kinds = world.app.openapi()["components"]["schemas"]["JobRequest"]["properties"]["spec"]["discriminator"]
    assert set(kinds["mapping"]) == set(JOB_KINDS)


def test_when_a_user_is_disabled_or_demoted_then_the_token_in_hand_loses_its_power_at_once(world, problem):
    admin, engineer = world.client("admin"), world.client("ml_engineer")
    address = f"/v1/users/{world.user_id('ml_engineer')}"
    alias = {"version": 1}
    assert engineer.put("/v1/models/demand/aliases/challenger", json=alias).status_code == 200
    admin.patch(address, json={"role": "viewer"})
    problem(engineer.put("/v1/models/demand/aliases/challenger", json=alias), 403, "forbidden")
    assert engineer.get("/v1/users/me").json()["role"] == "viewer"
    admin.patch(address, json={"disabled": True})
    body = problem(engineer.get("/v1/users/me"), 401, "unauthenticated")
    assert "disabled" in body["detail"]


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "Basic YTpi", "Bearer a b", "bearer x.y.z", "x" * 9000]
)
def test_when_the_authorization_header_is_odd_then_it_is_401_and_says_how(world, problem, header):
    answer = world.client().get("/v1/datasets", headers={"Authorization": header})
    problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_when_another_team_asks_then_it_sees_nothing_of_ours(world, problem):
    user = world.services.accounts.create("strangers", "spy", "correct horse battery", Role.admin)
    spy = world.client("admin")
    from serve.security import tokens

    spy.headers["Authorization"] = f"Bearer {tokens.issue(user.id, world.services.token_keys[0], 60)}"
    spy.headers[REAUTHENTICATION_HEADER] = world.reauthentication(user.id)
    job = (
        world.client("admin")
        .post("/v1/jobs", json={"spec": {"kind": "featurize", "dataset": "flights"}})
        .json()["id"]
    )
    forecast = (
        world.client("admin")
        .post("/v1/models/demand/forecasts", json={"series": [{"unique_id": "JFK/B6"}]})
        .json()["forecast_id"]
    )
    world.services.registries["strangers"] = type(world.registry)(
        world.registry._client.tracking_uri, str(world.settings.data_layout.artifacts), "strangers"
    )
    assert spy.get("/v1/datasets").json()["items"] == []
    assert spy.get("/v1/jobs").json()["items"] == []
    assert spy.get("/v1/models").json()["items"] == []
    assert [one["user_name"] for one in spy.get("/v1/users").json()["items"]] == ["spy"]
    for method, path in (
        ("GET", "/v1/datasets/flights"),
        ("GET", "/v1/datasets/flights/series/JFK/B6"),
        ("GET", f"/v1/jobs/{job}"),
        ("GET", f"/v1/jobs/{job}/events"),
        ("GET", f"/v1/jobs/{job}/logs"),
        ("POST", f"/v1/jobs/{job}/stop"),
        ("GET", f"/v1/forecasts/{forecast}"),
        ("GET", "/v1/models/demand/versions/1"),
    ):
        problem(spy.request(method, path), 404, "not_found")
    problem(spy.patch(f"/v1/users/{world.user_id('viewer')}", json={"disabled": True}), 404, "not_found")
