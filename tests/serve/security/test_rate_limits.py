"""Requests per minute, quotas, usage; teams."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from cluster.database.tables import JobRow
from cluster.ray.reconciler import Reconciler
from quantis.types.job_specs import FeaturizeSpec
from quantis.types.jobs import JobState
from quantis.types.teams import Quota
from serve.security import rate_limits, tokens
from tests.serve.api_under_test import PASSWORD, reauthenticate


def quota(world, team="default", **limits):
    answer = world.client("admin").patch(f"/v1/teams/{team}", json={"quota": limits})
    assert answer.status_code == 200, answer.text


def usage(world):
    return {one["name"]: one for one in world.client("viewer").get("/v1/usage").json()["items"]}


def test_when_a_team_made_its_requests_then_the_next_is_429_and_says_until_when(world, problem):
    quota(world, requests_per_minute=7)
    used = world.services.rate_limits.used("default").used
    client = world.client("viewer")
    answers = [client.get("/v1/datasets") for _ in range(7 - used)]
    assert {answer.status_code for answer in answers} == {200}
    last = answers[-1]
    assert last.headers["ratelimit-policy"] == '"team";q=7;w=60'
    assert last.headers["ratelimit"].startswith('"team";r=0;t=')
    refused = client.get("/v1/datasets")
    body = problem(refused, 429, "too_many_requests")
    assert "its 7 requests of this minute (quota requests_per_minute)" in body["detail"]
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["ratelimit"].startswith('"team";r=0;t=')
    problem(world.client("admin").get("/v1/datasets"), 429, "too_many_requests")  # one team, one count


def test_when_many_call_at_once_then_exactly_the_limit_is_served(world):
    quota(world, requests_per_minute=30)
    left = 30 - world.services.rate_limits.used("default").used
    clients = [world.client("viewer") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: clients[n % 4].get("/v1/users/me").status_code, range(50)))
    assert (found.count(200), found.count(429)) == (left, 50 - left)


def test_when_another_team_is_busy_then_ours_is_not(world):
    world.services.accounts.create_team("rivals", Quota(), "spy", PASSWORD)
    quota(world, "rivals", requests_per_minute=1)
    assert world.client("viewer").get("/v1/datasets").status_code == 200


HEADERS = [
    {"X-Forwarded-For": "9.9.9.{n}"}, {"Forwarded": "for=9.9.9.{n}"}, {"X-Real-IP": "9.9.9.{n}"},
    {"CF-Connecting-IP": "9.9.9.{n}"}, {"X-Client-IP": "9.9.9.{n}"}, {"X-Forwarded-For": "9.9.9.{n}, 127.0.0.1"},
]  # fmt: skip


@pytest.mark.parametrize("header", HEADERS)
def test_when_forwarding_headers_are_forged_then_the_limit_of_the_address_holds(world, monkeypatch, header):
    monkeypatch.setattr(rate_limits, "ANONYMOUS_PER_ADDRESS", 5)
    found = []
    for number in range(8):
        forged = {name: value.format(n=number) for name, value in header.items()}
        headers = {"Authorization": "Bearer nonsense", **forged}
        found.append(world.client().get("/v1/datasets", headers=headers).status_code)
    assert found == [401] * 5 + [429] * 3
    elsewhere = TestClient(world.app, base_url="https://quantis.test", client=("10.9.8.7", 1))
    assert elsewhere.get("/v1/datasets", headers={"Authorization": "Bearer nonsense"}).status_code == 401


def test_when_a_household_has_many_addresses_then_they_count_as_one(world, monkeypatch):
    monkeypatch.setattr(rate_limits, "ANONYMOUS_PER_ADDRESS", 2)
    found = []
    for number in range(4):
        client = TestClient(world.app, base_url="https://quantis.test", client=(f"2001:db8:1:2::{number}", 1))
        found.append(client.get("/v1/datasets").status_code)
    assert found == [401, 401, 429, 429]


def test_when_strangers_flood_then_only_what_passed_the_limit_is_in_the_trail(world, monkeypatch):
    monkeypatch.setattr(rate_limits, "ANONYMOUS_PER_ADDRESS", 3)
    for _ in range(10):
        world.client().post("/v1/jobs", json={})
    events = world.client("admin").get("/v1/audit-events").json()["items"]
    assert [one["status"] for one in events] == [401] * 3


def test_when_an_operator_asks_then_every_team_s_usage_is_there_and_nobody_else_may(world, problem):
    world.services.accounts.create_team("rivals", Quota(cpu_seconds=50), "spy", PASSWORD)
    spec = {"spec": {"kind": "forecast", "dataset": "flights", "model": "demand"}}
    job = world.client("ml_engineer").post("/v1/jobs", json=spec).json()["id"]
    world.services.jobs.charge("default", job, 12.0)
    items = world.client("admin").get("/v1/usage/teams").json()["items"]
    used = {
        one["team"]: {item["name"]: (item["used"], item["limit"]) for item in one["items"]} for one in items
    }
    assert used["default"]["cpu_seconds"] == (12.0, None)
    assert used["rivals"]["cpu_seconds"] == (0.0, 50)
    spy = next(user for user in world.services.accounts.all("rivals") if user.user_name == "spy")
    client = world.client()
    client.headers["Authorization"] = f"Bearer {tokens.issue(spy.id, world.services.token_keys[0], 600)}"
    problem(client.get("/v1/usage/teams"), 403, "forbidden")
    problem(world.client("ml_engineer").get("/v1/usage/teams"), 403, "forbidden")


def test_when_the_seconds_of_the_month_are_used_up_then_jobs_are_refused_by_the_quota_s_name(world, problem):
    spec = {"spec": {"kind": "forecast", "dataset": "flights", "model": "demand"}}
    job = world.client("ml_engineer").post("/v1/jobs", json=spec).json()["id"]
    quota(world, cpu_seconds=100)
    world.services.jobs.charge("default", job, 99.0)
    assert world.client("ml_engineer").post("/v1/jobs", json=spec).status_code == 202
    world.services.jobs.charge("default", job, 2.0, gpu_seconds=7.0)
    body = problem(world.client("ml_engineer").post("/v1/jobs", json=spec), 403, "quota_exceeded")
    assert "used 101 of its 100 cpu_seconds" in body["detail"]
    found = usage(world)
    assert (found["cpu_seconds"]["used"], found["cpu_seconds"]["limit"]) == (101.0, 100)
    assert found["gpu_seconds"]["used"] == 7.0
    assert found["cpu_seconds"]["resets_at"]
    quota(world, gpu_seconds=7)
    body = problem(world.client("ml_engineer").post("/v1/jobs", json=spec), 403, "quota_exceeded")
    assert "gpu_seconds" in body["detail"]
    quota(world)
    assert world.client("ml_engineer").post("/v1/jobs", json=spec).status_code == 202


def test_when_the_storage_is_used_up_then_nothing_more_is_stored_and_it_says_so(world, problem):
    quota(world, storage_mb=0)
    series = {"series": [{"unique_id": "JFK/B6", "ds": ["2024-02-01T00:00:00Z"], "y": [1.0]}]}
    for path, body in (("observations", {"json": series}), ("versions", {"content": b"unique_id,ds,y\n"})):
        answer = world.client("analyst").post(f"/v1/datasets/flights/{path}", **body)
        assert "storage_mb" in problem(answer, 403, "quota_exceeded")["detail"]
    assert world.client("viewer").get("/v1/datasets/flights").status_code == 200
    assert usage(world)["storage_mb"]["used"] > 0


def test_when_a_team_has_its_jobs_running_then_the_next_is_queued_and_told_so(world):
    quota(world, jobs_at_once=1)
    jobs = world.services.jobs
    first, second = (jobs.request("default", "viewer", FeaturizeSpec(dataset="flights")) for _ in range(2))
    reconciler = Reconciler(world.database, world.jobs, world.services.quotas)
    reconciler.tick()
    assert len(world.jobs.jobs) == 1
    assert usage(world)["jobs_at_once"]["used"] == 1
    waiting = jobs.get("default", second.id)
    assert waiting.state == JobState.pending
    assert "quota jobs_at_once" in waiting.message
    told = [event.message for event in jobs.events("default", second.id)]
    assert told.count(waiting.message) == 1
    jobs.finish("default", first.id, JobState.succeeded, "done")
    with world.database.write() as session:  # two seconds pass
        from cluster.database.tables import OutboxRow

        session.execute(update(OutboxRow).values(not_before=OutboxRow.created_at))
    reconciler.tick()
    assert len(world.jobs.jobs) == 2


def test_when_a_job_was_killed_before_it_could_say_then_its_time_counts(world):
    jobs = world.services.jobs
    job = jobs.request("default", "viewer", FeaturizeSpec(dataset="flights"))
    jobs.start("default", job.id)
    jobs.finish("default", job.id, JobState.failed, "killed")
    with world.database.read() as session:
        assert session.get_one(JobRow, ("default", job.id)).cpu_seconds > 0


# Teams


def test_when_an_operator_makes_a_team_then_its_admin_runs_it_and_sees_nothing_of_others(world, problem):
    new = {"name": "rivals", "admin_name": "boss", "admin_password": PASSWORD, "quota": {"jobs_at_once": 2}}
    made = world.client("admin").post("/v1/teams", json=new).json()
    assert (made["name"], made["users"], made["quota"]["jobs_at_once"]) == ("rivals", 1, 2)
    problem(world.client("admin").post("/v1/teams", json=new), 409, "conflict")
    form = {"grant_type": "password", "username": "boss", "password": PASSWORD}
    boss = world.client()
    boss.headers["Authorization"] = f"Bearer {boss.post('/v1/oauth/token', data=form).json()['access_token']}"
    assert boss.get("/v1/users/me").json()["team"] == "rivals"
    reauthenticate(boss)
    assert boss.get("/v1/datasets").json()["items"] == []
    assert boss.post("/v1/users", json={"user_name": "ann", "password": PASSWORD}).json()["team"] == "rivals"
    for method, path in (("GET", "/v1/teams"), ("POST", "/v1/teams"), ("PATCH", "/v1/teams/rivals"),
                         ("GET", "/v1/audit-events/verdict")):  # fmt: skip
        body = problem(boss.request(method, path, json={"quota": {}}), 403, "forbidden")
        assert "runs the platform" in body["detail"]
    assert {one["actor"] for one in boss.get("/v1/audit-events").json()["items"]} == {"boss"}
    assert [one["name"] for one in world.client("admin").get("/v1/teams").json()["items"]] == [
        "default",
        "rivals",
    ]
