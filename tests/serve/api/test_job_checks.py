"""A job that could only fail, or for which there is no room, is refused when it is submitted."""

from __future__ import annotations

import json

import pytest

from quantis.types.datasets import DatasetSpec
from tests.serve.api.test_jobs_api import SPEC, submit


def test_when_a_team_has_as_many_jobs_waiting_as_it_may_then_429_names_the_bound_and_a_stop_makes_room(
    world, client, problem
):
    quota = world.client("admin").patch("/v1/teams/default", json={"quota": {"jobs_waiting": 2}})
    assert quota.json()["quota"]["jobs_waiting"] == 2
    first, _ = submit(client, "key-1").json()["id"], submit(client, "key-2")
    refused = submit(client, "key-3")
    body = problem(refused, 429, "too_many_requests")
    assert "quota jobs_waiting" in body["detail"]
    assert "QUANTIS_QUOTA_JOBS_WAITING" in body["detail"]
    assert int(refused.headers["retry-after"]) >= 1
    assert submit(client, "key-1").json()["id"] == first
    assert client.post(f"/v1/jobs/{first}/stop").json()["state"] == "STOPPED"
    assert submit(client, "key-3").status_code == 202
    (waiting,) = (item for item in client.get("/v1/usage").json()["items"] if item["name"] == "jobs_waiting")
    assert (waiting["used"], waiting["limit"]) == (2, 2)


def test_when_a_time_limit_is_longer_than_a_job_may_run_then_it_is_422_and_names_the_setting(
    world, client, problem
):
    longest = world.services.settings.job_seconds
    assert submit(client, time_limit=f"PT{longest}S").status_code == 202
    body = problem(submit(client, time_limit=f"PT{longest + 60}S"), 422, "invalid_input")
    assert "QUANTIS_JOB_SECONDS" in body["detail"]


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"dataset": "flight"}, 404, "did you mean 'flights'?"),
        ({"dataset": "nothing-like-it"}, 404, "flights"),
        ({"families": ["thetta"]}, 422, "did you mean 'theta'?"),
        ({"baselines": ["schedule"]}, 422, "no known-future column of the dataset; did you mean 'scheduled'?"),
        ({"baselines": ["temp"]}, 422, "there are scheduled"),
        ({"warm_start": "demnd"}, 404, "no model 'demnd'; did you mean 'demand'?"),
        ({"warm_start": "demand:99"}, 404, "has no version 99; it has"),
        ({"warm_start": "demand"}, 409, "a warm start needs a tft"),
        ({"kind": "backtest", "model": "demnd"}, 404, "did you mean 'demand'?"),
        ({"kind": "backtest", "model": None, "segments": ["carier"]}, 422, "did you mean 'carrier'?"),
        ({"kind": "backtest", "model": None, "hierarchy": [["temp"]]}, 422, "'temp' is no static column"),
    ],
)  # fmt: skip
def test_when_a_job_names_what_is_not_there_then_it_is_refused_at_once_with_what_was_meant(
    world, client, problem, changes, status, words
):
    asked = {key: value for key, value in (SPEC | changes).items() if value is not None}
    answer = client.post("/v1/jobs", json={"spec": asked})
    code = {404: "not_found", 409: "conflict", 422: "invalid_input"}[status]
    assert words in problem(answer, status, code)["detail"]
    assert client.get("/v1/jobs").json()["items"] == []


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"model": "demnd"}, 404, "did you mean 'demand'?"),
        ({"alias": "champoin"}, 404, "did you mean 'champion'?"),
        ({"h": 400}, 422, "is more than the model's horizon"),
        ({"baselines": ["nothing"]}, 422, "baseline 'nothing' is no known-future column"),
        ({"hierarchy": [["carrier"], ["carier"]]}, 422, "did you mean 'carrier'?"),
    ],
)
def test_when_a_forecast_job_names_what_is_not_there_then_it_is_refused_at_once(
    world, client, problem, changes, status, words
):
    asked = {"kind": "forecast", "dataset": "flights", "model": "demand"}
    assert client.post("/v1/jobs", json={"spec": asked}).status_code == 202
    answer = client.post("/v1/jobs", json={"spec": asked | changes})
    assert words in problem(answer, status, {404: "not_found", 422: "invalid_input"}[status])["detail"]


def test_when_an_inbox_has_no_such_folder_then_an_ingest_job_is_refused_with_those_there_are(
    world, client, problem
):
    inbox = world.services.settings.data_layout.inbox("default")
    (inbox / "december").mkdir(parents=True)
    asked = {"kind": "ingest", "dataset": "flights", "folder": "decembr"}
    assert (
        "did you mean 'december'?"
        in problem(client.post("/v1/jobs", json={"spec": asked}), 404, "not_found")["detail"]
    )
    assert client.post("/v1/jobs", json={"spec": asked | {"folder": "december"}}).status_code == 202
    zone = {"options": {"time_zone": "Europe/Berlim"}}
    body = problem(client.post("/v1/jobs", json={"spec": asked | zone}), 422, "invalid_input")
    assert "did you mean Europe/Berlin?" in json.dumps(body)


def test_when_holidays_are_of_no_country_then_the_dataset_is_refused_and_so_is_a_job_on_an_old_one(
    world, client, problem
):
    new = {"name": "visits", "holidays": "UX"}
    assert (
        "not a known country"
        in problem(client.post("/v1/datasets", json=new), 422, "invalid_input")["detail"]
    )
    assert client.post("/v1/datasets", json=new | {"holidays": "US"}).status_code == 201
    world.services.catalogue.datasets.create("default", "ann", DatasetSpec(name="old", holidays="UX"))
    asked = {"kind": "featurize", "dataset": "old"}
    refused = problem(client.post("/v1/jobs", json={"spec": asked}), 422, "invalid_input")
    assert "not a known country" in refused["detail"]
