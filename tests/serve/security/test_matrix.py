"""Every route of the API x every kind of caller x whose object it is: who gets what."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cluster.database.engine import Database
from cluster.datasets.catalogue import Catalogue
from cluster.ray.submission import FakeJobs
from cluster.repositories.vintages import Vintages
from models.registry.mlflow_registry import Registry
from quantis.types.accounts import REAUTHENTICATION_HEADER, Role
from quantis.types.approvals import Policy
from quantis.types.datasets import DatasetSpec
from serve.api.application import create_app
from serve.forecasting.engine import Engine
from serve.security import rate_limits
from serve.security.policy import ANY, PERSON, POLICY, AccessRule
from serve.services import Services
from tests.serve import api_under_test as worlds
from tests.serve import matrix, statements
from tests.serve.api_under_test import PASSED, InThisProcess
from tests.serve.matrix import COLLEAGUE, DATASETS, MISSING, MODELS, OTHER, SERIES, Caller, Makers

RANK = {Role.viewer: 0, Role.analyst: 1, Role.ml_engineer: 2, Role.admin: 3}
OWNERS = ("own", "same-tenant", "other-tenant", "missing")
OPEN_ANSWERS = {  # routes for everybody: what they say on this platform
    "/docs": {503}, "/v1/setup": {200, 409}, "/v1/oauth/oidc/start": {404}, "/v1/oauth/oidc/callback": {404},
}  # fmt: skip
FIXED = {"version": "1", "alias": "challenger", "dimension": "series", "number": "1"}
DONE = {200, 201, 202, 204}
DOOMED = {
    ("DELETE", "/v1/datasets/{name}"): "doomed",
    ("DELETE", "/v1/models/{name}"): "doomed",
    ("DELETE", "/v1/models/{name}/versions/{version}"): "doomed-in-part",
}
"""Whose objects are there to be deleted: again and again, which changes nothing."""


@pytest.fixture(scope="module")
def makers(template: Path, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Makers]:
    folder = Path(shutil.copytree(template, tmp_path_factory.mktemp("matrix") / "data"))
    settings = worlds.settings_for(folder)
    database = Database(settings.sql_url)
    theirs = Registry(registry._client.tracking_uri, str(folder / "artifacts"), "rivals")
    registries = {"default": registry, "rivals": theirs}
    catalogue = Catalogue(database, settings.data_layout)
    for team, names in DATASETS.items():
        for name in names:
            if name != "flights":
                spec = DatasetSpec(name=name, roles=worlds.ROLES, freq="h")
                catalogue.datasets.create(team, COLLEAGUE[team], spec)
                catalogue.ingest(team, COLLEAGUE[team], name, worlds.toy(), "toy.csv")
    for _ in range(2):
        theirs.publish(MODELS["rivals"], folder / "bundle", metrics={"mase": 0.5}, gate=PASSED)
    theirs.promote(MODELS["rivals"], 1)
    for team, models in registries.items():
        for name in ("doomed", "doomed-in-part"):
            models.publish(f"{name}-{team}", folder / "bundle", metrics={"mase": 0.5}, gate=PASSED)
        spec = DatasetSpec(name=f"doomed-{team}")
        catalogue.datasets.create(team, COLLEAGUE[team], spec)
    engine = Engine(registries.__getitem__, catalogue, Vintages(database))
    services = Services(settings, database, InThisProcess(engine), FakeJobs(), registries=dict(registries))
    yield Makers(services)
    database.close()


def allowed(rule: AccessRule, caller: Caller) -> bool:
    """What the table says, spelled out apart from the code that enforces it."""
    if caller.role is None or RANK[caller.role] < RANK[rule.minimum_role]:
        return False
    if rule.operator and caller.team != "default":
        return False
    if rule.scope == PERSON:
        return caller.person
    return rule.scope == ANY or caller.scopes is None or rule.scope in caller.scopes


def expected(key: tuple[str, str], caller: Caller, owner: str) -> set[int]:
    path = key[1]
    rule = POLICY[key]
    if rule is None:
        return OPEN_ANSWERS.get(path, {200, 204})
    if caller.role is None:
        return {401}
    if not allowed(rule, caller):
        return {403}
    if path == "/v1/teams/{team}":  # operators see to every team
        return {404} if owner == "missing" else DONE
    if path == "/v1/datasets/{name}/check" or key == (
        "PUT",
        "/v1/pipelines/{pipeline}",
    ):  # of any name: it may be new
        return DONE
    if owner in ("other-tenant", "missing"):
        return {404}
    if path == "/v1/datasets/{name}/imports":  # this platform allows no place to fetch from
        return {403}
    if "{session_id}" in path and owner == "same-tenant":
        return {404}
    if "{key_id}" in path and owner == "same-tenant" and caller.role != Role.admin:
        return {404}
    if path.endswith("/approve") and owner == "own":
        return {403}
    return DONE


def whose(makers: Makers, caller: Caller, owner: str) -> tuple[str, str]:
    """(team, owner's name) of the object that is called for."""
    if owner == "own":
        return caller.team, caller.name
    team = caller.team if owner == "same-tenant" else OTHER[caller.team]
    return team, COLLEAGUE[team]


def address(makers: Makers, key: tuple[str, str], caller: Caller, owner: str) -> str:
    path = key[1]
    team, name = whose(makers, caller, owner)
    dataset = DATASETS[team][0 if owner in ("own", "other-tenant") else 1]
    missing = owner == "missing"

    def one(found: re.Match[str]) -> str:
        kind = found[1].partition(":")[0]
        if path == "/v1/experiments/{job_id}/leaderboard":
            kind = "train_job_id"
        if path == "/v1/jobs/{job_id}/retry":
            kind = "failed_job_id"
        if kind == "unique_id":
            return SERIES
        if kind == "name" and key in DOOMED:
            return "nothing" if missing else f"{DOOMED[key]}-{team}"
        if kind == "name" and "/datasets/" in path:
            return "nothing" if missing else dataset
        if kind in ("name", "ref"):
            return "nothing" if missing else MODELS[team]
        if kind == "pipeline" and (missing or (key[0] == "PUT" and owner == "other-tenant")):
            return matrix.fresh("nothing")
        if kind == "pipeline" and key[0] == "DELETE":
            return makers.pipeline(team, matrix.fresh(name))
        if kind == "team":
            return "nothing" if missing else team
        if kind in FIXED:
            return FIXED[kind]
        if (
            missing
            or (caller.role is None and owner == "own")
            or (kind in ("session_id", "key_id", "user_id") and owner == "own" and name not in makers.users)
        ):
            return MISSING
        return str(getattr(makers, kind)(team, name))

    if "unique_id" in path and not missing:
        prepare = makers.deleted if path.endswith("/restore") else makers.living
        prepare(team, dataset)
    return re.sub(r"\{([^}]+)\}", one, path)


def said(response: httpx.Response, url: str) -> str:
    """The body of an error, less what differs from call to call."""
    body = response.json()
    body.pop("request_id", None)
    for part in url.split("/"):
        if len(part) > 3 and part not in ("models", "datasets"):
            body["detail"] = body.get("detail", "").replace(part, "<id>")
    body["detail"] = re.sub(r"; (there are|did you mean) .*", "; <names>", body.get("detail", ""))
    return str(body)


def names_of_others(caller: Caller, url: str, text: str) -> set[str]:
    """The datasets and models of other teams that an answer names without having been asked for them."""
    others = {name for team in DATASETS if team != caller.team for name in (*DATASETS[team], MODELS[team])}
    return {name for name in others - set(url.split("/")) if name in text}


async def walk(makers: Makers) -> tuple[Counter[str], dict[str, object], dict[str, set[str]]]:
    """(calls by caller, deviations, what was said of objects that are not there or not theirs)."""
    app = create_app(makers.services)
    calls: Counter[str] = Counter()
    deviations: dict[str, object] = {}
    absent: dict[str, set[str]] = {}
    for number, caller in enumerate(makers.callers()):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(f"10.0.0.{number}", 1))
        headers = {"Authorization": caller.header} if caller.header else {}
        if caller.reauthentication:
            headers[REAUTHENTICATION_HEADER] = caller.reauthentication
        async with httpx.AsyncClient(
            transport=transport, base_url="https://quantis.test", headers=headers
        ) as http:
            for key in routes_of(app):
                for owner in OWNERS if "{" in key[1] else OWNERS[:1]:
                    url = address(makers, key, caller, owner)
                    body = matrix.BODIES.get(key, {})
                    response = await http.request(
                        key[0], url, **(body(makers, caller) if callable(body) else body)
                    )
                    calls[caller.name] += 1
                    what = f"{key[0]} {key[1]} by {caller.name} ({caller.role}), {owner}"
                    if response.status_code not in expected(key, caller, owner):
                        deviations[what] = (response.status_code, response.text[:300])
                    elif response.status_code == 404 and (
                        names := names_of_others(caller, url, response.text)
                    ):
                        deviations[what] = names
                    elif response.status_code == 404 and owner in ("other-tenant", "missing") and POLICY[key]:
                        absent.setdefault(f"{key[0]} {key[1]}", set()).add(said(response, url))
    return calls, deviations, absent


def routes_of(app) -> list[tuple[str, str]]:
    """Those of the document, and the two that it leaves out; with their templates."""
    described = {
        (method.upper(), path) for path, item in app.openapi()["paths"].items() for method in item
    } | {("GET", "/docs"), ("GET", "/openapi.json")}
    by_plain = {(method, path.replace(":path}", "}")): (method, path) for method, path in POLICY}
    assert described == by_plain.keys(), "a route without a policy, or a policy without a route"
    return sorted(by_plain[key] for key in described)


@pytest.mark.timeout(900)
def test_when_every_caller_calls_every_route_on_everybody_s_objects_then_each_answer_is_as_the_table_says(
    makers, monkeypatch
):
    monkeypatch.setattr(rate_limits, "ANONYMOUS_PER_ADDRESS", 1_000_000)  # one address stands for a caller
    for team, model in MODELS.items():
        makers.services.approvals.set_policy(team, model, Policy.gate)
    started = time.perf_counter()
    with statements.watching(makers.services.database.engine) as asked:
        calls, deviations, absent = asyncio.run(walk(makers))
    print(f"{calls.total()} calls in {time.perf_counter() - started:.0f} s, {len(deviations)} deviations")
    assert not deviations, "\n".join(f"{what}: {found}" for what, found in deviations.items())
    assert calls.total() > 1500
    assert {route: bodies for route, bodies in absent.items() if len(bodies) > 1} == {}
    assert statements.not_allowed(asked) == {}, "a query without its tenant"


def test_when_a_query_names_no_team_then_it_is_noticed(makers):
    with statements.watching(makers.services.database.engine) as asked:
        makers.services.jobs.team_of(makers.job_id("default", "admin"))
    assert statements.not_allowed(asked).keys() == {"jobs.team_of"}


def test_when_a_rule_is_weakened_then_the_walk_finds_it(makers, monkeypatch):
    """The test above can fail: an answer that the table does not allow is a deviation."""
    viewer = Caller("viewer", "default", None, Role.viewer)
    assert expected(("PATCH", "/v1/users/{user_id}"), viewer, "own") == {403}
    assert expected(("DELETE", "/v1/users/me/sessions/{session_id}"), viewer, "same-tenant") == {404}
    assert expected(("POST", "/v1/approvals/{approval_id}/approve"), viewer, "own") == {403}
